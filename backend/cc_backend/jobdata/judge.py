"""Judging a job: what is missing of its samples is asked for, the rules applied, the judgement kept with the job.

There is one judgement of a job. Whoever looks at a job makes it from the same numbers: the refresh of running jobs, the
archiver, the job page. Lists, filters and the API show what was kept.
"""

import logging
from collections.abc import Callable, Iterable

from cc_backend.archive.file_archive import FileArchive
from cc_backend.archive.measured_metrics import measured_sub_cluster
from cc_backend.clusters import Clusters, SubCluster
from cc_backend.errors import BackendError, NotFound
from cc_backend.insight.assessment import RULES, Assessment, assess, judged_metrics, judged_scopes
from cc_backend.insight.configured_units import in_configured_units
from cc_backend.insight.finding_json import finding_to_document
from cc_backend.insight.job_curves import CurveSet
from cc_backend.jobdata.bounded_read import VIEW_LIMITS
from cc_backend.jobdata.gaps import explaining, job_absences, noted_absences
from cc_backend.jobdata.samples import MetricData
from cc_backend.jobdata.store_router import StoreRouter
from cc_backend.jobs.judgements import Judgements
from cc_backend.metricstore import MetricStore
from cc_backend.model import Job, JobData, Judgement, MonitoringStatus

JOBS_A_STEP = 8

logger = logging.getLogger(__name__)


class Judge:
    """Judges jobs, with the parts it needs handed in."""

    def __init__(
        self,
        *,
        judgements: Judgements,
        metricdata: MetricData,
        stores: StoreRouter,
        store: MetricStore,
        archive: FileArchive,
        clusters: Clusters,
    ) -> None:
        self._judgements = judgements
        self._metricdata = metricdata
        self._stores = stores
        self._store = store
        self._archive = archive
        self._clusters = clusters

    def sub_cluster(self, job: Job) -> SubCluster:
        """The kind of node that a job is judged by; one without metrics where no configuration is known any more."""
        try:
            return self._clusters.of_job(job)
        except NotFound:
            return measured_sub_cluster(job)

    def assess(self, job: Job, curves: CurveSet, *, now_s: int) -> Assessment:
        """All findings about a job, made of its curves at node scope in the units of the configuration."""
        sub_cluster = self.sub_cluster(job)
        metrics = judged_metrics(sub_cluster.metrics)
        seen = curves.of_nodes(metrics)
        absences = job_absences(
            job,
            seen.data,
            metrics,
            sub_cluster,
            store=explaining(self._stores, self._store, job),
            away=bool(self._stores.unreachable(job.cluster, job.sub_cluster)),
            now_s=now_s,
            noted=lambda: noted_absences(self._archive, job),
        )
        return assess(job, seen, sub_cluster, metrics, absences=absences)

    def judged(self, job: Job, data: JobData, *, now_s: int) -> Judgement:
        """The judgement of a job by samples in whatever units they were stored."""
        curves = CurveSet(in_configured_units(data, self.sub_cluster(job).metrics))
        return self.assess(job, curves, now_s=now_s).judgement(now_s=now_s)

    def keep(self, job: Job, assessment: Assessment, *, now_s: int) -> None:
        """Keep a judgement that was made anew with the job, if it says something else than the one that is kept.

        A database that cannot be written to is no reason to show nothing.
        """
        judgement = assessment.judgement(now_s=now_s)
        if _same(job.judgement, judgement):
            return
        try:
            self._judgements.store([(job, judgement)])
        except BackendError as error:
            logger.warning("judgement not kept job=%d cluster=%s reason=%s", job.job_id, job.cluster, error)

    def store(self, judged: Iterable[tuple[Job, Judgement]]) -> None:
        """Keep the judgements of jobs, unless they have ended since they were read."""
        self._judgements.store(judged)

    def judge_finished(self, *, now_s: int, stopping: Callable[[], bool] = lambda: False) -> int:
        """Judge a few of the finished jobs that have no judgement by the present rules, the newest first.

        Returns how many were judged. A job that cannot be judged counts as judged without a verdict.
        """
        done = 0
        for job in self._judgements.outdated(rules=RULES, limit=JOBS_A_STEP):
            if stopping():
                break
            self._judgements.store([(job, self._judged_anew(job, now_s))])
            done += 1
        return done

    def _judged_anew(self, job: Job, now_s: int) -> Judgement:
        try:
            metrics = judged_metrics(self.sub_cluster(job).metrics)
            scopes = sorted({scope for metric in metrics.values() for scope in judged_scopes(job, metric)})
            data: JobData = {}
            if metrics and job.monitoring_status == MonitoringStatus.ARCHIVED:
                data = self._metricdata.job_data(job, list(metrics), scopes, now_s=now_s, limits=VIEW_LIMITS)
            return self.judged(job, data, now_s=now_s)
        except BackendError as error:
            logger.warning("not judged job=%d cluster=%s reason=%s", job.job_id, job.cluster, error)
        except Exception:  # a defect that one job brings to light must not hold up all others
            logger.exception("judging met a defect job=%d cluster=%s", job.job_id, job.cluster)
        return Judgement(None, judged_s=now_s, rules=RULES)


def _same(kept: Judgement | None, made: Judgement) -> bool:
    if kept is None or (kept.level, kept.more, kept.rules) != (made.level, made.more, made.rules):
        return False
    if kept.finding is None or made.finding is None:
        return kept.finding is made.finding
    return finding_to_document(kept.finding) == finding_to_document(made.finding)
