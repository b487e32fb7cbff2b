"""Watches the PostgreSQL database of a running server, and holds the locks by which processes share their work."""

import logging
from contextlib import suppress
from typing import Any

import psycopg2

from cc_backend.db.database import FaultKind
from cc_backend.db.postgres_database import (
    UNREACHABLE_ADVICE,
    AdvisoryLock,
    PostgresDatabase,
    is_lock_free,
    try_advisory_lock,
)
from cc_backend.errors import BackendError

_TIMEOUT_S = 3.0
_READ_ONLY_ADVICE = "it is read-only: main.db must name the primary server"
_STORE_ADVICE = "that one archives the jobs now: stop one of them"

logger = logging.getLogger(__name__)


class PostgresWatch:
    """Checks a PostgreSQL database periodically, with a connection of its own, which holds the locks of this process.

    One of the processes on a database is the leader; when it ends, another one is.
    """

    def __init__(self, database: PostgresDatabase, *, has_store: bool) -> None:
        """`has_store`: this process keeps samples itself, which one process on a database may do.

        Raises:
            Unavailable: the database cannot be reached.
            BackendError: another process on this database keeps samples, too.
        """
        self._database = database
        self._has_store = has_store
        self._connection: Any = None
        self._is_leader = False
        try:
            self._connect()
        except psycopg2.OperationalError:
            database.first_row("SELECT 1")  # raises what is wrong
            raise
        if has_store and not self._try_lock(AdvisoryLock.STORE):
            self.close()
            raise BackendError(
                f"another process with a metric store of its own uses the database {database.address}; stop that one, "
                "or name its store in metric-store-external with the scope * here"
            )
        database.has_watch = True
        self.check()

    def check(self) -> None:
        """Record and clear faults of the database, and become the leader if there is none. For one thread."""
        database = self._database
        try:
            is_new = self._reconnect_if_lost()
            is_read_only = self._is_read_only()
            has_store_lock = not (is_new and self._has_store) or self._try_lock(AdvisoryLock.STORE)
            if is_read_only or not has_store_lock:
                self._is_leader = False
            elif not self._is_leader and self._try_lock(AdvisoryLock.LEADER):
                self._is_leader = True
                logger.info("this process leads the periodic work on the database=%s", database.address)
            if database.has_fault(FaultKind.BUSY) and self._is_write_lock_free():
                database.clear_fault(FaultKind.BUSY)
        except (psycopg2.Error, BackendError) as error:
            self._disconnect()
            database.record_fault(FaultKind.UNREACHABLE, UNREACHABLE_ADVICE, str(error).partition("\n")[0])
            return
        database.clear_fault(FaultKind.UNREACHABLE)
        self._record(FaultKind.ACCESS, _READ_ONLY_ADVICE, is_present=is_read_only)
        self._record(FaultKind.STORE_TAKEN, _STORE_ADVICE, is_present=not has_store_lock)
        if not has_store_lock:
            self._disconnect()  # the next check tries to get the lock

    def check_integrity(self) -> None:
        """Nothing: PostgreSQL checks its own files (`initdb --data-checksums`, pg_amcheck)."""

    def is_leader(self) -> bool:
        """Whether this process does the work that one of all the processes on the database does; never blocks."""
        return self._is_leader

    def close(self) -> None:
        """Release all that the watch has open; another process may be the leader."""
        self._database.has_watch = False
        self._disconnect()

    def _record(self, kind: FaultKind, advice: str, *, is_present: bool) -> None:
        if is_present:
            self._database.record_fault(kind, advice)
        else:
            self._database.clear_fault(kind)

    def _reconnect_if_lost(self) -> bool:
        """Whether there is a new connection, which has no locks yet."""
        if self._connection is not None:
            try:
                self._is_read_only()
            except psycopg2.Error:
                self._disconnect()
        if self._connection is not None:
            return False
        self._connect()
        return True

    def _connect(self) -> None:
        self._connection = self._database.new_connection(lock_timeout_s=_TIMEOUT_S, statement_timeout_s=_TIMEOUT_S)

    def _disconnect(self) -> None:
        self._is_leader = False
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg2.Error):
                connection.close()

    def _is_read_only(self) -> bool:
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('transaction_read_only')::boolean")
            return bool(cursor.fetchone()[0])

    def _try_lock(self, lock: AdvisoryLock) -> bool:
        with self._connection.cursor() as cursor:
            return try_advisory_lock(cursor, lock)

    def _is_write_lock_free(self) -> bool:
        with self._connection.cursor() as cursor:
            return is_lock_free(cursor, AdvisoryLock.WRITE)
