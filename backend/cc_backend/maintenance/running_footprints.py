"""Present footprint and judgement of running jobs, so that lists can show and sort them before a job ends.

Updated in small steps beside the requests: a step refreshes the jobs that are due, the most overdue first, until its
budget is used up. The interval of a job grows with its duration, as the mean of a day changes little in a minute. As
long as none of its hosts sends samples, only its gaps grow: then each wait is twice as long as the one before.
"""

import heapq
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cc_backend.archive.statistics import compute_footprint, compute_job_statistics
from cc_backend.clusters import ClusterRegistry
from cc_backend.errors import BackendError, NotFound, Unavailable
from cc_backend.insight.assessment import judged_metrics, judged_scopes
from cc_backend.jobdata.bounded_read import VIEW_LIMITS
from cc_backend.jobdata.judge import Judge
from cc_backend.jobdata.samples import MetricData
from cc_backend.jobs.running_jobs import RunningJobs
from cc_backend.model import Job, Judgement

STEP_EVERY_S = 1.0
"""Interval of `FootprintRefresher.step`."""

STEP_BUDGET_S = 0.05
"""Processor time of one step: 5 % of a core at one step per second, however many jobs are running."""

MIN_INTERVAL_S = 60
"""Minimum interval between two refreshes of a job."""

RUNTIME_SHARE = 0.05
"""Interval between two refreshes of a job, as a share of its duration."""

MAX_INTERVAL_S = 1800

SILENT_FACTOR = 4
"""How many times as long as before a job waits if no host has sent a sample meanwhile, `MAX_INTERVAL_S` at most."""

_JOBS_PER_READ = 16

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RefreshResult:
    """Result of one step: number of examined jobs, ids of the updated ones, number of jobs still due."""

    examined: int = 0
    updated: list[int] = field(default_factory=list)
    due: int = 0


@dataclass(frozen=True, slots=True)
class RefreshedJob:
    """The values to store for a running job, all computed from one read of its samples."""

    job: Job
    footprint: dict[str, float]
    judgement: Judgement


@dataclass(slots=True)
class _LastRefresh:
    """What tells whether there is anything new about a job: `heard_s` of its hosts, as `MetricData.heard_s` has it."""

    cluster: str
    sub_cluster: str
    hosts: tuple[str, ...]
    heard_s: int | None
    interval_s: int
    wait_s: int
    due_s: int
    """When the job is refreshed even if there is no new sample."""


