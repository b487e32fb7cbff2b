"""One metric as columns of numbers: the table of a plot."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cc_backend.insight.curve_maths import Values, matrix, nan_mean, quantiles
from cc_backend.model import JobMetric, Scope
from cc_backend.web.job_plots import choose_scope
from cc_backend.web.series_figure import MAX_LINES, series_labels
from cc_backend.wording.format import format_unit, readable_unit


@dataclass(frozen=True, slots=True)
class PlotTable:
    """Every series of a metric as a row of samples in the configured unit; `factor` makes them readable.

    `unit` is that of the readable values, `row_unit` that of the rows.
    """

    scope: Scope
    names: list[str]
    rows: Values
    timestep_s: int
    factor: float
    unit: str
    row_unit: str

    def summarise(self) -> tuple[list[str], Values]:
        """Names and rows: all series if there are at most 8, else their minimum, mean, median and maximum."""
        if len(self.names) <= MAX_LINES:
            return self.names, self.rows
        low, median, high = quantiles(self.rows, (0, 0.5, 1))
        stacked: Values = self.rows[:4].copy()
        stacked[0], stacked[1], stacked[2], stacked[3] = low, nan_mean(self.rows, 0), median, high
        return ["lowest", "mean", "median", "highest"], stacked


def build_plot_table(by_scope: Mapping[Scope, JobMetric], wanted: Scope) -> PlotTable | None:
    """The samples at the wanted scope or the nearest coarser one; None if nothing was measured."""
    scope = choose_scope(by_scope, wanted)
    metric = by_scope.get(scope) if scope else None
    if scope is None or metric is None or not metric.series:
        return None
    rows = matrix(metric)
    known = rows[np.isfinite(rows)]
    largest = float(np.abs(known).max()) if known.size else 0.0
    factor, unit = readable_unit(metric.unit, largest)
    return PlotTable(
        scope, series_labels(metric, scope), rows, metric.timestep_s, factor, unit, format_unit(metric.unit)
    )
