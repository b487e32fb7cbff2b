"""Is every part well? Looked at each second in a thread of its own; whoever asks is told what the last look found."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

CHECK_INTERVAL_S = 1.0
STALE_S = 5.0
"""A look that takes longer is a fault itself: most likely a disk that does not answer."""

logger = logging.getLogger(__name__)


class HealthCheck(NamedTuple):
    """A part of a program, and how its faults are found.

    `look` looks, logs faults once when they begin and once when they end, and may hang where a disk hangs. `faults`
    says what is wrong as far as is known, waits for nothing, and names no paths: anybody may read it.
    """

    name: str
    check: Callable[[], object]
    faults: Callable[[], list[str]]


class HealthMonitor:
    """The faults of some parts."""

    def __init__(self, checks: Sequence[HealthCheck], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._checks = checks
        self._monotonic = monotonic
        self._broken: frozenset[str] = frozenset()  # parts that could not be looked at
        self._checking: tuple[str, float] | None = None  # at which part, since when
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look at all parts each second from now on."""
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, unless it hangs in a look: then it ends with the process."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(CHECK_INTERVAL_S)

    def faults(self) -> list[str]:
        """What is wrong now; empty if all is well. Costs next to nothing, waits for nothing."""
        found = [fault for part in self._checks for fault in part.faults()]
        found += [f"{name} cannot be looked at; the log says why" for name in sorted(self._broken)]
        looking = self._checking
        if looking is not None and self._monotonic() - looking[1] > STALE_S:
            found.append(f"{looking[0]} does not answer: look at its disk")
        return found

    def check_all(self) -> None:
        """Look at all parts once."""
        for part in self._checks:
            self._checking = part.name, self._monotonic()
            try:
                part.check()
            except Exception:  # a defect in a look must not end the looking
                if part.name not in self._broken:
                    logger.exception("looking at %s met a defect", part.name)
                self._broken |= {part.name}
            else:
                self._broken -= {part.name}
            finally:
                self._checking = None

    def _run(self) -> None:
        while not self._stopping.wait(CHECK_INTERVAL_S):
            self.check_all()
