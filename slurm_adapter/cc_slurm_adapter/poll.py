"""Polling Slurm: the starts and stops that follow from a poll are recorded in the journal in batches."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Pattern, Sequence, Tuple, TypeVar

from cc_common.errors import HostlistError
from cc_common.job_events import JobStop
from cc_common.node_states import NodeStateReport
from cc_slurm_adapter.decide import MissedPolls, SlurmSnapshot, StartRun, StopRun, decide, has_started, missing_runs
from cc_slurm_adapter.errors import SlurmError
from cc_slurm_adapter.event_mapping import GpuRule, MappedStart, StartEventMapper, make_node_report, topology_mismatches
from cc_slurm_adapter.journal import JobRun, Journal
from cc_slurm_adapter.settings import SlurmSettings
from cc_slurm_adapter.slurm_model import JobDetails, RunKey, SlurmJob, SlurmNode
from cc_slurm_adapter.sources.slurm import SlurmClient
from cc_slurm_adapter.topology import ClusterTopology, TopologyCache

logger = logging.getLogger(__name__)

T = TypeVar("T")

TOPOLOGY = "topology"
_ACCOUNTING_NOTE = "accounting until"
_DAY_S = 86_400
_PRUNE_PERIOD_S = 3600.0
_CHANGES_PER_TRANSACTION = 100
"""Changes per transaction: recorded events can be delivered while the rest is being processed."""
_SHOWN = 200
_MAX_SKIPPED_REMEMBERED = 1000


@dataclass(frozen=True)
class SiteConfig:
    """What is constant while the adapter runs; `slurm_cluster` is Slurm's name, `cluster` the one in events."""

    cluster: str
    slurm_cluster: str
    slurm: SlurmSettings
    gpu_rules: Tuple[GpuRule, ...] = ()
    ignored: Optional[Pattern[str]] = None
    first_begin_s: Optional[int] = None


class PollCounts(NamedTuple):
    """The numbers of starts and stops that were recorded."""

    starts: int
    stops: int


