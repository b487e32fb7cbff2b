"""Why samples of a job are missing: asked of the store that took them, or seen from the samples that are there.

The store knows most. An archived job that is older than what the store keeps still tells which of its nodes sent
nothing, and which sent everything but one metric.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Any, NamedTuple, Protocol

import numpy as np

from cc_backend.archive.file import FileArchive
from cc_backend.clusters import MetricConfig, SubCluster
from cc_backend.errors import ArchiveError
from cc_backend.jobspan import first_sample_s
from cc_backend.metricdata import comes_from_archive, queries_for, time_range
from cc_backend.metricstore.absence.reasons import (
    GRACE_SLOTS,
    LEAST_SLOTS,
    HostSeen,
    JobAbsences,
    StoreFacts,
    absences_of,
    folded,
    of_hosts,
)
from cc_backend.metricstore.absence.reasontext import sentence
from cc_backend.metricstore.absence.whynodata import Asked
from cc_backend.metricstore.answers.query import Range
from cc_backend.metricstore.model import Flags
from cc_backend.model import (
    Absence,
    Job,
    JobData,
    JobKey,
    JobMetric,
    JobState,
    MonitoringStatus,
    Resource,
    Samples,
    Scope,
    Why,
)
from cc_backend.storerouter import StoreRouter

MOST_ABSENCES = 200
"""Of one metric; the longest are kept."""
MOST_HOSTS_ASKED = 256
"""Of a metric; what all of these lack alike is taken for that of the hosts behind them too."""
MOST_JUDGED_SLOTS = 200_000
"""Of a job that seems to run for years only the newest slots are looked at."""
_TOLERANCE_SLOTS = 2  # nodes do not fall silent in the same second


class _Lacking(NamedTuple):
    """A metric and the hosts that lack samples of it; no hosts where the job has no hardware for it."""

    config: MetricConfig
    hosts: list[Resource]


class Explains(Protocol):
    """A store that says why it has no samples: `metricstore.MetricStore` is one."""

    def why_no_data(self, cluster: str, asked: Sequence[Asked], *, now_s: int) -> list[list[Absence]]:
        """Per question the stretches of time without samples of its host, each with the reason, in order."""


def job_absences(
    job: Job,
    data: JobData,
    metrics: Mapping[str, MetricConfig],
    sub_cluster: SubCluster,
    *,
    store: Explains | None,
    now_s: int,
    away: bool = False,
    noted: Callable[[], Mapping[str, tuple[Absence, ...]] | None] = lambda: None,
) -> JobAbsences:
    """What is missing of the metrics of a job, and why; `data` is what there is of them, at any scopes.

    `store` is the one that took the samples, None if it cannot say why some are missing; `away` that it cannot even be
    reached. `noted` gives what was noted when the job was archived, and is asked only then. Costs next to nothing where
    the data is complete.
    """
    if job.monitoring_status == MonitoringStatus.DISABLED or job.unusable:
        return JobAbsences()
    lacking: list[_Lacking] = []
    for name, config in metrics.items():
        hosts = lacking_hosts(job, data.get(name, {}), config, now_s=now_s)
        if hosts or not _measured_on(job, config):
            lacking.append(_Lacking(config, hosts))
    if not lacking:
        return JobAbsences()
    found: Mapping[str, Sequence[Absence]]
    if comes_from_archive(job):
        found = {**_from_data(job, data, lacking, now_s), **(noted() or {})}
    elif away:
        found = {one.config.name: [Absence(Why.UNREACHABLE, (), job.start_time, job.stop_time)] for one in lacking}
    elif store is not None:
        found = _from_store(store, job, lacking, sub_cluster, now_s)
    else:
        found = _from_data(job, data, lacking, now_s)
    by_metric = {
        config.name: folded(
            (_within(job, one) for one in found[config.name]), tolerance_s=_TOLERANCE_SLOTS * config.timestep_s
        )[:MOST_ABSENCES]
        for config, _ in lacking
        if found.get(config.name)
    }
    slowest_s = max(config.timestep_s for config, _ in lacking)
    return JobAbsences(by_metric, of_hosts(by_metric, tolerance_s=_TOLERANCE_SLOTS * slowest_s), now_s)


def explaining(stores: StoreRouter, store: Explains, job: Job) -> Explains | None:
    """The store to ask why samples of a job are missing: the one in this process, if it is in charge of the job."""
    return store if stores.external(job.cluster, job.sub_cluster) is None else None


def noted_absences(archive: FileArchive, job: Job) -> Mapping[str, tuple[Absence, ...]] | None:
    """What was noted when a job was archived; None if nothing was, or if it cannot be read."""
    try:
        return archive.load_job(JobKey(job.cluster, job.job_id, job.start_time)).absences
    except ArchiveError:
        return None


def not_measured(
    job: Job, names: Iterable[str], cluster_metrics: Collection[str], sub_cluster: SubCluster
) -> JobAbsences:
    """The reasons for metrics of the cluster that are not measured on the job's nodes; other names are nobody's."""
    why = Absence(Why.NOT_HERE, (), job.start_time, job.stop_time)
    return JobAbsences({name: (why,) for name in names if name in cluster_metrics and name not in sub_cluster.metrics})


def _within(job: Job, absence: Absence) -> Absence:
    """The same without the part of its last slot that is after the job's end."""
    if absence.to_s <= job.stop_time:
        return absence
    return replace(absence, to_s=max(min(absence.to_s, job.stop_time), absence.from_s))


