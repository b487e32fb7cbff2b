"""Threads that run the application, in lanes, so that one kind of request never waits for all of another."""

import threading
from enum import Enum

from cc_backend.httpserver.turns import Turns, Work


class Lane(Enum):
    """What waits for what: requests of one lane wait for each other only."""

    MONITORING = "monitoring"  # health check and counters: short, and most needed when all else is slow
    INGEST = "ingest"
    GENERAL = "general"
    ADMISSION = "admission"  # not requests: whether a caller may send a body


class Workers:
    """A number of threads; of known callers and of strangers at most `max_waiting` wait for them, each in its turn."""

    def __init__(self, name: str, threads: int, *, max_waiting: int, strangers_at_once: int) -> None:
        self._turns = Turns(max_waiting=max_waiting, strangers_at_once=strangers_at_once)
        self._changed = threading.Condition(threading.Lock())
        self._stopped = False
        for number in range(threads):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def submit(self, work: Work) -> None:
        """Have the work done, or refused: this one or what another sender has waiting, if he has more."""
        with self._changed:
            refused = self._turns.add(work)
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
            work.run()
            with self._changed:
                self._turns.end(work)
            del work  # or it would hold its request until the next one comes

    def _next(self) -> Work | None:
        with self._changed:
            while (work := self._turns.take()) is None and not self._stopped:
                self._changed.wait()
            return work


def lane_sizes(threads: int) -> dict[Lane, int]:
    """Threads of each lane: half of those for requests take samples, at least one each; the others come on top."""
    ingest = max(threads // 2, 1)
    return {Lane.INGEST: ingest, Lane.GENERAL: max(threads - ingest, 1), Lane.MONITORING: 2, Lane.ADMISSION: 2}
