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

MAX_DEVIATION_S = 900.0
"""What the wall clock may differ from the trusted time; it is followed so far, as NTP corrects it now and then."""

OBSERVE_S = 600.0
"""For so long samples are listened to before the doubt is decided: every host can be heard by then."""

EARLIEST_TIME_S = 1_735_689_600
"""2025-01-01: no server of this program runs before."""

MAX_AHEAD_OF_UNKNOWN_S = 10 * 366 * 86_400
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
        monotonic: Callable[[], float] = boot_time_s,
        last_known_s: float = 0,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._observed: OrderedDict[str, tuple[float, float]] = (
            OrderedDict()
        )  # host -> when, its time less the steady one
        self._doubt_since_s: float | None = None
        wall_s, steady_s = wall(), monotonic()
        known_s = max(last_known_s, EARLIEST_TIME_S)
        # a sign of life from before any server ran was left by a clock that was wrong already
        is_near = last_known_s >= EARLIEST_TIME_S and abs(wall_s - last_known_s) <= MAX_DEVIATION_S
        is_new = not last_known_s and wall_s >= EARLIEST_TIME_S
        self._offset_s = (wall_s if is_near or is_new else known_s) - steady_s
        self._is_lower_bound = self._offset_s > wall_s - steady_s  # the true time is later than any that is known
        self._update()

    @property
    def in_doubt(self) -> bool:
        """Whether the wall clock and the trusted time differ."""
        with self._lock:
            self._update()
            return self._doubt_since_s is not None

    def now_s(self) -> float:
        """The trusted time: the wall clock, or in doubt what it would be without its jump."""
        with self._lock:
            return self._update()[1]

    def retention_now_s(self) -> int:
        """The time by which things are removed: the earlier one, in doubt."""
        return self.range().earliest_s

    def range(self) -> TimeRange:
        """The times that it may be now; samples are taken by the wide range that these make."""
        with self._lock:
            wall_s, trusted_s = self._update()
            ahead_s = MAX_AHEAD_OF_UNKNOWN_S if self._is_lower_bound else 0
            return TimeRange(int(min(wall_s, trusted_s)), int(max(wall_s, trusted_s)) + ahead_s)

    def observe_sample(self, host: str, time_s: int) -> None:
        """Take note of the time of a sample that a host has just sent; worth calling in doubt only."""
        with self._lock:
            steady_s = self._monotonic()
            self._observed[host] = steady_s, time_s - steady_s
            self._observed.move_to_end(host)
            if len(self._observed) > _MAX_HOSTS:
                self._observed.popitem(last=False)

    def resolve_doubt(self) -> None:
        """Trust what most hosts say, once all could be heard; to be called now and then."""
        with self._lock:
            wall_s, trusted_s = self._update()
            steady_s = self._monotonic()
            if self._doubt_since_s is None or steady_s - self._doubt_since_s < OBSERVE_S:
                return
            offsets = [offset_s for when_s, offset_s in self._observed.values() if steady_s - when_s <= OBSERVE_S]
            if not offsets:
                return
            middle_s = statistics.median(offsets)
            if 2 * sum(abs(offset_s - middle_s) <= MAX_DEVIATION_S for offset_s in offsets) <= len(offsets):
                return
            said_s = middle_s + steady_s
            if abs(said_s - wall_s) <= MAX_DEVIATION_S:
                self._offset_s = wall_s - steady_s
                logger.warning("the clock is trusted: samples of hosts=%d say the same time", len(offsets))
            elif abs(said_s - trusted_s) > MAX_DEVIATION_S:
                self._offset_s = middle_s
                logger.warning("samples of hosts=%d say that it is %s", len(offsets), _format_time(said_s))
            self._is_lower_bound = False
            self._update()

    def _update(self) -> tuple[float, float]:
        """Wall clock and trusted time now; the latter follows small steps of the former."""
        wall_s, steady_s = self._wall(), self._monotonic()
        trusted_s = steady_s + self._offset_s
        if abs(wall_s - trusted_s) <= MAX_DEVIATION_S:
            if self._doubt_since_s is not None:
                logger.warning("the clock is in doubt no longer")
            self._offset_s, self._doubt_since_s, self._is_lower_bound = wall_s - steady_s, None, False
            self._observed.clear()
            return wall_s, wall_s
        if self._doubt_since_s is None:
            self._doubt_since_s = steady_s
            logger.warning(
                "the clock says %s and %s was expected: until samples of most hosts say the same as the clock, they "
                "are taken by either time, and nothing is removed by the later one",
                _format_time(wall_s), _format_time(trusted_s),
            )  # fmt: skip
        return wall_s, trusted_s


def _format_time(time_s: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_s))
    except (OverflowError, ValueError):
        return f"{time_s:.0f} s"
