"""One metric as columns of numbers: the table of a plot."""

from dataclasses import dataclass

from cc_backend.insight.curve_maths import Values, nan_mean, quantiles
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.model import Scope
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


def build_plot_table(curves: JobCurveSet, metric: str, wanted: Scope) -> PlotTable | None:
    """The samples of a metric at the wanted scope or the nearest coarser one; None if nothing was measured."""
    scope = choose_scope(curves.data.get(metric, {}), wanted)
    found = curves.get(metric, scope) if scope else None
    if scope is None or found is None:
        return None
    unit = found.metric.unit
    largest = max(abs(found.minimum or 0.0), abs(found.maximum or 0.0))
    factor, readable = readable_unit(unit, largest)
    return PlotTable(
        scope, series_labels(found.metric, scope), found.rows, found.step_s, factor, readable, format_unit(unit)
    )
