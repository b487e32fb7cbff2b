from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from cc_agent.collectors.agentstat import AgentstatCollector, AgentstatOptions
from cc_agent.collectors.base import MetricDescription, RawSeries, Reading, Tick
from cc_agent.errors import NotAvailableError, NotPresentError
from cc_agent.sampler import MAX_RETRY_S, Sampler

SERIES = RawSeries("x", {"type": "node"}, {})


class Scripted:
    """A collector that fails on demand and notes how it is used."""

    metrics: tuple[MetricDescription, ...] = ()

    def __init__(self, name: str = "scripted") -> None:
        self.name = name
        self.open_error: Exception | None = None
        self.read_error: Exception | None = None
        self.opened: list[float] = []
        self.closed = 0
        self.ticks: list[Tick] = []

    def open(self) -> None:
        self.opened.append(NOW[0])
        if self.open_error is not None:
            raise self.open_error

    def read(self, tick: Tick, /) -> list[Reading]:
        self.ticks.append(tick)
        if self.read_error is not None:
            raise self.read_error
        return [(SERIES, 1.0)]

    def close(self) -> None:
        self.closed += 1


NOW = [0.0]


@pytest.fixture(autouse=True)
def start_at_zero() -> None:
    NOW[0] = 0.0


def _sampler(*collectors: Scripted) -> Sampler:
    return Sampler(collectors, monotonic=lambda: NOW[0])


def _tick(sampler: Sampler, at_s: float) -> int:
    NOW[0] = at_s
    return len(sampler.sample(int(at_s), 10.0))


def test_one_failure_costs_only_its_own_samples() -> None:
    good, bad = Scripted("good"), Scripted("bad")
    bad.read_error = ZeroDivisionError("division by zero")
    sampler = _sampler(bad, good)
    assert _tick(sampler, 10) == 1
    status = next(status for status in sampler.statuses if status.name == "bad")
    assert status.problem == "ZeroDivisionError: division by zero"


def test_a_failed_collector_is_opened_again_later_and_later() -> None:
    collector = Scripted()
    collector.open_error = NotAvailableError("no driver", "load it")
    sampler = _sampler(collector)
    for step in range(200):
        _tick(sampler, 10.0 * step)
    pauses = [after - before for before, after in zip(collector.opened, collector.opened[1:])]  # noqa: B905 one shorter
    assert pauses[:6] == [10, 20, 40, 80, 160, 320]
    assert max(pauses) == MAX_RETRY_S


