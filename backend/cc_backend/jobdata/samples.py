"""The samples of a job, read from the archive once it has them, before that from the metric store in charge.

Scopes: a metric is measured at its native scope; what is handed out is the coarser of native and wanted.
Children are summed or averaged as the cluster's configuration says, over the job's own hardware only.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cc_backend.archive.file_archive import FileArchive
from cc_backend.archive.statistics import with_statistics
from cc_backend.clusters import ClusterRegistry, MetricConfig, SubCluster, is_job_metric, job_metric
from cc_backend.errors import InvalidInput, NotFound, TooLarge, Unavailable
from cc_backend.jobdata.bounded_read import (
    ARCHIVE_LIMITS,
    FULL_LIMITS,
    SampleLimits,
    coarsen,
    count_series,
    read_bounded,
    slots_per_point,
)
from cc_backend.jobdata.job_slots import job_end_s, own_slots, touched_slots
from cc_backend.jobdata.store_router import StoreRouter
from cc_backend.metricstore import JOB_TYPE, Query, StoredSeries, lttb
from cc_backend.model import (
    Job,
    JobData,
    JobKey,
    JobMetric,
    JobState,
    MonitoringStatus,
    Resource,
    Samples,
    SampleSeries,
    Scope,
)
from cc_common.error_codes import ErrorCode

# largest-triangle downsampling keeps both ends and needs one point between
MIN_DOWNSAMPLED_POINTS = 3

MAX_LIVENESS_METRICS = 3
"""Maximum metrics queried of an external store to find out whether a host still sends."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobSamples:
    """The samples of a job, and what could not be had: host -> why its store gave none, metric -> what is wrong."""

    data: JobData
    unreachable_hosts: Mapping[str, str] = field(default_factory=dict)
    unreadable_metrics: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _LabelledQuery:
    """One query to the store, and the labels of its series."""

    query: Query
    labels: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class _JobQuery:
    """One query about a job, and the metric and scope that its series belong to."""

    config: MetricConfig
    scope: Scope
    query: _LabelledQuery


@dataclass(frozen=True, slots=True)
class _OwnSeries:
    """A series cut to the job: timestep, begin of the slot of its first sample, and the samples."""

    timestep_s: int
    from_s: int
    series: SampleSeries


