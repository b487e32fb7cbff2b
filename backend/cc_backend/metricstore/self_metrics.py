"""What the store measures of itself: how late samples are, and how long its work takes.

Each is a histogram with fixed buckets: one `observe` a batch or a question, never one a line.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

LAG_BOUNDS_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)
DURATION_BOUNDS_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
SNAPSHOT_BOUNDS_S = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)


@dataclass(frozen=True, slots=True)
class HistogramSnapshot:
    """A histogram at one moment: one count per bound and one for all above; `sum` adds up the values."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)


class Histogram:
    """Counts values by the first bound they do not exceed. Safe in threads."""

    __slots__ = ("_bounds", "_counts", "_lock", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        if list(bounds) != sorted(set(bounds)):
            raise ValueError("the bounds of a histogram must rise")
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count one value."""
        place = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[place] += 1
            self._total += value

    def snapshot(self) -> HistogramSnapshot:
        """What was counted until now."""
        with self._lock:
            return HistogramSnapshot(self._bounds, tuple(self._counts), self._total)


@dataclass(frozen=True, slots=True)
class SelfMetricsSnapshot:
    """The histograms of a store at one moment; `seconds` are by kind of work, `lag_s` is one value per batch."""

    lag_s: HistogramSnapshot
    seconds: Mapping[str, HistogramSnapshot]


class Timer:
    """Counts the seconds of one `with` block; a class of its own because a generator costs three times as much."""

    __slots__ = ("_begin_s", "_clock", "_histogram")

    def __init__(self, histogram: Histogram, clock: Callable[[], float]) -> None:
        self._histogram = histogram
        self._clock = clock
        self._begin_s = 0.0

    def __enter__(self) -> None:
        self._begin_s = self._clock()

    def __exit__(self, *_: object) -> None:
        self._histogram.observe(self._clock() - self._begin_s)


TIMED_WORK = ("ingest", "log_append", "log_fsync", "query", "statistics", "why_no_data", "snapshot")
"""The kinds of work that are timed."""


@dataclass(slots=True)
class SelfMetrics:
    """The histograms of one store. `clock` counts seconds and never goes back."""

    clock: Callable[[], float] = time.perf_counter
    lag_s: Histogram = field(default_factory=lambda: Histogram(LAG_BOUNDS_S))
    seconds: dict[str, Histogram] = field(
        default_factory=lambda: {
            work: Histogram(SNAPSHOT_BOUNDS_S if work == "snapshot" else DURATION_BOUNDS_S) for work in TIMED_WORK
        }
    )

    def timed(self, work: str) -> "Timer":
        """Counts the seconds that a `with` block takes, also if it raises."""
        return Timer(self.seconds[work], self.clock)

    def observe_lag(self, *, received_s: int, oldest_s: int) -> None:
        """Count how old the oldest sample of a batch was when it came; a sample of the future is on time."""
        self.lag_s.observe(max(received_s - oldest_s, 0))

    def snapshot(self) -> SelfMetricsSnapshot:
        """What was counted until now."""
        return SelfMetricsSnapshot(
            self.lag_s.snapshot(), {work: histogram.snapshot() for work, histogram in self.seconds.items()}
        )
