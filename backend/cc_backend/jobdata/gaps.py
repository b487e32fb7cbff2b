"""The gaps in the samples of a job, with their reasons: from the store that took them, or from the samples alone.

The store knows most. The samples alone still show which nodes sent nothing at all, and which sent everything but one
metric: that is what is left of an archived job that is older than the store's retention.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Any, NamedTuple, Protocol

import numpy as np

from cc_backend.archive.file_archive import FileArchive
from cc_backend.clusters import MetricConfig, SubCluster
from cc_backend.errors import ArchiveError
from cc_backend.jobdata.job_slots import first_sample_s
from cc_backend.jobdata.samples import build_queries, comes_from_archive, expected_range
from cc_backend.jobdata.store_router import StoreRouter
from cc_backend.metricstore import (
    GRACE_SLOTS,
    MIN_GAP_SLOTS,
    BoolArray,
    GapQuery,
    HostPresence,
    JobGaps,
    SlotRange,
    StoreHistory,
    find_gaps,
    gap_sentence,
    gaps_of_whole_hosts,
    merge_hosts,
)
from cc_backend.model import (
    DataGap,
    GapReason,
    Job,
    JobData,
    JobKey,
    JobMetric,
    JobState,
    MonitoringStatus,
    Resource,
    Samples,
    Scope,
)

MAX_GAPS = 200
"""Maximum gaps of one metric; the longest are kept."""
MAX_HOSTS_QUERIED = 256
"""Maximum hosts of a metric that the store is queried about; a gap that all of them share is extended to the rest."""
MAX_SLOTS_EXAMINED = 200_000
"""Maximum slots examined, the newest: of a job that seems to run for years, older ones count as past retention."""
_TOLERANCE_SLOTS = 2  # nodes do not fall silent in the same second


class _IncompleteMetric(NamedTuple):
    """A metric and the hosts with gaps in it; no hosts where the job has no hardware for it."""

    config: MetricConfig
    hosts: list[Resource]


class GapExplainer(Protocol):
    """A store that says why it has no samples: `metricstore.MetricStore` is one."""

    def explain_gaps(self, cluster: str, asked: Sequence[GapQuery], *, now_s: int) -> list[list[DataGap]]:
        """For each query the gaps of its host in order of time, each with its reason."""


def job_gaps(
    job: Job,
    data: JobData,
    metrics: Mapping[str, MetricConfig],
    sub_cluster: SubCluster,
    *,
    store: GapExplainer | None,
    now_s: int,
    store_unreachable: bool = False,
    recorded: Callable[[], Mapping[str, tuple[DataGap, ...]] | None] = lambda: None,
) -> JobGaps:
    """The gaps of each metric of a job, with their reasons; `data` has its samples at any scopes.

    `store` is the one that took the samples, None if it cannot explain gaps; `store_unreachable` says that it cannot be
    reached at all. `recorded` gives the gaps that were recorded when the job was archived, and is called only for an
    archived job with gaps. Costs next to nothing where the data is complete.
    """
    if job.monitoring_status == MonitoringStatus.DISABLED or job.is_unusable:
        return JobGaps()
    incomplete: list[_IncompleteMetric] = []
    for name, config in metrics.items():
        hosts = hosts_with_gaps(job, data.get(name, {}), config, now_s=now_s)
        if hosts or not _hosts_with_hardware(job, config):
            incomplete.append(_IncompleteMetric(config, hosts))
    if not incomplete:
        return JobGaps()
    found: Mapping[str, Sequence[DataGap]]
    if comes_from_archive(job):
        found = {**_explain_by_samples(job, data, incomplete, now_s), **(recorded() or {})}
    elif store_unreachable:
        found = {
            incomplete.config.name: [DataGap(GapReason.STORE_UNREACHABLE, (), job.start_time, job.stop_time)]
            for incomplete in incomplete
        }
    elif store is not None:
        found = _explain_by_store(store, job, incomplete, sub_cluster, now_s)
    else:
        found = _explain_by_samples(job, data, incomplete, now_s)
    by_metric = {
        config.name: merge_hosts(
            (_clip_to_job(job, gap) for gap in found[config.name]), tolerance_s=_TOLERANCE_SLOTS * config.timestep_s
        )[:MAX_GAPS]
        for config, _ in incomplete
        if found.get(config.name)
    }
    slowest_s = max(config.timestep_s for config, _ in incomplete)
    return JobGaps(by_metric, gaps_of_whole_hosts(by_metric, tolerance_s=_TOLERANCE_SLOTS * slowest_s), now_s)


def find_job_gaps(
    job: Job,
    data: JobData,
    metrics: Mapping[str, MetricConfig],
    sub_cluster: SubCluster,
    *,
    stores: StoreRouter,
    store: GapExplainer,
    archive: FileArchive,
    now_s: int,
) -> JobGaps:
    """The gaps of a job as in `job_gaps`, with all that its store and its archive know of them."""
    return job_gaps(
        job,
        data,
        metrics,
        sub_cluster,
        store=explainer_for(stores, store, job),
        store_unreachable=bool(stores.unreachable_reason(job.cluster, job.sub_cluster)),
        now_s=now_s,
        recorded=lambda: recorded_gaps(archive, job),
    )


def explainer_for(stores: StoreRouter, store: GapExplainer, job: Job) -> GapExplainer | None:
    """The store that can explain the gaps of a job: the one in this process, None if it is not in charge."""
    return store if stores.external_store(job.cluster, job.sub_cluster) is None else None


def recorded_gaps(archive: FileArchive, job: Job) -> Mapping[str, tuple[DataGap, ...]] | None:
    """The gaps recorded when the job was archived; None if there are none, or if they cannot be read."""
    try:
        return archive.load_meta(JobKey(job.cluster, job.job_id, job.start_time)).gaps
    except ArchiveError:
        return None


def gaps_of_unmeasured_metrics(
    job: Job, names: Iterable[str], cluster_metrics: Collection[str], sub_cluster: SubCluster
) -> JobGaps:
    """Gaps of those names that are metrics of the cluster, but not of the job's subcluster; others are left out."""
    why = DataGap(GapReason.METRIC_NOT_ON_SUBCLUSTER, (), job.start_time, job.stop_time)
    return JobGaps({name: (why,) for name in names if name in cluster_metrics and name not in sub_cluster.metrics})


