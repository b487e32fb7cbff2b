"""Health checks: each part of a program is checked every second in a thread; requests get the last result."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

CHECK_INTERVAL_S = 1.0
STALE_S = 5.0
"""A check that takes longer is a fault itself: most likely a disk does not respond."""

logger = logging.getLogger(__name__)


class HealthCheck(NamedTuple):
    """The health check of one part of a program.

    `check` finds faults, logs each once when it begins and once when it ends, and may hang if a disk hangs. `faults`
    returns the faults that were found, never blocks, and contains no paths, since it is public.
    """

    name: str
    check: Callable[[], object]
    faults: Callable[[], list[str]]


class HealthMonitor:
    """Runs health checks and collects their faults."""

    def __init__(self, checks: Sequence[HealthCheck], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._checks = checks
        self._monotonic = monotonic
        self._broken: frozenset[str] = frozenset()  # parts whose check raised
        self._checking: tuple[str, float] | None = None  # name of the part being checked, since when
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread that runs all checks every second."""
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; if it hangs in a check, it ends with the process."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(CHECK_INTERVAL_S)

    def faults(self) -> list[str]:
        """The present faults, empty if there are none. Cheap, and never blocks."""
        found = [fault for part in self._checks for fault in part.faults()]
        found += [f"{name} cannot be checked; the log says why" for name in sorted(self._broken)]
        checking = self._checking
        if checking is not None and self._monotonic() - checking[1] > STALE_S:
            found.append(f"{checking[0]} does not respond: check its disk")
        return found

    def check_all(self) -> None:
        """Run all checks once."""
        for part in self._checks:
            self._checking = part.name, self._monotonic()
            try:
                part.check()
            except Exception:  # a bug in one check must not end the others
                if part.name not in self._broken:
                    logger.exception("the health check of %s failed because of a bug", part.name)
                self._broken |= {part.name}
            else:
                self._broken -= {part.name}
            finally:
                self._checking = None

    def _run(self) -> None:
        while not self._stopping.wait(CHECK_INTERVAL_S):
            self.check_all()
