"""One cycle: look at Slurm, write down what follows, send what waits."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Optional, Pattern, Sequence, Tuple, TypeVar

from cc_common.delivery import Outcome
from cc_common.errors import HostlistError
from cc_common.jobevents import JobStop
from cc_common.nodestate import NodeStateReport
from cc_slurm_adapter.delivery import Delivered, Delivery
from cc_slurm_adapter.errors import SlurmError
from cc_slurm_adapter.journal import Journal, Run
from cc_slurm_adapter.mapping import GpuRule, Mapped, Mapper, node_report
from cc_slurm_adapter.model import JobDetails, RunKey, SlurmJob, SlurmNode
from cc_slurm_adapter.settings import SlurmSettings
from cc_slurm_adapter.sources.slurm import Slurm
from cc_slurm_adapter.topology import LazyTopology
from cc_slurm_adapter.verdict import Verdict, verdict_of
from cc_slurm_adapter.watcher import Action, Look, SeenRun, StartRun, StopRun, decide, missed

logger = logging.getLogger(__name__)

T = TypeVar("T")

TOPOLOGY = "topology"
_WINDOW = "accounting until"
_DAY_S = 86_400
_FORGET_PERIOD_S = 3600.0


@dataclass(frozen=True)
class Site:
    """What does not change while the adapter runs; `slurm_cluster` is Slurm's name, `cluster` the one in events."""

    cluster: str
    slurm_cluster: str
    slurm: SlurmSettings
    gpu_rules: Tuple[GpuRule, ...] = ()
    ignored: Optional[Pattern[str]] = None
    first_begin_s: Optional[int] = None


