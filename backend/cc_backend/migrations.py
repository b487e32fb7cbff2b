"""Schema migrations of the relational database: its tables, and the upgrades from older versions.

Each upgrade is one transaction, so a process that is killed leaves the schema of before or after it. Only one of
several processes upgrades at a time, as `Database.write` admits one. An SQLite file is copied before the first upgrade
of a run.
"""

import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import peewee

from cc_backend.auth import tables as auth_tables
from cc_backend.db.database import Database, Dialect
from cc_backend.db.database_backup import back_up
from cc_backend.db.removed_ids import removed_id_statements
from cc_backend.errors import BackendError, Unavailable
from cc_backend.jobs import tables as job_tables
from cc_backend.jobs.job_changes import change_log_statements, script_log_statements
from cc_backend.jobs.job_columns import WATCHED_COLUMNS
from cc_backend.jobs.node_state_times import TIME_COLUMNS, recompute_state_times
from cc_backend.jobs.script_search import create_script_index
from cc_backend.jobs.tables import JobRow, ScriptProgressRow

logger = logging.getLogger(__name__)


class SchemaVersion(peewee.Model):
    """The upgrades that were applied to the database."""

    version = peewee.IntegerField(primary_key=True)
    applied_s = peewee.BigIntegerField()

    class Meta:  # noqa: D106 - peewee asks for it
        table_name = "schema_version"


class Installation(peewee.Model):
    """Identifier of this installation, which its database shares with its backups only; one row."""

    id = peewee.TextField(primary_key=True)

    class Meta:  # noqa: D106 - peewee asks for it
        table_name = "installation"


def installation_id(database: Database) -> str:
    """Random identifier of the installation that a database belongs to, made when it was created or upgraded."""
    return str(Installation.select(Installation.id).scalar(database) or "")


def migrate(database: Database, *, now_s: int | None = None) -> int:
    """Create or upgrade the schema, each version in one transaction, and return its version.

    Raises:
        BackendError: the database was written by a newer program, there is no room for a backup, or an upgrade failed.
        Unavailable: the database cannot be written.
    """
    backup: Path | None = None
    first: int | None = None
    while True:
        with database.write():
            database.lift_time_limits()
            known = _known_version(database)
            if known > len(_UPGRADES):
                raise BackendError(
                    f"the database {database.address} has schema version {known}, this program knows {len(_UPGRADES)}; "
                    "install the newer program again or restore a backup"
                )
            if known == len(_UPGRADES):
                return known
            if first is None:
                first = known
                backup = back_up(database, known + 1) if known else None  # a new database has nothing to lose
            try:
                _UPGRADES[known](database)
            except Exception as error:
                raise _upgrade_failed(database, known, backup, first, error) from error
            applied_s = int(time.time()) if now_s is None else now_s
            SchemaVersion.insert(version=known + 1, applied_s=applied_s).execute(database)
        logger.info("upgraded database=%s schema_version=%d", database.address, known + 1)


def _known_version(database: Database) -> int:
    peewee.SchemaManager(SchemaVersion, database).create_table(safe=True)
    return int(SchemaVersion.select(peewee.fn.MAX(SchemaVersion.version)).scalar(database) or 0)


def _upgrade_failed(database: Database, known: int, backup: Path | None, first: int, error: Exception) -> BackendError:
    """The error of an upgrade that failed and was undone, with the way back to the program of before."""
    text = (
        f"the upgrade of the database {database.address} to schema version {known + 1} failed and was undone, it has "
        f"version {known}: {error}"
    )
    if backup is not None:
        text += (
            f". To go back to the program of before, stop everything that uses the database and put {backup} in its "
            f"place; that has version {first}"
        )
    return Unavailable(text, code=error.code) if isinstance(error, Unavailable) else BackendError(text)


def _create_schema(database: Database) -> None:
    for model in (*auth_tables.ALL, *job_tables.ALL):
        peewee.SchemaManager(model, database).create_all(safe=False)


def _add_cluster_configurations(database: Database) -> None:
    """Jobs name the cluster configuration at their start; that of older jobs is unknown."""
    peewee.SchemaManager(job_tables.ClusterConfigRow, database).create_all(safe=True)
    _add_column(database, "job", "cluster_config", "INTEGER NOT NULL DEFAULT 0")


def _add_account_states(database: Database) -> None:
    """Disabled and removed accounts, and browsers that have logged in."""
    for model in auth_tables.ALL:
        peewee.SchemaManager(model, database).create_all(safe=True)
    _add_column(database, "user", "disabled_s", "INTEGER")


def _add_node_seen_time(database: Database) -> None:
    """A report that repeats the state of a node only updates when it was seen."""
    _add_column(database, "node", "seen_s", "INTEGER NOT NULL DEFAULT 0")
    database.run_sql("UPDATE node SET seen_s = COALESCE((SELECT time_s FROM node_state WHERE id = latest_id), 0)")