class MetricData:
    """Reads the samples of any job."""

    def __init__(self, stores: StoreRouter, archive: FileArchive, clusters: ClusterRegistry) -> None:
        self._stores = stores
        self._archive = archive
        self._clusters = clusters

    def read_samples(
        self,
        job: Job,
        metrics: Sequence[str] | None = None,
        scopes: Sequence[Scope] | None = None,
        *,
        now_s: int,
        resolution_s: int | None = None,
        statistics: bool = False,
        limits: SampleLimits = FULL_LIMITS,
    ) -> JobSamples:
        """The samples of a job (metric name -> scope -> series, only what exists), and why any could not be read.

        `metrics` None means all of the job's subcluster, `scopes` None means node. `resolution_s` reduces the curves
        with largest-triangle buckets. With `statistics` each series has its own, and eight or more have those over all
        series at each step, always made of all samples; without, only archived series have any. Above the `limits`
        points are means of several slots.

        Raises:
            ArchiveError: the job is archived and its file cannot be read.
            NotFound: it is not, and no configuration is known that has its subcluster.
        """
        wanted = [Scope.NODE] if scopes is None else list(scopes)
        if job.is_unusable:  # its damaged row does not tell which samples belong to it
            return JobSamples({})
        if comes_from_archive(job):
            key = JobKey(job.cluster, job.job_id, job.start_time)
            found = JobSamples(coarsen(job, _select_archived(self._archive.load_data(key), metrics, wanted), limits))
        else:
            found = self._read_store(job, metrics, lambda _: wanted, now_s, limits)
        data = with_statistics(found.data) if statistics else found.data
        return replace(found, data=downsample(data, resolution_s) if resolution_s else data)

    def read_from_store(
        self,
        job: Job,
        metrics: Sequence[str] | None,
        scopes_of: Callable[[MetricConfig], Iterable[Scope]],
        *,
        now_s: int,
        limits: SampleLimits = ARCHIVE_LIMITS,
    ) -> JobData:
        """The samples of a job from its metric store; `scopes_of` gives the wanted scopes of each metric.

        A metric that cannot be read is left out and logged.

        Raises:
            NotFound: no configuration is known that has the job's subcluster.
            Unavailable: the store cannot be reached; what it has must not count as missing.
        """
        found = self._read_store(job, metrics, scopes_of, now_s, limits)
        for why in found.unreachable_hosts.values():
            raise Unavailable(why, code=ErrorCode.STORE_UNAVAILABLE)
        return found.data

    def silent_hosts(self, job: Job) -> list[str]:
        """The hosts of a finished job that have not sent anything from after its stop."""
        try:
            configured = self._clusters.sub_cluster_of_job(job).metrics.values()
        except NotFound:
            configured = dict[str, MetricConfig]().values()
        # what an external store is queried for again and again: few metrics, with a short timestep and a value per host
        usual = [config for config in configured if config.aggregation or config.scope is Scope.NODE]
        metrics = [config.name for config in sorted(usual, key=lambda config: config.timestep_s)][:MAX_LIVENESS_METRICS]
        hosts = [resource.hostname for resource in job.resources]
        return self._stores.silent_hosts(job.cluster, job.sub_cluster, hosts, metrics, since_s=job.stop_time)

    def heard_s(self, cluster: str, sub_cluster: str, hosts: Sequence[str]) -> int | None:
        """A number that grows with each newer sample of one of the hosts; None if an external store has them."""
        return self._stores.heard_s(cluster, sub_cluster, hosts)

    def _read_store(
        self,
        job: Job,
        metrics: Sequence[str] | None,
        scopes_of: Callable[[MetricConfig], Iterable[Scope]],
        now_s: int,
        limits: SampleLimits,
    ) -> JobSamples:
        sub_cluster = self._clusters.sub_cluster_of_job(job)
        # one request to an external store for all metrics; queries to the store in this process cost next to nothing
        at_once = self._stores.external_store(job.cluster, job.sub_cluster) is not None
        hosts = [resource.hostname for resource in job.resources]
        sent = self._stores.metrics_of_job(job.cluster, job.sub_cluster, hosts, job.job_id)
        of_job = {name: config for name in sorted(sent) if (config := job_metric(name, sub_cluster.job_metrics))}
        offered = {**of_job, **sub_cluster.metrics}
        groups: dict[tuple[int, str], list[_JobQuery]] = {}
        for name, config in offered.items():
            if metrics is None or name in metrics:
                questions = groups.setdefault((config.timestep_s, "" if at_once else name), [])
                questions += _build_job_queries(
                    job, config, delivered_scopes(config.scope, scopes_of(config)), sub_cluster
                )
        data: JobData = {name: {} for name in offered}
        unreachable: dict[str, str] = {}
        faults: dict[str, str] = {}
        series = sum(count_series([query.query.query for query in questions]) for questions in groups.values())
        for (timestep_s, _), questions in groups.items():
            queries = [question.query.query for question in questions]
            slots = touched_slots(job, timestep_s, now_s).size
            every = slots_per_point(slots, series, limits)
            try:
                gathered = read_bounded(self._stores, job, queries, timestep_s, stride=every, now_s=now_s)
            except (InvalidInput, TooLarge) as error:
                faults |= {question.config.name: str(error) for question in questions}
                continue
            unreachable |= gathered.unreachable
            _collect_series(data, faults, questions, gathered.rows, job=job, every=every)
        for name, why in faults.items():
            logger.warning(
                "metric unreadable job=%d cluster=%s metric=%s reason=%s", job.job_id, job.cluster, name, why
            )
        return JobSamples({name: by_scope for name, by_scope in data.items() if by_scope}, unreachable, faults)


