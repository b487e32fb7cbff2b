"""One question: what are the samples of this job? Asked of the metric store or of the archive, whichever has them.

Scopes: a metric is measured at its native scope; what is handed out is the coarser of native and wanted.
Children are summed or averaged as the cluster's configuration says, over the job's own hardware only.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cc_backend.archive.file import FileArchive
from cc_backend.archive.statistics import series_statistics, statistics_series
from cc_backend.clusters import Clusters, MetricConfig, SubCluster
from cc_backend.metricstore import MetricStore, Query, StoredSeries
from cc_backend.metricstore.resample import lttb
from cc_backend.model import (
    Job,
    JobData,
    JobKey,
    JobMetric,
    JobState,
    MonitoringStatus,
    Resource,
    Samples,
    Scope,
    Series,
)

# A min, median and max per step says more than single curves from this many series on.
STATISTICS_SERIES_FROM = 8

# Largest-triangle buckets keep both ends and need one point between.
FEWEST_POINTS = 3


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One query to the store, and the label its answer gets."""

    query: Query
    ids: tuple[str | None, ...]


class MetricData:
    """Answers the question for any job, with the parts it needs handed in."""

    def __init__(self, store: MetricStore, archive: FileArchive, clusters: Clusters) -> None:
        self._store = store
        self._archive = archive
        self._clusters = clusters

    def job_data(
        self,
        job: Job,
        metrics: Sequence[str] | None = None,
        scopes: Sequence[Scope] | None = None,
        *,
        now_s: int,
        resolution_s: int | None = None,
    ) -> JobData:
        """The samples of a job: metric name -> scope -> series, only what exists.

        `metrics` None means all of the job's subcluster, `scopes` None means node. `resolution_s` thins the
        curves with largest-triangle buckets; statistics always come from all samples.

        Raises:
            ArchiveError: the job is archived and its file cannot be read.
            NotFound: it is not, and the configuration no longer has its cluster or subcluster.
        """
        wanted = [Scope.NODE] if scopes is None else list(scopes)
        if comes_from_archive(job):
            key = JobKey(job.cluster, job.job_id, job.start_time)
            data = _select(self._archive.load_data(key), metrics, wanted)
        else:
            data = self.stored_data(job, metrics, lambda _: wanted, now_s=now_s)
        return thin(data, resolution_s) if resolution_s else data

    def stored_data(
        self,
        job: Job,
        metrics: Sequence[str] | None,
        scopes_of: Callable[[MetricConfig], Iterable[Scope]],
        *,
        now_s: int,
    ) -> JobData:
        """The samples of a job as the store has them; `scopes_of` says for each metric which scopes are wanted.

        Raises:
            NotFound: the configuration no longer has the job's cluster or subcluster.
        """
        sub_cluster = self._clusters.get(job.cluster).sub_cluster(job.sub_cluster)
        data: JobData = {}
        for name, config in sub_cluster.metrics.items():
            if metrics is not None and name not in metrics:
                continue
            by_scope = {}
            for scope in delivered_scopes(config.scope, scopes_of(config)):
                metric = self._load(job, config, scope, sub_cluster, now_s)
                if metric is not None:
                    by_scope[scope] = metric
            if by_scope:
                data[name] = by_scope
        return data

    def _load(
        self, job: Job, config: MetricConfig, scope: Scope, sub_cluster: SubCluster, now_s: int
    ) -> JobMetric | None:
        from_s, to_s = time_range(job, config.timestep_s, now_s)
        asked = [
            (resource.hostname, want)
            for resource in job.resources
            for want in queries_for(config, scope, resource, sub_cluster)
        ]
        answers = self._store.query(job.cluster, [want.query for _, want in asked], from_s=from_s, to_s=to_s)
        series: list[Series] = []
        for (hostname, want), rows in zip(asked, answers, strict=True):
            series += _named(hostname, want, rows)
        if not series:
            return None
        several = [entry.data for entry in series] if len(series) >= STATISTICS_SERIES_FROM else None
        return JobMetric(
            unit=config.unit,
            timestep_s=config.timestep_s,
            series=series,
            statistics_series=statistics_series(several) if several else None,
        )


def comes_from_archive(job: Job) -> bool:
    """Whether the archive holds the job's samples; before that the store does."""
    return job.state is not JobState.RUNNING and job.monitoring_status == MonitoringStatus.ARCHIVED