def _add_column(database: Database, table: str, column: str, definition: str) -> None:
    """Add a column unless the table has it."""
    if column not in {known.name for known in database.get_columns(table)}:
        database.run_sql(f'ALTER TABLE "{table}" ADD COLUMN "{column}" {definition}')


def _add_judgements(database: Database) -> None:
    """Jobs have a judgement; existing jobs are judged in the background."""
    for name, definition in job_tables.JUDGEMENT_COLUMNS.items():
        _add_column(database, "job", name, definition)
    database.run_sql(job_tables.JUDGEMENT_INDEX)


def _add_installation_id(database: Database) -> None:
    """A running server accepts a restored backup in place of its database, but no database of another installation."""
    peewee.SchemaManager(Installation, database).create_table(safe=True)
    if not installation_id(database):
        Installation.insert(id=secrets.token_hex(16)).execute(database)


def _add_meta_changes(database: Database) -> None:
    """Changes of tags and meta data that the archive does not have yet."""
    peewee.SchemaManager(job_tables.MetaChangeRow, database).create_all(safe=True)


def _add_idempotency_keys(database: Database) -> None:
    """Answers to requests with an idempotency key are kept for a day."""
    peewee.SchemaManager(job_tables.IdempotencyKeyRow, database).create_all(safe=True)


def _add_detections(database: Database) -> None:
    """Tags that detectors gave are marked, and jobs wait for them; existing tags count as given by people."""
    _add_column(database, "job_tag", "detected", "BOOLEAN NOT NULL DEFAULT FALSE")
    peewee.SchemaManager(job_tables.DetectionRow, database).create_all(safe=True)


def _log_job_changes(database: Database) -> None:
    """Triggers log which jobs were changed, so that what is kept of them in memory is brought up to date."""
    peewee.SchemaManager(job_tables.JobChangeRow, database).create_all(safe=True)
    for statement in change_log_statements(database.dialect, WATCHED_COLUMNS):
        database.run_sql(statement)


def _store_statistics(database: Database) -> None:
    """The statistics of archived jobs are in the database; those of existing jobs are added in the background."""
    for model in (job_tables.MetricListRow, job_tables.JobStatisticsRow):
        peewee.SchemaManager(model, database).create_all(safe=True)


def _add_node_state_times(database: Database) -> None:
    """Each state of a node knows how long the node was in each state before."""
    for column in TIME_COLUMNS:
        _add_column(database, "node_state", column, "BIGINT NOT NULL DEFAULT 0")
    recompute_state_times(database)


def _remember_rejected_tags(database: Database) -> None:
    """A detected tag that somebody took from a job does not come back."""
    peewee.SchemaManager(job_tables.RejectedTagRow, database).create_all(safe=True)


def _keep_removed_ids(database: Database) -> None:
    """The id of a removed job is never that of another one, whoever wrote it down."""
    if database.dialect is Dialect.SQLITE:
        for statement in removed_id_statements("job"):
            database.run_sql(statement)


def _add_script_search(database: Database) -> None:
    """Job scripts can be searched; those of existing jobs are read in the background."""
    for model in (job_tables.ScriptRow, job_tables.JobScriptRow, job_tables.ScriptProgressRow):
        peewee.SchemaManager(model, database).create_all(safe=True)
    create_script_index(database)
    for statement in script_log_statements(database.dialect):
        database.run_sql(statement)
    newest = JobRow.select(peewee.fn.MAX(JobRow.id)).scalar(database)
    ScriptProgressRow.insert(unread_below=0 if newest is None else newest + 1).execute(database)


def _drop_unused_indexes(database: Database) -> None:
    """Indexes that no statement needs cost time of each start and stop, and space."""
    for name in job_tables.UNUSED_INDEXES:
        database.run_sql(f'DROP INDEX IF EXISTS "{name}"')


def _add_node_reports(database: Database) -> None:
    """What agents report about their nodes is kept."""
    peewee.SchemaManager(job_tables.NodeReportRow, database).create_all(safe=True)


_UPGRADES: tuple[Callable[[Database], None], ...] = (
    _create_schema,
    _add_cluster_configurations,
    _add_account_states,
    _add_node_seen_time,
    _add_judgements,
    _add_installation_id,
    _add_meta_changes,
    _add_idempotency_keys,
    _add_detections,
    _log_job_changes,
    _store_statistics,
    _add_node_state_times,
    _remember_rejected_tags,
    _keep_removed_ids,
    _add_script_search,
    _drop_unused_indexes,
    _add_node_reports,
)

LATEST_VERSION = len(_UPGRADES)
"""Schema version of this program."""
