"""Threads that run the application, in lanes, so that one kind of request never waits for all of another."""

import logging
import threading
import time
from enum import Enum

from cc_backend.httpserver.fair_queue import FairQueue, WorkItem

_UNKNOWN_CALLERS_SHARE = 0.2
"""Of one processor, at most, is what all strangers in a lane take: the event loop and known callers need the rest."""

_MAX_REST_S = 0.2  # what takes a stranger long is a login, whose hash is computed beside the interpreter


logger = logging.getLogger(__name__)


class Lane(Enum):
    """What waits for what: requests of one lane wait for each other only."""

    MONITORING = "monitoring"  # health check and counters: short, and most needed when all else is slow
    INGEST = "ingest"
    GENERAL = "general"
    ADMISSION = "admission"  # not requests: whether a caller may send a body


class WorkerPool:
    """A number of threads; of known callers and of strangers at most `max_waiting` wait for them, each in its turn.

    A thread that worked for a stranger rests so long that all of these together keep to their share.
    """

    def __init__(self, name: str, threads: int, *, max_waiting: int, max_running: int) -> None:
        self._waiting = FairQueue(max_waiting=max_waiting, max_running=max_running)
        self._changed = threading.Condition(threading.Lock())
        self._stopped = False
        self._rest = max_running / _UNKNOWN_CALLERS_SHARE - 1
        for number in range(threads):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def submit(self, work: WorkItem) -> None:
        """Have the work done, or refused: this one or what another sender has waiting, if he has more."""
        with self._changed:
            refused = self._waiting.add(work)
            self._changed.notify()
        if refused is not None:
            refused.refuse()

    def stop(self) -> None:
        """Let each thread end when nothing waits any more; does not wait."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            began_s = time.thread_time()
            try:
                work.run()
            except Exception:  # there is no other thread in the place of this one
                logger.exception("a worker met a defect")
            if not work.sender.is_known:  # the rest keeps its place, so a flood finds as many resting as may run
                time.sleep(min((time.thread_time() - began_s) * self._rest, _MAX_REST_S))
            with self._changed:
                self._waiting.finish_item(work)
            del work  # or it would hold its request until the next one comes

    def _next(self) -> WorkItem | None:
        with self._changed:
            while (work := self._waiting.next_item()) is None and not self._stopped:
                self._changed.wait()
            return work


def lane_sizes(threads: int) -> dict[Lane, int]:
    """Threads of each lane: half of those for requests take samples, at least one each; the others come on top."""
    ingest = max(threads // 2, 1)
    return {Lane.INGEST: ingest, Lane.GENERAL: max(threads - ingest, 1), Lane.MONITORING: 2, Lane.ADMISSION: 2}
