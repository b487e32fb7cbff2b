"""What a request handler may use: the parts, put together once by `app.create_app`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import current_app

if TYPE_CHECKING:
    from cc_backend.archive.file import FileArchive
    from cc_backend.auth.browsers import KnownBrowsers
    from cc_backend.auth.sessions import Sessions
    from cc_backend.auth.tokens import Tokens
    from cc_backend.auth.users import Users
    from cc_backend.clusters import ClusterFiles, Clusters
    from cc_backend.database import Database
    from cc_backend.databasewatch import DatabaseWatch
    from cc_backend.health import HealthMonitor
    from cc_backend.jobs.generations import ClusterGenerations
    from cc_backend.jobs.lifecycle import JobLifecycle
    from cc_backend.jobs.nodes import NodeStates
    from cc_backend.jobs.search import JobSearch
    from cc_backend.judging import Judge
    from cc_backend.lockfile import LockFile
    from cc_backend.metricdata import MetricData
    from cc_backend.metricstore import MetricStore, MetricTable
    from cc_backend.metricstore.lines.nodes import NodeTable
    from cc_backend.settings import BackendSettings
    from cc_backend.storerouter import StoreRouter
    from cc_backend.trustedclock import TrustedClock

EXTENSION = "cockpit"


@dataclass(slots=True)
class Services:
    """The parts of one running backend."""

    settings: "BackendSettings"
    database: "Database"
    clusters: "Clusters"
    cluster_files: "ClusterFiles"
    generations: "ClusterGenerations"
    store: "MetricStore"
    stores: "StoreRouter"
    archive: "FileArchive"
    jobs: "JobLifecycle"
    search: "JobSearch"
    nodes: "NodeStates"
    metricdata: "MetricData"
    judge: "Judge"
    users: "Users"
    tokens: "Tokens"
    sessions: "Sessions"
    browsers: "KnownBrowsers"
    database_watch: "DatabaseWatch"
    health: "HealthMonitor"
    lock_files: "Sequence[LockFile]"
    clock: Callable[[], float]
    trusted_clock: "TrustedClock"
    held_tables: "tuple[MetricTable, NodeTable] | None" = None
    """What the store takes, if that is more than the configuration has."""

    def now_s(self) -> int:
        """The current time in whole Unix seconds."""
        return int(self.clock())

    def retention_now_s(self) -> int:
        """The time by which things are removed: no wall clock that jumped removes anything."""
        return self.trusted_clock.retention_now_s()

    def trusted_now_s(self) -> int:
        """What time it is, as far as is known; a wall clock that jumped does not change it."""
        return int(self.trusted_clock.now_s())

    def close(self) -> None:
        """Close what is open: samples are on disk, no connection stays, another process may take over."""
        self.health.stop()
        self.stores.close()
        self.store.close()
        self.database_watch.close()
        self.database.close_all()
        for lock_file in self.lock_files:
            lock_file.close()


def current() -> Services:
    """The services of the application that serves the current request."""
    return cast("Services", current_app.extensions[EXTENSION])
