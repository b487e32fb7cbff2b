"""When the scheduled work runs; APScheduler keeps the times."""

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from apscheduler.schedulers.background import BackgroundScheduler

from cc_backend.absences import explaining
from cc_backend.errors import BackendError
from cc_backend.maintenance.archiving import Archiver, ArchivingRules
from cc_backend.maintenance.footprints import STEP_EVERY_S, FootprintRefresher
from cc_backend.maintenance.reloading import reload_clusters
from cc_backend.maintenance.retention import keep_store
from cc_backend.metricstore.disk.rhythm import Rhythm
from cc_backend.services import Services

ARCHIVE_EVERY_S = 2
CLUSTERS_EVERY_S = 5
UPKEEP_EVERY_S = 60
SNAPSHOT_LOOK_EVERY_S = 5
SNAPSHOT_AT_STOP_S = 20.0
SESSIONS_EVERY_S = 3600
SET_BACK_S = 1.0

logger = logging.getLogger(__name__)


class Postponed(Protocol):
    """Scheduled work whose next time can be changed."""

    def modify(self, *, next_run_time: datetime) -> object:
        """Change it."""


class ClockWatch:
    """Notices that the wall clock was set back.

    The scheduler keeps times of that clock: it would wait until the old time comes again, an hour for an hour.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._ahead_s = wall() - steady()

    def look(self, works: Callable[[], Iterable[Postponed]]) -> None:
        """Make all work due now if the clock was set back since the last look."""
        ahead_s = self._wall() - self._steady()
        back_s, self._ahead_s = self._ahead_s - ahead_s, ahead_s
        if back_s > SET_BACK_S:
            logger.warning("clock was set back seconds=%.0f: scheduled work goes on", back_s)
            for work in works():
                work.modify(next_run_time=datetime.fromtimestamp(self._wall(), UTC))


class Background:
    """The running background work of one backend."""

    def __init__(self, scheduler: BackgroundScheduler, services: Services, stopping: threading.Event) -> None:
        self._scheduler = scheduler
        self._services = services
        self._stopping = stopping

    def stop(self) -> None:
        """Let running work come to its next stopping point, then close what must be closed.

        A last snapshot spares the next start most of its work; what does not get into it in time is in the log.
        """
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._scheduler.shutdown(wait=True)
        self._services.store.snapshot(self._services.now_s(), budget_s=SNAPSHOT_AT_STOP_S)
        self._services.close()


def start_background(services: Services) -> Background:
    """Start archiving, retention and the clean-up of logins, each in its own rhythm and never twice at a time."""
    stopping = threading.Event()
    archiver = make_archiver(services)
    scheduler = BackgroundScheduler(
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}, timezone="UTC"
    )

    def archive() -> None:
        archiver.run_once(now_s=services.now_s(), stopping=stopping.is_set)

    def upkeep() -> None:
        keep_store(services.search, services.store, now_s=services.now_s())

    rhythm = Rhythm(services.settings.metric_store.snapshot_interval_s, time.monotonic())

    def snapshot() -> None:
        snapshot_when_due(services, rhythm)

    refresher = FootprintRefresher(services.search, services.metricdata, services.clusters)

    def footprints() -> None:
        refresher.step(now_s=services.now_s(), stopping=stopping.is_set)

    def clusters() -> None:
        reload_clusters(services)

    def end_sessions() -> None:
        services.sessions.purge(now_s=services.now_s())

    for work, every_s in (
        (_when_whole(services, archive), ARCHIVE_EVERY_S),
        (_when_whole(services, footprints), STEP_EVERY_S),
        (upkeep, UPKEEP_EVERY_S),
        (snapshot, SNAPSHOT_LOOK_EVERY_S),
        (clusters, CLUSTERS_EVERY_S),
        (end_sessions, SESSIONS_EVERY_S),
    ):
        # each runs soon after the start too: a restart restores samples that may be older than the floor
        first = datetime.now(UTC) + timedelta(seconds=ARCHIVE_EVERY_S)
        scheduler.add_job(_fenced(work), "interval", seconds=every_s, id=work.__name__, next_run_time=first)
    watch = ClockWatch()
    scheduler.start()

    def watch_clock() -> None:
        while not stopping.wait(ARCHIVE_EVERY_S):
            watch.look(scheduler.get_jobs)

    threading.Thread(target=watch_clock, name="clock watch", daemon=True).start()
    return Background(scheduler, services, stopping)


def snapshot_when_due(services: Services, rhythm: Rhythm) -> None:
    """Take a snapshot if it is time; one that failed is tried again soon."""
    if rhythm.is_due(time.monotonic()):
        well = services.store.snapshot(services.now_s())
        rhythm.done(time.monotonic(), well=well)


def make_archiver(services: Services) -> Archiver:
    """The archiver as the settings want it."""
    archive = services.settings.archive
    return Archiver(
        search=services.search,
        metricdata=services.metricdata,
        explains=lambda job: explaining(services.stores, services.store, job),
        archive=services.archive,
        clusters=services.clusters,
        rules=ArchivingRules(
            late_data_s=archive.late_data_s,
            retention_s=services.settings.metric_store.retention_in_memory_s,
            core_scope_nodes=archive.core_scope_nodes,
        ),
    )


def _when_whole(services: Services, work: Callable[[], None]) -> Callable[[], None]:
    """The same work, but not while the store is restoring: half of the samples would be taken for all of them."""

    @functools.wraps(work)
    def run() -> None:
        if not services.store.restoring:
            work()

    return run


def _fenced(work: Callable[[], None]) -> Callable[[], None]:
    """The same work; an expected error is one log line, and the next round comes all the same."""

    def run() -> None:
        try:
            work()
        except BackendError as error:
            logger.error("scheduled work failed work=%s reason=%s", work.__name__, error)  # noqa: TRY400 - expected

    return run
