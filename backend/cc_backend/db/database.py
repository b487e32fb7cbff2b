"""The relational database: what SQLite and PostgreSQL have in common. `opening` opens it, `migrations` make its tables.

Models are not bound to a database: pass it when a query is run, `query.execute(database)`. All writes happen inside
`with database.write():`. SQL as text has `?` for its parameters, on both engines.
"""

import logging
import threading
import time
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import peewee

from cc_backend.errors import Conflict, InvalidInput, NotFound, Unavailable
from cc_common.error_codes import ErrorCode

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 30
_LOCK_POLL_S = 0.25


class Dialect(StrEnum):
    """The engines; their SQL differs in little that this program uses."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


class FaultKind(StrEnum):
    """Kinds of faults of a database; each value completes a sentence that starts with "the database"."""

    FILE_REPLACED = "was removed, moved or replaced while the server runs"
    WAL_MISSING = "has lost its -wal file while the server runs"
    ACCESS = "may not be read and written any more"
    LOCKED = "cannot be written: another process holds it"
    BUSY = "could not be written in time"
    WRITE = "cannot be written"
    DAMAGED = "is damaged"
    UNREACHABLE = "cannot be reached"
    STORE_TAKEN = "has another process with a metric store of its own"


class DatabaseWatch(Protocol):
    """Checks a database periodically, and records and clears its faults."""

    def check(self) -> None:
        """Record and clear faults of the database; cheap enough for once per second. For one thread."""

    def check_integrity(self) -> None:
        """Check the whole content if that is due, and if it is this program's task."""

    def is_leader(self) -> bool:
        """Whether this process does the work that one of all the processes on the database does; never blocks."""

    def close(self) -> None:
        """Release all that the watch has open."""


