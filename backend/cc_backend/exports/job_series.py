"""What is exported of a job: its record, and its series metric by metric, within a limit."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from cc_backend.archive.archived_scopes import archived_scopes
from cc_backend.archive.measured_metrics import measured_sub_cluster
from cc_backend.archive.statistics import compute_job_statistics, with_statistics
from cc_backend.auth.caller import Caller
from cc_backend.clusters import MetricConfig, SubCluster
from cc_backend.errors import ArchiveError, Conflict, InvalidInput, NotFound, TooLarge, Unavailable
from cc_backend.jobdata.bounded_read import SampleLimits, count_series
from cc_backend.jobdata.job_slots import first_sample_s, touched_slots
from cc_backend.jobdata.samples import build_queries, comes_from_archive, delivered_scopes
from cc_backend.jobs.restricted_metrics import IsRestricted, job_without_restricted_metrics
from cc_backend.jobs.tags import visible_tags
from cc_backend.model import Job, JobData, JobKey, JobMetric, JobState, MetricStatistic, Scope
from cc_backend.services import Services
from cc_common.error_codes import ErrorCode

MAX_SAMPLES = 10_000_000
"""Maximum samples of an export: 64 nodes with 20 metrics for five days at 60 s, at node scope."""
_NEVER_COARSER = SampleLimits(max_points=MAX_SAMPLES, max_samples=MAX_SAMPLES)
_MAX_TIME_S = 253_402_300_799  # the year 9999
_MAX_QUOTED = 60
_RETRY_S = 5


class MetricSeries(NamedTuple):
    """The series of one metric at one scope, and when the slot of their first sample begins (Unix seconds)."""

    name: str
    scope: Scope
    metric: JobMetric
    first_s: int


@dataclass(slots=True)
class JobExport:
    """One job for export. The record has statistics once `series` was read to its end."""

    job: Job
    record: Job
    series: Iterator[MetricSeries]
    statistics: dict[str, MetricStatistic] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its file, without extension."""
        state = "-running" if self.job.state is JobState.RUNNING else ""
        return f"job-{self.job.cluster}-{self.job.job_id}{state}"


def export_job(
    services: Services, job: Job, caller: Caller, metrics: Collection[str] = (), scopes: Sequence[Scope] = ()
) -> JobExport:
    """A job for export; `metrics` empty means all, `scopes` empty means those that its archive has or will have.

    A named scope that a metric does not have is replaced as `MetricData.read_samples` does. Samples are never thinned.

    Raises:
        ArchiveError: the job is archived and its files cannot be read.
        Conflict: its row is damaged, so that nothing says which samples are its own.
        InvalidInput: there is no such metric, or the caller may not see it.
        NotFound: no configuration is known that has its subcluster, and it is not archived.
        TooLarge: there are more than `MAX_SAMPLES`.

    Reading the series raises Unavailable if a metric store cannot be reached, or is still loading older samples.
    """
    if job.is_unusable:
        text = f"the row of this job is damaged ({', '.join(job.damaged_columns)}): its samples cannot be found"
        raise Conflict(text)
    hides: IsRestricted = (
        (lambda _: False) if caller.sees_restricted_metrics else services.clusters.restriction_test(job)
    )
    tags = visible_tags(job.tags, caller)
    if comes_from_archive(job):
        found = services.archive.load_meta(JobKey(job.cluster, job.job_id, job.start_time))
        meta_data = found.meta_data if "meta_data" in job.damaged_columns else job.meta_data
        record = job_without_restricted_metrics(replace(found, tags=tags, meta_data=meta_data), hides)
        data = _archived_data(services, job, metrics, scopes, hides)
        return JobExport(job, record, _each(job, data), dict(record.statistics or {}))
    export = JobExport(job, replace(job, tags=tags), iter(()))
    export.series = _stored_series(services, export, metrics, scopes, hides)
    return export


def _archived_data(
    services: Services, job: Job, metrics: Collection[str], scopes: Sequence[Scope], hides: IsRestricted
) -> JobData:
    data = services.metric_data.read_samples(
        job, None, list(scopes or Scope), now_s=services.now_s(), limits=_NEVER_COARSER, statistics=False
    ).data
    visible = {name: by_scope for name, by_scope in data.items() if not hides(name)}
    _require_known(metrics, {*visible, *_configured(services, job, hides)})
    chosen = {name: by_scope for name, by_scope in visible.items() if not metrics or name in metrics}
    _require_within_limit(
        sum(
            len(series.data) for by_scope in chosen.values() for metric in by_scope.values() for series in metric.series
        )
    )
    return chosen


