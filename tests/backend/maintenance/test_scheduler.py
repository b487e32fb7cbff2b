"""Scheduled work goes on whatever happens to the wall clock."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cc_backend.maintenance.scheduler import ClockWatch, snapshot_when_due, start_background
from cc_backend.metricstore.disk.rhythm import Rhythm


class Clocks:
    """A wall clock that can be set, and one that only goes forth."""

    def __init__(self) -> None:
        self.wall_s, self.steady_s = 1_790_000_000.0, 50.0

    def pass_by(self, seconds: float) -> None:
        self.wall_s += seconds
        self.steady_s += seconds


class Work:
    def __init__(self) -> None:
        self.next_run_time: datetime | None = None

    def modify(self, *, next_run_time: datetime) -> None:
        self.next_run_time = next_run_time


def test_work_is_due_at_once_when_the_clock_was_set_back(caplog: pytest.LogCaptureFixture) -> None:
    clocks, work = Clocks(), [Work(), Work()]
    watch = ClockWatch(wall=lambda: clocks.wall_s, steady=lambda: clocks.steady_s)
    clocks.pass_by(2)
    clocks.wall_s -= 3600
    watch.look(lambda: work)
    assert [one.next_run_time for one in work] == [datetime.fromtimestamp(clocks.wall_s, UTC)] * 2
    assert "clock was set back seconds=3600" in caplog.text


@pytest.mark.parametrize("step_s", [3600.0, 0.0, -0.5])
def test_nothing_is_changed_when_time_passes_or_jumps_forth(step_s: float) -> None:
    clocks, work = Clocks(), Work()
    watch = ClockWatch(wall=lambda: clocks.wall_s, steady=lambda: clocks.steady_s)
    for _ in range(5):
        clocks.pass_by(2)
        watch.look(lambda: [work])
    clocks.wall_s += step_s
    watch.look(lambda: [work])
    assert work.next_run_time is None


def test_each_step_back_counts_once() -> None:
    clocks, work = Clocks(), Work()
    watch = ClockWatch(wall=lambda: clocks.wall_s, steady=lambda: clocks.steady_s)
    clocks.wall_s -= 3600
    watch.look(lambda: [work])
    work.next_run_time = None
    clocks.pass_by(2)
    watch.look(lambda: [work])
    assert work.next_run_time is None


def snapshots(tmp_path: Path) -> int:
    return len(list(tmp_path.rglob("*.win1")))


def test_a_snapshot_is_taken_when_it_is_due(site: Any, tmp_path: Path) -> None:
    site.write_node("tn01", from_s=int(site.clock()), minutes=1)
    rhythm = Rhythm(1000, time.monotonic())
    snapshot_when_due(site.services, rhythm)
    assert snapshots(tmp_path) == 0
    rhythm = Rhythm(0, time.monotonic())
    snapshot_when_due(site.services, rhythm)
    assert snapshots(tmp_path) == 1


def test_the_end_takes_a_last_snapshot_and_leaves_no_log(site: Any, tmp_path: Path) -> None:
    background = start_background(site.services)
    site.write_node("tn01", from_s=int(site.clock()), minutes=1)
    background.stop()
    background.stop()
    assert snapshots(tmp_path) == 1
    assert list(tmp_path.rglob("*.wal")) == []
