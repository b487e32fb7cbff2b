"""Threads that run the application, in lanes, so that requests of one kind do not wait for those of another."""

import logging
import threading
import time
from enum import Enum

from cc_backend.httpserver.fair_queue import FairQueue, WorkItem

_UNKNOWN_CALLERS_SHARE = 0.2
"""Maximum share of one processor for all unknown callers of a lane."""

_MAX_REST_S = 0.2  # long work of unknown callers is a login, whose hash does not hold the interpreter


logger = logging.getLogger(__name__)


class Lane(Enum):
    """The lanes: requests of one lane wait for each other only."""

    MONITORING = "monitoring"  # health check and metrics: short, and needed most when all else is slow
    INGEST = "ingest"
    GENERAL = "general"
    ADMISSION = "admission"  # checks whether a caller may send a body


class WorkerPool:
    """A pool of threads with a fair queue; at most `max_waiting` items of known and of unknown callers wait.

    After work for an unknown caller a thread rests, so that all of these together keep to their share.
    """

    def __init__(self, name: str, threads: int, *, max_waiting: int, max_running: int) -> None:
        self._waiting = FairQueue(max_waiting=max_waiting, max_running=max_running)
        self._changed = threading.Condition(threading.Lock())
        self._stopped = False
        self._rest = max_running / _UNKNOWN_CALLERS_SHARE - 1
        for number in range(threads):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def submit(self, work: WorkItem) -> None:
        """Queue work. If the queue is full, an item of the sender with most items is refused, maybe this one."""
        with self._changed:
            refused = self._waiting.add(work)
            self._changed.notify()
        if refused is not None:
            refused.refuse()

    def stop(self) -> None:
        """End each thread once the queue is empty; does not block."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            began_s = time.thread_time()
            try:
                work.run()
            except Exception:  # the thread must go on
                logger.exception("a worker failed because of a bug")
            if not work.sender.is_known:  # while resting the item counts as running, so a flood cannot use more threads
                time.sleep(min((time.thread_time() - began_s) * self._rest, _MAX_REST_S))
            with self._changed:
                self._waiting.finish_item(work)
            del work  # else it would keep its request in memory until the next one

    def _next(self) -> WorkItem | None:
        with self._changed:
            while (work := self._waiting.next_item()) is None and not self._stopped:
                self._changed.wait()
            return work


def lane_sizes(threads: int) -> dict[Lane, int]:
    """Lane -> threads: half of `threads` for ingest, half for general requests, at least 1 each; others extra."""
    ingest = max(threads // 2, 1)
    return {Lane.INGEST: ingest, Lane.GENERAL: max(threads - ingest, 1), Lane.MONITORING: 2, Lane.ADMISSION: 2}
