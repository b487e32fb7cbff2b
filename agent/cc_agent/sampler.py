"""Asks all collectors at a tick; one that fails costs only its own samples, and is tried again later."""

from __future__ import annotations

import logging
import time
from typing import Callable, List, NamedTuple, Optional, Sequence

from cc_agent.collectors.base import Collector, Reading, Tick
from cc_agent.errors import NotAvailableError

logger = logging.getLogger(__name__)

FIRST_RETRY_INTERVALS = 1
LONGEST_RETRY_S = 600.0


class Status(NamedTuple):
    """What a person wants to know about a collector; `problem` is empty while it works."""

    name: str
    samples: int
    problem: str
    advice: str


class Fence:
    """A collector behind a circuit breaker.

    After a failure the collector is closed and left alone: for one interval, then twice as long after each further
    failure, ten minutes at most. What it raises never goes further.
    """

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self._open = False
        self._failures = 0
        self._retry_s = 0.0
        self._samples = 0
        self._problem = ""
        self._advice = ""

    def open(self, now_s: float, interval_s: float) -> bool:
        """Make the collector ready if it is due; whether it is ready."""
        if self._open:
            return True
        if now_s < self._retry_s:
            return False
        try:
            self.collector.open()
        except NotAvailableError as error:
            self._failed(error, now_s, interval_s, advice=error.advice)
        except Exception as error:  # noqa: BLE001 the fence: a defect in one collector must not cost the others
            self._failed(error, now_s, interval_s)
        else:
            self._open = True
        return self._open

    def read(self, tick: Tick) -> List[Reading]:
        """The samples of this tick, none while the collector is out of order."""
        if not self.open(tick.monotonic_s, tick.interval_s):
            return []
        try:
            readings = self.collector.read(tick)
        except Exception as error:  # noqa: BLE001 the fence: a defect in one collector must not cost the others
            self._failed(error, tick.monotonic_s, tick.interval_s)
            return []
        if self._failures:
            logger.info("collector works again name=%s failures=%d", self.collector.name, self._failures)
            self._failures, self._problem, self._advice = 0, "", ""
        self._samples = len(readings)
        return readings

    def _failed(self, error: Exception, now_s: float, interval_s: float, *, advice: str = "") -> None:
        self.close()
        self._failures += 1
        self._samples = 0
        self._problem = str(error) if isinstance(error, NotAvailableError) else f"{type(error).__name__}: {error}"
        self._advice = advice
        pause_s = min(interval_s * FIRST_RETRY_INTERVALS * 2 ** min(self._failures - 1, 20), LONGEST_RETRY_S)
        self._retry_s = now_s + pause_s
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        logger.log(
            level, "collector out of order name=%s retry_s=%.0f problem=%s", self.collector.name, pause_s, self._problem
        )
        logger.debug("cause name=%s", self.collector.name, exc_info=error)

    def close(self) -> None:
        """Release what the collector holds."""
        self._open = False
        try:
            self.collector.close()
        except Exception as error:
            logger.debug("collector does not close name=%s", self.collector.name, exc_info=error)

    @property
    def status(self) -> Status:
        """How the collector did at the last tick."""
        return Status(self.collector.name, self._samples, self._problem, self._advice)


class Sampler:
    """All collectors of the node."""

    def __init__(self, collectors: Sequence[Collector], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._fences = [Fence(collector) for collector in collectors]
        self._monotonic = monotonic

    def open(self, interval_s: float) -> None:
        """Make the collectors ready before the first tick."""
        for fence in self._fences:
            fence.open(self._monotonic(), interval_s)

    def sample(self, time_s: int, interval_s: float) -> List[Reading]:
        """The readings of all collectors, to be stamped with `time_s`."""
        readings: List[Reading] = []
        for fence in self._fences:
            readings += fence.read(Tick(time_s, self._monotonic(), interval_s))
        return readings

    @property
    def statuses(self) -> List[Status]:
        """How each collector did at the last tick."""
        return [fence.status for fence in self._fences]

    def status_of(self, name: str) -> Optional[Status]:
        """How one collector did; None if it does not run."""
        return next((status for status in self.statuses if status.name == name), None)

    def close(self) -> None:
        """Release everything."""
        for fence in self._fences:
            fence.close()
