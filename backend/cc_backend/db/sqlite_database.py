"""A database in one SQLite file: its locks, its -wal file, and what becomes of it when the file is replaced."""

import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import peewee

from cc_backend.db.database import Database, Dialect, FaultKind, database_closed, duplicate_row, missing_row
from cc_backend.db.database_file import wal_path
from cc_backend.db.removed_ids import next_id
from cc_backend.runtime.lockfile import FileId, file_id, is_same_file

REPLACEMENT_LOCK_WAIT_S = 1.0
_READ_ONLY_FILE_NUMBER = -1
"""File number of a connection that SQLite opened read-only, and which stays read-only, as the file was not writable."""

_CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"
_MAX_WAL_PAGES = 8192
_AUTOMATIC_CHECKPOINT_PAGES = 8 * _MAX_WAL_PAGES  # where no periodic task does it: at an upgrade, and in commands
_CHECKPOINT_WAIT_S = 0.5
_ANALYZED_ROWS = 1000

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
_DUPLICATE = frozenset({sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY})

WAL_MISSING_ADVICE = "restart the server"
FILE_REPLACED_ADVICE = "put the file back that was there, or a backup of it"

_FAULT_KINDS = {  # all others: WRITE
    sqlite3.SQLITE_BUSY: FaultKind.BUSY,
    sqlite3.SQLITE_LOCKED: FaultKind.BUSY,
    sqlite3.SQLITE_CORRUPT: FaultKind.DAMAGED,
    sqlite3.SQLITE_NOTADB: FaultKind.DAMAGED,
}


