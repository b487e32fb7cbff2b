"""Totals of jobs, alone or by group, and histograms: exact sums over the columns in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import prod
from typing import Any

import numpy as np

from cc_backend.clusters import ClusterRegistry, MetricConfig
from cc_backend.db.database import Database
from cc_backend.jobs.column_filters import ColumnFilter, search_scripts
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_columns import Array, JobColumns
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.model import RowRule

HOUR_S = 3600
DURATION_BINS = {
    "1m": (60, 60),
    "10m": (72, 600),
    "1h": (48, 3600),
    "6h": (12, 21_600),
    "12h": (14, 43_200),
    "24h": (24, 86_400),
}
"""Name -> number and width in seconds of the bins of durations."""
DEFAULT_DURATION_BINS = "1h"
MAX_DISTINCT = 1000
"""Maximum distinct numbers of nodes, hardware threads or accelerators that a histogram tells apart."""
_EXACT = 2**53
"""Sums of integers as floats are exact below."""
_DENSE = 1 << 22
_PART = 16_384  # values whose intermediate results stay in the cache of a processor


class GroupBy(StrEnum):
    """What jobs are grouped by."""

    USER = "user"
    PROJECT = "project"
    CLUSTER = "cluster"
    SUB_CLUSTER = "subCluster"
    PARTITION = "partition"


_COLUMN_BY_GROUP = {
    GroupBy.USER: "user",
    GroupBy.PROJECT: "project",
    GroupBy.CLUSTER: "cluster",
    GroupBy.SUB_CLUSTER: "sub_cluster",
    GroupBy.PARTITION: "partition",
}


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over jobs; `group` is the value they have in common. Hours are exact, running jobs count until now.

    Hardware threads count as cores. `short_jobs` ran less than the configured time, running ones so far.
    """

    group: str = ""
    jobs: int = 0
    users: int = 0
    running_jobs: int = 0
    short_jobs: int = 0
    nodes: int = 0
    cores: int = 0
    accelerators: int = 0
    wall_s: int = 0
    node_s: int = 0
    core_s: int = 0
    accelerator_s: int = 0


SORTS = {
    "totalJobs": "jobs",
    "totalUsers": "users",
    "runningJobs": "running_jobs",
    "shortJobs": "short_jobs",
    "totalNodes": "nodes",
    "totalCores": "cores",
    "totalAccs": "accelerators",
    "totalWalltime": "wall_s",
    "totalNodeHours": "node_s",
    "totalCoreHours": "core_s",
    "totalAccHours": "accelerator_s",
}
"""Name in JSON -> field of `Totals` that groups can be sorted by, largest first."""


@dataclass(frozen=True, slots=True)
class GroupedTotals:
    """One page of groups, and the number of groups on all pages."""

    groups: list[Totals]
    total: int


@dataclass(frozen=True, slots=True)
class Bins:
    """Jobs by equal bins: `counts[i]` have a value from i times `width` on, below the next bin.

    `beyond` are jobs behind the last bin. Of a metric the last bin includes its upper end.
    """

    width: float
    counts: list[int]
    beyond: int


@dataclass(frozen=True, slots=True)
class DistinctCounts:
    """(value, number of jobs) by ascending value; `beyond` are the jobs with values behind the last."""

    counts: list[tuple[int, int]]
    beyond: int


@dataclass(frozen=True, slots=True)
class MetricHistogram:
    """Jobs by the footprint value of a metric, from 0 to its peak; `missing` have no value that may be seen.

    Without a peak or a footprint of this metric in any of the clusters there are no bins, and all jobs are missing.
    """

    metric: str
    statistic: str
    unit: str
    peak: float
    bins: Bins
    missing: int


@dataclass(frozen=True, slots=True)
class Histograms:
    """Jobs by duration, by hardware, and by metrics."""

    duration: Bins
    nodes: DistinctCounts
    cores: DistinctCounts
    accelerators: DistinctCounts
    metrics: list[MetricHistogram] = field(default_factory=list)


