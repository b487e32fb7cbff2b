"""The relational database: how it is opened and written to. Its tables are created by `migrations`.

Models are not bound to a database: pass it when a query is run, `query.execute(database)`. All writes happen inside
`with database.write():`.
"""

import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import peewee

from cc_backend.db.database_file import wal_path
from cc_backend.errors import InvalidInput, Unavailable
from cc_backend.runtime.lockfile import FileId, file_id, is_same_file
from cc_common.error_codes import ErrorCode
from cc_common.errors import SettingsError

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 30
_LOCK_POLL_S = 0.25
REPLACEMENT_LOCK_WAIT_S = 1.0
_READ_ONLY_FILE_NUMBER = -1
"""File number of a connection that SQLite opened read-only, and which stays read-only, as the file was not writable."""
_SETTING = "main.db"
_SQLITE_SCHEME = "sqlite://"

# Primary result codes after which the same statement may work later, https://www.sqlite.org/rescode.html
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written: look at the kernel log",
    sqlite3.SQLITE_BUSY: "another process holds the database for too long: end it",
    sqlite3.SQLITE_LOCKED: "another connection holds a table for too long",
    sqlite3.SQLITE_READONLY: "the database may not be written: look at owner and mode of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: look at owner and mode of the file and its folder",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore a backup",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database: look at the setting",
}


WAL_MISSING_ADVICE = "restart the server"
FILE_REPLACED_ADVICE = "put the file back that was there, or a backup of it"


class FaultKind(StrEnum):
    """Kinds of faults of a database; each value completes a sentence that starts with "the database"."""

    FILE_REPLACED = "was removed, moved or replaced while the server runs"
    WAL_MISSING = "has lost its -wal file while the server runs"
    ACCESS = "may not be read and written any more"
    LOCKED = "cannot be written: another process holds it"
    BUSY = "could not be written in time"
    WRITE = "cannot be written"
    DAMAGED = "is damaged"


_FAULT_KINDS = {  # all others: WRITE
    sqlite3.SQLITE_BUSY: FaultKind.BUSY,
    sqlite3.SQLITE_LOCKED: FaultKind.BUSY,
    sqlite3.SQLITE_CORRUPT: FaultKind.DAMAGED,
    sqlite3.SQLITE_NOTADB: FaultKind.DAMAGED,
}


