"""What time it is, for what cannot be taken back: no retention frees by a wall clock that jumped.

A wall clock can be wrong, and be set: a dead battery makes it begin in 1970 until NTP answers, a bad time server puts
it years ahead. Beside it runs the trusted time: the wall clock of an earlier moment, carried on by a clock that nobody
sets. While the two agree there is one time. When the wall clock jumps, or is at the start far from the last sign of
life on disk, it is in doubt. Then samples are taken by either of the two times, things are removed by the earlier one
only, and the times of the samples that arrive say which of the two is right.
"""

import logging
import statistics
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

JUMP_S = 900.0
"""What the wall clock may differ from the trusted time; it is followed so far, as NTP corrects it now and then."""

EVIDENCE_S = 600.0
"""For so long samples are listened to before the doubt is decided: every host can be heard by then."""

EARLIEST_S = 1_735_689_600
"""2025-01-01: no server of this program runs before."""

UNKNOWN_AHEAD_S = 10 * 366 * 86_400
"""How far ahead samples may be while the time is known to be later than any that is known."""

_MAX_HOSTS = 100_000

logger = logging.getLogger(__name__)


class TimeRange(NamedTuple):
    """The times that it may be now, the earliest and the latest; the same while the clock is not in doubt."""

    earliest_s: int
    latest_s: int


def boot_time_s() -> float:
    """Seconds since the machine was started, sleep included; nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class TrustedClock:
    """The wall clock, and the time that is trusted beside it. Safe in threads.

    `last_known_s` is the newest time that is known from before the start, 0 without any.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        *,
        steady: Callable[[], float] = boot_time_s,
        last_known_s: float = 0,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._lock = threading.Lock()
        self._heard: OrderedDict[str, tuple[float, float]] = OrderedDict()  # host -> when, its time less the steady one
        self._doubt_since_s: float | None = None
        wall_s, steady_s = wall(), steady()
        known_s = max(last_known_s, EARLIEST_S)
        # a sign of life from before any server ran was left by a clock that was wrong already
        is_near = last_known_s >= EARLIEST_S and abs(wall_s - last_known_s) <= JUMP_S
        is_new = not last_known_s and wall_s >= EARLIEST_S
        self._offset_s = (wall_s if is_near or is_new else known_s) - steady_s
        self._is_at_least = self._offset_s > wall_s - steady_s  # the true time is later than any that is known
        self._follow()

    @property
    def in_doubt(self) -> bool:
        """Whether the wall clock and the trusted time differ."""
        with self._lock:
            self._follow()
            return self._doubt_since_s is not None

    def now_s(self) -> float:
        """The trusted time: the wall clock, or in doubt what it would be without its jump."""
        with self._lock:
            return self._follow()[1]

    def retention_now_s(self) -> int:
        """The time by which things are removed: the earlier one, in doubt."""
        return self.range().earliest_s

    def range(self) -> TimeRange:
        """The times that it may be now; samples are taken by the wide range that these make."""
        with self._lock:
            wall_s, trusted_s = self._follow()
            ahead_s = UNKNOWN_AHEAD_S if self._is_at_least else 0
            return TimeRange(int(min(wall_s, trusted_s)), int(max(wall_s, trusted_s)) + ahead_s)

    def hear(self, host: str, time_s: int) -> None:
        """Take note of the time of a sample that a host has just sent; worth calling in doubt only."""
        with self._lock:
            steady_s = self._steady()
            self._heard[host] = steady_s, time_s - steady_s
            self._heard.move_to_end(host)
            if len(self._heard) > _MAX_HOSTS:
                self._heard.popitem(last=False)

    def decide(self) -> None:
        """Trust what most hosts say, once all could be heard; to be called now and then."""
        with self._lock:
            wall_s, trusted_s = self._follow()
            steady_s = self._steady()
            if self._doubt_since_s is None or steady_s - self._doubt_since_s < EVIDENCE_S:
                return
            offsets = [offset_s for when_s, offset_s in self._heard.values() if steady_s - when_s <= EVIDENCE_S]
            if not offsets:
                return
            middle_s = statistics.median(offsets)
            if 2 * sum(abs(offset_s - middle_s) <= JUMP_S for offset_s in offsets) <= len(offsets):
                return
            said_s = middle_s + steady_s
            if abs(said_s - wall_s) <= JUMP_S:
                self._offset_s = wall_s - steady_s
                logger.warning("the clock is trusted: samples of hosts=%d say the same time", len(offsets))
            elif abs(said_s - trusted_s) > JUMP_S:
                self._offset_s = middle_s
                logger.warning("samples of hosts=%d say that it is %s", len(offsets), _text(said_s))
            self._is_at_least = False
            self._follow()

    def _follow(self) -> tuple[float, float]:
        """Wall clock and trusted time now; the latter follows small steps of the former."""
        wall_s, steady_s = self._wall(), self._steady()
        trusted_s = steady_s + self._offset_s
        if abs(wall_s - trusted_s) <= JUMP_S:
            if self._doubt_since_s is not None:
                logger.warning("the clock is in doubt no longer")
            self._offset_s, self._doubt_since_s, self._is_at_least = wall_s - steady_s, None, False
            self._heard.clear()
            return wall_s, wall_s
        if self._doubt_since_s is None:
            self._doubt_since_s = steady_s
            logger.warning(
                "the clock says %s and %s was expected: until samples of most hosts say the same as the clock, they "
                "are taken by either time, and nothing is removed by the later one",
                _text(wall_s), _text(trusted_s),
            )  # fmt: skip
        return wall_s, trusted_s


def _text(time_s: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_s))
    except (OverflowError, ValueError):
        return f"{time_s:.0f} s"