def comes_from_archive(job: Job) -> bool:
    """Whether the samples of the job are in the archive; before that they are in the store."""
    return job.state is not JobState.RUNNING and job.monitoring_status == MonitoringStatus.ARCHIVED


def expected_range(job: Job, timestep_s: int, now_s: int) -> tuple[int, int]:
    """The half-open range of grid points (Unix seconds) within a job, of which samples can be expected."""
    first = math.ceil(job.start_time / timestep_s) * timestep_s
    last = job_end_s(job, now_s) // timestep_s * timestep_s
    return first, max(first, last + timestep_s)


def delivered_scopes(native: Scope, wanted: Iterable[Scope]) -> list[Scope]:
    """For each wanted scope what can be handed out: the coarser of native and wanted, without repeats, coarse first.

    Accelerators are not in the tree of sockets and cores: their metrics come per accelerator or per node, and are
    left out at the scopes between. Another metric comes at its native scope for who asks for accelerators alone.
    """
    asked = set(wanted)
    if native is Scope.ACCELERATOR:
        return sorted(asked & {Scope.NODE, Scope.ACCELERATOR}, key=_coarse_first)
    in_tree = asked - {Scope.ACCELERATOR} or asked
    return sorted({scope if scope.rank > native.rank else native for scope in in_tree}, key=_coarse_first)


def _coarse_first(scope: Scope) -> int:
    return -scope.rank


def build_queries(
    config: MetricConfig, scope: Scope, resource: Resource, sub_cluster: SubCluster, *, job_id: int = 0
) -> list[_LabelledQuery]:
    """The queries for one host of a job, restricted to the hardware that the job has there, or to the job itself."""
    native = config.scope
    if native is Scope.NODE:
        whole = _build_query(config, resource.hostname)
        of_job = replace(whole, type=JOB_TYPE, type_ids=(str(job_id),))
        return [_LabelledQuery(of_job if is_job_metric(config) else whole, (None,))]
    if native is Scope.ACCELERATOR:
        ids = resource.accelerators
        if not ids:
            return []
        if scope is Scope.NODE:
            return [_LabelledQuery(_build_query(config, resource.hostname, native, ids, aggregate=True), (None,))]
        return [_LabelledQuery(_build_query(config, resource.hostname, native, ids), ids)]
    topology = sub_cluster.topology
    threads = resource.hwthreads or topology.node
    if scope is native:
        ids = tuple(str(index) for index in topology.ids_of(native, threads))
        return [_LabelledQuery(_build_query(config, resource.hostname, native, ids), ids)] if ids else []
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
            wanted.append(
                _LabelledQuery(_build_query(config, resource.hostname, native, ids, aggregate=True), (label,))
            )
    return wanted


def downsample(data: JobData, resolution_s: int) -> JobData:
    """The curves at a coarser timestep; unchanged if `resolution_s` is not a coarser multiple of their timestep."""
    return {
        name: {scope: _downsample_metric(metric, resolution_s) for scope, metric in by_scope.items()}
        for name, by_scope in data.items()
    }


def _downsample_metric(metric: JobMetric, resolution_s: int) -> JobMetric:
    step, rest = divmod(resolution_s, metric.timestep_s)
    if step <= 1 or rest or not metric.series:
        return metric
    count = len(metric.series[0].data) // step
    if count < MIN_DOWNSAMPLED_POINTS:
        return metric
    kept = [entry for entry in metric.series if len(entry.data) >= count]
    rows: Sequence[Samples]
    if len({len(entry.data) for entry in kept}) == 1:  # all at once is much faster where the C part is missing
        rows = list(lttb(np.stack([entry.data for entry in kept]), step))
    else:
        rows = [lttb(entry.data, step) for entry in kept]
    series = [
        SampleSeries(entry.hostname, row, entry.id, entry.statistics) for entry, row in zip(kept, rows, strict=True)
    ]
    return JobMetric(metric.unit, resolution_s, series, None, metric.first_slot_s)


