"""The text format of Prometheus, version 0.0.4: samples as `name{label="value"} number milliseconds`, written and read.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import io
import math
import re
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

MAX_LINE_BYTES = 16_384
MAX_LABELS = 64
MAX_SAMPLES = 262_144

_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9_:]")
_NOT_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_ESCAPE = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
_UNESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SAMPLE = re.compile(
    r"[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]*(?:\{(.*)\})?[ \t]*"
    r"([^ \t{}\"]+)(?:[ \t]+(-?[0-9]{1,18}))?[ \t]*"
)
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"([^"\\]*(?:\\.[^"\\]*)*)"[ \t]*(?:,|$)')
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class ScrapedSample(NamedTuple):
    """One sample of a page; `time_s` is None if the page leaves the time to the reader."""

    name: str
    labels: Dict[str, str]
    value: float
    time_s: Optional[int]


def metric_name(text: str) -> str:
    """The text as the name of a metric: characters that cannot stand there become underscores."""
    name = _NOT_IN_NAME.sub("_", text)
    return f"_{name}" if name[:1].isdigit() else name


def label_name(text: str) -> str:
    """The text as the name of a label, such as type_id for type-id."""
    name = _NOT_IN_LABEL.sub("_", text)
    return f"_{name}" if name[:1].isdigit() else name


def series_text(name: str, labels: Mapping[str, str]) -> str:
    """Name and labels of a series as they stand in front of a number; labels with empty values are left out."""
    pairs = (
        f'{label_name(key)}="{"".join(_ESCAPE.get(char, char) for char in value)}"'
        for key, value in sorted(labels.items())
        if value
    )
    inside = ",".join(pairs)
    return f"{metric_name(name)}{{{inside}}}" if inside else metric_name(name)


def parse_page(page: bytes) -> Tuple[List[ScrapedSample], int]:
    """The finite samples of a page, and the number of lines that cannot be read; those do not affect the others.

    Of more than 262,144 samples, the rest is left out and counted as one such line.
    """
    samples: List[ScrapedSample] = []
    bad = 0
    for raw in io.BytesIO(page):
        line = raw.strip(b" \t\r\n")
        if not line or line.startswith(b"#"):
            continue
        if len(samples) >= MAX_SAMPLES:
            return samples, bad + 1
        sample = _parse_line(line)
        if sample is None:
            bad += 1
        elif math.isfinite(sample.value):
            samples.append(sample)
    return samples, bad


def _parse_line(line: bytes) -> Optional[ScrapedSample]:
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        match = _SAMPLE.fullmatch(line.decode())
    except UnicodeDecodeError:
        return None
    if match is None:
        return None
    name, inside, number, milliseconds = match.groups()
    labels = _parse_labels(inside or "")
    value = _parse_number(number)
    if labels is None or value is None:
        return None
    return ScrapedSample(name, labels, value, None if milliseconds is None else int(milliseconds) // 1000)


def _parse_labels(inside: str) -> Optional[Dict[str, str]]:
    """The labels between the braces; None if they cannot be read, or one is given twice."""
    labels: Dict[str, str] = {}
    position, end = 0, len(inside.rstrip(" \t"))
    while position < end:
        match = _LABEL.match(inside, position)
        if match is None or match.group(1) in labels or len(labels) >= MAX_LABELS:
            return None
        labels[match.group(1)] = _UNESCAPE.sub(_unescaped, match.group(2))
        position = match.end()
    return labels


def _unescaped(match: re.Match[str]) -> str:
    return {"n": "\n", "\\": "\\", '"': '"'}.get(match.group(1), match.group())


def _parse_number(text: str) -> Optional[float]:
    if _NUMBER.fullmatch(text):
        return float(text)
    special = {"nan": math.nan, "inf": math.inf, "+inf": math.inf, "-inf": -math.inf}
    return special.get(text.lower())
