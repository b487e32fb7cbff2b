"""Sending the events of the journal to the backend: in order for each job, and independent of other jobs.

Events of different jobs are sent in parallel, and the outcomes of a batch are recorded in one transaction, which is
several times faster. After a kill some may be sent twice; the backend reports that, and they count as accepted.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Callable, Deque, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from cc_common.delivery import Backoff, BatchSender, DeliveryOutcome, OutcomeKind
from cc_slurm_adapter.journal import PARKED, SENT, START, STOP, Journal, StoredEvent
from cc_slurm_adapter.response_decision import DeliveryDecision, decision_of

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, MAX_PAUSE_S = 2.0, 300.0
MAX_FAILURES_IN_A_ROW = 5
MAX_JOB_UNKNOWN = 5
_EVENTS_PER_WORKER = 8
_MAX_POSTPONED = 500
_LOG_PERIOD_S = 300.0


@dataclass
class SentCounts:
    """The numbers of events that one pass sent and parked."""

    starts: int = 0
    stops: int = 0
    parked: int = 0


class EventDelivery:
    """Sends the events that wait in the journal; `senders` has a sender for each kind of event.

    `clock` is a monotonic clock in seconds, so that pauses do not depend on the wall clock. Pauses are not recorded: a
    new process sends everything at once.
    """

    def __init__(
        self,
        journal: Journal,
        senders: Mapping[str, BatchSender],
        *,
        clock: Callable[[], float],
        should_continue: Callable[[], bool] = lambda: True,
        workers: int = 1,
        source: Optional[random.Random] = None,
    ) -> None:
        self._journal = journal
        self._senders = senders
        self._clock = clock
        self._should_continue = should_continue
        self._pool = ThreadPoolExecutor(workers, "send") if workers > 1 else None
        self._batch = 1 if self._pool is None else workers * _EVENTS_PER_WORKER
        self._random = source or random.SystemRandom()
        self._backoff = Backoff(self._random, first_s=FIRST_PAUSE_S, max_s=MAX_PAUSE_S)
        self._logged: Dict[str, float] = {}
        self._due_s: Dict[int, float] = {}
        self._waiting_for_other_run: Set[int] = set()
        self.problem = ""

    def wait_s(self) -> Optional[float]:
        """Seconds until an event is due; None if none waits."""
        now_s = self._clock()
        dues = [self._due_s.get(number, 0.0) for number in self._journal.oldest_waiting()]
        return max(self._backoff.wait_s(now_s), min(dues) - now_s, 0.0) if dues else None

    def retry_now(self) -> None:
        """Make the next pass send without back-off."""
        self._backoff.retry_now()

    def deliver(self) -> SentCounts:
        """Send all waiting events once, until the backend is unavailable or `should_continue` returns false."""
        report = SentCounts()
        if self._backoff.wait_s(self._clock()) > 0:
            return report
        run = _DeliveryPass(self._journal.waiting())
        while self._should_continue():
            batch = self._next_batch(run, report)
            if not batch:
                return report
            outcomes = self._send(batch)
            with self._journal.transaction():
                decisions = [self._record_outcome(event, outcome, report) for event, outcome in zip(batch, outcomes)]
            for event, decision in zip(batch, decisions):
                run.record(event, decision)
            away = next((outcome for outcome in outcomes if _is_unavailable(outcome)), None)
            if (
                away is None and run.failures >= MAX_FAILURES_IN_A_ROW
            ):  # the fault is the backend's, not that of these jobs
                away = DeliveryOutcome(OutcomeKind.RETRY, f"the backend fails for {run.failures} events in a row")
            if away is not None:
                self._back_off(away)
                return report
        return report

    def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        for sender in self._senders.values():
            sender.close()

    def _next_batch(self, run: _DeliveryPass, report: SentCounts) -> List[StoredEvent]:
        """Events that can be sent in parallel: the next one of each job, unless it has to wait."""
        batch: List[StoredEvent] = []
        jobs: Set[Tuple[object, ...]] = set()
        put_off: List[StoredEvent] = []
        for event in run:
            job = event.key[:2]
            if job in run.held or event.key in run.held:
                continue
            if job in jobs:
                put_off.append(event)
            elif self._due_s.get(event.number, 0.0) > self._clock():
                run.held.add(event.key if event.number in self._waiting_for_other_run else job)
            elif event.kind == STOP and self._start_was_refused(event):
                self._park(event, "the start of this run was rejected", report)
            else:
                batch.append(event)
                jobs.add(job)
            if len(batch) >= self._batch or len(put_off) >= _MAX_POSTPONED:
                break
        run.put_back(put_off)
        return batch

    def _start_was_refused(self, stop: StoredEvent) -> bool:
        start = self._journal.start_event_of(stop.key)
        return start is not None and start[0] == PARKED

    def _send(self, batch: Sequence[StoredEvent]) -> List[Optional[DeliveryOutcome]]:
        """The outcome of each event; None for those not sent because the backend became unavailable."""
        away = threading.Event()

        def send(event: StoredEvent) -> Optional[DeliveryOutcome]:
            if away.is_set():
                return None
            outcome = self._senders[event.kind].send(event.body.encode())
            if _is_unavailable(outcome):
                away.set()
            return outcome

        return list(map(send, batch) if self._pool is None else self._pool.map(send, batch))

    def _record_outcome(
        self, event: StoredEvent, outcome: Optional[DeliveryOutcome], report: SentCounts
    ) -> Optional[DeliveryDecision]:
        """Record the outcome of an event; the decision, None if it was not sent or the backend is unavailable."""
        if outcome is None or _is_unavailable(outcome):
            return None
        decision = decision_of(outcome)
        self._record_response()
        self._due_s.pop(event.number, None)
        self._waiting_for_other_run.discard(event.number)
        if decision in (DeliveryDecision.ACCEPTED, DeliveryDecision.ALREADY_KNOWN):
            self._journal.set_event_state(
                event.number, SENT, "" if decision is DeliveryDecision.ACCEPTED else outcome.message
            )
            _count(event, report)
            logger.info("sent %s %s%s", event.kind, _run_label(event), _known_suffix(decision, outcome))
        elif decision is DeliveryDecision.REJECTED:
            self._park(event, outcome.message, report)
        elif decision is DeliveryDecision.JOB_UNKNOWN:
            return self._resend_start(event, outcome, report)
        else:
            self._journal.postpone(event.number, outcome.message)
            self._due_s[event.number] = self._clock() + self._pause_s(event.tries)
            if decision is DeliveryDecision.OTHER_RUN_OPEN:
                self._waiting_for_other_run.add(event.number)
            self._log(
                f"event {event.number}", "cannot send %s %s reason=%r", event.kind, _run_label(event), outcome.message
            )
        return decision

    def _resend_start(self, event: StoredEvent, outcome: DeliveryOutcome, report: SentCounts) -> DeliveryDecision:
        if event.tries >= MAX_JOB_UNKNOWN:
            self._park(event, outcome.message, report)
            return DeliveryDecision.REJECTED
        if event.tries:  # sending the start again did not help at once, it may need time
            self._due_s[event.number] = self._clock() + self._pause_s(event.tries)
        logger.warning(
            "the backend does not know %s: its start is sent again reason=%r", _run_label(event), outcome.message
        )
        with self._journal.transaction():
            self._journal.send_again(event.key)
            self._journal.postpone(event.number, outcome.message)
        return DeliveryDecision.JOB_UNKNOWN

    def _park(self, event: StoredEvent, reason: str, report: SentCounts) -> None:
        report.parked += 1
        self._journal.set_event_state(event.number, PARKED, reason)
        logger.error("parked %s %s reason=%r", event.kind, _run_label(event), reason)

    def _back_off(self, outcome: DeliveryOutcome) -> None:
        pause_s = self._backoff.record_failure(self._clock(), retry_after_s=outcome.retry_after_s)
        self.problem = outcome.message
        level = logging.ERROR if outcome.needs_operator else logging.WARNING
        topic = f"backend {outcome.message}" if outcome.needs_operator else "backend"
        self._log(topic, "cannot deliver reason=%r next_try_s=%.0f", outcome.message, pause_s, level=level)

    def _record_response(self) -> None:
        if self.problem:
            logger.info("delivering again waiting=%d", self._journal.counts().waiting)
            self._logged = {topic: at_s for topic, at_s in self._logged.items() if not topic.startswith("backend")}
        self._backoff.record_success()
        self.problem = ""

    def _pause_s(self, tries: int) -> float:
        return self._random.uniform(0.5, 1.0) * min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries, 20))

    def _log(self, topic: str, text: str, *values: object, level: int = logging.WARNING) -> None:
        now_s = self._clock()
        last_s = self._logged.get(topic)
        if last_s is None or not 0 <= now_s - last_s < _LOG_PERIOD_S:
            self._logged[topic] = now_s
            logger.log(level, text, *values)


class _DeliveryPass:
    """The events of one pass; `held` has the runs and jobs whose events have to wait for the next pass."""

    def __init__(self, events: Iterator[StoredEvent]) -> None:
        self._events = events
        self._first: Deque[StoredEvent] = deque()
        self.held: Set[Tuple[object, ...]] = set()
        self.failures = 0

    def __iter__(self) -> _DeliveryPass:
        return self

    def __next__(self) -> StoredEvent:
        return self._first.popleft() if self._first else next(self._events)

    def put_back(self, events: List[StoredEvent]) -> None:
        """Put events at the front of the next batch, in this order."""
        self._first.extendleft(reversed(events))

    def record(self, event: StoredEvent, decision: Optional[DeliveryDecision]) -> None:
        """Count failures in a row, and hold the run or job if it has to wait."""
        if decision is None:
            return
        self.failures = self.failures + 1 if decision is DeliveryDecision.RETRY_LATER else 0
        if decision is DeliveryDecision.OTHER_RUN_OPEN:  # it may wait for the stop of a later run of the same job
            self.held.add(event.key)
        elif decision in (DeliveryDecision.TOO_EARLY, DeliveryDecision.RETRY_LATER, DeliveryDecision.JOB_UNKNOWN):
            self.held.add(event.key[:2])


def _is_unavailable(outcome: Optional[DeliveryOutcome]) -> bool:
    return outcome is not None and decision_of(outcome) is DeliveryDecision.UNAVAILABLE


def _count(event: StoredEvent, report: SentCounts) -> None:
    if event.kind == START:
        report.starts += 1
    else:
        report.stops += 1


def _run_label(event: StoredEvent) -> str:
    return f"cluster={event.key.cluster} job={event.key.job_id} start={event.key.start_time}"


def _known_suffix(decision: DeliveryDecision, outcome: DeliveryOutcome) -> str:
    return f" known={outcome.message!r}" if decision is DeliveryDecision.ALREADY_KNOWN else ""
