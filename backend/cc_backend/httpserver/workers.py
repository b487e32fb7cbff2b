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
        self._lock = threading.Lock()
        # One lock for each idle thread, which sleeps in its `acquire`. The thread that has worked last is woken first:
        # its memory is still in the cache of a processor, while a `Condition` would wake all threads in turn.
        self._idle: list[threading.Lock] = []
        self._stopped = False
        self._rest = max_running / _UNKNOWN_CALLERS_SHARE - 1
        for number in range(threads):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def submit(self, work: WorkItem) -> None:
        """Queue work. If the queue is full, an item of the sender with most items is refused, maybe this one."""
        with self._lock:
            refused = self._waiting.add(work)
            woken = self._idle.pop() if self._idle else None
        if woken is not None:
            woken.release()
        if refused is not None:
            refused.refuse()

    def stop(self) -> None:
        """End each thread once the queue is empty; does not block."""
        with self._lock:
            self._stopped = True
            idle, self._idle = self._idle, []
        for woken in idle:
            woken.release()

    def _run(self) -> None:
        wake_up = threading.Lock()
        wake_up.acquire()
        while (work := self._next(wake_up)) is not None:
            began_s = time.thread_time()
            try:
                work.run()
            except Exception:  # the thread must go on
                logger.exception("a worker failed because of a bug")
            if not work.sender.is_known:  # while resting the item counts as running, so a flood cannot use more threads
                time.sleep(min((time.thread_time() - began_s) * self._rest, _MAX_REST_S))
            with self._lock:
                self._waiting.finish_item(work)
            del work  # else it would keep its request in memory until the next one

    def _next(self, wake_up: threading.Lock) -> WorkItem | None:
        """The next item, None at the end; sleeps until `wake_up` is released while there is none."""
        while True:
            with self._lock:
                work = self._waiting.next_item()
                if work is not None or self._stopped:
                    return work
                self._idle.append(wake_up)
            wake_up.acquire()


def lane_sizes(threads: int) -> dict[Lane, int]:
    """Lane -> threads: half of `threads` for ingest, half for general requests, at least 1 each; others extra."""
    ingest = max(threads // 2, 1)
    return {Lane.INGEST: ingest, Lane.GENERAL: max(threads - ingest, 1), Lane.MONITORING: 2, Lane.ADMISSION: 2}