class JobStatistics:
    """Totals and histograms of the jobs that a caller may see."""

    def __init__(
        self,
        database: Database,
        clusters: ClusterRegistry,
        job_queries: JobQueries,
        columns: JobColumns,
        *,
        short_job_s: int,
    ) -> None:
        self._database = database
        self._clusters = clusters
        self._job_queries = job_queries
        self._columns = columns
        self._short_job_s = short_job_s

    def totals(self, wanted: JobFilter, row_rule: RowRule, *, now_s: int) -> Totals:
        """The sums over all visible jobs that match.

        Raises:
            NotAllowed: the filter names a cluster that the caller's token is not valid for.
        """
        search_scripts(self._columns, wanted, row_rule)
        with self._columns.current(wait=True) as columns:
            assert columns is not None  # noqa: S101 with `wait` they are there
            jobs = self._selected(columns, wanted, row_rule, now_s)
            sums = {name: _exact_sum(values) for name, values in jobs.summands(self._short_job_s).items()}
            users = np.count_nonzero(np.bincount(jobs.column("user"))) if jobs.count else 0
            return Totals("", jobs.count, int(users), **sums)

    def grouped(
        self,
        wanted: JobFilter,
        row_rule: RowRule,
        group_by: GroupBy,
        *,
        now_s: int,
        sort_by: str = "totalJobs",
        page: int = 1,
        items_per_page: int | None = None,
    ) -> GroupedTotals:
        """The sums over the visible jobs that match by group, the largest group first, equal ones by name.

        Raises:
            NotAllowed: the filter names a cluster that the caller's token is not valid for.
        """
        name = _COLUMN_BY_GROUP[group_by]
        search_scripts(self._columns, wanted, row_rule)
        with self._columns.current(wait=True) as columns:
            assert columns is not None  # noqa: S101 with `wait` they are there
            jobs = self._selected(columns, wanted, row_rule, now_s)
            texts, keys = columns.texts[name], jobs.column(name).astype(np.intp)  # once, not for each sum
            size = len(texts)
            counts = np.bincount(keys, minlength=size)
            sums = {key: _grouped_sum(keys, values, size) for key, values in jobs.summands(self._short_job_s).items()}
            sums["jobs"] = counts
            if group_by is GroupBy.USER:
                sums["users"] = np.minimum(counts, 1)
            else:
                sums["users"] = _distinct_by_group(keys, jobs.column("user"), size, len(columns.texts["user"]))
            present = np.flatnonzero(counts)
            order = sorted(present.tolist(), key=lambda number: (-int(sums[SORTS[sort_by]][number]), texts[number]))
            begin = 0 if items_per_page is None else (page - 1) * items_per_page
            shown = order[begin : None if items_per_page is None else begin + items_per_page]
            groups = [
                Totals(texts[number], **{key: int(values[number]) for key, values in sums.items()}) for number in shown
            ]
            return GroupedTotals(groups, len(order))

    def histograms(
        self,
        wanted: JobFilter,
        row_rule: RowRule,
        *,
        now_s: int,
        duration_bins: str = DEFAULT_DURATION_BINS,
        metrics: Sequence[str] = (),
        metric_bins: int = 10,
    ) -> Histograms:
        """How many of the visible jobs that match have which duration, hardware and footprint values.

        Raises:
            NotAllowed: the filter names a cluster that the caller's token is not valid for.
        """
        count, width = DURATION_BINS[duration_bins]
        search_scripts(self._columns, wanted, row_rule)
        with self._columns.current(wait=True) as columns:
            assert columns is not None  # noqa: S101 with `wait` they are there
            jobs = self._selected(columns, wanted, row_rule, now_s)
            numbers = _duration_bins(jobs.durations(), count, width)
            return Histograms(
                Bins(width, numbers[:count], numbers[count]),
                _distinct_counts(jobs.column("num_nodes")),
                _distinct_counts(jobs.column("num_hwthreads")),
                _distinct_counts(jobs.column("num_acc")),
                [
                    self._metric_histogram(jobs, metric, self._configs(metric, wanted.clusters, row_rule), metric_bins)
                    for metric in metrics
                ],
            )

    def _configs(self, metric: str, clusters: Sequence[str], row_rule: RowRule) -> list[MetricConfig]:
        """The configurations of a footprint metric in these clusters, or in all, as far as the caller may see it."""
        return [
            cluster.metrics[metric]
            for name, cluster in self._clusters.items()
            if metric in cluster.metrics
            and cluster.metrics[metric].footprint
            and (not clusters or name in clusters)
            and row_rule.allows_cluster(name)
            and not (row_rule.hides_restricted and metric in self._clusters.ever_restricted_metrics(name))
        ]

    def _metric_histogram(
        self, jobs: "_SelectedJobs", metric: str, configs: Sequence[MetricConfig], count: int
    ) -> MetricHistogram:
        peak = max((config.peak for config in configs), default=0.0)
        if not configs or peak <= 0:
            return MetricHistogram(metric, "", "", 0.0, Bins(0.0, [], 0), jobs.count)
        config = max(configs, key=lambda config: config.peak)
        values = jobs.footprint(f"{metric}_{config.footprint}")
        missing = int(np.count_nonzero(np.isnan(values)))
        numbers = np.zeros(count + 2, np.int64)
        for part in _parts(len(values), count):
            some = values[part]
            # one bin more for the peak itself, and one for what lies beyond it or is missing
            places = np.where(some <= peak, np.clip(some / peak * count, 0, count), count + 1)
            numbers += np.bincount(places.astype(np.intp), minlength=count + 2)
        numbers[count - 1] += numbers[count]
        bins = Bins(peak / count, numbers[:count].tolist(), int(numbers[count + 1]) - missing)
        return MetricHistogram(metric, config.footprint, str(config.unit), peak, bins, missing)

    def _selected(self, columns: JobColumns, wanted: JobFilter, row_rule: RowRule, now_s: int) -> "_SelectedJobs":
        hidden = self._job_queries.hidden_values(row_rule)
        by_columns = ColumnFilter(columns, self._database, row_rule, now_s=now_s, hidden=hidden)
        return _SelectedJobs(columns, by_columns, by_columns.matching(wanted))