def time_range(job: Job, timestep_s: int, now_s: int) -> tuple[int, int]:
    """The half-open range of samples that belong to a job, on the wall-clock grid.

    A sample speaks of the time before it, so the first that counts is the first at or after the start, and the
    last is the last at or before the stop.
    """
    stop_s = now_s if job.state is JobState.RUNNING else job.stop_time
    first = math.ceil(job.start_time / timestep_s) * timestep_s
    last = stop_s // timestep_s * timestep_s
    return first, max(first, last + timestep_s)


def delivered_scopes(native: Scope, wanted: Iterable[Scope]) -> list[Scope]:
    """For each wanted scope what can be handed out, without repeats, coarse first.

    Accelerators are no part of the tree of sockets and cores: their metrics come per accelerator or per node,
    and no other metric comes per accelerator.
    """
    found: set[Scope] = set()
    for scope in wanted:
        if native is Scope.ACCELERATOR:
            found.add(Scope.NODE if scope is Scope.NODE else native)
        elif scope is not Scope.ACCELERATOR:
            found.add(scope if scope.rank > native.rank else native)
    return sorted(found, key=lambda scope: -scope.rank)


def queries_for(config: MetricConfig, scope: Scope, resource: Resource, sub_cluster: SubCluster) -> list[_Wanted]:
    """What to ask the store for one host of a job so that the answer is about the job's own hardware."""
    native = config.scope
    if native is Scope.NODE:
        return [_Wanted(_query(config, resource.hostname), (None,))]
    if native is Scope.ACCELERATOR:
        ids = resource.accelerators
        if not ids:
            return []
        if scope is Scope.NODE:
            return [_Wanted(_query(config, resource.hostname, native, ids, aggregate=True), (None,))]
        return [_Wanted(_query(config, resource.hostname, native, ids), ids)]
    topology = sub_cluster.topology
    threads = resource.hwthreads or topology.node
    if scope is native:
        ids = tuple(str(index) for index in topology.ids_of(native, threads))
        return [_Wanted(_query(config, resource.hostname, native, ids), ids)] if ids else []
    groups: list[tuple[str | None, tuple[int, ...]]]
    if scope is Scope.NODE:
        groups = [(None, tuple(threads))]
    else:
        own = frozenset(threads)
        groups = [
            (str(index), tuple(t for t in topology.hwthreads_of(scope, index) if t in own))
            for index in topology.ids_of(scope, threads)
        ]
    wanted = []
    for label, members in groups:
        ids = tuple(str(index) for index in topology.ids_of(native, members))
        if ids:
            wanted.append(_Wanted(_query(config, resource.hostname, native, ids, aggregate=True), (label,)))
    return wanted


def thin(data: JobData, resolution_s: int) -> JobData:
    """The same curves at a coarser step; those that do not divide evenly or are coarser already stay as they are."""
    return {
        name: {scope: _thinned(metric, resolution_s) for scope, metric in by_scope.items()}
        for name, by_scope in data.items()
    }


def _thinned(metric: JobMetric, resolution_s: int) -> JobMetric:
    step, rest = divmod(resolution_s, metric.timestep_s)
    if step <= 1 or rest or not metric.series:
        return metric
    count = len(metric.series[0].data) // step
    if count < FEWEST_POINTS:
        return metric
    series = [
        Series(entry.hostname, lttb(entry.data, step), entry.id, entry.statistics)
        for entry in metric.series
        if len(entry.data) >= count
    ]
    return JobMetric(metric.unit, resolution_s, series, None)


def _query(
    config: MetricConfig, host: str, scope: Scope | None = None, ids: tuple[str, ...] = (), *, aggregate: bool = False
) -> Query:
    return Query(
        metric=config.name,
        host=host,
        type=scope.value if scope else None,
        type_ids=ids if scope else None,
        aggregate=aggregate,
    )


def _named(hostname: str, want: _Wanted, rows: list[StoredSeries]) -> Iterable[Series]:
    for row in rows:
        if row.error is not None or _empty(row.data):
            continue
        label = want.ids[0] if want.query.aggregate or len(want.ids) == 1 else row.id
        yield Series(hostname, row.data, label, series_statistics(row.data))


def _empty(samples: Samples) -> bool:
    return not (samples == samples).any()  # noqa: PLR0124 - NaN differs from itself; cheaper than a second array


def _select(data: JobData, metrics: Sequence[str] | None, scopes: Sequence[Scope]) -> JobData:
    """From archived data what was asked for; a metric that has none of the scopes comes with all it has."""
    selected: JobData = {}
    for name, by_scope in data.items():
        if metrics is None or name in metrics:
            hits = {scope: metric for scope, metric in by_scope.items() if scope in scopes}
            selected[name] = hits or by_scope
    return selected