def _clip_to_job(job: Job, gap: DataGap) -> DataGap:
    """The gap without the part of its last slot that lies after the end of the job."""
    if gap.to_s <= job.stop_time:
        return gap
    return replace(gap, to_s=max(min(gap.to_s, job.stop_time), gap.from_s))


def hosts_with_gaps(
    job: Job, by_scope: Mapping[Scope, JobMetric], config: MetricConfig, *, now_s: int
) -> list[Resource]:
    """The hosts of the job without samples of a metric in two or more slots in a row; the newest slots do not count."""
    hosts = _hosts_with_hardware(job, config)
    metric = _coarsest_metric(by_scope)
    if metric is None:
        return hosts
    span = _examined_slots(job, metric.timestep_s, now_s, metric)
    whole = {series.hostname for series in metric.series if _is_complete(series.data[: span.slots], span.slots)}
    unsure = [host for host in hosts if host.hostname not in whole]
    if not unsure:
        return []
    others = [series for series in metric.series if series.hostname not in whole]
    flags = _presence_by_host(job, replace(metric, series=others), span)
    return [host for host in unsure if host.hostname not in flags or _has_gap(flags[host.hostname])]


def _is_complete(samples: Samples, slots: int) -> bool:
    return len(samples) == slots and bool(np.isfinite(samples).all())


# From the store


def _explain_by_store(
    store: GapExplainer, job: Job, incomplete: Iterable[_IncompleteMetric], sub_cluster: SubCluster, now_s: int
) -> dict[str, list[DataGap]]:
    found: dict[str, list[DataGap]] = {}
    asked: list[tuple[str, GapQuery]] = []
    for config, hosts in incomplete:
        if not hosts:
            found[config.name] = [DataGap(GapReason.JOB_HAS_NO_SUCH_HARDWARE, (), job.start_time, job.stop_time)]
            continue
        from_s, to_s = expected_range(job, config.timestep_s, now_s)
        newest_s = to_s - MAX_SLOTS_EXAMINED * config.timestep_s
        if from_s < newest_s:  # older than any store keeps
            found[config.name] = [DataGap(GapReason.OLDER_THAN_RETENTION, (), from_s, newest_s)]
            from_s = newest_s
        asked += [
            (config.name, GapQuery(want.query, from_s, to_s))
            for resource in hosts[:MAX_HOSTS_QUERIED]
            for want in build_queries(config, Scope.NODE, resource, sub_cluster, job_id=job.job_id)
        ]
    answers = store.explain_gaps(job.cluster, [query for _, query in asked], now_s=now_s)
    for (name, _), gaps in zip(asked, answers, strict=True):
        found.setdefault(name, []).extend(gap for gap in gaps if gap.hosts or gap not in found.get(name, ()))
    for config, hosts in incomplete:
        if len(hosts) > MAX_HOSTS_QUERIED:
            found[config.name] += _common_gap(found[config.name], [host.hostname for host in hosts[MAX_HOSTS_QUERIED:]])
    return found


def _common_gap(asked: Sequence[DataGap], others: Sequence[str]) -> list[DataGap]:
    """The gap of hosts that were not queried: the one that all queried hosts share; none if they differ."""
    of_hosts = [gap for gap in asked if gap.hosts]
    if len({(gap.reason, gap.from_s, gap.to_s, gap.is_ongoing) for gap in of_hosts}) != 1:
        return []
    return [replace(of_hosts[0], hosts=tuple(others), last_sample_s=None)]


# From the samples


