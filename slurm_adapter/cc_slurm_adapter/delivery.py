"""Bringing the events of the journal to the backend: of each job in order, and no job waits for another.

Events of different jobs go out side by side, and what became of a batch of them is one change of the journal: a backend
takes several times as many then. After a kill some may go out twice, which the backend says and is taken for done.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Callable, Deque, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from cc_common.delivery import Kind, Outcome, Schedule, Sender
from cc_slurm_adapter.journal import PARKED, SENT, START, STOP, Journal, StoredEvent
from cc_slurm_adapter.response_decision import Verdict, verdict_of

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 300.0
MAX_FAILURES_IN_A_ROW = 5
MAX_MISSING = 5
_EACH = 8
_MOST_PUT_OFF = 500
_LOG_PERIOD_S = 300.0


@dataclass
class Delivered:
    """What one pass has done."""

    starts: int = 0
    stops: int = 0
    parked: int = 0


class Delivery:
    """Sends what waits in the journal; `senders` has one for each kind of event.

    `clock` gives seconds that never go back: pauses must not depend on what somebody sets the wall clock to. They are
    not kept in the journal, a new process tries everything at once.
    """

    def __init__(
        self,
        journal: Journal,
        senders: Mapping[str, Sender],
        *,
        clock: Callable[[], float],
        go_on: Callable[[], bool] = lambda: True,
        workers: int = 1,
        source: Optional[random.Random] = None,
    ) -> None:
        self._journal = journal
        self._senders = senders
        self._clock = clock
        self._go_on = go_on
        self._pool = ThreadPoolExecutor(workers, "send") if workers > 1 else None
        self._batch = 1 if self._pool is None else workers * _EACH
        self._random = source or random.SystemRandom()
        self._schedule = Schedule(self._random, first_s=FIRST_PAUSE_S, cap_s=LONGEST_PAUSE_S)
        self._logged: Dict[str, float] = {}
        self._due_s: Dict[int, float] = {}
        self._busy: Set[int] = set()
        self.problem = ""

    def wait_s(self) -> Optional[float]:
        """Seconds until something is due; None if nothing waits."""
        now_s = self._clock()
        dues = [self._due_s.get(number, 0.0) for number in self._journal.oldest_waiting()]
        return max(self._schedule.wait_s(now_s), min(dues) - now_s, 0.0) if dues else None

    def hurry(self) -> None:
        """Makes the next pass try at once."""
        self._schedule.hurry()

    def deliver(self) -> Delivered:
        """One pass over all that waits, until the backend is away or `go_on` says no."""
        report = Delivered()
        if self._schedule.wait_s(self._clock()) > 0:
            return report
        run = _Pass(self._journal.waiting())
        while self._go_on():
            batch = self._next_batch(run, report)
            if not batch:
                return report
            outcomes = self._send(batch)
            with self._journal.together():
                verdicts = [self._settle(event, outcome, report) for event, outcome in zip(batch, outcomes)]
            for event, verdict in zip(batch, verdicts):
                run.note(event, verdict)
            away = next((outcome for outcome in outcomes if _is_away(outcome)), None)
            if away is None and run.failures >= MAX_FAILURES_IN_A_ROW:  # not these jobs, the backend is ill
                away = Outcome(Kind.KEEP, "the backend fails for one event after the other")
            if away is not None:
                self._back_off(away)
                return report
        return report

    def close(self) -> None:
        """Closes the connections."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        for sender in self._senders.values():
            sender.close()

    def _next_batch(self, run: _Pass, report: Delivered) -> List[StoredEvent]:
        """Events that may go out side by side: the next one of each job, unless it has to wait."""
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
                run.held.add(event.key if event.number in self._busy else job)
            elif event.kind == STOP and self._start_was_refused(event):
                self._park(event, "the start of this run was refused", report)
            else:
                batch.append(event)
                jobs.add(job)
            if len(batch) >= self._batch or len(put_off) >= _MOST_PUT_OFF:
                break
        run.put_back(put_off)
        return batch

    def _start_was_refused(self, stop: StoredEvent) -> bool:
        start = self._journal.start_of(stop.key)
        return start is not None and start[0] == PARKED

    def _send(self, batch: Sequence[StoredEvent]) -> List[Optional[Outcome]]:
        """What the backend answers to each event; None for those that were left once it was away."""
        away = threading.Event()

        def send(event: StoredEvent) -> Optional[Outcome]:
            if away.is_set():
                return None
            outcome = self._senders[event.kind].send(event.body.encode())
            if _is_away(outcome):
                away.set()
            return outcome

        return list(map(send, batch) if self._pool is None else self._pool.map(send, batch))

    def _settle(self, event: StoredEvent, outcome: Optional[Outcome], report: Delivered) -> Optional[Verdict]:
        """Writes down what became of an event; None if nothing did."""
        if outcome is None or _is_away(outcome):
            return None
        verdict = verdict_of(outcome)
        self._note_answer()
        self._due_s.pop(event.number, None)
        self._busy.discard(event.number)
        if verdict in (Verdict.DONE, Verdict.KNOWN):
            self._journal.settle(event.number, SENT, "" if verdict is Verdict.DONE else outcome.message)
            _count(event, report)
            logger.info("sent %s %s%s", event.kind, _named(event), _known(verdict, outcome))
        elif verdict is Verdict.REFUSED:
            self._park(event, outcome.message, report)
        elif verdict is Verdict.MISSING:
            return self._missing(event, outcome, report)
        else:
            self._journal.postpone(event.number, outcome.message)
            self._due_s[event.number] = self._clock() + self._pause_s(event.tries)
            if verdict is Verdict.BUSY:
                self._busy.add(event.number)
            self._log(
                f"event {event.number}", "cannot send %s %s reason=%r", event.kind, _named(event), outcome.message
            )
        return verdict

    def _missing(self, event: StoredEvent, outcome: Outcome, report: Delivered) -> Verdict:
        if event.tries >= MAX_MISSING:
            self._park(event, outcome.message, report)
            return Verdict.REFUSED
        if event.tries:  # sending the start again did not help at once: it may need time
            self._due_s[event.number] = self._clock() + self._pause_s(event.tries)
        logger.warning(
            "the backend does not know %s: its start is sent again reason=%r", _named(event), outcome.message
        )
        with self._journal.together():
            self._journal.send_again(event.key)
            self._journal.postpone(event.number, outcome.message)
        return Verdict.MISSING

    def _park(self, event: StoredEvent, reason: str, report: Delivered) -> None:
        report.parked += 1
        self._journal.settle(event.number, PARKED, reason)
        logger.error("parked %s %s reason=%r", event.kind, _named(event), reason)

    def _back_off(self, outcome: Outcome) -> None:
        pause_s = self._schedule.failed(self._clock(), retry_after_s=outcome.retry_after_s)
        self.problem = outcome.message
        level = logging.ERROR if outcome.alarm else logging.WARNING
        topic = f"backend {outcome.message}" if outcome.alarm else "backend"
        self._log(topic, "cannot deliver reason=%r next_try_s=%.0f", outcome.message, pause_s, level=level)

    def _note_answer(self) -> None:
        if self.problem:
            logger.info("delivering again waiting=%d", self._journal.counts().waiting)
            self._logged = {topic: at_s for topic, at_s in self._logged.items() if not topic.startswith("backend")}
        self._schedule.succeeded()
        self.problem = ""

    def _pause_s(self, tries: int) -> float:
        return self._random.uniform(0.5, 1.0) * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries, 20))

    def _log(self, topic: str, text: str, *values: object, level: int = logging.WARNING) -> None:
        now_s = self._clock()
        last_s = self._logged.get(topic)
        if last_s is None or not 0 <= now_s - last_s < _LOG_PERIOD_S:
            self._logged[topic] = now_s
            logger.log(level, text, *values)


