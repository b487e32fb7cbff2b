"""Deciding which runs have started and stopped, from the known runs and a snapshot of Slurm; pure functions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple, Union

from cc_slurm_adapter.event_mapping import LIVE_STATES, end_state
from cc_slurm_adapter.journal import JobRun
from cc_slurm_adapter.slurm_model import RunKey, SlurmJob

MIN_MISSED_POLLS = 2
MAX_CLOCK_DIFFERENCE_S = 86_400
"""Maximum difference of clocks; a time that is further ahead is invalid."""


@dataclass(frozen=True)
class StartRun:
    """A run that has started."""

    key: RunKey
    job: SlurmJob


@dataclass(frozen=True)
class StopRun:
    """A run that has ended; `evidence` is controller, accounting or missing (from the polls)."""

    key: RunKey
    stop_time: int
    state: str
    evidence: str


@dataclass(frozen=True)
class MissedPolls:
    """An open run that is missing from `count` snapshots in a row; 0 if it is present again."""

    key: RunKey
    absent_since: Optional[int]
    count: int


Action = Union[StartRun, StopRun, MissedPolls]


@dataclass(frozen=True)
class SlurmSnapshot:
    """What one poll of Slurm returned; None for a list that is unavailable.

    `accounting` has the runs that ended in a window of time, `missing_job_records` those of the jobs that are missing:
    unknown runs among them are older, and may be of another job with the same id. `has_accounting` says whether the
    site has an accounting at all. `is_complete` is False before the accounting was polled: then no run is missing.
    """

    queue: Optional[Sequence[SlurmJob]]
    accounting: Optional[Sequence[SlurmJob]]
    now_s: int
    has_accounting: bool = True
    grace_s: int = 600
    missing_job_records: Sequence[SlurmJob] = ()
    is_complete: bool = True


def missing_runs(runs: Iterable[JobRun], queue: Sequence[SlurmJob]) -> List[JobRun]:
    """Open runs that are missing from this queue and an earlier one: the accounting is asked for them."""
    candidates = [run for run in runs if run.open and run.missed_polls]
    if not candidates:
        return []
    there: Set[Tuple[int, int]] = {(job.job_id, job.start_time) for job in queue if has_started(job)}
    return sorted((run for run in candidates if run.key[1:] not in there), key=lambda run: run.key)


def has_started(job: SlurmJob) -> bool:
    """Whether this run has nodes and a start time; pending jobs have estimates of both at most."""
    return bool(job.nodes and job.start_time) and (
        job.state != "PENDING" or end_state(job.state, job.flags) is not None
    )


def decide(cluster: str, known: Iterable[JobRun], snapshot: SlurmSnapshot) -> List[Action]:
    """The changes that follow from a snapshot, in the order of events: per job, older runs first, start before stop.

    A run starts when the controller reports it as running, or as ended. It ends when controller or accounting report
    that; or when it is missing from two snapshots of the controller and the accounting has no end of it for `grace_s`,
    or does not exist.
    """
    work = _Decision(cluster, known, snapshot)
    for job in sorted(snapshot.queue or (), key=_order):
        work.apply_queue_job(job)
    for job in sorted(snapshot.accounting or (), key=_order):
        work.apply_accounting_run(job, may_start=True)
    for job in sorted(snapshot.missing_job_records, key=_order):
        work.apply_accounting_run(job, may_start=False)
    if snapshot.queue is not None and snapshot.is_complete:
        work.apply_missing_runs()
    return work.actions()


def _order(job: SlurmJob) -> Tuple[int, int]:
    return job.job_id, job.start_time


class _Decision:
    def __init__(self, cluster: str, known: Iterable[JobRun], snapshot: SlurmSnapshot) -> None:
        self._cluster = cluster
        self._snapshot = snapshot
        self._runs: Dict[int, Dict[RunKey, JobRun]] = {}
        for run in known:
            self._runs.setdefault(run.key.job_id, {})[run.key] = run
        self._present: Set[RunKey] = set()
        self._starts: Dict[RunKey, StartRun] = {}
        self._stops: Dict[RunKey, StopRun] = {}
        self._missed_polls: List[MissedPolls] = []

    def apply_queue_job(self, job: SlurmJob) -> None:
        """Apply a job of the controller's queue."""
        if not has_started(job) or "RESIZING" in job.flags or self._is_ahead(job.start_time):
            self._mark_present(job)
            return
        run = self._find_run(job)
        final = end_state(job.state, job.flags)
        if run is not None:
            self._present.add(run.key)
            if final and run.open:
                self._stop(run, job.end_time or self._snapshot.now_s, final, "controller")
        elif final:
            if job.end_time:
                self._start_and_stop(job, final, "controller")
        elif job.state in LIVE_STATES and "CONFIGURING" not in job.flags and "COMPLETING" not in job.flags:
            # While nodes are configured the start time still changes; while it completes, only its end matters.
            self._present.add(self._start(job).key)

    def apply_accounting_run(self, job: SlurmJob, *, may_start: bool) -> None:
        """Apply a run of the accounting; `may_start` says whether an unknown run is started."""
        final = end_state(job.state, job.flags)
        if not has_started(job) or not job.end_time or not final or "RESIZING" in job.flags:
            return
        if self._is_ahead(job.start_time):
            return
        run = self._find_run(job)
        if run is None:
            # Without the queue the cores of a job would be lost that the controller still has.
            if may_start and self._snapshot.queue is not None:
                self._start_and_stop(job, final, "accounting")
        elif run.open:
            self._stop(run, job.end_time, final, "accounting")

    def apply_missing_runs(self) -> None:
        """Count a missed poll for each open run that the controller did not report."""
        now_s = self._snapshot.now_s
        for run in [run for runs in self._runs.values() for run in runs.values() if run.open]:
            if run.key in self._starts:
                continue
            if run.key in self._present:
                if run.missed_polls:
                    self._missed_polls.append(MissedPolls(run.key, None, 0))
                continue
            since_s, missed_polls = run.absent_since or now_s, run.missed_polls + 1
            if missed_polls >= MIN_MISSED_POLLS and self._has_waited_enough(since_s):
                self._stop(run, since_s, "failed", "missing")
            else:
                self._missed_polls.append(MissedPolls(run.key, since_s, missed_polls))

    def actions(self) -> List[Action]:
        """All changes in order. A run does not start while an older run of the same job is open: receivers reject it.

        They reject a start within an older run too, so a run that is only missing ends where the next one starts.
        """
        ordered: List[Tuple[int, int, int, Action]] = []
        for start in self._starts.values():
            older = self._runs[start.key.job_id].values()
            if any(run.open and run.key.start_time < start.key.start_time for run in older):
                self._stops.pop(start.key, None)
                continue
            ordered.append((start.key.job_id, start.key.start_time, 0, start))
        ordered += [
            (stop.key.job_id, stop.key.start_time, 1, self._cap_at_next_start(stop)) for stop in self._stops.values()
        ]
        ordered.sort(key=lambda item: item[:3])
        return [*(action for *_, action in ordered), *self._missed_polls]

    def _cap_at_next_start(self, stop: StopRun) -> StopRun:
        later = [key.start_time for key in self._runs[stop.key.job_id] if key.start_time > stop.key.start_time]
        return dataclasses.replace(stop, stop_time=min([stop.stop_time, *later]))

    def _find_run(self, job: SlurmJob) -> Optional[JobRun]:
        """The known run of a record.

        Its start time may have changed since it was recorded; then the submit time, which a requeue changes, decides.
        """
        runs = self._runs.get(job.job_id, {})
        exact = runs.get(RunKey(self._cluster, job.job_id, job.start_time))
        if exact is not None or not job.submit_time:
            return exact
        for run in runs.values():
            same = (
                run.submit_time == job.submit_time
                and _may_be_same_user(run.user, job.user)
                and (None in (run.restart_count, job.restart_count) or run.restart_count == job.restart_count)
            )
            if same and (run.end_time is None or run.end_time > job.start_time):
                return run
        return None

    def _start(self, job: SlurmJob) -> JobRun:
        key = RunKey(self._cluster, job.job_id, job.start_time)
        run = JobRun(key, job.submit_time, job.restart_count, user=job.user)
        self._runs.setdefault(job.job_id, {})[run.key] = run
        self._starts[run.key] = StartRun(run.key, job)
        return run

    def _stop(self, run: JobRun, stop_time: int, state: str, evidence: str) -> None:
        stop_time = max(self._snapshot.now_s if self._is_ahead(stop_time) else stop_time, run.key.start_time)
        self._stops[run.key] = StopRun(run.key, stop_time, state, evidence)
        self._runs[run.key.job_id][run.key] = dataclasses.replace(run, end_time=stop_time)

    def _start_and_stop(self, job: SlurmJob, state: str, evidence: str) -> None:
        self._stop(self._start(job), job.end_time, state, evidence)

    def _has_waited_enough(self, since_s: int) -> bool:
        if not self._snapshot.has_accounting:
            return True
        return self._snapshot.accounting is not None and self._snapshot.now_s - since_s >= self._snapshot.grace_s

    def _is_ahead(self, time_s: int) -> bool:
        return time_s > self._snapshot.now_s + MAX_CLOCK_DIFFERENCE_S

    def _mark_present(self, job: SlurmJob) -> None:
        """Mark runs as present whose job is being resized, or of which only the id could be parsed."""
        if "RESIZING" in job.flags:
            run = self._find_run(job)
            if run is not None:
                self._present.add(run.key)
        elif (not job.start_time or self._is_ahead(job.start_time)) and job.state != "PENDING":
            self._present.update(run.key for run in self._runs.get(job.job_id, {}).values() if run.open)


def _may_be_same_user(first: str, second: str) -> bool:
    """Whether two sources may mean the same user; a missing name or a numeric id matches any."""
    return first == second or any(not name or name.isdigit() for name in (first, second))