class _SelectedJobs:
    """Columns of the jobs that match."""

    def __init__(self, columns: JobColumns, by_columns: ColumnFilter, found: Array | None) -> None:
        self._columns = columns
        self._by_columns = by_columns
        self._found = found
        self.count = by_columns.count(found)

    def _chosen(self, values: Array) -> Array:
        return values if self._found is None else np.asarray(values[self._found])

    def column(self, name: str) -> Array:
        return self._chosen(self._columns[name])

    def durations(self) -> Array:
        return self._chosen(self._by_columns.durations())

    def footprint(self, key: str) -> Array:
        return self._chosen(self._by_columns.footprint(key))

    def summands(self, short_job_s: int) -> dict[str, Any]:
        """What is summed up for each field of `Totals`: values, or a pair of values to multiply."""
        durations = self.durations()
        nodes, cores, accelerators = (self.column(name) for name in ("num_nodes", "num_hwthreads", "num_acc"))
        return {
            "running_jobs": self._chosen(self._columns.running()),
            "short_jobs": durations < short_job_s,
            "nodes": nodes,
            "cores": cores,
            "accelerators": accelerators,
            "wall_s": durations,
            "node_s": (durations, nodes),
            "core_s": (durations, cores),
            "accelerator_s": (durations, accelerators),
        }


def _products(values: Any) -> Array:
    """The values, or products, as integers that do not overflow."""
    if not isinstance(values, tuple):
        return np.asarray(values)
    first, second = values
    if len(first) and int(first.max()) * int(second.max()) >= 2**62:
        first = first.astype(object)
    return np.asarray(first * second)


def _exact_sum(values: Any) -> int:
    if isinstance(values, tuple):
        first, second = values
        largest = int(first.max()) * int(second.max()) if len(first) else 0
        if largest == 0:
            return 0
        if largest * len(first) < 2**63:
            return int(np.dot(first, second.astype(np.int64)))
    products = _products(values)
    if not len(products):
        return 0
    if products.dtype == bool:
        return int(np.count_nonzero(products))
    if products.dtype != object and int(products.max()) * len(products) < 2**63:
        return int(products.sum(dtype=np.int64))
    return sum(products.tolist())


def _parts(count: int, results: int) -> Iterator[slice]:
    """Slices of so many values that what is computed of each stays in the processor's cache; `results` are few then."""
    size = max(_PART, 4 * results)
    return (slice(begin, begin + size) for begin in range(0, count, size))


def _grouped_sum(keys: Array, values: Any, size: int) -> Any:
    """The exact sum of the values of each key."""
    factors = values if isinstance(values, tuple) else (values,)
    if not len(keys):
        return np.zeros(size, np.int64)
    if factors[0].dtype == bool:
        return np.bincount(keys[factors[0]], minlength=size)
    largest = [int(factor.max()) for factor in factors]
    if not all(largest):
        return np.zeros(size, np.int64)
    if prod(largest) < _EXACT:
        sums = np.zeros(size)
        for part in _parts(len(keys), size):
            weights = factors[0][part] if len(factors) == 1 else factors[0][part] * factors[1][part]
            sums += np.bincount(keys[part], weights=weights, minlength=size)
        if sums.max() < _EXACT:  # no value is negative: no part of the sum was rounded either
            return sums.astype(np.int64)
    products = _products(values)
    exact = [0] * size
    for key, value in zip(keys.tolist(), products.tolist(), strict=True):
        exact[key] += value
    return exact


def _duration_bins(durations: Array, count: int, width: int) -> list[int]:
    """Number of jobs in each bin, and behind the last."""
    short = np.minimum(durations, count * width).astype(np.int32)  # divided in half the time of 64 bits
    numbers: list[int] = np.bincount(short // width, minlength=count + 1).tolist()
    return numbers


def _distinct_by_group(keys: Array, others: Array, size: int, other_size: int) -> Array:
    """Number of distinct `others` of each key."""
    pairs = keys.astype(np.int64) * other_size + others
    if size * other_size <= 4 * _DENSE:
        seen = np.zeros(size * other_size, bool)
        seen[pairs] = True
        return np.asarray(seen.reshape(size, other_size).sum(axis=1)) if size else np.zeros(0, np.int64)
    return np.bincount(np.unique(pairs) // other_size, minlength=size)


def _distinct_counts(values: Array) -> DistinctCounts:
    if len(values) and int(values.max()) < _DENSE:
        counts = np.bincount(values)
        distinct = np.flatnonzero(counts)
        counts = counts[distinct]
    else:
        distinct, counts = np.unique(values, return_counts=True)
    shown = list(zip(distinct[:MAX_DISTINCT].tolist(), counts[:MAX_DISTINCT].tolist(), strict=True))
    return DistinctCounts(shown, int(counts[MAX_DISTINCT:].sum()))