def _build_query(
    config: MetricConfig, host: str, scope: Scope | None = None, ids: tuple[str, ...] = (), *, aggregate: bool = False
) -> Query:
    return Query(
        metric=config.name,
        host=host,
        type=scope.value if scope else None,
        type_ids=ids if scope else None,
        aggregate=aggregate,
    )


def _build_job_queries(
    job: Job, config: MetricConfig, scopes: Sequence[Scope], sub_cluster: SubCluster
) -> list[_JobQuery]:
    return [
        _JobQuery(config, scope, want)
        for scope in scopes
        for resource in job.resources
        for want in build_queries(config, scope, resource, sub_cluster, job_id=job.job_id)
    ]


def _collect_series(
    data: JobData,
    faults: dict[str, str],
    questions: Sequence[_JobQuery],
    rows: Sequence[Sequence[StoredSeries]],
    *,
    job: Job,
    every: int,
) -> None:
    """Put the series of each query under its metric and scope; errors of series go to `faults`."""
    found: dict[tuple[str, Scope], tuple[MetricConfig, list[_OwnSeries]]] = {}
    stop_s = None if job.state is JobState.RUNNING else job.stop_time
    for question, row in zip(questions, rows, strict=True):
        config = question.config
        own = found.setdefault((config.name, question.scope), (config, []))[1]
        for stored in row:
            if stored.error is not None:
                faults.setdefault(config.name, stored.error)
                continue
            if (
                every > 1 and stored.timestep_s == every * config.timestep_s
            ):  # means, made of the job's own samples only
                from_s, samples = stored.from_s, stored.data
            else:
                from_s, samples = _clip_to_job(stored, job.start_time, stop_s)
            if not _has_no_samples(samples):
                own.append(_OwnSeries(stored.timestep_s, from_s, _label_series(question.query, stored, samples)))
    for (name, scope), (config, several) in found.items():
        if several:
            data[name][scope] = _merge_series(config, several)


def _clip_to_job(stored: StoredSeries, start_s: int, stop_s: int | None) -> tuple[int, Samples]:
    """Those samples of a series that are the job's, and the begin of the first stored's slot."""
    first = stored.from_s // stored.timestep_s
    own = own_slots(start_s, stop_s, stored.timestep_s, stored.offset_s)
    begin, end = max(own.first - first, 0), min(own.end - first, len(stored.data))
    return stored.from_s + begin * stored.timestep_s, stored.data[begin : max(begin, end)]


def _label_series(want: _LabelledQuery, stored: StoredSeries, samples: Samples) -> SampleSeries:
    label = want.labels[0] if want.query.aggregate or len(want.labels) == 1 else stored.id
    return SampleSeries(want.query.host, samples, label)


def _merge_series(config: MetricConfig, several: Sequence[_OwnSeries]) -> JobMetric:
    """One metric of several series; an external store may have another timestep than is configured here.

    Nodes that send at other times within a slot may begin or end a slot apart: those are padded with NaN.
    """
    step_s = several[0].timestep_s
    alike = [own for own in several if own.timestep_s == step_s]
    from_s = min(own.from_s for own in alike)
    count = max((own.from_s - from_s) // step_s + len(own.series.data) for own in alike)
    for own in alike:
        if len(own.series.data) < count:
            filled = np.full(count, np.nan, np.float32)
            at = (own.from_s - from_s) // step_s
            filled[at : at + len(own.series.data)] = own.series.data
            own.series.data = filled
    return JobMetric(config.unit, step_s, [own.series for own in alike], first_slot_s=from_s)


def _has_no_samples(samples: Samples) -> bool:
    return not (samples == samples).any()  # noqa: PLR0124 - NaN differs from itself; cheaper than a second array


def _select_archived(data: JobData, metrics: Sequence[str] | None, scopes: Sequence[Scope]) -> JobData:
    """The wanted metrics and scopes of archived data; a metric with none of the wanted scopes comes with all it has."""
    selected: JobData = {}
    for name, by_scope in data.items():
        if metrics is None or name in metrics:
            hits = {scope: metric for scope, metric in by_scope.items() if scope in scopes}
            selected[name] = hits or by_scope
    return selected