def lacking_hosts(job: Job, by_scope: Mapping[Scope, JobMetric], config: MetricConfig, *, now_s: int) -> list[Resource]:
    """The hosts of the job that have no samples of a metric in at least two slots in a row, the newest left out."""
    hosts = _measured_on(job, config)
    metric = _coarsest(by_scope)
    if metric is None:
        return hosts
    span = _judged_slots(job, metric.timestep_s, now_s, metric)
    whole = {one.hostname for one in metric.series if _is_whole(one.data[: span.slots], span.slots)}
    unsure = [host for host in hosts if host.hostname not in whole]
    if not unsure:
        return []
    others = [one for one in metric.series if one.hostname not in whole]
    flags = _presence_by_host(job, replace(metric, series=others), span)
    return [host for host in unsure if host.hostname not in flags or _has_gap(flags[host.hostname])]


def _is_whole(samples: Samples, slots: int) -> bool:
    return len(samples) == slots and bool(np.isfinite(samples).all())


# From the store


def _from_store(
    store: Explains, job: Job, lacking: Iterable[_Lacking], sub_cluster: SubCluster, now_s: int
) -> dict[str, list[Absence]]:
    found: dict[str, list[Absence]] = {}
    asked: list[tuple[str, Asked]] = []
    for config, hosts in lacking:
        if not hosts:
            found[config.name] = [Absence(Why.NO_HARDWARE, (), job.start_time, job.stop_time)]
            continue
        from_s, to_s = time_range(job, config.timestep_s, now_s)
        newest_s = to_s - MOST_JUDGED_SLOTS * config.timestep_s
        if from_s < newest_s:  # older than any store keeps
            found[config.name] = [Absence(Why.TOO_OLD, (), from_s, newest_s)]
            from_s = newest_s
        asked += [
            (config.name, Asked(want.query, from_s, to_s))
            for resource in hosts[:MOST_HOSTS_ASKED]
            for want in queries_for(config, Scope.NODE, resource, sub_cluster)
        ]
    answers = store.why_no_data(job.cluster, [one for _, one in asked], now_s=now_s)
    for (name, _), absences in zip(asked, answers, strict=True):
        found.setdefault(name, []).extend(one for one in absences if one.hosts or one not in found.get(name, ()))
    for config, hosts in lacking:
        if len(hosts) > MOST_HOSTS_ASKED:
            found[config.name] += _alike(found[config.name], [host.hostname for host in hosts[MOST_HOSTS_ASKED:]])
    return found


def _alike(asked: Sequence[Absence], others: Sequence[str]) -> list[Absence]:
    """What is missing of hosts that were not asked about: what all others lack alike."""
    of_hosts = [one for one in asked if one.hosts]
    if len({(one.why, one.from_s, one.to_s, one.ongoing) for one in of_hosts}) != 1:
        return []
    return [replace(of_hosts[0], hosts=tuple(others), last_s=None)]


# From the samples