def test_recovery_resets_the_pause(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    collector = Scripted()
    sampler = _sampler(collector)
    collector.read_error = OSError("gone")
    assert _tick(sampler, 0) == 0
    collector.read_error = None
    assert _tick(sampler, 5) == 0
    assert _tick(sampler, 10) == 1
    assert "works again" in caplog.text
    collector.read_error = OSError("gone again")
    assert _tick(sampler, 20) == 0
    collector.read_error = None
    assert _tick(sampler, 30) == 1


def test_a_failure_is_logged_once_and_closes_the_collector(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    collector = Scripted()
    collector.open_error = NotAvailableError("no driver", "load it")
    sampler = _sampler(collector)
    for step in range(50):
        _tick(sampler, 10.0 * step)
    assert len(caplog.records) == 1
    assert "problem=no driver" in caplog.text
    assert collector.closed > 1
    assert sampler.statuses[0].advice == "load it"


def test_each_collector_gets_the_moment_of_its_own_reading() -> None:
    first, second = Scripted("first"), Scripted("second")
    moments = iter([1.0, 2.0])
    Sampler([first, second], monotonic=lambda: next(moments)).sample(1000, 10.0)
    assert first.ticks == [Tick(1000, 1.0, 10.0)]
    assert second.ticks == [Tick(1000, 2.0, 10.0)]


def test_closing_survives_a_collector_that_does_not_close() -> None:
    class Stubborn(Scripted):
        def close(self) -> None:
            raise RuntimeError("no")

    other = Scripted()
    sampler = _sampler(Stubborn(), other)
    sampler.open(10.0)
    sampler.close()
    assert other.closed == 1


def test_integers_that_no_float_can_hold_cost_only_themselves() -> None:
    class Huge(Scripted):
        def read(self, tick: Tick, /) -> list[Reading]:
            return [(SERIES, 10**400), *super().read(tick), (SERIES, -(10**400)), (SERIES, 2**64)]

    sampler = Sampler([Huge()])
    sampler.open(10.0)
    readings = sampler.sample(1000, 10.0)
    assert readings[-1] == (SERIES, 2**64)
    assert max(abs(value) for _, value in readings) == 2**64


class Blocking(Scripted):
    """A collector whose readings wait for the test."""

    def __init__(self, name: str = "blocking") -> None:
        super().__init__(name)
        self.release = threading.Event()
        self.returned = threading.Event()
        self.blocks_at_open = False

    def open(self) -> None:
        super().open()
        if self.blocks_at_open:
            self.release.wait(10)

    def read(self, tick: Tick, /) -> list[Reading]:
        readings = super().read(tick)
        self.release.wait(10)
        self.returned.set()
        return readings


def test_a_collector_that_blocks_takes_nothing_else_with_it(caplog: pytest.LogCaptureFixture) -> None:
    blocking, good = Blocking(), Scripted("good")
    sampler = Sampler([blocking, good], monotonic=lambda: NOW[0])
    for step in range(1, 4):
        NOW[0] = float(step)
        assert len(sampler.sample(step, 0.1)) == 1
    assert len(blocking.ticks) == 1
    assert len(good.ticks) == 3
    status = next(status for status in sampler.statuses if status.name == "blocking")
    assert status.problem == "has been blocked for 2 s"
    assert [record.getMessage() for record in caplog.records].count(
        "collector blocks and is skipped name=blocking"
    ) == 1
    blocking.release.set()
    assert blocking.returned.wait(10)
    sampler.close()


def test_a_collector_that_comes_back_is_read_again() -> None:
    blocking = Blocking()
    sampler = Sampler([blocking], monotonic=lambda: NOW[0])
    threads_before = set(threading.enumerate())
    assert sampler.sample(1, 0.1) == []
    left_behind = set(threading.enumerate()) - threads_before
    blocking.release.set()
    for thread in left_behind:
        thread.join(10)
    assert len(sampler.sample(2, 10)) == 1  # what it said too late belongs to no tick
    assert sampler.statuses[0][:5] == ("blocking", 1, "", "", False)
    sampler.close()


def test_a_collector_that_blocks_at_the_start_lets_the_agent_start() -> None:
    blocking, good = Blocking(), Scripted("good")
    blocking.blocks_at_open = True
    sampler = Sampler([blocking, good], monotonic=lambda: NOW[0])
    sampler.open(0.1)
    assert len(sampler.sample(1, 0.1)) == 1
    sampler.close()
    assert blocking.closed == 0  # its thread still holds it
    blocking.release.set()


def test_a_slow_collector_is_read_at_once_and_then_at_multiples_of_its_interval() -> None:
    slow, quick = Scripted("slow"), Scripted("quick")
    sampler = Sampler([slow, quick], {"slow": 25.0}, monotonic=lambda: NOW[0])
    for at_s in range(1010, 1100, 10):
        _tick(sampler, at_s)
    assert [(tick.time_s, tick.interval_s) for tick in slow.ticks] == [(1010, 30), (1020, 30), (1050, 30), (1080, 30)]
    assert len(quick.ticks) == 9


def test_what_the_machine_does_not_have_is_no_fault_and_looked_for_every_ten_minutes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    collector = Scripted()
    collector.open_error = NotPresentError("no GPU")
    sampler = _sampler(collector)
    for step in range(130):
        _tick(sampler, 10.0 * step)
    assert collector.opened == [0, 600, 1200]
    assert sampler.statuses[0].absent
    assert [record.levelno for record in caplog.records] == [logging.INFO]
    collector.open_error = None
    assert _tick(sampler, 1800) == 1
    assert not sampler.statuses[0].absent


def test_the_status_says_what_the_last_reading_took_and_how_long_ago_it_was() -> None:
    collector = Scripted()
    sampler = _sampler(collector)
    assert sampler.statuses[0].age_s is None
    _tick(sampler, 1000)
    _tick(sampler, 1010)
    NOW[0] = 1017.0
    status = sampler.statuses[0]
    assert (status.age_s, status.readings) == (7.0, 2)
    assert status.cpu_s >= 0.0
    assert status.reading_s > 0.0
    collector.read_error = ValueError("torn")
    _tick(sampler, 1020)
    assert sampler.statuses[0].age_s == 10.0


def test_collectors_go_from_one_sampler_to_the_next_without_being_closed() -> None:
    going, staying = Scripted("going"), Scripted("staying")
    before = _sampler(going, staying)
    _tick(before, 1000)
    kept = before.release(["going", "unknown"])
    after = Sampler([Scripted("new"), Scripted("going")], kept=kept, monotonic=lambda: NOW[0])
    before.close()
    assert _tick(after, 1010) == 2
    assert (going.closed, staying.closed) == (0, 1)
    assert [tick.time_s for tick in going.ticks] == [1000, 1010]
    assert len(going.opened) == 1


def test_a_collector_in_a_blocked_call_is_not_handed_over() -> None:
    blocking = Blocking()
    sampler = Sampler([blocking], monotonic=lambda: NOW[0])
    sampler.sample(1, 0.1)
    assert sampler.release(["blocking"]) == {}
    blocking.release.set()
    assert blocking.returned.wait(10)
    sampler.close()


def test_the_collector_of_the_agent_knows_what_the_others_take(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/statm").write_text("1000 250 100 1 0 90 0\n")
    own = AgentstatCollector(AgentstatOptions(send_collector_values=True), tmp_path)
    bad = Scripted("bad")
    bad.read_error = ZeroDivisionError("division by zero")
    sampler = Sampler([bad, own])
    sampler.open(10.0)
    sampler.sample(1000, 10.0)
    readings = {series.metric + series.tags.get("stype-id", ""): value for series, value in sampler.sample(1010, 10.0)}
    sampler.close()
    assert readings["agent_failing"] == 1
    assert readings.keys() >= {"agent_collector_cpu", "agent_collector_cpuself"}
