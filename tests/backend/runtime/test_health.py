"""The monitor: faults of checks, and of checks that fail or hang."""

import threading

import pytest

from cc_backend.runtime.health import STALE_S, HealthCheck, HealthMonitor


class Disk:
    """A part whose look does what it is told."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.error: Exception | None = None
        self.looks = 0
        self.release = threading.Event()
        self.release.set()
        self.began = threading.Event()

    def look(self) -> None:
        self.looks += 1
        self.began.set()
        assert self.release.wait(20)
        if self.error is not None:
            raise self.error

    def faults(self) -> list[str]:
        return self.found


def test_the_faults_of_all_parts_are_told_as_they_are_now() -> None:
    one, other = Disk(), Disk()
    monitor = HealthMonitor([HealthCheck("one", one.look, one.faults), HealthCheck("other", other.look, other.faults)])
    assert monitor.faults() == []
    one.found, other.found = ["one is full"], ["other is away"]
    assert monitor.faults() == ["one is full", "other is away"]
    assert one.looks == 0


def test_a_look_that_hangs_is_a_fault_itself() -> None:
    now_s = [0.0]
    disk = Disk()
    disk.release.clear()
    monitor = HealthMonitor([HealthCheck("the disk", disk.look, disk.faults)], monotonic=lambda: now_s[0])
    monitor.start()
    assert disk.began.wait(20)
    now_s[0] = STALE_S
    assert monitor.faults() == []
    now_s[0] = STALE_S + 1
    assert monitor.faults() == ["the disk does not respond: check its disk"]
    disk.release.set()
    monitor.stop()
    assert monitor.faults() == []


def test_a_defect_in_a_look_is_told_once_and_hides_no_other_part(caplog: pytest.LogCaptureFixture) -> None:
    broken, other = Disk(), Disk()
    broken.error = KeyError("x")
    monitor = HealthMonitor(
        [HealthCheck("one", broken.look, broken.faults), HealthCheck("other", other.look, other.faults)]
    )
    monitor.check_all()
    monitor.check_all()
    assert monitor.faults() == ["one cannot be checked; the log says why"]
    assert other.looks == 2
    assert len(caplog.records) == 1
    broken.error = None
    monitor.check_all()
    assert monitor.faults() == []