class Database(peewee.Database):
    """One database, usable from any thread; each thread keeps an open connection of its own.

    Statements that fail because the disk is full, the database is locked or away and the like raise Unavailable (503);
    each kind of fault is logged once. Numbers and texts that it cannot store raise InvalidInput (400), a second row
    with the same key raises Conflict (422), a row that belongs to one that is not there raises NotFound (404).
    """

    dialect: ClassVar[Dialect]
    _driver_error: ClassVar[type[Exception]]
    _busy_advice: ClassVar[str]
    _execute_cursor: Callable[..., Any]  # of peewee; its stubs lack it

    def __init__(self, name: str, *, address: str, busy_timeout_s: float, **options: Any) -> None:
        # SQLite allows one writer at a time, and the others poll; with a lock of our own, threads queue instead.
        self._write_lock = threading.RLock()
        self._faults: dict[FaultKind, str] = {}
        self._connections: list[tuple[weakref.ref[threading.Thread], Any]] = []
        self._connections_lock = threading.Lock()
        self._is_closed_for_good = False
        self._error_translation = _ErrorTranslation(self)
        self.address = address
        """The path, or the address without password, for logs and errors."""
        self.busy_timeout_s = busy_timeout_s
        super().__init__(name, **options)

    # Statements

    @contextmanager
    def write(self) -> Iterator[None]:
        """A transaction that holds the write lock from the start; nested transactions are savepoints.

        Only one thread of one process writes at a time, so what was read inside stays true until the end.

        Raises:
            Unavailable: the database cannot be written: treat nothing as written.
        """
        self._acquire_write_lock()
        try:
            with self.atomic() if self.in_transaction() else self._write_transaction():
                yield
        finally:
            self._write_lock.release()

    @abstractmethod
    def _write_transaction(self) -> AbstractContextManager[None]:
        """The outermost transaction of `write`, which excludes all other writers."""

    def first_row(self, sql: str, *parameters: Any) -> tuple[Any, ...] | None:
        """The first row of an SQL query, or None; avoids the cost of the query builder."""
        cursor = self._execute_cursor(self._placeholders(sql), parameters)
        row: tuple[Any, ...] | None = cursor.fetchone() if cursor.description else None
        cursor.close()
        return row

    def all_rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of an SQL query; avoids the cost of the query builder."""
        cursor = self._execute_cursor(self._placeholders(sql), parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        cursor.close()
        return rows

    def run_sql(self, sql: str, *parameters: Any) -> int:
        """Run an SQL statement that returns no rows; the number of changed rows."""
        cursor = self._execute_cursor(self._placeholders(sql), parameters)
        count = int(cursor.rowcount)
        cursor.close()
        return count

    @abstractmethod
    def insert_row(self, sql: str, values: Sequence[Any]) -> int:
        """Insert one row by an SQL statement into a table whose key is `id`, and return its id; inside `write`."""

    @abstractmethod
    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run an SQL statement once per row of parameters; inside `write`."""

    def raw_rows(self, query: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a query with values as stored: no field converts them, so damaged values cannot raise."""
        sql, parameters = self.get_sql_context().sql(query).query()  # type: ignore[no-untyped-call]  # stubs lack it
        cursor: Iterator[tuple[Any, ...]] = self._execute_cursor(sql, parameters)
        return cursor

    @abstractmethod
    def reserve_ids(self, model: type[peewee.Model], count: int) -> Sequence[int]:
        """Unused ids for new rows of a model, ascending; inside `write`."""

    def checkpoint(self) -> None:
        """Do what makes commits durable and keeps them short, where the engine does not by itself; a periodic task."""

    def analyze(self) -> None:
        """Count what the planner of queries goes by, where the engine does not by itself; takes some milliseconds."""

    def lift_time_limits(self) -> None:
        """Let statements take any time until the transaction ends, as those of a migration may; inside `write`."""

    def _placeholders(self, sql: str) -> str:
        """The SQL with the engine's placeholders in place of `?`."""
        return sql

    # Faults

    def faults(self) -> list[str]:
        """Present faults with advice, without paths; never blocks."""
        return [f"the database {kind}: {advice}" for kind, advice in list(self._faults.items())]

    def record_fault(self, kind: FaultKind, advice: str, cause: object = "") -> None:
        """Record a fault; each kind is logged once until it is cleared."""
        if kind not in self._faults:
            logger.error("database failed database=%s error=%s advice=%s", self.address, cause or kind, advice)
        self._faults[kind] = advice

    def clear_fault(self, kind: FaultKind) -> None:
        """Clear a fault, and log that if it was recorded."""
        if self._faults.pop(kind, None) is not None:
            logger.warning("the database %s can be used again: it no longer %s", self.address, kind)

    def has_fault(self, kind: FaultKind) -> bool:
        """Whether a fault of this kind is present."""
        return kind in self._faults

    def _unavailable(self, advice: str) -> Unavailable:
        return Unavailable(
            f"the database cannot be used now: {advice}",
            code=ErrorCode.DATABASE_UNAVAILABLE,
            retry_after_s=RETRY_AFTER_S,
        )

    def _errors_translated(self) -> "_ErrorTranslation":
        return self._error_translation

    def raise_translated(self, error: BaseException) -> None:
        """Raise the translation of an error while a statement ran; return if it has none."""
        if isinstance(error, (peewee.DatabaseError, peewee.InterfaceError, self._driver_error)):
            cause: BaseException | None = error
            while isinstance(cause, peewee.PeeweeException):  # wrapped once by each layer it came through
                cause = getattr(cause, "orig", None)
            self._raise_translated(cause or error, error)
        elif isinstance(error, OverflowError | UnicodeEncodeError):
            # More than 64 bits, or half a surrogate pair: no row can store or match it.
            raise not_storable() from error

    @abstractmethod
    def _raise_translated(self, cause: BaseException, error: BaseException) -> None:
        """Raise the translation of an error of the driver, and record the fault it tells of; return if it has none."""

    # Connections and the write lock

    @contextmanager
    def try_write_lock(self, *, wait_s: float = 0.0) -> Iterator[bool]:
        """Hold the write lock inside the block if it is free within `wait_s` seconds; yields whether it is held."""
        is_idle = self._write_lock.acquire(timeout=wait_s)
        try:
            yield is_idle
        finally:
            if is_idle:
                self._write_lock.release()

    def close_all(self) -> None:
        """Close the connections of all threads; no new ones can be opened."""
        with self._connections_lock:
            self._is_closed_for_good = True
            connections = [connection for _, connection in self._connections]
            self._connections.clear()
        for connection in connections:
            connection.close()
        self.dispose()

    def _acquire_write_lock(self) -> None:
        """Wait for our other threads, but not while another process holds the lock: a waiting thread serves nobody."""
        end_s = time.monotonic() + self.busy_timeout_s
        while not self._write_lock.acquire(timeout=min(_LOCK_POLL_S, self.busy_timeout_s)):
            if FaultKind.LOCKED in self._faults or time.monotonic() >= end_s:
                raise self._unavailable(self._busy_advice)

    def _before_connecting(self) -> None:
        """Close the connections of threads that have ended; raises Unavailable after `close_all`."""
        with self._connections_lock:
            dead = [entry for entry in self._connections if not _is_alive(entry[0]())]
            self._connections = [entry for entry in self._connections if entry not in dead]
        for _, connection in dead:
            connection.close()
        if self._is_closed_for_good:
            raise database_closed()

    def _keep_connection(self, connection: Any, thread: threading.Thread | None = None) -> None:
        """Remember a new connection until it is closed, at the latest when a thread has ended; default: this thread."""
        with self._connections_lock:
            self._connections.append((weakref.ref(thread or threading.current_thread()), connection))

    def _forget_connection(self, connection: Any) -> None:
        with self._connections_lock:
            self._connections = [entry for entry in self._connections if entry[1] is not connection]

    def _close(self, conn: Any) -> None:
        self._forget_connection(conn)
        super()._close(conn)  # type: ignore[misc]  # stubs lack it


class _ErrorTranslation:
    """Translates errors of its block; one object for all blocks, as each event has a dozen of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._database.raise_translated(error)


def database_closed() -> Unavailable:
    """The error of a database that was closed for good."""
    return Unavailable("the database is closed: the server ends", code=ErrorCode.DATABASE_UNAVAILABLE)


def not_storable() -> InvalidInput:
    """The error of a value that no row can hold or match."""
    return InvalidInput(
        "a number or a text of the request is outside of what the database can store",
        code=ErrorCode.NUMBER_OUT_OF_RANGE,
    )


def duplicate_row() -> Conflict:
    """The error of a row whose key another row has."""
    return Conflict("this exists already: another request has stored it meanwhile")


def missing_row() -> NotFound:
    """The error of a row that belongs to another one, which is not there."""
    return NotFound("what this belongs to does not exist: another request has removed it meanwhile")


def _is_alive(thread: threading.Thread | None) -> bool:
    return thread is not None and thread.is_alive()
