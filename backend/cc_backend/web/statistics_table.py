"""The statistics table of the job page: minimum, mean and maximum of each metric for each node or part of it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cc_backend.clusters.model import MetricConfig, SubCluster
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.insight.rating import BAD_LEVELS, Thresholds
from cc_backend.insight.threshold_share import scope_factor
from cc_backend.model import Job, Level, Scope
from cc_backend.web.series_figure import series_labels
from cc_backend.wording.format import format_number, readable_unit
from cc_backend.wording.labels import metric_name

MAX_ROWS = 256


@dataclass(frozen=True, slots=True)
class TableColumn:
    """The head of three columns: one metric."""

    metric: str
    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class TableCell:
    """Minimum, mean and maximum of one series, and the level of the mean if it is not OK."""

    low: str
    mean: str
    high: str
    level: Level | None


@dataclass(frozen=True, slots=True)
class TableRow:
    """One node, or one part of a node."""

    label: str
    host: str
    cells: tuple[TableCell | None, ...]


@dataclass(frozen=True, slots=True)
class StatisticsTable:
    """Rows by name, or by the mean of one metric; `left_out` counts the rows beyond the limit."""

    scope: Scope
    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    sorted_by: str
    descending: bool
    left_out: int


@dataclass(frozen=True, slots=True)
class _RowStatistics:
    low: float
    mean: float
    high: float


def build_statistics_table(
    job: Job,
    curves: JobCurveSet,
    metrics: Mapping[str, MetricConfig],
    sub_cluster: SubCluster,
    *,
    scope: Scope,
    sort: str = "",
    descending: bool = False,
    max_rows: int = MAX_ROWS,
) -> StatisticsTable:
    """The statistics of all metrics with data at the scope, at most 256 rows."""
    shown = {name: rows_of for name in metrics if (rows_of := curves.get(name, scope)) is not None}
    found: dict[str, tuple[str, dict[str, _RowStatistics]]] = {}
    factors: dict[str, tuple[float, str]] = {}
    for name, rows_of in shown.items():
        factors[name] = readable_unit(rows_of.metric.unit, max(abs(rows_of.maximum or 0.0), 0.0))
        numbers = zip(rows_of.row_minima.tolist(), rows_of.row_means.tolist(), rows_of.row_maxima.tolist(), strict=True)
        for label, host, three in zip(series_labels(rows_of.metric, scope), rows_of.hosts, numbers, strict=True):
            row = found.setdefault(label, (host, {}))[1]
            if math.isfinite(three[1]):
                row[name] = _RowStatistics(*three)
    order = _sort_labels(found, sort if sort in shown else "", descending=descending)
    scales = {
        n: Thresholds.from_config(metrics[n], scope_factor(job, metrics[n], scope, sub_cluster))
        for n, rows_of in shown.items()
        if metrics[n].footprint and rows_of.has_enough_samples
    }
    rows = tuple(
        TableRow(
            label,
            found[label][0],
            tuple(_build_cell(found[label][1].get(n), scales.get(n), factors[n][0]) for n in shown),
        )
        for label in order[:max_rows]
    )
    columns = tuple(TableColumn(name, metric_name(name), factors[name][1]) for name in shown)
    by = sort if sort in shown else ""
    return StatisticsTable(scope, columns, rows, by, descending, max(0, len(order) - max_rows))


def _build_cell(numbers: _RowStatistics | None, thresholds: Thresholds | None, factor: float) -> TableCell | None:
    if numbers is None:
        return None
    level = thresholds.level_of(numbers.mean) if thresholds else None
    shown_level = level if level in {*BAD_LEVELS, Level.ARTEFACT} else None
    return TableCell(
        format_number(numbers.low * factor),
        format_number(numbers.mean * factor),
        format_number(numbers.high * factor),
        shown_level,
    )


def _sort_labels(
    found: Mapping[str, tuple[str, Mapping[str, _RowStatistics]]], sort: str, *, descending: bool
) -> Sequence[str]:
    if not sort:
        return sort_naturally(found)

    def key(label: str) -> float:
        numbers = found[label][1].get(sort)
        return math.inf if numbers is None else -numbers.mean if descending else numbers.mean

    return sorted(sort_naturally(found), key=key)


def sort_naturally(names: Iterable[str]) -> list[str]:
    """The names in natural order: core 2 before core 10."""

    def key(name: str) -> tuple[tuple[int, str, int], ...]:
        parts: list[tuple[int, str, int]] = []
        text, digits = "", ""
        for character in [*name, ""]:
            if character.isdigit() and character.isascii():
                digits += character
                continue
            if digits:
                parts += [(0, text, 0), (1, "", int(digits))]
                text, digits = "", ""
            text += character
        return (*parts, (0, text, 0))

    return sorted(names, key=key)
