"""A strict reader of the Prometheus text format, version 0.0.4: what a scraper might forgive is an error here.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import math
import re
from dataclasses import dataclass, field

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r"[a-zA-Z_][a-zA-Z0-9_]*"
_LABELS = re.compile(rf'({_LABEL})="((?:[^"\\\n]|\\[\\"n])*)"(,|\Z)')
_LINE = re.compile(rf"({_NAME})(?:\{{(.+)\}})? (\S+)")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d+)?(?:e[-+]?\d+)?|Inf)|NaN")
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
_SUFFIXES = {"summary": ("_sum", "_count"), "histogram": ("_bucket", "_sum", "_count")}


@dataclass
class ReadFamily:
    """One family as a scraper sees it: `samples` are (suffix, labels, value)."""

    name: str
    kind: str
    help: str
    samples: list[tuple[str, dict[str, str], float]] = field(default_factory=list)

    def value(self, suffix: str = "", **labels: str) -> float:
        """The one value with this suffix and exactly these labels."""
        (found,) = [value for own, given, value in self.samples if (own, given) == (suffix, labels)]
        return found


def read_exposition(text: bytes) -> dict[str, ReadFamily]:
    """The families by name. Raises ValueError that names the line for whatever the format does not allow."""
    lines = text.decode("utf-8").split("\n")
    if lines.pop() != "":
        raise ValueError("the last line has no end")
    families: dict[str, ReadFamily] = {}
    current: ReadFamily | None = None
    for line in lines:
        if line.startswith("# HELP "):
            name, _, help_text = line.removeprefix("# HELP ").partition(" ")
            _check(re.fullmatch(_NAME, name) and name not in families, line)
            current = families[name] = ReadFamily(name, "", _unescaped(help_text, r"\\[\\n]", line))
        elif line.startswith("# TYPE "):
            name, _, kind = line.removeprefix("# TYPE ").partition(" ")
            _check(current and name == current.name and not current.kind and not current.samples, line)
            _check(kind in {"counter", "gauge", "histogram", "summary", "untyped"}, line)
            families[name].kind = kind
        else:
            _check(current and current.kind, line)
            assert current is not None
            current.samples.append(_sample(current, line))
    for family in families.values():
        _check_family(family)
    return families


def _sample(family: ReadFamily, line: str) -> tuple[str, dict[str, str], float]:
    match = _LINE.fullmatch(line)
    _check(match, line)
    assert match is not None
    name, labels_text, number = match.groups()
    _check(name.startswith(family.name), line)
    suffix = name.removeprefix(family.name)
    _check(suffix in _SUFFIXES.get(family.kind, ("",)), line)
    _check(_NUMBER.fullmatch(number), line)
    return suffix, _read_labels(labels_text or "", line), float(number)


def _read_labels(text: str, line: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _LABELS.match(text, position)
        _check(match, line)
        assert match is not None
        name, value, end = match.groups()
        _check(name not in labels, line)
        _check(not (end == "," and match.end() == len(text)), line)
        labels[name] = _unescaped(value, r"\\.", line)
        position = match.end()
    return labels


def _unescaped(text: str, escape: str, line: str) -> str:
    _check("\\" not in re.sub(escape, "", text), line)
    return re.sub(escape, lambda found: _ESCAPES[found[0]], text)


def _check_family(family: ReadFamily) -> None:
    _check(family.kind and family.samples, f"family {family.name} is empty")
    seen = {(suffix, *sorted(labels.items())) for suffix, labels, _ in family.samples}
    _check(len(seen) == len(family.samples), f"family {family.name} repeats a sample")
    if family.kind == "counter":
        _check(family.name.endswith(("_total", "_seconds_total")), f"counter {family.name} does not end in _total")
        _check(all(value >= 0 for _, _, value in family.samples), f"counter {family.name} is negative")
    if family.kind == "histogram":
        _check_histogram(family)


def _check_histogram(family: ReadFamily) -> None:
    groups: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for suffix, labels, value in family.samples:
        if suffix == "_bucket":
            own = tuple(sorted((name, text) for name, text in labels.items() if name != "le"))
            groups.setdefault(own, []).append((float(labels["le"]), value))
    for own, buckets in groups.items():
        bounds, counts = [bound for bound, _ in buckets], [count for _, count in buckets]
        _check(bounds == sorted(set(bounds)) and math.isinf(bounds[-1]), f"bounds of {family.name} do not rise to +Inf")
        _check(counts == sorted(counts), f"buckets of {family.name} do not add up")
        _check(family.value("_count", **dict(own)) == counts[-1], f"count of {family.name} is another")
        family.value("_sum", **dict(own))


def _check(right: object, what: str) -> None:
    if not right:
        raise ValueError(what)