class SlurmPoller:
    """Polls one cluster and records the events that follow in the journal, from which another thread delivers them.

    Methods raise JournalError; errors of Slurm are logged. `on_recorded` is called whenever new events were recorded,
    which for a large cluster is long before the end of the poll.
    """

    def __init__(
        self,
        site: SiteConfig,
        slurm: SlurmClient,
        journal: Journal,
        *,
        topology: TopologyCache,
        report_nodes: Callable[[NodeStateReport], None],
        clock: Callable[[], float],
        on_recorded: Callable[[], None] = lambda: None,
    ) -> None:
        self._site = site
        self._slurm = slurm
        self._journal = journal
        self._topology = topology
        self._report_nodes = report_nodes
        self._clock = clock
        self._on_recorded = on_recorded
        self._nodes: Sequence[SlurmNode] = ()
        self._pruned_s: Optional[float] = None
        self._failing: Dict[str, str] = {}
        self._skipped_jobs: Dict[str, None] = {}
        self._mismatches: List[str] = []

    @property
    def failing(self) -> Mapping[str, str]:
        """What failed in the last poll, with the reason."""
        return self._failing

    def poll(self) -> Tuple[int, int]:
        """Poll Slurm and record the events that follow; the numbers of starts and stops."""
        now_s = int(self._clock())
        nodes = self._ask_slurm("nodes", self._slurm.nodes)
        self._nodes = nodes or self._nodes
        queue = self._ask_slurm("queue", self._slurm.queue)
        early = PollCounts(0, 0)
        known = self._known_runs(queue)
        if queue is not None and any(
            has_started(job) and _run_key(self._site.cluster, job) not in known for job in queue
        ):
            # New jobs are recorded at once: the accounting may be slow, or have days to report.
            early = self._record_changes(known, self._snapshot(queue, None, (), now_s, whole=False), now_s)
            known = self._known_runs(queue)
        accounting, asked_for = self._poll_accounting(known, queue, now_s)
        known.update({run.key: run for run in self._runs_of_jobs(accounting or ())})
        late = self._record_changes(known, self._snapshot(queue, accounting, asked_for, now_s), now_s)
        if accounting is not None and queue is not None:
            self._journal.set_note(f"{_ACCOUNTING_NOTE} {self._site.cluster}", str(now_s))
        if nodes and self._site.slurm.node_states:
            self._report_nodes(make_node_report(self._site.cluster, nodes, queue, self._site.ignored))
        return early.starts + late.starts, early.stops + late.stops

    def prune(self) -> None:
        """Remove, once per 3600 s, runs that Slurm can no longer report."""
        now_s = self._clock()
        if self._pruned_s is None or not 0 <= now_s - self._pruned_s < _PRUNE_PERIOD_S:
            self._pruned_s = now_s
            gone = self._journal.prune(int(now_s - self._site.slurm.max_span_s - self._site.slurm.overlap_s) - _DAY_S)
            if gone:
                logger.info("pruned runs=%d", gone)

    def _snapshot(
        self,
        queue: Optional[Sequence[SlurmJob]],
        accounting: Optional[Sequence[SlurmJob]],
        asked_for: Sequence[SlurmJob],
        now_s: int,
        *,
        whole: bool = True,
    ) -> SlurmSnapshot:
        slurm = self._site.slurm
        return SlurmSnapshot(queue, accounting, now_s, slurm.accounting, int(slurm.grace_s), asked_for, whole)

    def _known_runs(self, queue: Optional[Sequence[SlurmJob]]) -> Dict[RunKey, JobRun]:
        """All open runs, and all runs of jobs of which the queue has a run that is not open."""
        known = {run.key: run for run in self._journal.open_runs(self._site.cluster)}
        others = [job for job in queue or () if has_started(job) and _run_key(self._site.cluster, job) not in known]
        known.update({run.key: run for run in self._runs_of_jobs(others)})
        return known

    def _runs_of_jobs(self, jobs: Sequence[SlurmJob]) -> List[JobRun]:
        return self._journal.runs_of(self._site.cluster, [job.job_id for job in jobs])

    def _poll_accounting(
        self, known: Mapping[RunKey, JobRun], queue: Optional[Sequence[SlurmJob]], now_s: int
    ) -> Tuple[Optional[List[SlurmJob]], List[SlurmJob]]:
        """The runs that ended in the window, and the runs of missing jobs; None and [] if either is unavailable."""
        if not self._site.slurm.accounting:
            return None, []
        begin_s = self._window_begin_s(now_s)
        runs = self._ask_slurm("accounting", lambda: self._slurm.accounting(begin_s, now_s + 1))
        if runs is None:
            return None, []
        gone = missing_runs(known.values(), queue) if queue is not None else []
        since_s = min((run.key.start_time for run in gone), default=now_s)
        more = self._ask_slurm(
            "accounting of missed jobs",
            lambda: self._slurm.accounting_of_jobs(sorted({run.key.job_id for run in gone}), min(since_s, now_s - 1)),
        )
        return (None, []) if more is None else (runs, more)

    def _window_begin_s(self, now_s: int) -> int:
        """The end of the last successful window minus the overlap, `max_span_s` ago at the earliest."""
        recorded = self._journal.get_note(f"{_ACCOUNTING_NOTE} {self._site.cluster}")
        last_s = int(recorded) if recorded is not None else self._site.first_begin_s
        earliest_s = now_s - int(self._site.slurm.max_span_s)
        if last_s is None:
            return earliest_s
        return max(earliest_s, min(last_s, now_s) - int(self._site.slurm.overlap_s))

    def _record_changes(self, known: Mapping[RunKey, JobRun], snapshot: SlurmSnapshot, now_s: int) -> PollCounts:
        actions = decide(self._site.cluster, known.values(), snapshot)
        starts = [action.job for action in actions if isinstance(action, StartRun)]
        details: Mapping[int, JobDetails] = {}
        mapper: Optional[StartEventMapper] = None
        if starts:
            details = self._ask_slurm("details", self._slurm.job_details) or {}
            mapper = self._make_mapper(starts, now_s)
        starts_written = stops_written = 0
        left_out = set()
        for begin in range(0, len(actions), _CHANGES_PER_TRANSACTION):
            with self._journal.transaction():
                for action in actions[begin : begin + _CHANGES_PER_TRANSACTION]:
                    if isinstance(action, MissedPolls):
                        self._journal.record_missed_polls(action.key, action.absent_since, action.count)
                    elif isinstance(action, StartRun) and mapper is not None:
                        if self._record_start(action, mapper, details, now_s):
                            starts_written += 1
                        else:
                            left_out.add(action.key)
                    elif isinstance(action, StopRun) and action.key not in left_out:
                        self._record_stop(action, now_s)
                        stops_written += 1
            self._on_recorded()
        return PollCounts(starts_written, stops_written)

    def _make_mapper(self, jobs: Sequence[SlurmJob], now_s: int) -> StartEventMapper:
        topology = self._topology.get(now_s, [job.nodes for job in jobs])
        self._record_problem(TOPOLOGY, self._topology.problem)
        if not self._topology.problem:
            self._warn_of_mismatches(topology)
        geometry = {node.name: node for node in self._nodes}
        return StartEventMapper(self._site.cluster, topology, geometry, self._site.gpu_rules, self._site.ignored)

    def _warn_of_mismatches(self, topology: ClusterTopology) -> None:
        """Log the nodes that the cluster description lacks or contradicts, once and whenever they change."""
        ignored = self._site.ignored
        gaps = topology_mismatches(
            topology, [node for node in self._nodes if not (ignored and ignored.search(node.name))]
        )
        if gaps != self._mismatches:
            self._mismatches = gaps
            for text in gaps:
                logger.warning("topology does not fit Slurm's nodes: %s", text)

    def _record_start(
        self, action: StartRun, mapper: StartEventMapper, details: Mapping[int, JobDetails], now_s: int
    ) -> bool:
        job = action.job
        try:
            job_details = details.get(job.job_id)
            if job_details is not None and job_details.start_time not in (0, job.start_time):
                job_details = None  # it is of another run of the job
            mapped: Optional[MappedStart] = mapper.map_start(job, job_details)
        except HostlistError as error:
            self._log_skipped_job(job, str(error))
            return False
        except Exception as error:  # noqa: BLE001 an error with one job must not affect the others
            self._log_skipped_job(job, f"{type(error).__name__}: {error}")
            return False
        if mapped is None:
            return False
        if mapped.problems:
            logger.info("start event incomplete job=%d reason=%r", job.job_id, "; ".join(mapped.problems))
        run = JobRun(action.key, job.submit_time, job.restart_count, user=job.user)
        self._journal.record_start(run, mapped.event.to_document(), now_s=now_s)
        return True

    def _log_skipped_job(self, job: SlurmJob, reason: str) -> None:
        topic = f"job {job.job_id} start {job.start_time}"
        if topic not in self._skipped_jobs:  # it is seen again at every poll
            self._skipped_jobs[topic] = None
            logger.error("job skipped job=%d start=%d reason=%r", job.job_id, job.start_time, reason[:_SHOWN])
            if len(self._skipped_jobs) > _MAX_SKIPPED_REMEMBERED:
                self._skipped_jobs.pop(next(iter(self._skipped_jobs)))

    def _record_stop(self, action: StopRun, now_s: int) -> None:
        key = action.key
        if action.evidence == "missing":
            logger.warning("job vanished job=%d start=%d: recorded as failed", key.job_id, key.start_time)
        event = JobStop(key.job_id, action.stop_time, action.state, key.cluster, key.start_time)
        self._journal.record_stop(key, action.stop_time, event.to_document(), now_s=now_s)

    def _ask_slurm(self, what: str, command: Callable[[], T]) -> Optional[T]:
        try:
            result = command()
        except SlurmError as error:
            self._record_problem(what, str(error))
            return None
        self._record_problem(what, "")
        return result

    def _record_problem(self, what: str, problem: str) -> None:
        """Log a problem when it appears, changes and disappears."""
        before = self._failing.get(what, "")
        if problem:
            self._failing[what] = problem
            if problem != before:
                logger.warning("cannot get %s reason=%r", what, problem)
        elif self._failing.pop(what, ""):
            logger.info("got %s again", what)


def _run_key(cluster: str, job: SlurmJob) -> RunKey:
    return RunKey(cluster, job.job_id, job.start_time)