class Adapter:
    """Does the cycles for one cluster. Its methods raise JournalError; whatever Slurm or the network do is logged."""

    def __init__(
        self,
        site: Site,
        slurm: Slurm,
        journal: Journal,
        delivery: Delivery,
        *,
        topology: LazyTopology,
        send_nodes: Callable[[NodeStateReport], Outcome],
        clock: Callable[[], float],
    ) -> None:
        self._site = site
        self._slurm = slurm
        self._journal = journal
        self._delivery = delivery
        self._topology = topology
        self._send_nodes = send_nodes
        self._clock = clock
        self._nodes: Sequence[SlurmNode] = ()
        self._forgotten_s: Optional[float] = None
        self._failing: Dict[str, str] = {}
        self.node_states_sent = 0

    @property
    def failing(self) -> Mapping[str, str]:
        """What of the last look failed, with the reason."""
        return self._failing

    def look(self) -> Tuple[int, int]:
        """Looks at Slurm and writes down what follows; the numbers of starts and stops found."""
        now_s = int(self._clock())
        nodes = self._try("nodes", self._slurm.nodes)
        self._nodes = nodes or self._nodes
        queue = self._try("queue", self._slurm.queue)
        known = self._known(queue)
        accounting, window_end_s = self._accounting(known, queue, now_s)
        known.update({run.key: run for run in self._runs(accounting or ())})
        seen = Look(queue, accounting, now_s, self._site.slurm.accounting, int(self._site.slurm.grace_s))
        actions = decide(self._site.cluster, known.values(), seen)
        found = self._write_down(actions, now_s, window_end_s if queue is not None else None)
        if nodes and self._site.slurm.node_states:
            self._tell_nodes(node_report(self._site.cluster, nodes, queue, self._site.ignored))
        return found

    def deliver(self) -> Delivered:
        """Sends what waits and is due."""
        return self._delivery.deliver()

    def tidy(self) -> None:
        """Forgets, now and then, what can never be seen again."""
        now_s = self._clock()
        if self._forgotten_s is None or not 0 <= now_s - self._forgotten_s < _FORGET_PERIOD_S:
            self._forgotten_s = now_s
            gone = self._journal.forget(int(now_s - self._site.slurm.max_span_s - self._site.slurm.overlap_s) - _DAY_S)
            if gone:
                logger.info("forgot runs=%d", gone)

    def _known(self, queue: Optional[Sequence[SlurmJob]]) -> Dict[RunKey, Run]:
        runs = self._journal.open_runs(self._site.cluster) + self._runs(queue or ())
        return {run.key: run for run in runs}

    def _runs(self, jobs: Sequence[SlurmJob]) -> List[Run]:
        return self._journal.runs_of(self._site.cluster, [job.job_id for job in jobs])

    def _accounting(
        self, known: Mapping[RunKey, Run], queue: Optional[Sequence[SlurmJob]], now_s: int
    ) -> Tuple[Optional[List[SlurmJob]], Optional[int]]:
        """The runs of the window and those of missed jobs; None if either could not be had."""
        if not self._site.slurm.accounting:
            return None, None
        begin_s = self._window_begin_s(now_s)
        runs = self._try("accounting", lambda: self._slurm.accounting(begin_s, now_s + 1))
        if runs is None:
            return None, None
        more = self._try(
            "accounting of missed jobs",
            lambda: self._slurm.accounting_of(missed(known.values(), queue) if queue is not None else []),
        )
        return (None if more is None else [*runs, *more]), now_s

    def _window_begin_s(self, now_s: int) -> int:
        """Where the last good window ended, less the overlap; at most so far back as the settings say."""
        noted = self._journal.note(f"{_WINDOW} {self._site.cluster}")
        last_s = int(noted) if noted is not None else self._site.first_begin_s
        earliest_s = now_s - int(self._site.slurm.max_span_s)
        if last_s is None:
            return earliest_s
        return max(earliest_s, min(last_s, now_s) - int(self._site.slurm.overlap_s))

    def _write_down(self, actions: Sequence[Action], now_s: int, window_end_s: Optional[int]) -> Tuple[int, int]:
        starts = [action for action in actions if isinstance(action, StartRun)]
        details = (self._try("details", self._slurm.details) if starts else None) or {}
        mapper = self._mapper(now_s) if starts else None
        written_starts = written_stops = 0
        with self._journal.together():
            unknown = set()
            for action in actions:
                if isinstance(action, SeenRun):
                    self._journal.seen(action.key, action.absent_since, action.absences)
                elif isinstance(action, StartRun) and mapper is not None:
                    if self._start(action, mapper, details, now_s):
                        written_starts += 1
                    else:
                        unknown.add(action.key)
                elif isinstance(action, StopRun) and action.key not in unknown:
                    self._stop(action, now_s)
                    written_stops += 1
            if window_end_s is not None:
                self._journal.set_note(f"{_WINDOW} {self._site.cluster}", str(window_end_s))
        return written_starts, written_stops

    def _mapper(self, now_s: int) -> Mapper:
        topology = self._topology.get(now_s)
        self._note(TOPOLOGY, self._topology.problem)
        geometry = {node.name: node for node in self._nodes}
        return Mapper(self._site.cluster, topology, geometry, self._site.gpu_rules, self._site.ignored)

    def _start(self, action: StartRun, mapper: Mapper, details: Mapping[int, JobDetails], now_s: int) -> bool:
        job = action.job
        try:
            mapped: Optional[Mapped] = mapper.start(job, details.get(job.job_id))
        except HostlistError as error:
            logger.error("job left out job=%d start=%d reason=%r", job.job_id, job.start_time, str(error))  # noqa: TRY400 the list is Slurm's
            return False
        if mapped is None:
            return False
        if mapped.problems:
            logger.info("told incompletely job=%d reason=%r", job.job_id, "; ".join(mapped.problems))
        run = Run(action.key, job.submit_time, job.restart_count)
        self._journal.started(run, mapped.event.to_document(), now_s=now_s)
        return True

    def _stop(self, action: StopRun, now_s: int) -> None:
        key = action.key
        if action.evidence == "absence":
            logger.warning("job vanished job=%d start=%d: taken for failed", key.job_id, key.start_time)
        event = JobStop(key.job_id, action.stop_time, action.state, key.cluster, key.start_time)
        self._journal.ended(key, action.stop_time, event.to_document(), now_s=now_s)

    def _tell_nodes(self, report: NodeStateReport) -> None:
        self.node_states_sent = 0
        outcome = self._send_nodes(report)
        taken = verdict_of(outcome) is Verdict.DONE
        self._note("node states", "" if taken else outcome.message)
        if taken:
            self.node_states_sent = len(report.nodes)

    def _try(self, what: str, ask: Callable[[], T]) -> Optional[T]:
        try:
            answer = ask()
        except SlurmError as error:
            self._note(what, str(error))
            return None
        self._note(what, "")
        return answer

    def _note(self, what: str, problem: str) -> None:
        """Logs a problem when it comes, changes and goes."""
        before = self._failing.get(what, "")
        if problem:
            self._failing[what] = problem
            if problem != before:
                logger.warning("cannot get %s reason=%r", what, problem)
        elif self._failing.pop(what, ""):
            logger.info("got %s again", what)
