"""The filters of a list in words, as its pills show them. Pure."""

from collections.abc import Callable, Mapping, Sequence

from cc_backend.jobs import filter_parameters
from cc_backend.jobs.filter_parameters import NumberRange
from cc_backend.model import Level
from cc_backend.wording.format import count_noun, format_exact_duration, format_exact_number
from cc_backend.wording.labels import STATISTIC_WORDS, lower_first, metric_name

_SHARED = {"none": "used alone", "single_user": "shared by one person's jobs", "multi_user": "shared by several people"}
_LABELS = {
    "duration": "ran",
    "numNodes": "nodes",
    "numHWThreads": "hardware threads",
    "numAccelerators": "GPUs",
    "energy": "energy",
    "stat": "footprint",
    "tag": "tag",
    "noTag": "without tag",
    "shared": "nodes are",
    "schedule": "kind",
    "verdict": "verdict",
    "overdue": "overdue",
    "dbId": "picked",
    "jobId": "job",
    "arrayJobId": "array",
    "jobName": "name contains",
    "script": "script contains",
    "node": "node",
    "user": "user",
    "project": "project",
}
_MOST_NAMED = 3


def label_filter(name: str, values: Sequence[str], match: str, tag_names: Mapping[int, str]) -> tuple[str, str]:
    """Label and value of the pill of one filter.

    `match` is the value of the parameter that says how names are compared, empty for the usual way; `tag_names`
    are type and name of the tags that may be seen, by id.
    """
    label = _LABELS[name]
    if name == "user" and len(values) == 1 and match in ("", "contains"):
        label = "user contains"
    elif name in ("project", "node") and len(values) == 1 and match == "contains":
        label = f"{label} contains"
    if name in _RANGE_FORMATS:
        return label, format_range(*filter_parameters.RANGES[name][2](name, values[0]), _RANGE_FORMATS[name])
    if name == "stat":
        return label, " and ".join(format_stat_filter(value) for value in values)
    if name in ("tag", "noTag"):
        words = [_tag_label(value, tag_names) for value in values]
        return label, " and ".join(words) if match == "all" else _join_alternatives(words)
    if name in _VALUE_LABELS:
        return label, _join_alternatives([_VALUE_LABELS[name](value) for value in values])
    if name == "dbId":
        return label, count_noun(len(values), "job")
    return label, _join_alternatives(values)


def verdict_label(value: str) -> str:
    """The word for a level."""
    return "not judged" if value == filter_parameters.NOT_JUDGED_CHOICE else Level(value).word


def format_range(low: float | None, high: float | None, write: Callable[[float], str]) -> str:
    """`at most 4`, `at least 2`, `2 to 4`, `4`."""
    if low is None or high is None:
        return f"at most {write(high)}" if high is not None else f"at least {write(low or 0)}"
    return write(low) if low == high else f"{write(low)} to {write(high)}"


def format_stat_filter(text: str) -> str:
    """A range of a footprint value: `CPU load mean at most 4`."""
    wanted = filter_parameters.parse_footprint_range(text)
    metric, _, statistic = wanted.key.rpartition("_")
    bounds: NumberRange = (wanted.from_value, wanted.to_value)
    return (
        f"{lower_first(metric_name(metric))} {STATISTIC_WORDS[statistic]} {format_range(*bounds, format_exact_number)}"
    )


_VALUE_LABELS: dict[str, Callable[[str], str]] = {"shared": _SHARED.__getitem__, "verdict": verdict_label}
_RANGE_FORMATS: dict[str, Callable[[float], str]] = {
    "duration": format_exact_duration,
    "numNodes": format_exact_number,
    "numHWThreads": format_exact_number,
    "numAccelerators": format_exact_number,
    "energy": lambda value: f"{format_exact_number(value)} kWh",
}


def _tag_label(value: str, names: Mapping[int, str]) -> str:
    if not value.isdigit():
        return value
    return names.get(int(value), f"{value}, which does not exist")


def _join_alternatives(values: Sequence[str]) -> str:
    named = list(values[:_MOST_NAMED])
    rest = len(values) - len(named)
    return " or ".join([*named, *([f"{rest} more"] if rest else [])])
