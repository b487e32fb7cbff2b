"""Opens the job database of a server: upgraded, watched, and tolerant of damage and of a backup put in its place."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

from cc_backend.clusters import ClusterFiles, ClusterRegistry
from cc_backend.db.database import Database, DatabaseWatch, FaultKind
from cc_backend.db.database_file import replacement_rejection
from cc_backend.db.opening import open_database
from cc_backend.db.sqlite_database import SqliteDatabase
from cc_backend.db.sqlite_watch import DatabaseReplacement, SqliteWatch
from cc_backend.errors import Unavailable
from cc_backend.jobs.cluster_generations import ClusterGenerations
from cc_backend.migrations import LATEST_VERSION, installation_id, migrate
from cc_backend.runtime.lockfile import LockFile, retry_while_locked
from cc_backend.settings import BackendMainSettings
from cc_backend.startup.data_locks import record_database_file

logger = logging.getLogger(__name__)


def open_server_database(main: BackendMainSettings, lock_file: LockFile, *, now_s: int) -> Database:
    """The database with its schema upgraded; the lock file of an SQLite file names it from now on.

    Raises:
        SettingsError: the settings name no file.
        BackendError: the database cannot be opened, or was written by a newer program.
    """
    database = open_database(
        main.db,
        password=main.db_password,
        busy_timeout_s=main.db_config.busy_timeout_ms / 1000,
        statement_timeout_s=main.db_config.statement_timeout_ms / 1000,
        cache_size_mb=max(1, main.db_config.cache_size_mb // main.threads),
        writer_cache_mb=main.db_config.cache_size_mb,
    )
    migrate(database, now_s=now_s)
    if isinstance(database, SqliteDatabase):
        record_database_file(lock_file, database.path)
    return database


@contextmanager
def tolerate_damage(database: Database, consequence: str) -> Iterator[None]:
    """Continue the start despite a damaged page of the database, and log the consequence.

    The health check reports the damage. Until a backup is restored, samples are taken and readable data is shown.
    """
    try:
        yield
    except Unavailable:
        if not database.has_fault(FaultKind.DAMAGED):
            raise
        logger.error("the database is damaged: %s until a backup is restored", consequence)  # noqa: TRY400 logged


def record_generations(database: Database, clusters: ClusterRegistry, *, now_s: int) -> ClusterGenerations:
    """The history of cluster configurations, with the present ones recorded and known to the registry."""
    generations = ClusterGenerations(database)
    with tolerate_damage(database, "new jobs do not record the cluster configuration they start with"):
        _set_generations(clusters, generations, generations.record(clusters, now_s=now_s))
    return generations


def watch_database(
    database: Database,
    lock_file: LockFile,
    *,
    clusters: ClusterRegistry,
    cluster_files: ClusterFiles,
    generations: ClusterGenerations,
    now_s: Callable[[], int],
    has_store: bool,
    on_replaced: Callable[[], None],
) -> DatabaseWatch:
    """A watch that lets the server go on with a backup put in place of its SQLite file.

    With PostgreSQL it shares the work with the watches of other processes, of which one `has_store`, the samples.

    Accepted are files of the same installation and schema version; then `on_replaced` is called. Generations of
    cluster configurations may have other numbers in them, so these are recorded again.
    """
    if not isinstance(database, SqliteDatabase):
        return retry_while_locked(lambda: _watch_postgres(database, has_store=has_store))
    path, installation = database.path, ""
    with tolerate_damage(database, "no backup that is put in its place is used without a restart"):
        installation = installation_id(database)

    def reload() -> None:
        record_database_file(lock_file, path)
        record_database_file(lock_file, database.path)
        on_replaced()
        generations.load.cache_clear()
        cluster_files.mark_changed()  # the next check of the cluster.json files does the rest
        try:
            numbers = generations.record(clusters, now_s=now_s())
        except Unavailable as error:
            logger.warning("cluster configuration not recorded yet: %s", error)
            numbers = {}
        _set_generations(clusters, generations, numbers)

    rejection = partial(replacement_rejection, installation=installation, version=LATEST_VERSION)
    return SqliteWatch(database, replacement=DatabaseReplacement(rejection, reload))


def _watch_postgres(database: Database, *, has_store: bool) -> DatabaseWatch:
    from cc_backend.db.postgres_database import PostgresDatabase  # noqa: PLC0415 - psycopg2 is optional
    from cc_backend.db.postgres_watch import PostgresWatch  # noqa: PLC0415

    return PostgresWatch(cast("PostgresDatabase", database), has_store=has_store)


def _set_generations(clusters: ClusterRegistry, generations: ClusterGenerations, numbers: dict[str, int]) -> None:
    clusters.replace_with(ClusterRegistry(dict(clusters.items()), generations=numbers, earlier=generations))