def _configured(services: Services, job: Job, hides: IsRestricted) -> Mapping[str, MetricConfig]:
    try:
        configured = services.clusters.sub_cluster_of_job(job).metrics
    except NotFound:
        configured = measured_sub_cluster(job).metrics
    return {name: config for name, config in configured.items() if not hides(name)}


def _stored_series(
    services: Services, export: JobExport, metrics: Collection[str], scopes: Sequence[Scope], hides: IsRestricted
) -> Iterator[MetricSeries]:
    """The series from the store, each metric read when it is asked for; what is wrong is raised at once."""
    job, now_s = export.job, services.now_s()
    sub_cluster = services.clusters.sub_cluster_of_job(job)
    visible = {name: config for name, config in sub_cluster.metrics.items() if not hides(name)}
    _require_known(metrics, visible)
    chosen = [config for name, config in sorted(visible.items()) if not metrics or name in metrics]

    def scopes_of(config: MetricConfig) -> Sequence[Scope]:
        return scopes or archived_scopes(job, config)

    _require_within_limit(sum(_count(job, config, scopes_of(config), sub_cluster, now_s) for config in chosen))

    # another store also calls a metric unreadable that a host never sent, which is no more than a gap
    is_internal = services.store_router.external_store(job.cluster, job.sub_cluster) is None
    if is_internal and services.store.restoring:
        text = "the metric store is still loading older samples, which may be of this job"
        raise Unavailable(text, code=ErrorCode.STORE_UNAVAILABLE, retry_after_s=_RETRY_S)

    def read() -> Iterator[MetricSeries]:
        for config in chosen:
            found = services.metric_data.read_samples(
                job, [config.name], scopes_of(config), now_s=now_s, limits=_NEVER_COARSER
            )
            faults = found.unreadable_metrics if is_internal and not found.data else {}
            for why in (*found.unreachable_hosts.values(), *faults.values()):
                raise Unavailable(f"samples cannot be read now: {why}", code=ErrorCode.STORE_UNAVAILABLE)
            export.statistics.update(compute_job_statistics(job, found.data, sub_cluster))
            yield from _each(job, found.data)

    return read()


def _count(job: Job, config: MetricConfig, scopes: Sequence[Scope], sub_cluster: SubCluster, now_s: int) -> int:
    """The maximum samples of a metric: all slots that the job touches of all series that it can have."""
    slots = touched_slots(job, config.timestep_s, now_s).size
    return sum(
        count_series([want.query for want in build_queries(config, scope, resource, sub_cluster)]) * slots
        for scope in delivered_scopes(config.scope, scopes)
        for resource in job.resources
    )


def _each(job: Job, data: JobData) -> Iterator[MetricSeries]:
    for name, by_scope in sorted(data.items()):
        for scope, metric in sorted(with_statistics({name: by_scope})[name].items()):
            first_s = first_sample_s(job, metric)
            longest = max((len(series.data) for series in metric.series), default=0)
            if not 0 <= first_s <= first_s + longest * metric.timestep_s <= _MAX_TIME_S:
                raise ArchiveError(f"{name}.{scope}: timestep: {metric.timestep_s} s is impossible")
            yield MetricSeries(name, scope, metric, first_s)


def _require_known(metrics: Collection[str], known: Collection[str]) -> None:
    for name in metrics:
        if name not in known:
            near = difflib.get_close_matches(name[:_MAX_QUOTED], known, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known)) or 'none'}"
            text = f"metric: this job has no metric {name[:_MAX_QUOTED]!r}; {advice}"
            raise InvalidInput(text, code=ErrorCode.INVALID_PARAMETER)


def _require_within_limit(samples: int) -> None:
    if samples > MAX_SAMPLES:
        text = f"these are up to {samples} samples, over {MAX_SAMPLES}; name metrics with metric= or scopes with scope="
        raise TooLarge(text, code=ErrorCode.ANSWER_TOO_LARGE)