class FootprintRefresher:
    """Refreshes footprint and judgement of running jobs, a few per step. Not thread-safe."""

    def __init__(
        self,
        running_jobs: RunningJobs,
        metric_data: MetricData,
        clusters: ClusterRegistry,
        judge: Judge,
        *,
        cpu_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._running_jobs = running_jobs
        self._metric_data = metric_data
        self._clusters = clusters
        self._judge = judge
        self._cpu_s = cpu_s
        self._due: list[tuple[int, int]] = []  # (when, id), a heap
        self._starts: dict[int, int] = {}  # running jobs by id, as of the last listing
        self._last: dict[int, _LastRefresh] = {}
        self._listed_s: int | None = None
        self._credit_s = 0.0

    def step(
        self, *, now_s: int, budget_s: float = STEP_BUDGET_S, stopping: Callable[[], bool] = lambda: False
    ) -> RefreshResult:
        """Refresh jobs that are due until `budget_s` of processor time is used up.

        Time over the budget, because of one large job, is subtracted from the next steps. With a positive budget at
        least one job is examined. Jobs whose store is unavailable are retried at their next turn.
        """
        result = RefreshResult()
        self._credit_s = min(self._credit_s + budget_s, budget_s)
        begin_s = self._cpu_s()
        self._list_running(now_s)
        while self._credit_s - (self._cpu_s() - begin_s) > 0 and not stopping():
            ids = self._pop_due(now_s)
            if not ids:
                break
            self._refresh(ids, now_s, result, lambda: self._cpu_s() - begin_s >= self._credit_s or stopping())
        self._credit_s -= self._cpu_s() - begin_s
        result.due = sum(1 for due_s, _ in self._due if due_s <= now_s)
        return result

    def _list_running(self, now_s: int) -> None:
        """List the running jobs once a minute, and at once if the clock was set back."""
        if self._listed_s is not None and 0 <= now_s - self._listed_s < MIN_INTERVAL_S:
            return
        self._listed_s = now_s
        before, self._starts = self._starts, self._running_jobs.start_times()
        self._due = [
            (due_s, id_) for due_s, id_ in self._due if id_ in self._starts and due_s <= now_s + MAX_INTERVAL_S
        ]
        self._last = {id_: last for id_, last in self._last.items() if id_ in self._starts}
        planned = {id_ for _, id_ in self._due}
        new = [id_ for id_ in self._starts if id_ not in planned]
        # a new job is due at once; known jobs without a turn lost it because the clock was set back
        self._due += [(0 if id_ in before else self._starts[id_], id_) for id_ in new]
        heapq.heapify(self._due)

    def _pop_due(self, now_s: int) -> list[int]:
        """The next jobs that are due; those without news get their next turn."""
        ids: list[int] = []
        while self._due and self._due[0][0] <= now_s and len(ids) < _JOBS_PER_READ:
            id_ = self._due[0][1]
            if self._has_news(id_, now_s):
                heapq.heappop(self._due)
                ids.append(id_)
            else:
                last = self._last[id_]
                heapq.heapreplace(self._due, (min(now_s + last.interval_s, last.due_s), id_))
        return ids

    def _has_news(self, id_: int, now_s: int) -> bool:
        last = self._last.get(id_)
        if last is None or last.heard_s is None or not last.due_s - MAX_INTERVAL_S <= now_s < last.due_s:
            return True  # also if the clock was set back
        return self._metric_data.heard_s(last.cluster, last.sub_cluster, last.hosts) != last.heard_s

    def _plan(self, job: Job, now_s: int) -> None:
        """Give a job its next turn; called before its samples are read, so that none which come meanwhile is missed."""
        interval_s, before = refresh_interval_s(job.duration), self._last.get(job.id)
        heapq.heappush(self._due, (now_s + interval_s, job.id))
        hosts = before.hosts if before else tuple(resource.hostname for resource in job.resources)
        heard_s = self._metric_data.heard_s(job.cluster, job.sub_cluster, hosts)
        wait_s = interval_s
        if before is not None and before.heard_s == heard_s:
            wait_s = min(max(SILENT_FACTOR * before.wait_s, interval_s), MAX_INTERVAL_S)
        self._last[job.id] = _LastRefresh(
            job.cluster, job.sub_cluster, hosts, heard_s, interval_s, wait_s, now_s + wait_s
        )

    def _refresh(self, ids: list[int], now_s: int, result: RefreshResult, enough: Callable[[], bool]) -> None:
        turn = {id_: at for at, id_ in enumerate(ids)}
        jobs = sorted(self._running_jobs.by_ids(ids, now_s=now_s), key=lambda job: turn[job.id])
        written: list[RefreshedJob] = []
        for at, job in enumerate(jobs):
            if at and enough():
                for left in jobs[at:]:
                    heapq.heappush(self._due, (now_s, left.id))
                break
            result.examined += 1
            self._plan(job, now_s)
            refreshed = self._refresh_or_none(job, now_s)
            if refreshed is not None:
                written.append(refreshed)
        if written:
            self._running_jobs.update_footprints(
                {refreshed.job.id: refreshed.footprint for refreshed in written if refreshed.footprint}
            )
            self._judge.record((refreshed.job, refreshed.judgement) for refreshed in written)
            result.updated += [refreshed.job.id for refreshed in written if refreshed.footprint]

    def _refresh_or_none(self, job: Job, now_s: int) -> RefreshedJob | None:
        """The values to store for a job, None if they cannot be computed; a defect affects no other job."""
        if job.is_unusable:  # logged when it was read
            return None
        try:
            return self._compute(job, now_s)
        except Unavailable:  # the store of this job; other jobs may have other stores
            return None
        except BackendError as error:
            logger.warning("footprint not refreshed job=%d cluster=%s reason=%s", job.job_id, job.cluster, error)
            return None
        except Exception:
            logger.exception("refreshing a footprint met a defect job=%d cluster=%s", job.job_id, job.cluster)
            return None

    def _compute(self, job: Job, now_s: int) -> RefreshedJob | None:
        """Present footprint and judgement, from one read of the job's samples."""
        try:
            sub_cluster = self._clusters.sub_cluster_of_job(job)
        except NotFound:  # its subcluster is unknown
            return None
        wanted = {name for name, config in sub_cluster.all_metrics.items() if config.footprint}
        wanted |= judged_metrics(sub_cluster.metrics).keys()
        data = self._metric_data.read_from_store(
            job, sorted(wanted), lambda metric: judged_scopes(job, metric), now_s=now_s, limits=VIEW_LIMITS
        )
        found = compute_footprint(compute_job_statistics(job, data, sub_cluster), sub_cluster)
        return RefreshedJob(job, found, self._judge.judge_data(job, data, now_s=now_s))


def refresh_interval_s(duration_s: int) -> int:
    """Seconds until the next refresh of a job with this duration."""
    return int(min(max(MIN_INTERVAL_S, duration_s * RUNTIME_SHARE), MAX_INTERVAL_S))
