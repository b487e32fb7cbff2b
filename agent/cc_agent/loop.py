"""The sampling loop: wait for the tick, sample, wait for the host's send delay, hand over."""

from __future__ import annotations

import logging
import queue
import time
from typing import Callable, NamedTuple, Optional, Protocol

from cc_agent.tick_schedule import clock_was_set_back, is_too_late, next_tick, send_delay_s
from cc_common.systemd_notify import Notifier
from cc_common.wake_event import WakeEvent

logger = logging.getLogger(__name__)


class Clock(Protocol):
    """The wall clock, and a wait that can be ended."""

    def now_s(self) -> float:
        """Seconds since the epoch."""

    def wait(self, seconds: float, /) -> None:
        """Return after this time, or once `wake` is called."""

    def wake(self) -> None:
        """End the current wait, or the next one if there is none; safe in a signal handler."""


class SystemClock:
    """The wall clock of this machine."""

    def __init__(self) -> None:
        self._event = WakeEvent()

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def wait(self, seconds: float, /) -> None:
        """Return after this time, or once `wake` is called."""
        self._event.wait(seconds)

    def wake(self) -> None:
        """End the current wait, or the next one if there is none; safe in a signal handler."""
        self._event.set()

    def close(self) -> None:
        """Release what waiting needs."""
        self._event.close()


class LoopWork(Protocol):
    """The work that the loop does at each tick."""

    def sample(self, time_s: int, /) -> None:
        """Read the sensors and keep the samples for `hand_over`."""

    def hand_over(self) -> None:
        """Pass the samples to the sinks."""

    def rest(self) -> None:
        """Do housekeeping while nothing is due, such as garbage collection."""


class LoopExit(NamedTuple):
    """Why the loop ended: for a reload, or to stop."""

    reload: bool


class Loop:
    """Runs the work at multiples of the interval on the wall clock until it is stopped.

    A tick that is late by more than half an interval is skipped and not made up for. Samples are handed over after a
    delay that depends on the host's name, 0.4 of the interval at most; at the end without delay.
    """

    def __init__(
        self, work: LoopWork, *, interval_s: int, hostname: str, clock: Clock, notifier: Optional[Notifier] = None
    ) -> None:
        self._work = work
        self._interval_s = interval_s
        self._delay_s = send_delay_s(hostname, interval_s)
        self._clock = clock
        self._notifier = notifier or Notifier()
        self._max_wait_s = float(interval_s)
        if self._notifier.watchdog_s is not None:
            self._max_wait_s = min(self._max_wait_s, self._notifier.watchdog_s / 2)
        self._exit: Optional[LoopExit] = None
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.skipped = 0

    def call(self, work: Callable[[], None], /) -> None:
        """Have `work` done between two ticks, soon, by the thread of the loop; from any other thread."""
        self._calls.put(work)
        self._clock.wake()

    def stop(self) -> None:
        """End after the current step; safe in a signal handler."""
        self._exit = LoopExit(reload=False)
        self._clock.wake()

    def reload(self) -> None:
        """End for a reload of the configuration; safe in a signal handler."""
        if self._exit is None:
            self._exit = LoopExit(reload=True)
        self._clock.wake()

    def run(self) -> LoopExit:
        """Sample until `stop` or `reload`; why it ended."""
        while self._exit is None:
            tick_s = next_tick(self._clock.now_s(), self._interval_s)
            if self._wait_until(tick_s, tick_s):
                self._tick(tick_s)
        ending = self._exit
        if ending.reload:  # so that the loop can go on if the new configuration is rejected
            self._exit = None
        return ending

    def _tick(self, tick_s: int) -> None:
        now_s = self._clock.now_s()
        if is_too_late(now_s, tick_s, self._interval_s):
            self.skipped += 1
            logger.warning("tick skipped time=%d late_s=%.1f", tick_s, now_s - tick_s)
            return
        self._work.sample(tick_s)
        self._wait_until(tick_s + self._delay_s, tick_s)
        self._work.hand_over()
        self._work.rest()

    def _wait_until(self, moment_s: float, tick_s: int) -> bool:
        """Wait; False if the loop is to end, or the clock was set back so far that the tick must be chosen again."""
        while self._exit is None:
            self._notifier.ping_watchdog()
            self._do_calls()
            now_s = self._clock.now_s()
            if now_s >= moment_s:
                return True
            if clock_was_set_back(now_s, tick_s, self._interval_s):
                return False
            self._clock.wait(min(moment_s - now_s, self._max_wait_s))
        return False

    def _do_calls(self) -> None:
        while not self._calls.empty():
            _do_logging_errors(self._calls.get())


def _do_logging_errors(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:
        logger.exception("request failed")
