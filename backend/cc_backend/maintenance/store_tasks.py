"""Background work of a program with a metric store: upkeep and snapshots of the store, health checks, the end."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from cc_backend.model import RetentionHolds
from cc_backend.runtime.periodic import PeriodicRunner, PeriodicTask, TaskFailedError
from cc_backend.services import StoreProgram

UPKEEP_INTERVAL_S = 60.0
SNAPSHOT_AT_STOP_S = 20.0
SNAPSHOT_RETRY_S = 60.0
LOST_FILES_INTERVAL_S = 1.0
LOST_FILES_RETRY_S = 10.0

logger = logging.getLogger(__name__)

ProgramT = TypeVar("ProgramT", bound=StoreProgram)


def store_tasks(
    program: StoreProgram, holds: Callable[[], RetentionHolds], *, snapshot_interval_s: float
) -> tuple[PeriodicTask, ...]:
    """The tasks of a store: upkeep, snapshots, and a snapshot at once if files were lost that memory still has.

    `holds` returns what unfinished jobs need at the moment.
    """

    def upkeep() -> None:
        program.trusted_clock.resolve_doubt()
        freed = program.store.upkeep(program.retention_now_s(), holds(), trusted_s=program.trusted_now_s())
        if freed:
            logger.info("store upkeep freed bytes=%d", freed)

    def snapshot() -> None:
        if not program.store.snapshot(program.trusted_now_s()):
            raise TaskFailedError

    def rescue() -> None:
        if program.store.needs_snapshot:
            snapshot()

    retry_s = min(SNAPSHOT_RETRY_S, snapshot_interval_s)
    return (
        PeriodicTask("upkeep", upkeep, UPKEEP_INTERVAL_S),
        PeriodicTask("snapshot", snapshot, snapshot_interval_s, first_run_s=snapshot_interval_s, retry_s=retry_s),
        PeriodicTask("lost files", rescue, LOST_FILES_INTERVAL_S, retry_s=LOST_FILES_RETRY_S),
    )


class BackgroundWork:
    """The periodic tasks and health checks of a program, from `start` to `stop`."""

    def __init__(
        self, program: ProgramT, make_tasks: Callable[[ProgramT, threading.Event], Sequence[PeriodicTask]]
    ) -> None:
        """Nothing runs yet. `make_tasks` gets the program, and the event that tells long tasks to end early."""
        self._program: StoreProgram = program
        stopping = threading.Event()
        tasks = make_tasks(program, stopping)
        self.runner = PeriodicRunner(tasks, stopping, is_complete=lambda: not program.store.restoring)

    def start(self) -> None:
        """Start the threads of the tasks and of the health checks."""
        self.runner.start()
        self._program.health.start()

    def stop(self) -> None:
        """End the tasks, write a last snapshot and close the program; a second call does nothing.

        The snapshot makes the next start faster; samples that it does not get in time are in the log.
        """
        if self.runner.stop():
            self._program.store.snapshot(self._program.trusted_now_s(), budget_s=SNAPSHOT_AT_STOP_S)
            self._program.close()
