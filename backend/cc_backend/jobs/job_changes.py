"""The log of changed jobs. Triggers of the database write it, whoever changes a job: this program, a command, a hand.

`JobColumns` reads from it which jobs it has to read again. The log is short: entries that every reader has long seen
are removed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import peewee

from cc_backend.db.database import Database, Dialect
from cc_backend.jobs.tables import JobChangeRow

KEPT_CHANGES = 100_000
"""Entries that stay in the log; a reader that has missed more of them reads all jobs again."""
_WRITE_LOCK = f"{0x6363_6462}, 1"
"""`postgres_database.AdvisoryLock.WRITE` in SQL; that module cannot be imported where psycopg2 is not installed."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The ids of jobs that were changed, each once, and the number of the newest entry."""

    ids: tuple[int, ...]
    newest: int


class JobChanges:
    """Reads the log of changed jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self) -> int:
        """Number of the newest entry, 0 if there is none."""
        row = self._database.first_row("SELECT MAX(seq) FROM job_change")
        return int(row[0]) if row is not None and type(row[0]) is int else 0

    def since(self, seen: int) -> Changes | None:
        """The changes after the entry with the number `seen`; None if some of them are no longer in the log."""
        newest = self.newest()
        if newest == seen:
            return Changes((), seen)
        if newest < seen:  # another file, or a hand that emptied the log
            return None
        query = JobChangeRow.select(JobChangeRow.seq, JobChangeRow.job).where(JobChangeRow.seq >= seen)
        rows = list(self._database.raw_rows(query.order_by(JobChangeRow.seq)))
        if not rows or rows[0][0] != max(seen, 1):
            return None
        ids = {job for seq, job in rows if seq > seen and type(job) is int}
        return Changes(tuple(sorted(ids)), max(newest, rows[-1][0]))

    def prune(self) -> None:
        """Remove old entries; the newest ones stay."""
        oldest = JobChangeRow.select(peewee.fn.MIN(JobChangeRow.seq)).scalar(self._database) or 0
        keep_from = self.newest() - KEPT_CHANGES
        if keep_from - oldest > KEPT_CHANGES // 10:
            with self._database.write():
                JobChangeRow.delete().where(JobChangeRow.seq < keep_from).execute(self._database)


def change_log_statements(dialect: Dialect, columns: Sequence[str]) -> list[str]:
    """The SQL statements that create the triggers of the log; `columns` are those of a job that are watched."""
    watched = ", ".join(f'"{name}"' for name in ("id", *columns))
    events = {
        "job_change_insert": ("INSERT ON job", "NEW.id"),
        "job_change_update": (f"UPDATE OF {watched} ON job", "NEW.id"),
        "job_change_new_id": ('UPDATE OF "id" ON job', "OLD.id"),
        "job_change_delete": ("DELETE ON job", "OLD.id"),
        "job_change_footprint_insert": ("INSERT ON job_footprint", "NEW.job_id"),
        "job_change_footprint_update": ("UPDATE ON job_footprint", "NEW.job_id"),
        "job_change_footprint_delete": ("DELETE ON job_footprint", "OLD.job_id"),
    }
    return _trigger_statements(dialect, events)


def script_log_statements(dialect: Dialect) -> list[str]:
    """The SQL statements that create the triggers for the scripts of jobs."""
    events = {
        "job_change_script_insert": ("INSERT ON job_script", "NEW.job_id"),
        "job_change_script_update": ("UPDATE ON job_script", "NEW.job_id"),
        "job_change_script_delete": ("DELETE ON job_script", "OLD.job_id"),
    }
    return _trigger_statements(dialect, events)


def _trigger_statements(dialect: Dialect, events: Mapping[str, tuple[str, str]]) -> list[str]:
    statements = []
    for name, (event, id_) in events.items():
        insert = f"INSERT INTO job_change (job) VALUES ({id_});"  # noqa: S608 constants
        if dialect is Dialect.SQLITE:
            statements.append(f"CREATE TRIGGER IF NOT EXISTS {name} AFTER {event} BEGIN {insert} END")
            continue
        # with the lock of `Database.write`, also for who does not take it: entries are committed in their order
        body = f"BEGIN PERFORM pg_advisory_xact_lock({_WRITE_LOCK}); {insert} RETURN NULL; END"
        statements += [
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$",
            f"DROP TRIGGER IF EXISTS {name} ON {event.rpartition(' ')[2]}",
            f"CREATE TRIGGER {name} AFTER {event} FOR EACH ROW EXECUTE FUNCTION {name}()",
        ]
    return statements
