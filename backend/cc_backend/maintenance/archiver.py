"""Archives finished jobs. The queue is the job table itself, so a restart loses nothing.

A job is due when all its hosts have sent samples from after the stop (so nothing is in transit), or when the maximum
wait is over. In the latter case the silent hosts are recorded, and the job is archived again when one of them sends
samples. Failures are retried with increasing delays as long as the store has the samples.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from cc_backend.archive.archived_scopes import archived_scopes
from cc_backend.archive.file_archive import FileArchive
from cc_backend.archive.statistics import finalize_job, with_statistics
from cc_backend.clusters import ClusterRegistry
from cc_backend.errors import BackendError, Unavailable
from cc_backend.jobdata.gaps import GapExplainer, job_gaps
from cc_backend.jobdata.job_tagger import JobTagger
from cc_backend.jobdata.judge import Judge
from cc_backend.jobdata.samples import MetricData
from cc_backend.jobs.archive_queue import QUEUE_BATCH, ArchiveQueue
from cc_backend.model import Job, JobData, JobKey, Judgement, MonitoringStatus

FIRST_RETRY_S = 10
MAX_RETRY_S = 600

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ArchivingPolicy:
    """How long the archiver waits and retries, and for how many nodes it archives finer scopes."""

    late_data_s: float = 600.0
    retention_s: float = 48 * 3600.0
    core_scope_nodes: int = 8


@dataclass(slots=True)
class ArchivingResult:
    """Result of one round: ids of the archived jobs, numbers of the waiting and failed ones."""

    archived: list[int] = field(default_factory=list)
    waiting: int = 0
    failed: int = 0


@dataclass(slots=True)
class _Retry:
    tries: int
    next_s: float


class Archiver:
    """Writes finished jobs to the archive, one round at a time."""

    def __init__(
        self,
        *,
        queue: ArchiveQueue,
        metric_data: MetricData,
        gap_explainer: Callable[[Job], GapExplainer | None],
        archive: FileArchive,
        clusters: ClusterRegistry,
        judge: Judge,
        tagger: JobTagger | None = None,
        policy: ArchivingPolicy,
    ) -> None:
        self._queue = queue
        self._metric_data = metric_data
        self._gap_explainer = gap_explainer
        self._archive = archive
        self._clusters = clusters
        self._judge = judge
        self._tagger = tagger
        self._policy = policy
        self._retries: dict[int, _Retry] = {}
        self._retention_now_s = 0
        self._waiting_after = self._incomplete_after = 0  # id of the last job of the previous round

    def run_once(
        self, *, now_s: int, retention_now_s: int | None = None, stopping: Callable[[], bool] = lambda: False
    ) -> ArchivingResult:
        """Archive the jobs that are due; stops between two jobs when `stopping` returns True.

        A round examines a batch of the queue, the oldest jobs first, and the next round the following batch.

        A job is given up only when `retention_now_s` (default `now_s`) is past its retention, so a jump of the wall
        clock gives up none.
        """
        self._retention_now_s = now_s if retention_now_s is None else retention_now_s
        result = ArchivingResult()
        for job in self._next_queued():
            if stopping():
                break
            if job.is_unusable:
                self._give_up(job, f"its row in the database is damaged: {', '.join(job.damaged_columns)}")
                result.failed += 1
            elif not self._is_due(job, now_s):
                result.waiting += 1
            else:
                self._archive_job(job, now_s, result)
        for job, late_hosts in self._next_incomplete():
            if stopping():
                break
            if self._is_out_of_retention(job):
                self._queue.accept_incomplete(job.id)
            elif len(self._metric_data.silent_hosts(job)) < len(late_hosts):
                self._archive_job(job, now_s, result)
        return result

    def _next_queued(self) -> list[Job]:
        """The next batch of the queue, starting over after its end."""
        jobs = self._queue.queued_jobs(after=self._waiting_after)
        self._waiting_after = jobs[-1].id if len(jobs) == QUEUE_BATCH else 0
        return jobs

    def _next_incomplete(self) -> list[tuple[Job, tuple[str, ...]]]:
        found = self._queue.incomplete_archives(after=self._incomplete_after)
        self._incomplete_after = found[-1][0].id if len(found) == QUEUE_BATCH else 0
        return found

    def _is_due(self, job: Job, now_s: int) -> bool:
        retry = self._retries.get(job.id)
        if retry is not None:
            # a clock that was set back must not delay the retry
            return now_s >= retry.next_s or now_s < retry.next_s - MAX_RETRY_S
        return now_s >= job.stop_time + self._policy.late_data_s or not self._metric_data.silent_hosts(job)

    def _is_out_of_retention(self, job: Job) -> bool:
        return self._retention_now_s > job.stop_time + self._policy.retention_s

    def _archive_job(self, job: Job, now_s: int, result: ArchivingResult) -> None:
        try:
            self._archive.require_folders(JobKey(job.cluster, job.job_id, job.start_time))
        except Unavailable:  # logged once by the archive; no reason to give up jobs
            result.waiting += 1
            return
        try:
            whole = self._queue.find_finished(job.id)
            if whole is None:  # removed meanwhile
                return
            finished = self._write(whole, now_s)
        except BackendError as error:
            self._record_failure(job, str(error), now_s)
            result.failed += 1
            return
        except Exception as error:  # a defect that one job triggers must not block all others
            logger.exception("archiving met a defect job=%d cluster=%s", job.job_id, job.cluster)
            self._record_failure(job, f"internal error: {type(error).__name__}", now_s)
            result.failed += 1
            return
        result.archived.append(job.id)
        self._retries.pop(job.id, None)
        logger.info(
            "archived job=%d cluster=%s nodes=%d duration_s=%d metrics=%d",
            job.job_id,
            job.cluster,
            job.num_nodes,
            job.duration,
            len(finished.statistics or {}),
        )

    def _write(self, job: Job, now_s: int) -> Job:
        sub_cluster = self._clusters.sub_cluster_of_job(job)
        limit = self._policy.core_scope_nodes
        # read before the samples: a host that sends in between counts as late, and the job is archived again
        late_hosts = self._metric_data.silent_hosts(job)
        data = self._metric_data.read_from_store(
            job, None, lambda config: archived_scopes(job, config, limit), now_s=now_s
        )
        data = self._richer_of_archived(data, JobKey(job.cluster, job.job_id, job.start_time))
        live = replace(job, monitoring_status=MonitoringStatus.RUNNING_OR_ARCHIVING)  # also if it is archived again
        explainer = self._gap_explainer(job)
        gaps = job_gaps(live, data, sub_cluster.metrics, sub_cluster, store=explainer, now_s=now_s)
        finished = replace(finalize_job(job, data, sub_cluster), gaps=gaps.unexpected)
        self._classify(finished)
        self._archive.store(finished, with_statistics(data))
        finished = replace(finished, judgement=self._judge_or_none(finished, data, now_s))
        self._queue.finish(finished, late_hosts=late_hosts)
        return finished

    def _richer_of_archived(self, data: JobData, key: JobKey) -> JobData:
        """The archived samples of a job if they are more: after a database restore it may be archived already."""
        if not self._archive.exists(key):
            return data
        kept = self._archive.load_data(key)
        return kept if _count_samples(kept) > _count_samples(data) else data

    def _give_up(self, job: Job, reason: str) -> None:
        self._retries.pop(job.id, None)
        self._queue.mark_failed(job.id, reason)
        logger.error("archiving given up job=%d cluster=%s reason=%s", job.job_id, job.cluster, reason)

    def _classify(self, job: Job) -> None:
        """Give a job the tags and hints of its classes, before its archive is written; a defect costs only these."""
        if self._tagger is None:
            return
        try:
            self._tagger.classify(job)
        except BackendError:
            raise
        except Exception:
            logger.exception("classifying met a defect job=%d cluster=%s", job.job_id, job.cluster)

    def _judge_or_none(self, job: Job, data: JobData, now_s: int) -> Judgement | None:
        """The judgement of a job; None after a defect: it is judged later, and archiving goes on."""
        try:
            return self._judge.judge_data(job, data, now_s=now_s)
        except Exception:
            logger.exception("judging met a defect job=%d cluster=%s", job.job_id, job.cluster)
            return None

    def _record_failure(self, job: Job, reason: str, now_s: int) -> None:
        if self._is_out_of_retention(job):
            self._give_up(job, reason)
            return
        tries = self._retries[job.id].tries + 1 if job.id in self._retries else 1
        wait_s = min(FIRST_RETRY_S * 2.0 ** (tries - 1), MAX_RETRY_S)
        self._retries[job.id] = _Retry(tries, now_s + wait_s)
        logger.warning(
            "archiving failed job=%d cluster=%s try=%d next_try_in_s=%d reason=%s",
            job.job_id,
            job.cluster,
            tries,
            wait_s,
            reason,
        )


def _count_samples(data: JobData) -> int:
    every = (series for by_scope in data.values() for metric in by_scope.values() for series in metric.series)
    return sum(int(np.count_nonzero(np.isfinite(series.data))) for series in every)
