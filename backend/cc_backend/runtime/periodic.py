"""Periodic tasks: when each is due, in which thread it runs, and what happens when it fails.

Times are of the monotonic clock. A task that is late runs once, however many of its times have passed. A task that
raises is logged once per kind of error and tried again. No task runs twice at a time.
"""

import heapq
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cc_backend.errors import BackendError

FIRST_RUN_S = 2.0
"""Seconds from the start to the first run of a task; restored samples may be older than the retention."""

NOT_READY_RETRY_S = 2.0

logger = logging.getLogger(__name__)


class TaskFailedError(Exception):
    """A task failed and has logged the reason itself; it is tried again as after any error."""


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """One periodic task. `retry_s` is the wait after a failure; None: the interval.

    With `needs_complete_store` it does not run while the store is restoring, because it would take a part of the
    samples for all of them. Tasks with the same `thread` run one after the other.
    """

    name: str
    run: Callable[[], object]
    interval_s: float
    needs_complete_store: bool = False
    first_run_s: float = FIRST_RUN_S
    retry_s: float | None = None
    thread: str = "upkeep"

    @property
    def wait_after_failure_s(self) -> float:
        """Seconds from a failure to the next try."""
        return self.interval_s if self.retry_s is None else self.retry_s


class TaskSchedule:
    """The due times of tasks, by a monotonic clock that the caller reads. For one thread."""

    def __init__(self, tasks: Sequence[PeriodicTask], now_s: float) -> None:
        self._tasks = tasks
        self._due = [(now_s + task.first_run_s, number) for number, task in enumerate(tasks)]
        heapq.heapify(self._due)

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next task is due, 0 if one is due now."""
        return max(0.0, self._due[0][0] - now_s)

    def run_due(self, now_s: Callable[[], float], attempt: Callable[[PeriodicTask], float | None]) -> None:
        """Run the task that has been due longest, if one is due.

        `attempt` returns None after success, else the seconds until the next try. Due times that pass meanwhile are
        skipped.
        """
        due_s, number = self._due[0]
        if due_s > now_s():
            return
        wait_s = attempt(self._tasks[number])
        end_s = now_s()
        if wait_s is None:
            interval_s = self._tasks[number].interval_s
            next_s = due_s + interval_s
            if next_s <= end_s:
                next_s += interval_s * ((end_s - next_s) // interval_s + 1)
        else:
            next_s = end_s + wait_s
        heapq.heapreplace(self._due, (next_s, number))


class PeriodicRunner:
    """Runs tasks from `start` to `stop`, each in the thread that it names."""

    def __init__(
        self,
        tasks: Sequence[PeriodicTask],
        stopping: threading.Event,
        *,
        is_complete: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tasks = tasks
        self._stopping = stopping
        self._is_complete = is_complete
        self._monotonic = monotonic
        self._failures: dict[str, set[str]] = {}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        for name in dict.fromkeys(task.thread for task in self._tasks):
            schedule = TaskSchedule([task for task in self._tasks if task.thread == name], self._monotonic())
            thread = threading.Thread(target=self._run, args=(schedule,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> bool:
        """End the threads once the running tasks end; False if the runner was stopped before."""
        if self._stopping.is_set():
            return False
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        return True

    def run_task(self, task: PeriodicTask) -> float | None:
        """Run a task now; None after success, else the seconds until the next try."""
        if task.needs_complete_store and not self._is_complete():
            return min(NOT_READY_RETRY_S, task.interval_s)
        try:
            task.run()
        except TaskFailedError:
            return task.wait_after_failure_s
        except BackendError as error:
            if self._is_new_failure(task, error):
                logger.error("scheduled work failed and is tried again work=%s reason=%s", task.name, error)  # noqa: TRY400 - expected
            return task.wait_after_failure_s
        except Exception as error:  # a bug must not end the thread that all other tasks need
            if self._is_new_failure(task, error):
                logger.exception("scheduled work met a defect and is tried again work=%s", task.name)
            return task.wait_after_failure_s
        if self._failures.pop(task.name, None) is not None:
            logger.warning("scheduled work goes on again work=%s", task.name)
        return None

    def _run(self, schedule: TaskSchedule) -> None:
        while not self._stopping.wait(schedule.wait_s(self._monotonic())):
            schedule.run_due(self._monotonic, self.run_task)

    def _is_new_failure(self, task: PeriodicTask, error: Exception) -> bool:
        """Whether the task has not failed with this kind of error since its last success."""
        kinds = self._failures.setdefault(task.name, set())
        is_new = type(error).__name__ not in kinds
        kinds.add(type(error).__name__)
        return is_new
