"""Uptime log: periods in which the store did not run, to tell gaps of the store from gaps of a sender."""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

Downtime = tuple[int, int]
"""From when to when the store did not run: two times in Unix seconds."""

HEARTBEAT_TOLERANCE_S = 900
"""Seconds that may pass between two heartbeats; one is written each minute."""


class UptimeLog:
    """The downtimes of the last days, kept in the text file `runs` of the store's folder."""

    def __init__(self, directory: Path, *, now_s: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began_s = monotonic()
        self._path = directory / "runs"
        self._downtimes, alive_s = _read(self._path)
        # Each batch touches the segment in use, so its mtime is closer to the end of a run than the last heartbeat.
        # An mtime that lies further ahead was made by a clock that had jumped.
        latest_s = alive_s + HEARTBEAT_TOLERANCE_S if alive_s else math.inf
        changed_s = [_modified_s(path) for path in directory.glob("*.wal")]
        alive_s = max([alive_s, *(when_s for when_s in changed_s if when_s <= latest_s)])
        self.last_heartbeat_s = alive_s
        """Unix seconds of the last heartbeat before this start; 0 without any."""
        self._clock_at_start_s = self._started_s = now_s
        self._forget_before_s = 0

    def downtimes(self) -> list[Downtime]:
        """Periods before this start in which no store ran, oldest first."""
        latest = (self.last_heartbeat_s, self._started_s)
        is_one = 0 < latest[0] < latest[1] and latest[1] >= self._forget_before_s
        return [*self._downtimes, latest] if is_one else list(self._downtimes)

    def heartbeat(self, now_s: int, *, forget_before_s: int = 0) -> None:
        """Record that the store runs at `now_s` (trusted time); drop downtimes that ended before `forget_before_s`."""
        # a downtime that ends in the future was recorded by a clock that was wrong
        ended = [(from_s, min(to_s, now_s)) for from_s, to_s in self._downtimes if from_s < now_s]
        self._downtimes = [downtime for downtime in ended if downtime[1] >= forget_before_s]
        self._forget_before_s = forget_before_s
        # the end of the last downtime follows the trusted time, which may change until the clock is no longer in doubt
        self._started_s = min(self._clock_at_start_s, now_s - int(self._monotonic() - self._began_s))
        lines = [f"down {from_s} {to_s}" for from_s, to_s in self.downtimes()]
        temporary = self._path.with_suffix(".tmp")
        try:
            temporary.write_text("\n".join([*lines, f"alive {now_s}", ""]), "ascii")
            temporary.replace(self._path)
        except OSError as error:  # checks of the log and the snapshots report the disk fault
            logger.debug("file=%s is not written: %s", self._path, error.strerror)


def _read(path: Path) -> tuple[list[Downtime], int]:
    """Downtimes and the last heartbeat in a file; unreadable lines are skipped."""
    try:
        text = path.read_text("ascii", errors="replace")
    except OSError:
        return [], 0
    outages: list[Downtime] = []
    alive_s = 0
    for line in text.splitlines():
        match line.split():
            case ["down", begin, end] if begin.isdecimal() and end.isdecimal():
                outages.append((int(begin), int(end)))
            case ["alive", last] if last.isdecimal():
                alive_s = int(last)
    return outages, alive_s


def _modified_s(path: Path) -> int:
    try:
        return int(path.stat().st_mtime)
    except OSError:
        return 0
