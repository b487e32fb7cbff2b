"""The curves of a job and the numbers computed from them, each computed once, at its first use."""

from collections.abc import Collection, Iterator
from functools import cached_property

import numpy as np

from cc_backend.insight.curve_maths import Values, find_gaps, find_outliers, matrix, nan_mean
from cc_backend.model import JobData, JobMetric, Scope

MIN_JUDGED_S = 300
MIN_JUDGED_SAMPLES = 3
"""Minimum samples of a judgement, and minimum time they cover: the start of a job says nothing about its work."""


class MetricCurves:
    """All series of one metric at one scope as rows of a grid, and the numbers computed from it."""

    def __init__(self, metric: JobMetric) -> None:
        self.metric = metric

    @cached_property
    def hosts(self) -> list[str]:
        """The host of each row."""
        return [series.hostname for series in self.metric.series]

    @property
    def step_s(self) -> int:
        """Seconds between two columns."""
        return self.metric.timestep_s

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.metric.series)

    @cached_property
    def rows(self) -> Values:
        """One row a series, one column a time step; NaN is a gap."""
        return matrix(self.metric)

    @cached_property
    def row_means(self) -> Values:
        """The mean of each row, NaN for a row without a sample."""
        return nan_mean(self.rows, 1)

    @cached_property
    def row_minima(self) -> Values:
        """The minimum of each row, NaN for a row without a sample."""
        found: Values = np.fmin.reduce(self.rows, axis=1, initial=np.nan)
        return found

    @cached_property
    def row_maxima(self) -> Values:
        """The maximum of each row, NaN for a row without a sample."""
        found: Values = np.fmax.reduce(self.rows, axis=1, initial=np.nan)
        return found

    @cached_property
    def column_means(self) -> Values:
        """The mean of all rows in each column, NaN where no row has a sample."""
        return nan_mean(self.rows, 0)

    @cached_property
    def measured(self) -> bool:
        """Whether there is any sample at all."""
        return bool(np.isfinite(self.row_means).any())

    @cached_property
    def samples(self) -> int:
        """The number of columns with a sample in any row."""
        return int(np.count_nonzero(np.isfinite(self.column_means)))

    @property
    def has_enough_samples(self) -> bool:
        """Whether there are enough samples for a judgement: at least 3, of at least 300 s."""
        return self.samples >= MIN_JUDGED_SAMPLES and self.samples * self.step_s >= MIN_JUDGED_S

    @property
    def mean(self) -> float | None:
        """The mean of the means of all rows that have samples."""
        return float(np.nanmean(self.row_means)) if self.measured else None

    @property
    def minimum(self) -> float | None:
        """The minimum of all samples."""
        return float(np.nanmin(self.row_minima)) if self.measured else None

    @property
    def maximum(self) -> float | None:
        """The maximum of all samples."""
        return float(np.nanmax(self.row_maxima)) if self.measured else None

    @cached_property
    def median(self) -> float | None:
        """The median of all samples."""
        return float(np.median(self.rows[np.isfinite(self.rows)])) if self.measured else None

    @cached_property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """First and one past the last column of each stretch in which no row has a sample."""
        return find_gaps(self.rows)

    def statistic(self, name: str) -> float | None:
        """`min`, `max`, or else the mean."""
        return self.minimum if name == "min" else self.maximum if name == "max" else self.mean

    def find_outliers(self, min_distance: float) -> list[int]:
        """The rows whose mean lies far from all others, by at least `min_distance`."""
        return find_outliers(self.row_means, min_distance=min_distance)

    def release_rows(self) -> None:
        """Free the grid, which is large for thousands of series; the numbers of each row stay."""
        _ = self.row_minima, self.row_means, self.row_maxima, self.samples
        self.__dict__.pop("rows", None)


class JobCurveSet:
    """The curves of a job by metric and scope, for one request or one judgement."""

    def __init__(self, data: JobData) -> None:
        self.data = data
        self._made: dict[tuple[str, Scope], MetricCurves] = {}

    def get(self, metric: str, scope: Scope = Scope.NODE) -> MetricCurves | None:
        """The curves of a metric at a scope; None where there are none."""
        found = self.data.get(metric, {}).get(scope)
        if found is None or not found.series:
            return None
        key = (metric, scope)
        if key not in self._made:
            self._made[key] = MetricCurves(found)
        return self._made[key]

    def select_nodes_and_gpus(self, metrics: Collection[str]) -> "JobCurveSet":
        """The curves of these metrics for nodes and GPUs only; shares what is already computed."""
        own: JobData = {
            name: {scope: by_scope[scope] for scope in (Scope.NODE, Scope.ACCELERATOR) if scope in by_scope}
            for name, by_scope in self.data.items()
            if name in metrics and Scope.NODE in by_scope
        }
        found = JobCurveSet(own)
        found._made = self._made
        return found

    def iter_node_metrics(self) -> Iterator[tuple[str, MetricCurves]]:
        """Name and curves of each metric with data at node scope."""
        for name in self.data:
            curves = self.get(name)
            if curves is not None:
                yield name, curves
