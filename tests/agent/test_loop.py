from __future__ import annotations

import os
import signal
import time

import pytest

from cc_agent.loop import Loop, SystemClock
from cc_agent.tick_schedule import send_delay_s
from cc_common.systemd_notify import Notifier


class FakeClock:
    """Time that passes only while somebody waits; `plans` are called at each wait."""

    def __init__(self, now_s: float) -> None:
        self.now = now_s
        self.waits: list[float] = []
        self.plans: list[object] = []

    def now_s(self) -> float:
        return self.now

    def wait(self, seconds: float, /) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def wake(self) -> None:
        pass


class FakeWork:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.events: list[tuple[str, float]] = []
        self.loop: Loop | None = None
        self.last_tick = 0
        self.cost_s = 0.0

    def sample(self, time_s: int, /) -> None:
        self.events.append(("sample", time_s))
        self.clock.now += self.cost_s
        if self.loop is not None and time_s >= self.last_tick:
            self.loop.stop()

    def hand_over(self) -> None:
        self.events.append(("hand over", self.clock.now))

    def rest(self) -> None:
        self.events.append(("rest", self.clock.now))

    @property
    def ticks(self) -> list[float]:
        return [time_s for name, time_s in self.events if name == "sample"]


def _loop(clock: FakeClock, work: FakeWork, *, until: int, notifier: Notifier | None = None) -> Loop:
    loop = Loop(work, interval_s=10, hostname="n01", clock=clock, notifier=notifier)
    work.loop, work.last_tick = loop, until
    return loop


def test_samples_fall_on_multiples_of_the_interval() -> None:
    clock = FakeClock(1003.7)
    work = FakeWork(clock)
    assert not _loop(clock, work, until=1040).run().reload
    assert work.ticks == [1010, 1020, 1030, 1040]


def test_samples_are_handed_over_at_the_hosts_own_moment() -> None:
    clock = FakeClock(1003.0)
    work = FakeWork(clock)
    _loop(clock, work, until=1020).run()
    handed_over = [time_s for name, time_s in work.events if name == "hand over"]
    assert handed_over[0] == pytest.approx(1010 + send_delay_s("n01", 10))


def test_a_stop_hands_over_at_once() -> None:
    clock = FakeClock(1003.0)
    work = FakeWork(clock)
    _loop(clock, work, until=1010).run()
    assert work.events == [("sample", 1010), ("hand over", 1010.0), ("rest", 1010.0)]


def test_a_tick_missed_by_more_than_half_an_interval_is_left_out() -> None:
    clock = FakeClock(1003.0)
    work = FakeWork(clock)
    loop = _loop(clock, work, until=1040)
    original = clock.wait

    def overslept(seconds: float, /) -> None:
        original(seconds + 6 if clock.now < 1010 else seconds)

    clock.wait = overslept  # type: ignore[method-assign]  # a machine that sleeps too long
    loop.run()
    assert work.ticks == [1020, 1030, 1040]
    assert loop.skipped == 1


def test_slow_sampling_is_never_caught_up() -> None:
    clock = FakeClock(1003.0)
    work = FakeWork(clock)
    work.cost_s = 25.0
    _loop(clock, work, until=1060).run()
    assert work.ticks == [1010, 1040, 1070]


def test_a_clock_set_back_chooses_a_new_tick_instead_of_waiting_for_the_old_one() -> None:
    clock = FakeClock(5003.0)
    work = FakeWork(clock)
    original = clock.wait

    def stepped(seconds: float, /) -> None:
        original(seconds)
        if clock.now >= 5000:
            clock.now = 1003.0

    clock.wait = stepped  # type: ignore[method-assign]  # somebody sets the clock
    _loop(clock, work, until=1020).run()
    assert work.ticks == [1010, 1020]
    assert sum(clock.waits) < 60


def test_a_reload_ends_the_run_and_the_loop_can_go_on() -> None:
    clock = FakeClock(1003.0)
    work = FakeWork(clock)
    loop = _loop(clock, work, until=1020)
    loop.reload()
    assert loop.run().reload
    assert not loop.run().reload
    assert work.ticks == [1010, 1020]


def test_a_stop_before_the_run_is_not_lost_and_beats_a_reload() -> None:
    clock = FakeClock(1003.0)
    work = FakeWork(clock)
    loop = _loop(clock, work, until=1020)
    loop.stop()
    loop.reload()
    assert not loop.run().reload
    assert work.events == []


def test_the_watchdog_is_fed_at_least_twice_in_its_period() -> None:
    class Counting(Notifier):
        def __init__(self, clock: FakeClock) -> None:
            super().__init__(watchdog_s=4.0)
            self.clock = clock
            self.fed: list[float] = []

        def ping_watchdog(self) -> None:
            self.fed.append(self.clock.now)

    clock = FakeClock(1000.5)
    work = FakeWork(clock)
    notifier = Counting(clock)
    _loop(clock, work, until=1030, notifier=notifier).run()
    gaps = [after - before for before, after in zip(notifier.fed, notifier.fed[1:])]  # noqa: B905 one shorter
    assert max(gaps) <= 2.0


def test_the_system_clock_wakes_from_a_signal_handler() -> None:
    clock = SystemClock()
    previous = signal.signal(signal.SIGUSR1, lambda *_: clock.wake())
    try:
        began = time.monotonic()
        os.kill(os.getpid(), signal.SIGUSR1)
        clock.wait(30.0)
        assert time.monotonic() - began < 20
        for _ in range(100_000):  # more than the pipe holds: waking must not block
            clock.wake()
    finally:
        signal.signal(signal.SIGUSR1, previous)
        clock.close()


def test_what_others_ask_for_is_done_between_two_ticks_by_the_thread_of_the_loop() -> None:
    clock = FakeClock(1000.0)
    work = FakeWork(clock)
    loop = _loop(clock, work, until=1020)
    loop.call(lambda: work.events.append(("asked", clock.now)))
    loop.call(lambda: 1 // 0)  # a request that fails stops nothing
    loop.call(lambda: work.events.append(("asked again", clock.now)))
    loop.run()
    assert work.events[:3] == [("asked", 1000.0), ("asked again", 1000.0), ("sample", 1010)]
    assert work.ticks == [1010, 1020]
