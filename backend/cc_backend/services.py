"""The services that request handlers use, created once by `create_app` of the program."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import current_app

if TYPE_CHECKING:
    from cc_backend.archive.file_archive import FileArchive
    from cc_backend.auth.known_browsers import KnownBrowsers
    from cc_backend.auth.sessions import Sessions
    from cc_backend.auth.tokens import Tokens
    from cc_backend.auth.users import Users
    from cc_backend.clusters import ClusterFiles, ClusterRegistry
    from cc_backend.db.database import Database, DatabaseWatch
    from cc_backend.jobdata.job_tagger import JobTagger
    from cc_backend.jobdata.judge import Judge
    from cc_backend.jobdata.samples import MetricData
    from cc_backend.jobdata.store_router import StoreRouter
    from cc_backend.jobs.archive_queue import ArchiveQueue
    from cc_backend.jobs.cluster_generations import ClusterGenerations
    from cc_backend.jobs.idempotency_keys import IdempotencyKeys
    from cc_backend.jobs.job_columns import JobColumns
    from cc_backend.jobs.job_queries import JobQueries
    from cc_backend.jobs.job_statistics import JobStatistics
    from cc_backend.jobs.lifecycle import JobLifecycle
    from cc_backend.jobs.machine_states import MachineStates
    from cc_backend.jobs.node_history import NodeHistory
    from cc_backend.jobs.node_reports import NodeReports
    from cc_backend.jobs.node_states import NodeStates
    from cc_backend.jobs.running_jobs import RunningJobs
    from cc_backend.jobs.stored_statistics import StoredStatistics
    from cc_backend.metricstore import HostTable, MetricStore, MetricTable
    from cc_backend.model import RetentionHolds
    from cc_backend.runtime.health import HealthMonitor
    from cc_backend.runtime.lockfile import LockFile
    from cc_backend.runtime.trusted_clock import TrustedClock
    from cc_backend.settings import BackendSettings

EXTENSION = "cockpit"


@dataclass(slots=True, kw_only=True)
class StoreProgram(ABC):
    """The services that every program with a metric store has: the backend, and the store as a program of its own."""

    store: "MetricStore"
    health: "HealthMonitor"
    clock: Callable[[], float]
    trusted_clock: "TrustedClock"
    max_json_bytes: int
    """Maximum body of a request other than a batch."""

    def now_s(self) -> int:
        """Current time of the wall clock in whole Unix seconds."""
        return int(self.clock())

    def retention_now_s(self) -> int:
        """Time that retention goes by, in Unix seconds: a jump of the wall clock removes nothing."""
        return self.trusted_clock.retention_now_s()

    def trusted_now_s(self) -> int:
        """Best known time in Unix seconds, unaffected by a jump of the wall clock."""
        return int(self.trusted_clock.now_s())

    @abstractmethod
    def retention_holds(self) -> "RetentionHolds":
        """Hosts of unfinished jobs, whose samples are not freed."""

    def close(self) -> None:
        """Stop the health checks and sync the store to disk."""
        self.health.stop()
        self.store.close()


@dataclass(slots=True, kw_only=True)
class Services(StoreProgram):
    """All services of one running backend."""

    settings: "BackendSettings"
    database: "Database"
    clusters: "ClusterRegistry"
    cluster_files: "ClusterFiles"
    cluster_generations: "ClusterGenerations"
    store_router: "StoreRouter"
    archive: "FileArchive"
    job_lifecycle: "JobLifecycle"
    idempotency_keys: "IdempotencyKeys"
    job_columns: "JobColumns"
    job_queries: "JobQueries"
    job_statistics: "JobStatistics"
    running_jobs: "RunningJobs"
    stored_statistics: "StoredStatistics"
    archive_queue: "ArchiveQueue"
    node_states: "NodeStates"
    node_reports: "NodeReports"
    machine_states: "MachineStates | None"
    node_history: "NodeHistory"
    metric_data: "MetricData"
    judge: "Judge"
    job_tagger: "JobTagger"
    users: "Users"
    tokens: "Tokens"
    sessions: "Sessions"
    known_browsers: "KnownBrowsers"
    database_watch: "DatabaseWatch"
    lock_files: "Sequence[LockFile]"
    tables_in_use: "tuple[MetricTable, HostTable] | None" = None
    """The metrics and nodes that the store accepts, if jobs need more than the configuration has."""

    def retention_holds(self) -> "RetentionHolds":
        """Hosts of jobs that are running or wait to be archived, whose samples are not freed."""
        return self.running_jobs.retention_holds()

    def close(self) -> None:
        """Close everything: samples are on disk, all connections are closed, and the lock files are released."""
        self.health.stop()
        self.store_router.close()
        self.store.close()
        self.database_watch.close()
        self.database.close_all()
        for lock_file in self.lock_files:
            lock_file.close()


def current_store_program() -> StoreProgram:
    """The services of the application that serves the current request, whichever program it is."""
    return cast("StoreProgram", current_app.extensions[EXTENSION])


def current_services() -> Services:
    """The services of the application that serves the current request."""
    return cast("Services", current_app.extensions[EXTENSION])
