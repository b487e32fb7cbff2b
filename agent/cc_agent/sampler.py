"""Reading all collectors at a tick; a failing one loses only its own samples, and is retried later."""

from __future__ import annotations

import logging
import sys
import time
from functools import partial
from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, TypeVar

from cc_agent.collectors.agentstat import AgentstatCollector, CollectorCost, QueueingSink
from cc_agent.collectors.base import Collector, Reading, Tick
from cc_agent.derived import DerivedMetrics
from cc_agent.errors import NotAvailableError, NotPresentError
from cc_agent.tick_schedule import reading_interval_s
from cc_common.deadline import DeadlineCalls

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_SHARE_OF_INTERVAL = 0.25
MAX_READING_S = 5.0
"""A collector that takes longer than a quarter of the interval, or than five seconds, is skipped while it does."""

FIRST_RETRY_INTERVALS = 1
MAX_RETRY_S = 600.0
_MAX_VALUE = sys.float_info.max


class CollectorStatus(NamedTuple):
    """The state of a collector after the last reading; `problem` is empty while it works.

    `absent` says that the machine does not have the source, which is not a fault. `age_s` are the seconds since the
    last reading that worked, None before the first; `reading_s` and `cpu_s` are what that took, elapsed and of a
    processor.
    """

    name: str
    samples: int
    problem: str
    advice: str
    absent: bool = False
    age_s: Optional[float] = None
    reading_s: float = 0.0
    cpu_s: float = 0.0
    readings: int = 0


class CircuitBreaker:
    """A collector behind a circuit breaker, which catches everything that it raises.

    After a failure the collector is closed and not read for one interval, then for twice as long after each further
    failure, 600 s at most. If the machine does not have the source, it is looked for again every 600 s. `interval_s` is
    the time between readings, 0 for every tick.
    """

    def __init__(self, collector: Collector, interval_s: float = 0.0) -> None:
        self.collector = collector
        self._interval_s = interval_s
        self._was_read = False
        self._absent = False
        self._last_s: Optional[float] = None
        self._reading_s = self._cpu_s = 0.0
        self._readings = 0
        self._open = False
        self._failures = 0
        self._retry_s = 0.0
        self._samples = 0
        self._problem = ""
        self._advice = ""

    def open(self, now_s: float, interval_s: float) -> bool:
        """Open the collector unless it is open or its pause is not over; whether it is open."""
        if self._open:
            return True
        if now_s < self._retry_s:
            return False
        try:
            self.collector.open()
        except NotAvailableError as error:
            self._record_failure(error, now_s, interval_s, advice=error.advice)
        except Exception as error:  # noqa: BLE001 an error in one collector must not affect the others
            self._record_failure(error, now_s, interval_s)
        else:
            self._open = True
        return self._open

    @property
    def is_absent(self) -> bool:
        """Whether the machine does not have the source."""
        return self._absent

    def interval_s(self, tick_interval_s: float) -> float:
        """Seconds between readings: a multiple of those between ticks."""
        return reading_interval_s(self._interval_s, tick_interval_s)

    def is_due(self, time_s: int, tick_interval_s: float) -> bool:
        """Whether to read at this tick: at multiples of the interval, and at once after a start or failure."""
        if not self._was_read or self._interval_s <= tick_interval_s:
            return True
        return time_s % self.interval_s(tick_interval_s) == 0

    def read(self, tick: Tick) -> List[Reading]:
        """The readings of this tick, none while the collector is failing."""
        if not self.open(tick.monotonic_s, tick.interval_s):
            return []
        began_s, began_cpu_s = time.perf_counter(), time.thread_time()
        try:
            readings = self.collector.read(tick)
        except Exception as error:  # noqa: BLE001 an error in one collector must not affect the others
            self._record_failure(error, tick.monotonic_s, tick.interval_s)
            return []
        readings = _without_huge_integers(readings)
        if self._failures:
            logger.info("collector works again name=%s failures=%d", self.collector.name, self._failures)
            self._failures, self._problem, self._advice, self._absent = 0, "", "", False
        self._was_read = True
        self._last_s = tick.monotonic_s
        self._reading_s, self._cpu_s = time.perf_counter() - began_s, time.thread_time() - began_cpu_s
        self._readings += 1
        self._samples = len(readings)
        return readings

    def _record_failure(self, error: Exception, now_s: float, interval_s: float, *, advice: str = "") -> None:
        self.close()
        self._failures += 1
        self._samples = 0
        self._was_read = False
        self._absent = isinstance(error, NotPresentError)
        self._problem = str(error) if isinstance(error, NotAvailableError) else f"{type(error).__name__}: {error}"
        self._advice = advice
        pause_s = min(interval_s * FIRST_RETRY_INTERVALS * 2 ** min(self._failures - 1, 20), MAX_RETRY_S)
        if self._absent:
            pause_s = MAX_RETRY_S
        self._retry_s = now_s + pause_s
        first = logging.INFO if self._absent else logging.WARNING
        level = first if self._failures == 1 else logging.DEBUG
        what = "nothing to read for collector" if self._absent else "collector failing"
        logger.log(level, "%s name=%s retry_s=%.0f problem=%s", what, self.collector.name, pause_s, self._problem)
        logger.debug("cause name=%s", self.collector.name, exc_info=error)

    def close(self) -> None:
        """Close the collector; an error of it is only logged."""
        self._open = False
        try:
            self.collector.close()
        except Exception as error:
            logger.debug("cannot close collector name=%s", self.collector.name, exc_info=error)

    def status(self, now_s: float) -> CollectorStatus:
        """The state of the collector after the last reading."""
        return CollectorStatus(
            self.collector.name,
            self._samples,
            self._problem,
            self._advice,
            self._absent,
            None if self._last_s is None else now_s - self._last_s,
            self._reading_s,
            self._cpu_s,
            self._readings,
        )


