"""The trusted time, for what cannot be undone: no sample is removed because the wall clock jumped.

A wall clock can be wrong, and can be set: with a dead battery it begins in 1970 until NTP answers, a bad time server
puts it years ahead. The trusted time is the wall clock of an earlier moment plus the time that has passed on the
monotonic clock. While the two agree they are the same. When the wall clock jumps, or at the start is far from the last
heartbeat on disk, it is in doubt. Then samples are accepted by either of the two times, data is removed by the earlier
one only, and the times of arriving samples decide which of the two is right.
"""

import logging
import statistics
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

MAX_DEVIATION_S = 900.0
"""Maximum difference to the wall clock that the trusted time follows: corrections by NTP."""

OBSERVE_S = 600.0
"""How long samples are observed before a doubt is resolved: every host sends within that time."""

EARLIEST_TIME_S = 1_735_689_600
"""2025-01-01: this program did not exist before."""

MAX_AHEAD_OF_UNKNOWN_S = 10 * 366 * 86_400
"""How far ahead samples may be while only a lower bound of the time is known."""

_MAX_HOSTS = 100_000

logger = logging.getLogger(__name__)


class TimeRange(NamedTuple):
    """The earliest and the latest time that it may be now; equal while the clock is not in doubt."""

    earliest_s: int
    latest_s: int


def boot_time_s() -> float:
    """Seconds since the machine was booted, suspend included; this clock is never set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class TrustedClock:
    """The wall clock and the trusted time. Thread-safe.

    `last_known_s` is the newest time that is known from before the start; 0 if there is none.
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
        )  # host -> monotonic time, its time minus that
        self._doubt_since_s: float | None = None
        wall_s, monotonic_s = wall(), monotonic()
        known_s = max(last_known_s, EARLIEST_TIME_S)
        # a heartbeat from before this program existed was written by a wrong clock
        is_near = last_known_s >= EARLIEST_TIME_S and abs(wall_s - last_known_s) <= MAX_DEVIATION_S
        is_new = not last_known_s and wall_s >= EARLIEST_TIME_S
        self._offset_s = (wall_s if is_near or is_new else known_s) - monotonic_s
        self._is_lower_bound = self._offset_s > wall_s - monotonic_s  # the true time is later than the trusted one
        self._update()

    @property
    def in_doubt(self) -> bool:
        """Whether the wall clock and the trusted time differ."""
        with self._lock:
            self._update()
            return self._doubt_since_s is not None

    def now_s(self) -> float:
        """The trusted time, Unix seconds: the wall clock, in doubt without its jump."""
        with self._lock:
            return self._update()[1]

    def retention_now_s(self) -> int:
        """The time for retention, Unix seconds: in doubt the earlier one."""
        return self.range().earliest_s

    def range(self) -> TimeRange:
        """The times that it may be now; samples are accepted by either end of the range."""
        with self._lock:
            wall_s, trusted_s = self._update()
            ahead_s = MAX_AHEAD_OF_UNKNOWN_S if self._is_lower_bound else 0
            return TimeRange(int(min(wall_s, trusted_s)), int(max(wall_s, trusted_s)) + ahead_s)

    def observe_sample(self, host: str, time_s: int) -> None:
        """Record the time of a sample that a host has just sent; needed in doubt only."""
        with self._lock:
            monotonic_s = self._monotonic()
            self._observed[host] = monotonic_s, time_s - monotonic_s
            self._observed.move_to_end(host)
            if len(self._observed) > _MAX_HOSTS:
                self._observed.popitem(last=False)

    def resolve_doubt(self) -> None:
        """Trust the time of most hosts, once `OBSERVE_S` has passed; call it every minute or so."""
        with self._lock:
            wall_s, trusted_s = self._update()
            monotonic_s = self._monotonic()
            if self._doubt_since_s is None or monotonic_s - self._doubt_since_s < OBSERVE_S:
                return
            offsets = [offset_s for when_s, offset_s in self._observed.values() if monotonic_s - when_s <= OBSERVE_S]
            if not offsets:
                return
            median_offset_s = statistics.median(offsets)
            if 2 * sum(abs(offset_s - median_offset_s) <= MAX_DEVIATION_S for offset_s in offsets) <= len(offsets):
                return
            median_time_s = median_offset_s + monotonic_s
            if abs(median_time_s - wall_s) <= MAX_DEVIATION_S:
                self._offset_s = wall_s - monotonic_s
                logger.warning("the wall clock is trusted again: samples of hosts=%d have the same time", len(offsets))
            elif abs(median_time_s - trusted_s) > MAX_DEVIATION_S:
                self._offset_s = median_offset_s
                logger.warning(
                    "samples of hosts=%d show that the time is %s", len(offsets), _format_time(median_time_s)
                )
            self._is_lower_bound = False
            self._update()

    def _update(self) -> tuple[float, float]:
        """Wall clock and trusted time now; the trusted time follows small steps of the wall clock."""
        wall_s, monotonic_s = self._wall(), self._monotonic()
        trusted_s = monotonic_s + self._offset_s
        if abs(wall_s - trusted_s) <= MAX_DEVIATION_S:
            if self._doubt_since_s is not None:
                logger.warning("the wall clock agrees with the trusted time again")
            self._offset_s, self._doubt_since_s, self._is_lower_bound = wall_s - monotonic_s, None, False
            self._observed.clear()
            return wall_s, wall_s
        if self._doubt_since_s is None:
            self._doubt_since_s = monotonic_s
            logger.warning(
                "the wall clock is at %s but %s was expected: until samples of most hosts agree with it, samples are "
                "accepted by either time, and data is removed by the earlier one only",
                _format_time(wall_s), _format_time(trusted_s),
            )  # fmt: skip
        return wall_s, trusted_s


def _format_time(time_s: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_s))
    except (OverflowError, ValueError):
        return f"{time_s:.0f} s"
