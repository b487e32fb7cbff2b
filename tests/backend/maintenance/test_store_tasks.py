"""What every program with a metric store does by itself: upkeep, snapshots, and a last one at the end."""

import pytest

from cc_backend.maintenance.store_tasks import BackgroundWork, store_tasks
from cc_backend.model import RetentionHolds
from cc_backend.runtime.health import HealthMonitor
from cc_backend.runtime.periodic import PeriodicTask
from cc_backend.runtime.trusted_clock import TrustedClock


class Program:
    """A program and its store in one, which records what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.store = self
        self.health = HealthMonitor([])
        self.trusted_clock = TrustedClock()
        self.is_well, self.needs_snapshot, self.restoring = True, False, False

    def upkeep(self, now_s: int, holds: RetentionHolds, *, trusted_s: int | None = None) -> int:
        self.asked.append(f"upkeep at {now_s}, trusted {trusted_s}, holds {holds}")
        return 0

    def snapshot(self, now_s: int, *, budget_s: float | None = None) -> bool:
        self.asked.append(f"snapshot at {now_s} within {budget_s}")
        return self.is_well

    def retention_now_s(self) -> int:
        return 5

    def trusted_now_s(self) -> int:
        return 7

    def close(self) -> None:
        self.health.stop()
        self.asked.append("close")


def tasks_of(program: Program, interval_s: float = 1800) -> tuple[PeriodicTask, ...]:
    return store_tasks(program, lambda: {"orion": {"n1": 3}}, snapshot_interval_s=interval_s)


def work_of(program: Program) -> BackgroundWork:
    return BackgroundWork(program, lambda found, _: tasks_of(found))


def test_the_end_takes_a_last_snapshot_and_closes_once() -> None:
    program = Program()
    work = work_of(program)
    work.start()
    work.stop()
    work.stop()
    assert program.asked == ["snapshot at 7 within 20.0", "close"]


def test_upkeep_goes_by_the_time_of_retention_and_asks_for_the_holds_each_time() -> None:
    program = Program()
    upkeep, _, _ = tasks_of(program)
    upkeep.run()
    assert program.asked == ["upkeep at 5, trusted 7, holds {'orion': {'n1': 3}}"]


def test_a_snapshot_is_taken_at_once_when_files_are_gone_and_soon_again_when_that_failed() -> None:
    program = Program()
    runner = work_of(program).runner
    _, _, rescue = tasks_of(program)
    assert (runner.run_task(rescue), program.asked) == (None, [])
    program.needs_snapshot, program.is_well = True, False
    assert runner.run_task(rescue) == 10
    program.is_well = True
    assert runner.run_task(rescue) is None
    assert program.asked == ["snapshot at 7 within None"] * 2


@pytest.mark.parametrize(("interval_s", "retry_s"), [(1800, 60), (10, 10)])
def test_a_snapshot_that_failed_is_tried_again_within_a_minute(interval_s: float, retry_s: float) -> None:
    _, snapshot, _ = tasks_of(Program(), interval_s)
    assert (snapshot.first_run_s, snapshot.interval_s, snapshot.wait_after_failure_s) == (
        interval_s,
        interval_s,
        retry_s,
    )