def _without_huge_integers(readings: List[Reading]) -> List[Reading]:
    """The readings but those that no float can hold, with which nothing can be computed: a file had too many digits."""
    if any(type(value) is int and not -_MAX_VALUE <= value <= _MAX_VALUE for _, value in readings):
        return [reading for reading in readings if -_MAX_VALUE <= reading[1] <= _MAX_VALUE]
    return readings


def _fails(status: CollectorStatus) -> bool:
    return bool(status.problem) and not status.absent


class Sampler:
    """All collectors of the node, each read with a deadline: one that blocks does not hold up the others.

    `intervals_s` has the seconds between readings, by name, of collectors that are not read at every tick. `kept` are
    open collectors of a sampler before, by name, which replace those of their names: so their counters go on.
    """

    def __init__(
        self,
        collectors: Sequence[Collector],
        intervals_s: Optional[Mapping[str, float]] = None,
        *,
        kept: Optional[Mapping[str, CircuitBreaker]] = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        periods_s, known = intervals_s or {}, kept or {}
        self._breakers = [
            known.get(collector.name) or CircuitBreaker(collector, periods_s.get(collector.name, 0.0))
            for collector in collectors
        ]
        self._monotonic = monotonic
        for breaker in self._breakers:
            if isinstance(breaker.collector, AgentstatCollector):
                breaker.collector.attach_collectors(self._costs)
        self._derived = DerivedMetrics(collectors)
        self._calls = DeadlineCalls("collectors", MAX_READING_S, max_blocked=len(self._breakers))
        self._blocked_since_s: Dict[str, float] = {}

    def release(self, names: Iterable[str]) -> Dict[str, CircuitBreaker]:
        """The collectors of these names that are not in a blocked call, by name; this sampler has them no longer."""
        released = {
            breaker.collector.name: breaker
            for breaker in self._breakers
            if breaker.collector.name in names and breaker.collector.name not in self._calls.blocked
        }
        self._breakers = [breaker for breaker in self._breakers if breaker.collector.name not in released]
        return released

    @property
    def collectors(self) -> List[Collector]:
        """The collectors, in the order in which they are read."""
        return [breaker.collector for breaker in self._breakers]

    def open(self, interval_s: float) -> None:
        """Open the collectors before the first tick."""
        for breaker in self._breakers:
            self._under_deadline(breaker, partial(breaker.open, self._monotonic(), interval_s), interval_s)

    def sample(self, time_s: int, interval_s: float) -> List[Reading]:
        """The readings of all collectors that return in time, and derived ones, for samples with the time `time_s`."""
        readings: List[Reading] = []
        for breaker in self._breakers:
            if not breaker.is_due(time_s, interval_s):
                continue
            tick = Tick(time_s, self._monotonic(), breaker.interval_s(interval_s))
            readings += self._under_deadline(breaker, partial(breaker.read, tick), interval_s) or []
        absent = [breaker.collector.name for breaker in self._breakers if breaker.is_absent]
        return self._derived.extend(readings, absent)

    def _under_deadline(self, breaker: CircuitBreaker, work: Callable[[], T], interval_s: float) -> Optional[T]:
        name = breaker.collector.name
        result = self._calls.run(name, work, timeout_s=min(interval_s * MAX_SHARE_OF_INTERVAL, MAX_READING_S))
        if name in self._calls.blocked:
            if name not in self._blocked_since_s:
                self._blocked_since_s[name] = self._monotonic()
                logger.warning("collector blocks and is skipped name=%s", name)
        elif self._blocked_since_s.pop(name, None) is not None:
            logger.info("collector no longer blocks name=%s", name)
        return result

    @property
    def statuses(self) -> List[CollectorStatus]:
        """The state of each collector after the last tick."""
        return [self._status(breaker) for breaker in self._breakers]

    def _status(self, breaker: CircuitBreaker) -> CollectorStatus:
        now_s = self._monotonic()
        status = breaker.status(now_s)
        since_s = self._blocked_since_s.get(breaker.collector.name)
        if since_s is None:
            return status
        problem = f"has been blocked for {now_s - since_s:.0f} s"
        return status._replace(samples=0, problem=problem, advice="check what its source waits for", absent=False)

    def attach_sinks(self, sinks: Iterable[object]) -> None:
        """Let the collector of the agent's own figures, if there is one, see what waits in these sinks."""
        queues = [sink for sink in sinks if isinstance(sink, QueueingSink)]
        for collector in self.collectors:
            if isinstance(collector, AgentstatCollector):
                collector.attach_sinks(lambda: [sink.backlog for sink in queues])

    def _costs(self) -> List[CollectorCost]:
        return [CollectorCost(status.name, status.cpu_s, _fails(status)) for status in self.statuses]

    def close(self) -> None:
        """Close all collectors that are not in a blocked call."""
        for breaker in self._breakers:
            if breaker.collector.name not in self._calls.blocked:
                breaker.close()
        self._calls.close()