class Database(peewee.SqliteDatabase):
    """One SQLite file, usable from any thread; each thread keeps an open connection of its own.

    Statements that fail because the disk is full, the file is locked and the like raise Unavailable (503); each kind of
    fault is logged once. Numbers and texts that SQLite cannot store raise InvalidInput (400).
    """

    def __init__(self, path: Path, *, busy_timeout_s: float, cache_size_mb: int) -> None:
        # SQLite allows one writer at a time, and the others poll; with a lock of our own, threads queue instead.
        self._write_lock = threading.RLock()
        self._lock_wait_since_s: float | None = None  # since when one of our threads waits for SQLite's lock
        self._faults: dict[FaultKind, str] = {}
        self._file_id: FileId | None = None
        self._wal_path = wal_path(path)
        self._wal_file_id: FileId | None = None
        self._connections: list[tuple[weakref.ref[threading.Thread], _Connection]] = []
        self._connections_lock = threading.Lock()
        # connections to a former file; SQLite removes a -wal file by name when the last of them closes
        self._former_connections: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._former_keepers: list[sqlite3.Connection] = []
        self._former_files: set[FileId] = set()
        self._file_number = 0
        self._is_closed_for_good = False
        self.path = path
        self.busy_timeout_s = busy_timeout_s
        super().__init__(
            str(path),
            pragmas=(
                ("journal_mode", "wal"),
                ("synchronous", "normal"),
                ("foreign_keys", "on"),
                ("temp_store", "memory"),
                ("cache_size", -1024 * cache_size_mb),  # negative: KiB instead of pages
            ),
            timeout=busy_timeout_s,
            check_same_thread=False,  # close_all() runs in another thread
            factory=self._new_connection,
        )

    @contextmanager
    def write(self) -> Iterator[None]:
        """A transaction that holds the write lock from the start; nested transactions are savepoints.

        Raises:
            Unavailable: the file cannot be written or was replaced: treat nothing as written.
        """
        self._acquire_write_lock()
        try:
            if self.in_transaction():
                with self.atomic("IMMEDIATE"):
                    yield
                return
            self._require_current_file()
            self._drop_stale_connection()
            if FaultKind.LOCKED in self._faults:
                raise self._unavailable(self._faults[FaultKind.LOCKED])
            with self._errors_translated():
                connection: sqlite3.Connection = self.connection()  # type: ignore[no-untyped-call]  # stubs lack it
            changes = connection.total_changes
            with self.atomic("IMMEDIATE"):
                yield
            self._require_current_file()
            if connection.total_changes != changes:  # a transaction without changes succeeds even on a full disk
                self.clear_fault(FaultKind.WRITE)
        finally:
            self._write_lock.release()

    def _acquire_write_lock(self) -> None:
        """Wait for our other threads, but not while another process holds the file: a waiting thread serves nobody."""
        end_s = time.monotonic() + self.busy_timeout_s
        while not self._write_lock.acquire(timeout=min(_LOCK_POLL_S, self.busy_timeout_s)):
            if FaultKind.LOCKED in self._faults or time.monotonic() >= end_s:
                raise self._unavailable(_ADVICE[sqlite3.SQLITE_BUSY])

    def _require_current_file(self) -> None:
        """Raise Unavailable if a write would go to a file that a restart would not find."""
        self.check_file()
        for kind in (FaultKind.FILE_REPLACED, FaultKind.WAL_MISSING):
            if kind in self._faults:
                raise self._unavailable(self._faults[kind])

    # Faults

    def check_file(self) -> None:
        """Record or clear the fault that the path no longer leads to the open file."""
        if self._file_id is None or is_same_file(self.path, self._file_id):
            self.clear_fault(FaultKind.FILE_REPLACED)
        elif not self.has_fault(FaultKind.FILE_REPLACED):
            self.record_fault(FaultKind.FILE_REPLACED, FILE_REPLACED_ADVICE)
        self._check_wal()

    def _check_wal(self) -> None:
        """Record a missing -wal file, which SQLite keeps while a connection is open; another would create one."""
        if not self._connections:
            self._wal_file_id = None
        if (
            self._wal_file_id is None
            or self.has_fault(FaultKind.FILE_REPLACED)
            or self.has_fault(FaultKind.WAL_MISSING)
        ):
            return
        if not is_same_file(self._wal_path, self._wal_file_id):
            self.record_fault(FaultKind.WAL_MISSING, WAL_MISSING_ADVICE)

    def switch_file(self, other: FileId, keeper: sqlite3.Connection, on_switched: Callable[[], None]) -> None:
        """Switch to another file that is now at the path; to be called inside `try_write_lock`.

        `keeper` is an idle connection to the former file; `on_switched` is called before anything can be written to
        the new file. Other threads drop their connection to the former file once their current read is done.
        """
        with self._connections_lock:
            self._file_number += 1
            self._former_keepers.append(keeper)
            self._former_connections.update(connection for _, connection in self._connections)
            self._connections.clear()
            if self._file_id is not None:
                self._former_files.add(self._file_id)
            self._file_id, self._wal_file_id = other, None
        for kind in (FaultKind.FILE_REPLACED, FaultKind.WAL_MISSING, FaultKind.DAMAGED):
            self.clear_fault(kind)
        on_switched()

    def is_former_file(self, other: FileId) -> bool:
        """Whether this process still has connections to this file, which was the database before."""
        return other in self._former_files

    def _drop_stale_connection(self) -> None:
        """Drop this thread's connection if it leads to a former file or is read-only."""
        state = self._state  # type: ignore[attr-defined]  # stubs lack it
        if state.closed or state.conn.file_number == self._file_number or self.in_transaction():
            return
        if state.conn.file_number == _READ_ONLY_FILE_NUMBER:
            self.close()
        else:
            state.reset()

    def faults(self) -> list[str]:
        """Present faults with advice, without paths; never blocks."""
        return [f"the database {kind}: {advice}" for kind, advice in list(self._faults.items())]

    def record_fault(self, kind: FaultKind, advice: str, cause: object = "") -> None:
        """Record a fault; each kind is logged once until it is cleared."""
        if kind not in self._faults:
            logger.error("database failed file=%s error=%s advice=%s", self.database, cause or kind, advice)
        self._faults[kind] = advice

    def clear_fault(self, kind: FaultKind) -> None:
        """Clear a fault, and log that if it was recorded."""
        if self._faults.pop(kind, None) is not None:
            logger.warning("the database %s can be used again: it no longer %s", self.database, kind)

    def has_fault(self, kind: FaultKind) -> bool:
        """Whether a fault of this kind is present."""
        return kind in self._faults

    def lock_wait_since_s(self) -> float | None:
        """Since when one of our threads waits for another process's lock, by the monotonic clock; None if none does."""
        return self._lock_wait_since_s

    @contextmanager
    def try_write_lock(self, *, wait_s: float = 0.0) -> Iterator[bool]:
        """Hold the write lock inside the block if it is free within `wait_s` seconds; yields whether it is held."""
        is_idle = self._write_lock.acquire(timeout=wait_s)
        try:
            yield is_idle
        finally:
            if is_idle:
                self._write_lock.release()

    def _unavailable(self, advice: str) -> Unavailable:
        return Unavailable(
            f"the database cannot be used now: {advice}",
            code=ErrorCode.DATABASE_UNAVAILABLE,
            retry_after_s=RETRY_AFTER_S,
        )

    def first_row(self, sql: str, *parameters: Any) -> tuple[Any, ...] | None:
        """The first row of an SQL query, or None; avoids the cost of the query builder."""
        cursor = self._execute_cursor(sql, parameters)
        row: tuple[Any, ...] | None = cursor.fetchone()
        cursor.close()
        return row

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run an SQL statement once per row of parameters; inside `write`."""
        with self._errors_translated():
            connection: sqlite3.Connection = self.connection()  # type: ignore[no-untyped-call]  # stubs lack it
            connection.executemany(sql, rows).close()

    def raw_rows(self, query: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a query with values as stored: no field converts them, so damaged values cannot raise."""
        sql, parameters = self.get_sql_context().sql(query).query()  # type: ignore[no-untyped-call]  # stubs lack it
        cursor: Iterator[tuple[Any, ...]] = self._execute_cursor(sql, parameters)
        return cursor

    def close_all(self) -> None:
        """Close the connections of all threads; no new ones can be opened."""
        with self._connections_lock:
            self._is_closed_for_good = True
            connections = [connection for _, connection in self._connections]
            self._connections.clear()
        for connection in connections:
            connection.close()
        self._close_former_connections()
        self.dispose()

    def _close_former_connections(self) -> None:
        if self._former_keepers:
            log = wal_path(self.path)
            with _moved_aside(log), _moved_aside(log.with_name(f"{log.name.removesuffix('-wal')}-shm")):
                for connection in [*self._former_connections, *self._former_keepers]:
                    connection.close()
            self._former_keepers.clear()

    def begin(self, lock_type: str | None = None) -> None:
        """As in peewee, with errors translated."""
        self._lock_wait_since_s = time.monotonic()
        try:
            with self._errors_translated():
                super().begin(lock_type)
        finally:
            self._lock_wait_since_s = None

    def commit(self) -> None:
        """As in peewee, with errors translated."""
        with self._errors_translated():
            super().commit()
        self._faults.pop(FaultKind.BUSY, None)

    def rollback(self) -> None:
        """As in peewee, but no error if SQLite has rolled back already."""
        # SQLite rolls back by itself, for instance when the disk becomes full.
        connection: sqlite3.Connection = self.connection()  # type: ignore[no-untyped-call]  # stubs lack it
        if connection.in_transaction:
            with self._errors_translated():
                super().rollback()

    def _connect(self) -> sqlite3.Connection:
        self._close_connections_of_dead_threads()
        with self._connections_lock:
            if self._is_closed_for_good:
                raise Unavailable("the database is closed: the server ends", code=ErrorCode.DATABASE_UNAVAILABLE)
        file_number = self._file_number
        # Checked before opening: SQLite would use the -wal file of the former database, and remove it when it closes.
        self._require_current_file()
        if self._file_id is not None and self.path.stat().st_size == 0:  # SQLite would wait for ever
            self.record_fault(FaultKind.DAMAGED, _ADVICE[sqlite3.SQLITE_CORRUPT], "the file is empty")
            raise self._unavailable(_ADVICE[sqlite3.SQLITE_CORRUPT])
        with self._errors_translated():
            connection: _Connection = super()._connect()  # type: ignore[misc]  # stubs lack it
        connection.text_factory = _decode_text
        connection.file_number = file_number
        self._file_id = self._file_id or file_id(self.path.stat())
        if not is_same_file(self.path, self._file_id):  # never mix two files in one database
            connection.close()
            self.record_fault(FaultKind.FILE_REPLACED, FILE_REPLACED_ADVICE)
            raise self._unavailable(FILE_REPLACED_ADVICE)
        if self._wal_file_id is None:
            self._wal_path = wal_path(self.path)
            with suppress(FileNotFoundError):
                self._wal_file_id = file_id(self._wal_path.stat())
        with self._connections_lock:
            self._connections.append((weakref.ref(threading.current_thread()), connection))
        return connection

    def _new_connection(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = _Connection(*arguments, **options)
        connection.fail = self._raise_unavailable
        return connection

    def _close(self, conn: sqlite3.Connection) -> None:
        with self._connections_lock:
            self._connections = [entry for entry in self._connections if entry[1] is not conn]
        super()._close(conn)  # type: ignore[misc]  # stubs lack it

    def _execute_cursor(self, sql: str, params: Any, **cursor_options: Any) -> Any:
        self._drop_stale_connection()
        with self._errors_translated():
            return super()._execute_cursor(sql, params, **cursor_options)  # type: ignore[misc]  # stubs lack it

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        try:
            yield
        except (peewee.DatabaseError, sqlite3.DatabaseError) as error:
            cause: BaseException | None = error
            while isinstance(cause, peewee.PeeweeException):  # wrapped once by each layer it came through
                cause = getattr(cause, "orig", None)
            self._raise_unavailable(cause or error, error)
            raise
        except (OverflowError, UnicodeEncodeError) as error:
            # More than 64 bits, or half a surrogate pair: no row can store or match it.
            raise InvalidInput(
                "a number or a text of the request is outside of what the database can store",
                code=ErrorCode.NUMBER_OUT_OF_RANGE,
            ) from error

    def _raise_unavailable(self, cause: BaseException, error: BaseException) -> None:
        """Record an error that may be temporary, and raise Unavailable; return for all others."""
        code = getattr(cause, "sqlite_errorcode", None)
        advice = _ADVICE.get(code & 0xFF) if isinstance(code, int) else None
        if isinstance(code, int) and advice is not None:
            self.record_fault(_FAULT_KINDS.get(code & 0xFF, FaultKind.WRITE), advice, cause)
            if code & 0xFF == sqlite3.SQLITE_READONLY and not self.is_closed():
                self._state.conn.file_number = _READ_ONLY_FILE_NUMBER  # type: ignore[attr-defined]  # stubs lack it
            raise self._unavailable(advice) from error
        if "closed database" in str(error):
            text = "the database is closed: the server ends"
            raise Unavailable(text, code=ErrorCode.DATABASE_UNAVAILABLE) from error

    def _close_connections_of_dead_threads(self) -> None:
        with self._connections_lock:
            dead = [entry for entry in self._connections if not _is_alive(entry[0]())]
            self._connections = [entry for entry in self._connections if entry not in dead]
        for _, connection in dead:
            connection.close()


def open_database(url_or_path: str | Path, *, busy_timeout_s: float = 10.0, cache_size_mb: int = 16) -> Database:
    """The database at a path or `sqlite:///path`; a missing file is created, a missing folder is not.

    `cache_size_mb` is per thread that uses the database.

    Raises:
        SettingsError: the address names another engine, or no file.
    """
    path = database_path(url_or_path)
    if not path.parent.is_dir():
        raise SettingsError(_SETTING, f"the folder {path.parent} of the database does not exist; create it")
    return Database(path, busy_timeout_s=busy_timeout_s, cache_size_mb=cache_size_mb)


def database_path(url_or_path: str | Path) -> Path:
    """The file that a path or an address names; raises SettingsError if it is not the address of a file."""
    text = str(url_or_path)
    if text.startswith(_SQLITE_SCHEME):
        text = unquote(text.removeprefix(_SQLITE_SCHEME).removeprefix("/"))
    elif "://" in text:
        raise SettingsError(_SETTING, f"{text.split('://', 1)[0]}:// is not supported; use a path or sqlite:///path")
    if not text or text == ":memory:" or text.startswith("file:"):
        raise SettingsError(_SETTING, f"'{url_or_path}' names no file; the database needs one")
    return Path(text)


class _Cursor(sqlite3.Cursor):
    """Translates errors while rows are fetched, such as a damaged page in the middle of a table."""

    connection: "_Connection"

    def fetchone(self) -> Any:
        """The next row, or None."""
        try:
            return super().fetchone()
        except sqlite3.DatabaseError as error:
            self.connection.fail(error, error)
            raise

    def __next__(self) -> Any:
        """The next row; raises StopIteration after the last one."""
        try:
            return super().__next__()
        except sqlite3.DatabaseError as error:
            self.connection.fail(error, error)
            raise

    def fetchall(self) -> list[Any]:
        """All remaining rows."""
        try:
            return super().fetchall()
        except sqlite3.DatabaseError as error:
            self.connection.fail(error, error)
            raise


class _Connection(sqlite3.Connection):
    """Connection whose cursors translate errors; `fail` raises the translation of an error, if there is one.

    `file_number` tells connections to one file from those to the file that replaced it.
    """

    fail: Callable[[BaseException, BaseException], None]
    file_number = 0

    def cursor(self, *_: Any) -> Any:
        """A new cursor."""
        return super().cursor(_Cursor)


@contextmanager
def _moved_aside(path: Path) -> Iterator[None]:
    """Give a file another name inside the block, if it exists."""
    aside = path.with_name(f"{path.name}.aside")
    try:
        path.rename(aside)
    except FileNotFoundError:
        yield
        return
    try:
        yield
    finally:
        aside.rename(path)


def _decode_text(stored: bytes) -> str:
    """A stored text; invalid UTF-8 must not make a whole list unreadable."""
    return stored.decode("utf-8", "replace")


def _is_alive(thread: threading.Thread | None) -> bool:
    return thread is not None and thread.is_alive()
