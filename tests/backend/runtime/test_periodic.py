"""Periodic tasks: on the monotonic clock, once however late, told once, tried again, ended at once."""

import logging
import threading
from collections.abc import Callable

import pytest

from cc_backend.errors import Unavailable
from cc_backend.runtime.periodic import (
    FIRST_RUN_S,
    PeriodicRunner,
    PeriodicTask,
    TaskFailedError,
    TaskSchedule,
)


class MonotonicClock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def nothing() -> None:
    """A task that does nothing."""


def times_run(schedule: TaskSchedule, clock: MonotonicClock, until_s: float, takes_s: float = 0.0) -> list[float]:
    """When tasks ran, to the moment that the schedule asked for."""
    found = []

    def attempt(_: PeriodicTask) -> None:
        found.append(clock.now_s)
        clock.now_s += takes_s

    while clock.now_s + schedule.wait_s(clock.now_s) <= until_s:
        clock.now_s += schedule.wait_s(clock.now_s)
        schedule.run_due(clock, attempt)
    return found


def test_a_task_runs_soon_after_the_start_and_then_at_its_interval() -> None:
    clock = MonotonicClock()
    schedule = TaskSchedule([PeriodicTask("one", nothing, 60)], clock())
    assert times_run(schedule, clock, 1200) == [1002, 1062, 1122, 1182]


def test_the_first_run_can_be_an_interval_later() -> None:
    clock = MonotonicClock()
    schedule = TaskSchedule([PeriodicTask("one", nothing, 60, first_run_s=60)], clock())
    assert times_run(schedule, clock, 1200) == [1060, 1120, 1180]


def test_times_that_were_missed_become_one_run() -> None:
    clock = MonotonicClock()
    schedule = TaskSchedule([PeriodicTask("one", nothing, 2)], clock())
    clock.now_s += 30 * 24 * 3600
    late_s = clock.now_s
    assert times_run(schedule, clock, late_s + 4.5) == [late_s, late_s + 2, late_s + 4]


def test_a_task_that_takes_longer_than_its_interval_leaves_room_for_others() -> None:
    clock, ran = MonotonicClock(), []
    tasks = [PeriodicTask("slow", nothing, 2), PeriodicTask("quick", nothing, 5)]
    schedule = TaskSchedule(tasks, clock())

    def attempt(task: PeriodicTask) -> None:
        ran.append(task.name)
        clock.now_s += 7 if task.name == "slow" else 0

    for _ in range(40):
        clock.now_s += schedule.wait_s(clock.now_s)
        schedule.run_due(clock, attempt)
    assert ran.count("quick") >= 15


def test_nothing_runs_before_it_is_due() -> None:
    clock, ran = MonotonicClock(), []
    schedule = TaskSchedule([PeriodicTask("one", nothing, 60)], clock())
    clock.now_s += FIRST_RUN_S - 0.1
    schedule.run_due(clock, lambda task: ran.append(task.name))
    assert ran == []


def test_after_a_failure_the_next_try_comes_sooner() -> None:
    clock = MonotonicClock()
    task = PeriodicTask("one", nothing, 1800, first_run_s=1800, retry_s=60)
    schedule = TaskSchedule([task], clock())
    clock.now_s += 1800
    schedule.run_due(clock, lambda task: task.wait_after_failure_s)
    assert schedule.wait_s(clock.now_s) == 60


def test_by_default_it_comes_an_interval_later() -> None:
    assert PeriodicTask("one", nothing, 10).wait_after_failure_s == 10


def runner_of(*tasks: PeriodicTask, is_whole: Callable[[], bool] = lambda: True) -> PeriodicRunner:
    return PeriodicRunner(tasks, threading.Event(), is_complete=is_whole)


def test_a_task_that_needs_the_whole_store_waits_for_it() -> None:
    ran: list[str] = []
    whole = [False]
    needing = PeriodicTask("needing", lambda: ran.append("needing"), 60, needs_complete_store=True)
    other = PeriodicTask("other", lambda: ran.append("other"), 60)
    runner = runner_of(needing, other, is_whole=lambda: whole[0])
    assert runner.run_task(needing) == 2
    assert runner.run_task(other) is None
    assert ran == ["other"]
    whole[0] = True
    assert runner.run_task(needing) is None
    assert ran == ["other", "needing"]


class Failing:
    """A task that raises what it is told to, or nothing."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __call__(self) -> None:
        if self.error is not None:
            raise self.error


def test_a_failure_is_told_once_per_kind_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    work = Failing()
    task = PeriodicTask("tidy", work, 60)
    runner = runner_of(task)
    for error in (Unavailable("no room"), Unavailable("no room, 3 left"), KeyError("x"), Unavailable("no room")):
        work.error = error
        assert runner.run_task(task) == 60
    work.error = None
    assert [runner.run_task(task), runner.run_task(task)] == [None, None]
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in told] == [
        "scheduled work failed and is tried again work=tidy reason=no room",
        "scheduled work met a defect and is tried again work=tidy",
        "scheduled work goes on again work=tidy",
    ]
    assert [record.exc_info is not None for record in told] == [False, True, False]
    work.error = Unavailable("no room")
    runner.run_task(task)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 4


def test_what_has_said_itself_that_it_failed_is_only_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    work = Failing()
    work.error = TaskFailedError()
    task = PeriodicTask("snapshot", work, 1800, retry_s=60)
    assert runner_of(task).run_task(task) == 60
    assert caplog.records == []


def test_tasks_run_in_the_thread_that_they_name_and_the_end_is_prompt() -> None:
    threads: dict[str, str] = {}
    ran = {"a": threading.Event(), "b": threading.Event()}

    def note(name: str) -> None:
        threads[name] = threading.current_thread().name
        ran[name].set()

    tasks = [
        PeriodicTask("a", lambda: note("a"), 3600, first_run_s=0),
        PeriodicTask("b", lambda: note("b"), 3600, first_run_s=0, thread="archiving"),
    ]
    runner = runner_of(*tasks)
    runner.start()
    assert all(event.wait(20) for event in ran.values())
    assert runner.stop()  # the next run is an hour away
    assert not runner.stop()
    assert threads == {"a": "upkeep", "b": "archiving"}


def test_a_long_task_in_one_thread_holds_up_no_task_of_the_other() -> None:
    release, ran = threading.Event(), threading.Event()
    tasks = [
        PeriodicTask("long", lambda: release.wait(20), 3600, first_run_s=0, thread="archiving"),
        PeriodicTask("short", ran.set, 3600, first_run_s=0),
    ]
    runner = runner_of(*tasks)
    runner.start()
    try:
        assert ran.wait(20)
    finally:
        release.set()
        runner.stop()