def _explain_by_samples(
    job: Job, data: JobData, incomplete: Iterable[_IncompleteMetric], now_s: int
) -> dict[str, list[DataGap]]:
    found: dict[str, list[DataGap]] = {}
    heard: dict[SlotRange, dict[str, BoolArray]] = {}
    for config, hosts in incomplete:
        metric = _coarsest_metric(data.get(config.name, {}))
        step_s = metric.timestep_s if metric else config.timestep_s
        span = _examined_slots(job, step_s, now_s, metric)
        if not hosts or not span.slots:
            why = GapReason.JOB_SHORTER_THAN_TIMESTEP if hosts else GapReason.JOB_HAS_NO_SUCH_HARDWARE
            found[config.name] = [DataGap(why, (), job.start_time, job.stop_time)]
            continue
        if span not in heard:
            heard[span] = _slots_heard(job, data, span)
        present = _presence_by_host(job, metric, span) if metric else {}
        nothing: BoolArray = np.zeros(span.slots, np.bool_)
        found[config.name] = [
            gap
            for host in (resource.hostname for resource in hosts)
            for gap in find_gaps(
                HostPresence(
                    host,
                    span,
                    heard[span].get(host, nothing),
                    present.get(host, nothing),
                    is_host_known=True,
                    is_metric_known=host in present,
                ),
                StoreHistory(),
                now_s=now_s,
            )
        ]
    return found


def _slots_heard(job: Job, data: JobData, span: SlotRange) -> dict[str, BoolArray]:
    """By host, in which slots any metric has a sample; metrics with a longer timestep do not count."""
    heard: dict[str, BoolArray] = {}
    for by_scope in data.values():
        metric = _coarsest_metric(by_scope)
        if metric is not None and metric.timestep_s <= span.timestep_s:
            for host, flags in _presence_by_host(job, metric, span).items():
                heard[host] = heard[host] | flags if host in heard else flags
    return heard


def _presence_by_host(job: Job, metric: JobMetric, span: SlotRange) -> dict[str, BoolArray]:
    """By host in which slots any of its series has a sample; hosts without a single one are left out."""
    found: dict[str, BoolArray] = {}
    first = first_sample_s(job, metric) // metric.timestep_s
    for series in metric.series:
        there = np.flatnonzero(np.isfinite(series.data))
        if not len(there):
            continue
        flags = found.setdefault(series.hostname, np.zeros(span.slots, np.bool_))
        slots = (first + there) * metric.timestep_s // span.timestep_s - span.first_slot
        flags[slots[(slots >= 0) & (slots < span.slots)]] = True
    return found


def _examined_slots(job: Job, timestep_s: int, now_s: int, metric: JobMetric | None) -> SlotRange:
    """The slots in which samples are expected; of a running job, or one that ended just now, without the newest."""
    from_s, to_s = expected_range(job, timestep_s, now_s)
    first, end = from_s // timestep_s, to_s // timestep_s
    if metric is not None:
        longest = max((len(series.data) for series in metric.series), default=0)
        begin = first_sample_s(job, metric) // timestep_s
        # an archive does not tell whether the slot in which the job ended was its own
        whole = longest if metric.first_slot_s is not None else max(longest, end - first - 1)
        first, end = begin, min(begin + whole, max(end, begin + longest))
    if job.state is JobState.RUNNING or not comes_from_archive(job):
        end = min(end, now_s // timestep_s - GRACE_SLOTS + 1)
    return SlotRange(first, max(end - first, 0), timestep_s)


def _has_gap(flags: BoolArray) -> bool:
    if len(flags) < MIN_GAP_SLOTS:
        return not flags.all()
    return bool((~flags[1:] & ~flags[:-1]).any())


def _coarsest_metric(by_scope: Mapping[Scope, JobMetric]) -> JobMetric | None:
    return by_scope[max(by_scope, key=lambda scope: scope.rank)] if by_scope else None


def _hosts_with_hardware(job: Job, config: MetricConfig) -> list[Resource]:
    """The hosts of the job on which it has hardware that the metric is of."""
    return [resource for resource in job.resources if config.scope is not Scope.ACCELERATOR or resource.accelerators]


# On the wire


def gaps_to_json(gaps: JobGaps, *, zone: tzinfo | None) -> dict[str, list[dict[str, Any]]]:
    """The gaps by metric as JSON of API and pages, each with a sentence whose times are in the zone."""
    return {
        metric: [_gap_to_json(gap, gap_sentence(gap, metric, zone=zone)) for gap in found]
        for metric, found in gaps.metrics.items()
    }


def _gap_to_json(gap: DataGap, text: str) -> dict[str, Any]:
    last = {} if gap.last_sample_s is None else {"lastSample": gap.last_sample_s}
    return {
        "reason": gap.reason.value,
        "hosts": list(gap.hosts),
        "from": gap.from_s,
        "to": gap.to_s,
        **last,
        "ongoing": gap.is_ongoing,
        "text": text,
    }
