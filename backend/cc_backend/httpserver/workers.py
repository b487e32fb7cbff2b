"""Threads that run the application, in lanes, so that one kind of request never waits for all of another."""

import threading
from collections.abc import Callable
from enum import Enum
from queue import SimpleQueue


class Lane(Enum):
    """What waits for what: requests of one lane wait for each other only."""

    MONITORING = "monitoring"  # health check and counters: short, and most needed when all else is slow
    INGEST = "ingest"
    GENERAL = "general"
    ADMISSION = "admission"  # not requests: whether a caller may send a body


class Workers:
    """A number of threads with one queue; at most `max_queued` wait in it."""

    def __init__(self, name: str, threads: int, *, max_queued: int) -> None:
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._max_queued = max_queued
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[], None]) -> bool:
        """Whether the work was taken; it must not raise."""
        if self._queue.qsize() >= self._max_queued:
            return False
        self._queue.put(work)
        return True

    def stop(self) -> None:
        """Let each thread end after its present work; does not wait."""
        for _ in self._threads:
            self._queue.put(None)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
            del work  # or it would hold its request until the next one comes


def lane_sizes(threads: int) -> dict[Lane, int]:
    """Threads of each lane: half of those for requests take samples, at least one each; the others come on top."""
    ingest = max(threads // 2, 1)
    return {Lane.INGEST: ingest, Lane.GENERAL: max(threads - ingest, 1), Lane.MONITORING: 2, Lane.ADMISSION: 2}
