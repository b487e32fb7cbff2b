"""The Prometheus text format, version 0.0.4: a pure function from metric families to bytes.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_KINDS = frozenset({"counter", "gauge", "summary", "histogram", "untyped"})


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One value; `suffix` is appended to the family's name (`_bucket` of a histogram, `_sum`, `_count`)."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """All values of one metric name. `kind` is counter, gauge, summary, histogram or untyped."""

    name: str
    kind: str
    help: str
    samples: Sequence[MetricSample]


def single_sample_family(name: str, kind: str, text: str, value: float) -> MetricFamily:
    """A family of one sample without labels."""
    return MetricFamily(name, kind, text, (MetricSample(value),))


def histogram_samples(
    bounds: Sequence[float], counts: Sequence[int], total: float, labels: Mapping[str, str] | None = None
) -> list[MetricSample]:
    """The samples of one histogram; `counts` has the count of each bucket alone, and one of all values above.

    `total` is the sum of all observed values.
    """
    own = dict(labels or {})
    reached = list(accumulate(counts))
    edges = [*(format_number(bound) for bound in bounds), "+Inf"]
    samples = [MetricSample(n, {**own, "le": edge}, "_bucket") for edge, n in zip(edges, reached, strict=True)]
    return [*samples, MetricSample(total, own, "_sum"), MetricSample(reached[-1], own, "_count")]


def render(families: Iterable[MetricFamily]) -> bytes:
    """The families as Prometheus text, in the given order; families without samples are left out.

    Raises ValueError for a name or kind that the format does not allow, and for a name given twice.
    """
    lines: list[str] = []
    seen: set[str] = set()
    for family in families:
        _validate_family(family, seen)
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {_escape_help(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [f"{family.name}{_format_sample(sample)}" for sample in family.samples]
    return "".join(f"{line}\n" for line in lines).encode()


def _validate_family(family: MetricFamily, seen: set[str]) -> None:
    if not _METRIC_NAME.match(family.name):
        raise ValueError(f"{family.name!r} is not a metric name")
    if family.kind not in _KINDS:
        raise ValueError(f"{family.kind!r} is not a kind of metric")
    if family.name in seen:
        raise ValueError(f"metric {family.name!r} is given twice")
    seen.add(family.name)


def _format_sample(sample: MetricSample) -> str:
    labels = ",".join(f'{_checked_label_name(name)}="{_escape_label(text)}"' for name, text in sample.labels.items())
    return (
        f"{sample.suffix}{{{labels}}} {format_number(sample.value)}"
        if labels
        else f"{sample.suffix} {format_number(sample.value)}"
    )


def _checked_label_name(name: str) -> str:
    if not _LABEL_NAME.match(name):
        raise ValueError(f"{name!r} is not a label name")
    return name


def _escape_help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escape_label(text: str) -> str:
    return _escape_help(text).replace('"', r"\"")


def format_number(value: float) -> str:
    """A value in the format: shortest decimal, `NaN`, `+Inf`, `-Inf`."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