class SqliteDatabase(Database, peewee.SqliteDatabase):
    """One SQLite file in WAL mode."""

    dialect = Dialect.SQLITE
    _driver_error = sqlite3.DatabaseError
    _busy_advice = _ADVICE[sqlite3.SQLITE_BUSY]

    def __init__(
        self, path: Path, *, busy_timeout_s: float, cache_size_mb: int, writer_cache_mb: int | None = None
    ) -> None:
        self._writer_cache_kib = 1024 * (writer_cache_mb or cache_size_mb)
        self._lock_wait_since_s: float | None = None  # since when one of our threads waits for SQLite's lock
        self._file_id: FileId | None = None
        self._wal_path = wal_path(path)
        self._wal_file_id: FileId | None = None
        # connections to a former file; SQLite removes a -wal file by name when the last of them closes
        self._former_connections: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._former_keepers: list[sqlite3.Connection] = []
        self._former_files: set[FileId] = set()
        self._file_number = 0
        self._writer: _Connection | None = None  # for the thread that holds the write lock
        self.path = path
        super().__init__(
            str(path),
            address=str(path),
            busy_timeout_s=busy_timeout_s,
            pragmas=(
                ("journal_mode", "wal"),
                ("synchronous", "normal"),
                ("foreign_keys", "on"),
                ("temp_store", "memory"),
                ("cache_size", -1024 * cache_size_mb),  # negative: KiB instead of pages
                ("wal_autocheckpoint", _AUTOMATIC_CHECKPOINT_PAGES),
            ),
            timeout=busy_timeout_s,
            check_same_thread=False,  # close_all() runs in another thread
            factory=self._new_connection,
        )

    @contextmanager
    def _write_transaction(self) -> Iterator[None]:
        self._require_current_file()
        with self._writing_connection():
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

    @contextmanager
    def _writing_connection(self) -> Iterator[None]:
        """Let this thread, which holds the write lock, use the one connection that writes.

        SQLite forgets the pages that a connection has read as soon as another one writes: of a million jobs that would
        be some fifty pages to read again for each insert.
        """
        state = self._state  # type: ignore[attr-defined]  # stubs lack it
        own, writer = None if state.closed else state.conn, self._writer
        _set_connection(state, writer)
        try:
            yield
        finally:
            self._writer = None if state.closed else state.conn
            _set_connection(state, own)
            if self._writer is not None and self._writer is not writer:
                with suppress(sqlite3.Error):  # the next statement tells what is wrong
                    self._writer.execute(f"PRAGMA cache_size = {-self._writer_cache_kib}").close()
                self._forget_connection(self._writer)
                self._keep_connection(self._writer, threading.main_thread())  # it outlives the thread that opened it

    def insert_row(self, sql: str, values: Sequence[Any]) -> int:
        """Insert one row by an SQL statement into a table whose key is `id`, and return its id; inside `write`."""
        with self._errors_translated():
            connection: sqlite3.Connection = self.connection()  # type: ignore[no-untyped-call]  # stubs lack it
            with closing(connection.execute(sql, values)) as cursor:
                return int(cursor.lastrowid or 0)

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run an SQL statement once per row of parameters; inside `write`."""
        with self._errors_translated():
            connection: sqlite3.Connection = self.connection()  # type: ignore[no-untyped-call]  # stubs lack it
            connection.executemany(sql, rows).close()

    def checkpoint(self) -> None:
        """Force what was committed to disk, and copy it from the -wal file to the file of the database.

        SQLite would do so in the commit that makes the -wal file too large, which takes a hundred times longer then.
        """
        if self.has_fault(FaultKind.FILE_REPLACED) or self.has_fault(FaultKind.WAL_MISSING):
            return
        _, wal_pages, _ = self.first_row(_CHECKPOINT) or (0, 0, 0)
        if wal_pages > _MAX_WAL_PAGES:  # SQLite starts the -wal file anew only when all of it is copied
            with self.try_write_lock(wait_s=_CHECKPOINT_WAIT_S) as is_held:
                if is_held:
                    self.first_row(_CHECKPOINT)

    def analyze(self) -> None:
        """Count what the planner of queries goes by, in a part of each index; takes some milliseconds."""
        if not self.has_fault(FaultKind.FILE_REPLACED) and not self.has_fault(FaultKind.WAL_MISSING):
            with self.write():
                self.first_row(f"PRAGMA analysis_limit = {_ANALYZED_ROWS}")
                self.run_sql("ANALYZE")

    def reserve_ids(self, model: type[peewee.Model], count: int) -> Sequence[int]:
        """Unused ids for new rows of a model, ascending; inside `write`."""
        table: str = model._meta.table_name  # noqa: SLF001 - peewee's documented way
        (first,) = self.first_row(f"SELECT {next_id(table)}") or (1,)
        return range(first, first + count)

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

    def lock_wait_since_s(self) -> float | None:
        """Since when one of our threads waits for another process's lock, by the monotonic clock; None if none does."""
        return self._lock_wait_since_s

    def close_all(self) -> None:
        """Close the connections of all threads; no new ones can be opened."""
        super().close_all()
        self._close_former_connections()

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
        self._before_connecting()
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
            with self._errors_translated():  # SQLite makes the -wal file when it first reads
                connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
            with suppress(FileNotFoundError):
                self._wal_file_id = file_id(self._wal_path.stat())
        self._keep_connection(connection)
        return connection

    def _new_connection(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = _Connection(*arguments, **options)
        connection.fail = self._raise_translated
        return connection

    def _execute_cursor(self, sql: str, params: Any, **cursor_options: Any) -> Any:
        self._drop_stale_connection()
        with self._errors_translated():
            return super()._execute_cursor(sql, params, **cursor_options)

    def _raise_translated(self, cause: BaseException, error: BaseException) -> None:
        code = getattr(cause, "sqlite_errorcode", None)
        advice = _ADVICE.get(code & 0xFF) if isinstance(code, int) else None
        if isinstance(code, int) and advice is not None:
            if code & 0xFF == sqlite3.SQLITE_IOERR:  # so does a -wal file that vanished while a connection was made
                self._check_wal()
                if self.has_fault(FaultKind.WAL_MISSING):
                    raise self._unavailable(self._faults[FaultKind.WAL_MISSING]) from error
            self.record_fault(_FAULT_KINDS.get(code & 0xFF, FaultKind.WRITE), advice, cause)
            if code & 0xFF == sqlite3.SQLITE_READONLY and not self.is_closed():
                self._state.conn.file_number = _READ_ONLY_FILE_NUMBER  # type: ignore[attr-defined]  # stubs lack it
            raise self._unavailable(advice) from error
        if code in _DUPLICATE:
            raise duplicate_row() from error
        if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
            raise missing_row() from error
        if "closed database" in str(error):
            raise database_closed() from error


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

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        """The next rows, at most `size`."""
        try:
            return super().fetchmany(size)
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


def _set_connection(state: Any, connection: _Connection | None) -> None:
    if connection is None:
        state.reset()
    else:
        state.set_connection(connection)


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