class _Pass:
    """The events of one pass, and which of them have to wait for the next one: `held` has runs and whole jobs."""

    def __init__(self, events: Iterator[StoredEvent]) -> None:
        self._events = events
        self._first: Deque[StoredEvent] = deque()
        self.held: Set[Tuple[object, ...]] = set()
        self.failures = 0

    def __iter__(self) -> _Pass:
        return self

    def __next__(self) -> StoredEvent:
        return self._first.popleft() if self._first else next(self._events)

    def put_back(self, events: List[StoredEvent]) -> None:
        """These come first in the next batch, in this order."""
        self._first.extendleft(reversed(events))

    def note(self, event: StoredEvent, verdict: Optional[Verdict]) -> None:
        """Counts failures in a row, and holds what has to wait."""
        if verdict is None:
            return
        self.failures = self.failures + 1 if verdict is Verdict.LATER else 0
        if verdict is Verdict.BUSY:  # what it waits for may be the end of a later run of the same job
            self.held.add(event.key)
        elif verdict in (Verdict.EARLY, Verdict.LATER, Verdict.MISSING):
            self.held.add(event.key[:2])


def _is_away(outcome: Optional[Outcome]) -> bool:
    return outcome is not None and verdict_of(outcome) is Verdict.AWAY


def _count(event: StoredEvent, report: Delivered) -> None:
    if event.kind == START:
        report.starts += 1
    else:
        report.stops += 1


def _named(event: StoredEvent) -> str:
    return f"cluster={event.key.cluster} job={event.key.job_id} start={event.key.start_time}"


def _known(verdict: Verdict, outcome: Outcome) -> str:
    return f" known={outcome.message!r}" if verdict is Verdict.KNOWN else ""