def _from_data(job: Job, data: JobData, lacking: Iterable[_Lacking], now_s: int) -> dict[str, list[Absence]]:
    found: dict[str, list[Absence]] = {}
    heard: dict[Range, dict[str, Flags]] = {}
    for config, hosts in lacking:
        metric = _coarsest(data.get(config.name, {}))
        step_s = metric.timestep_s if metric else config.timestep_s
        span = _judged_slots(job, step_s, now_s, metric)
        if not hosts or not span.slots:
            why = Why.JOB_TOO_SHORT if hosts else Why.NO_HARDWARE
            found[config.name] = [Absence(why, (), job.start_time, job.stop_time)]
            continue
        if span not in heard:
            heard[span] = _heard(job, data, span)
        present = _presence_by_host(job, metric, span) if metric else {}
        nothing: Flags = np.zeros(span.slots, np.bool_)
        found[config.name] = [
            one
            for host in (resource.hostname for resource in hosts)
            for one in absences_of(
                HostSeen(
                    host,
                    span,
                    heard[span].get(host, nothing),
                    present.get(host, nothing),
                    known=True,
                    measured=host in present,
                ),
                StoreFacts(),
                now_s=now_s,
            )
        ]
    return found


def _heard(job: Job, data: JobData, span: Range) -> dict[str, Flags]:
    """By host in which slots any metric has a sample; metrics that come more seldom say nothing about single slots."""
    heard: dict[str, Flags] = {}
    for by_scope in data.values():
        metric = _coarsest(by_scope)
        if metric is not None and metric.timestep_s <= span.timestep_s:
            for host, flags in _presence_by_host(job, metric, span).items():
                heard[host] = heard[host] | flags if host in heard else flags
    return heard


def _presence_by_host(job: Job, metric: JobMetric, span: Range) -> dict[str, Flags]:
    """By host in which slots any of its series has a sample; hosts without a single one are left out."""
    found: dict[str, Flags] = {}
    first = first_sample_s(job, metric) // metric.timestep_s
    for series in metric.series:
        there = np.flatnonzero(np.isfinite(series.data))
        if not len(there):
            continue
        flags = found.setdefault(series.hostname, np.zeros(span.slots, np.bool_))
        slots = (first + there) * metric.timestep_s // span.timestep_s - span.first_slot
        flags[slots[(slots >= 0) & (slots < span.slots)]] = True
    return found


def _judged_slots(job: Job, timestep_s: int, now_s: int, metric: JobMetric | None) -> Range:
    """The slots that the job's samples fill; of a running job, or one that ended just now, without the newest."""
    from_s, to_s = time_range(job, timestep_s, now_s)
    first, end = from_s // timestep_s, to_s // timestep_s
    if metric is not None:
        longest = max((len(one.data) for one in metric.series), default=0)
        begin = first_sample_s(job, metric) // timestep_s
        # an archive does not tell whether the slot in which the job ended was its own
        whole = longest if metric.from_s is not None else max(longest, end - first - 1)
        first, end = begin, min(begin + whole, max(end, begin + longest))
    if job.state is JobState.RUNNING or not comes_from_archive(job):
        end = min(end, now_s // timestep_s - GRACE_SLOTS + 1)
    return Range(first, max(end - first, 0), timestep_s)


def _has_gap(flags: Flags) -> bool:
    if len(flags) < LEAST_SLOTS:
        return not flags.all()
    return bool((~flags[1:] & ~flags[:-1]).any())


def _coarsest(by_scope: Mapping[Scope, JobMetric]) -> JobMetric | None:
    return by_scope[max(by_scope, key=lambda scope: scope.rank)] if by_scope else None


def _measured_on(job: Job, config: MetricConfig) -> list[Resource]:
    """The hosts of the job on which it has hardware that the metric is of."""
    return [one for one in job.resources if config.scope is not Scope.ACCELERATOR or one.accelerators]


# On the wire


def absence_documents(absences: JobAbsences, *, zone: tzinfo | None) -> dict[str, list[dict[str, Any]]]:
    """The absences by metric as the answers of API and pages have them, each with a sentence in times of the zone."""
    return {
        metric: [_document(one, sentence(one, metric, zone=zone)) for one in found]
        for metric, found in absences.metrics.items()
    }


def _document(absence: Absence, text: str) -> dict[str, Any]:
    last = {} if absence.last_s is None else {"lastSample": absence.last_s}
    return {
        "reason": absence.why.value,
        "hosts": list(absence.hosts),
        "from": absence.from_s,
        "to": absence.to_s,
        **last,
        "ongoing": absence.ongoing,
        "text": text,
    }
