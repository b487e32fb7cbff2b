"""Judges a job: finds the gaps in its samples, applies the rules of `insight`, records the judgement in the database.

There is one judgement of a job: the refresh of running jobs, the archiver and the job page make it from the same
numbers. Lists, filters and the API show the recorded one.
"""

import logging
from collections.abc import Callable, Iterable

from cc_backend.archive.file_archive import FileArchive
from cc_backend.archive.measured_metrics import measured_sub_cluster
from cc_backend.clusters import ClusterRegistry, SubCluster
from cc_backend.errors import BackendError, NotFound
from cc_backend.insight.assessment import RULES_VERSION, Assessment, assess_job, judged_metrics, judged_scopes
from cc_backend.insight.configured_units import convert_to_configured_units
from cc_backend.insight.finding_json import finding_to_json
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.jobdata.bounded_read import VIEW_LIMITS
from cc_backend.jobdata.gaps import find_job_gaps
from cc_backend.jobdata.samples import MetricData
from cc_backend.jobdata.store_router import StoreRouter
from cc_backend.jobs.judgements import Judgements
from cc_backend.metricstore import MetricStore
from cc_backend.model import Job, JobData, Judgement, MonitoringStatus

MAX_JOBS_PER_STEP = 8

logger = logging.getLogger(__name__)


class Judge:
    """Judges jobs by their samples, and records the judgements."""

    def __init__(
        self,
        *,
        judgements: Judgements,
        metricdata: MetricData,
        stores: StoreRouter,
        store: MetricStore,
        archive: FileArchive,
        clusters: ClusterRegistry,
    ) -> None:
        self._judgements = judgements
        self._metricdata = metricdata
        self._stores = stores
        self._store = store
        self._archive = archive
        self._clusters = clusters
        self._logged_reason = ""

    def find_sub_cluster(self, job: Job) -> SubCluster:
        """The subcluster by whose thresholds a job is judged; one without metrics if its configuration is unknown."""
        try:
            return self._clusters.sub_cluster_of_job(job)
        except NotFound:
            return measured_sub_cluster(job)

    def assess(self, job: Job, curves: JobCurveSet, *, now_s: int) -> Assessment:
        """All findings about a job from its curves, which must be in the units of the configuration."""
        sub_cluster = self.find_sub_cluster(job)
        metrics = judged_metrics(sub_cluster.metrics)
        seen = curves.select_nodes_and_gpus(metrics)
        gaps = find_job_gaps(
            job,
            seen.data,
            metrics,
            sub_cluster,
            stores=self._stores,
            store=self._store,
            archive=self._archive,
            now_s=now_s,
        )
        return assess_job(job, seen, sub_cluster, metrics, gaps=gaps)

    def judge_data(self, job: Job, data: JobData, *, now_s: int) -> Judgement:
        """The judgement of a job by samples in any units."""
        curves = JobCurveSet(convert_to_configured_units(data, self.find_sub_cluster(job).metrics))
        return self.assess(job, curves, now_s=now_s).to_judgement(now_s=now_s)

    def record_if_changed(self, job: Job, assessment: Assessment, *, now_s: int) -> None:
        """Record the judgement of a job, unless the recorded one says the same.

        A database that cannot be written to is logged, so that pages still show what they have.
        """
        judgement = assessment.to_judgement(now_s=now_s)
        if _is_same_judgement(job.judgement, judgement):
            return
        try:
            self._judgements.store([(job, judgement)])
        except BackendError as error:
            logger.warning("judgement not recorded job=%d cluster=%s reason=%s", job.job_id, job.cluster, error)

    def record(self, judged: Iterable[tuple[Job, Judgement]]) -> None:
        """Record judgements of jobs, except of jobs that have ended since they were read."""
        self._judgements.store(judged)

    def judge_outdated(self, *, now_s: int, stopping: Callable[[], bool] = lambda: False) -> int:
        """Judge up to 8 finished jobs without a judgement by the current rules, newest first; returns their number.

        A job that cannot be judged is recorded without a verdict, so that it is not tried again.
        """
        done = 0
        for job in self._judgements.outdated(rules=RULES_VERSION, limit=MAX_JOBS_PER_STEP):
            if stopping():
                break
            self._judgements.store([(job, self._judge_archived(job, now_s))])
            done += 1
        return done

    def _judge_archived(self, job: Job, now_s: int) -> Judgement:
        try:
            metrics = judged_metrics(self.find_sub_cluster(job).metrics)
            scopes = sorted({scope for metric in metrics.values() for scope in judged_scopes(job, metric)})
            data: JobData = {}
            if metrics and job.monitoring_status == MonitoringStatus.ARCHIVED:
                data = self._metricdata.read_samples(job, list(metrics), scopes, now_s=now_s, limits=VIEW_LIMITS).data
            return self.judge_data(job, data, now_s=now_s)
        except BackendError as error:
            if str(error) != self._logged_reason:  # a missing folder of the archive concerns many jobs in a row
                self._logged_reason = str(error)
                logger.warning("jobs not judged first=%d cluster=%s reason=%s", job.job_id, job.cluster, error)
        except Exception:  # a bug that one job triggers must not hold up all others
            logger.exception("judging met a defect job=%d cluster=%s", job.job_id, job.cluster)
        return Judgement(None, judged_s=now_s, rules_version=RULES_VERSION)


def _is_same_judgement(kept: Judgement | None, made: Judgement) -> bool:
    if kept is None or (kept.level, kept.more, kept.rules_version) != (made.level, made.more, made.rules_version):
        return False
    if kept.finding is None or made.finding is None:
        return kept.finding is made.finding
    return finding_to_json(kept.finding) == finding_to_json(made.finding)
