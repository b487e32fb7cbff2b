"""The relational database: how it is opened and written to. Its tables are made by `schema`.

Models are declared without a database; whoever runs a query passes one:
`query.execute(database)`. Everything that writes does so inside `with database.write():`.
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

from cc_backend.db.database_file import log_path
from cc_backend.errors import InvalidInput, Unavailable
from cc_backend.runtime.lockfile import FileId, file_id, is_same_file
from cc_common.error_codes import ErrorCode
from cc_common.errors import SettingsError

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 30
_LOOK_AGAIN_S = 0.25
SUCCESSION_WAIT_S = 1.0
_READS_ONLY = -1
"""Instead of the number of a file: SQLite opens one that may not be written for reading, and stays with that."""
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
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database: look at the setting",
}


LOG_ADVICE = "restart the server"
PLACE_ADVICE = "put the file back that was there, or a backup of it"


class FaultKind(StrEnum):
    """What can be wrong with a database, each said in the words that follow "the database"."""

    PLACE = "was removed, moved or replaced while the server runs"
    LOG = "has lost its -wal file while the server runs"
    ACCESS = "may not be read and written any more"
    LOCKED = "cannot be written: another process holds it"
    BUSY = "could not be written in time"
    WRITE = "cannot be written"
    DAMAGED = "is damaged"


_KIND = {  # all others: WRITE
    sqlite3.SQLITE_BUSY: FaultKind.BUSY,
    sqlite3.SQLITE_LOCKED: FaultKind.BUSY,
    sqlite3.SQLITE_CORRUPT: FaultKind.DAMAGED,
    sqlite3.SQLITE_NOTADB: FaultKind.DAMAGED,
}


class Database(peewee.SqliteDatabase):
    """One SQLite file, usable from any thread; each thread has a connection of its own, kept open.

    Statements that fail because the disk is full, the file is locked and the like raise Unavailable (503), and the log
    tells once of each kind; numbers and texts that SQLite cannot hold raise InvalidInput (400).
    """

    def __init__(self, path: Path, *, busy_timeout_s: float, cache_size_mb: int) -> None:
        # SQLite has one writer at a time and its waiters poll; a lock of our own makes threads queue up instead.
        self._write_lock = threading.RLock()
        self._waiting_since_s: float | None = None  # a thread of ours waits for SQLite's lock
        self._faults: dict[FaultKind, str] = {}
        self._file_id: FileId | None = None
        self._log = log_path(path)
        self._log_id: FileId | None = None
        self._connections: list[tuple[weakref.ref[threading.Thread], _Connection]] = []
        self._connections_lock = threading.Lock()
        # those to a file that was the database before; SQLite removes a -wal file by its name when the last one closes
        self._former: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._kept: list[sqlite3.Connection] = []
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
        """A transaction that holds the write lock from its first statement; nested ones are savepoints.

        Raises:
            Unavailable: the file cannot be written, or is no longer the one of that name: nothing may count as written.
        """
        self._take_write_lock()
        try:
            if self.in_transaction():
                with self.atomic("IMMEDIATE"):
                    yield
                return
            self._demand_place()
            self._leave_former_file()
            if FaultKind.LOCKED in self._faults:
                raise self._unavailable(self._faults[FaultKind.LOCKED])
            with self._translated():
                connection: sqlite3.Connection = self.connection()  # type: ignore[no-untyped-call]  # stubs lack it
            changes = connection.total_changes
            with self.atomic("IMMEDIATE"):
                yield
            self._demand_place()
            if connection.total_changes != changes:  # one without a change succeeds on a full disk too
                self.end_fault(FaultKind.WRITE)
        finally:
            self._write_lock.release()

    def _take_write_lock(self) -> None:
        """Wait for other threads of ours, but not while another process has the file: who waits serves nobody else."""
        end_s = time.monotonic() + self.busy_timeout_s
        while not self._write_lock.acquire(timeout=min(_LOOK_AGAIN_S, self.busy_timeout_s)):
            if FaultKind.LOCKED in self._faults or time.monotonic() >= end_s:
                raise self._unavailable(_ADVICE[sqlite3.SQLITE_BUSY])

    def _demand_place(self) -> None:
        """Raise Unavailable if what is written now is in a file that no restart would find."""
        self.check_place()
        for kind in (FaultKind.PLACE, FaultKind.LOG):
            if kind in self._faults:
                raise self._unavailable(self._faults[kind])

    # Faults

    def check_place(self) -> None:
        """Take note of whether the file is still the one with its name."""
        if self._file_id is None or is_same_file(self.path, self._file_id):
            self.end_fault(FaultKind.PLACE)
        elif not self.has_fault(FaultKind.PLACE):
            self.note_fault(FaultKind.PLACE, PLACE_ADVICE)
        self._check_log()

    def _check_log(self) -> None:
        """SQLite keeps the -wal file while a connection is open; the next one would make another in its place."""
        if not self._connections:
            self._log_id = None
        if self._log_id is None or self.has_fault(FaultKind.PLACE) or self.has_fault(FaultKind.LOG):
            return
        if not is_same_file(self._log, self._log_id):
            self.note_fault(FaultKind.LOG, LOG_ADVICE)

    def take_other_file(self, other: FileId, keeper: sqlite3.Connection, then: Callable[[], None]) -> None:
        """Go on with another file that is at the path now; to be called while the database is `idle`.

        `keeper` is an idle connection to the file before; `then` is called before anybody can write to the new one.
        Connections of other threads to the former file end with what is read through them.
        """
        with self._connections_lock:
            self._file_number += 1
            self._kept.append(keeper)
            self._former.update(connection for _, connection in self._connections)
            self._connections.clear()
            if self._file_id is not None:
                self._former_files.add(self._file_id)
            self._file_id, self._log_id = other, None
        for kind in (FaultKind.PLACE, FaultKind.LOG, FaultKind.DAMAGED):
            self.end_fault(kind)
        then()

    def was_in_use(self, other: FileId) -> bool:
        """Whether this process has a file open still that was the database before."""
        return other in self._former_files

    def _leave_former_file(self) -> None:
        """Let go of this thread's connection if it is to a file that is the database no more, or may only read it."""
        state = self._state  # type: ignore[attr-defined]  # stubs lack it
        if state.closed or state.conn.file_number == self._file_number or self.in_transaction():
            return
        if state.conn.file_number == _READS_ONLY:
            self.close()
        else:
            state.reset()

    def faults(self) -> list[str]:
        """What keeps the database from being read or written, and what to do; names no paths and waits for nobody."""
        return [f"the database {kind}: {advice}" for kind, advice in list(self._faults.items())]

    def note_fault(self, kind: FaultKind, advice: str, cause: object = "") -> None:
        """Take note of a fault; the log tells of each kind once, until it is over."""
        if kind not in self._faults:
            logger.error("database failed file=%s error=%s advice=%s", self.database, cause or kind, advice)
        self._faults[kind] = advice

    def end_fault(self, kind: FaultKind) -> None:
        """Take note that a fault is over."""
        if self._faults.pop(kind, None) is not None:
            logger.warning("the database %s can be used again: it no longer %s", self.database, kind)

    def has_fault(self, kind: FaultKind) -> bool:
        """Whether a fault lasts."""
        return kind in self._faults

    def busy_since_s(self) -> float | None:
        """Since when a thread of ours waits for a lock that another process has, by the monotonic clock."""
        return self._waiting_since_s

    @contextmanager
    def idle(self, *, wait_s: float = 0.0) -> Iterator[bool]:
        """Whether no thread of ours writes, or has done so within a time; none begins to inside the block."""
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
        """The first row of a hand-written query, without the cost of building one."""
        cursor = self._execute_cursor(sql, parameters)
        row: tuple[Any, ...] | None = cursor.fetchone()
        cursor.close()
        return row

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a hand-written statement once per row of parameters; inside a `write`."""
        with self._translated():
            connection: sqlite3.Connection = self.connection()  # type: ignore[no-untyped-call]  # stubs lack it
            connection.executemany(sql, rows).close()

    def rows(self, query: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a query as they are stored: no field converts its value, so none can fail to."""
        sql, parameters = self.get_sql_context().sql(query).query()  # type: ignore[no-untyped-call]  # stubs lack it
        cursor: Iterator[tuple[Any, ...]] = self._execute_cursor(sql, parameters)
        return cursor

    def close_all(self) -> None:
        """The connections of all threads are closed and no new ones are made."""
        with self._connections_lock:
            self._is_closed_for_good = True
            connections = [connection for _, connection in self._connections]
            self._connections.clear()
        for connection in connections:
            connection.close()
        self._close_former()
        self.dispose()

    def _close_former(self) -> None:
        if self._kept:
            log = log_path(self.path)
            with _out_of_the_way(log), _out_of_the_way(log.with_name(f"{log.name.removesuffix('-wal')}-shm")):
                for connection in [*self._former, *self._kept]:
                    connection.close()
            self._kept.clear()

    def begin(self, lock_type: str | None = None) -> None:
        """As peewee's, with errors translated."""
        self._waiting_since_s = time.monotonic()
        try:
            with self._translated():
                super().begin(lock_type)
        finally:
            self._waiting_since_s = None

    def commit(self) -> None:
        """As peewee's, with errors translated."""
        with self._translated():
            super().commit()
        self._faults.pop(FaultKind.BUSY, None)

    def rollback(self) -> None:
        """As peewee's, but without complaint when SQLite rolled back already."""
        # SQLite may have rolled back by itself, for instance when the disk got full.
        connection: sqlite3.Connection = self.connection()  # type: ignore[no-untyped-call]  # stubs lack it
        if connection.in_transaction:
            with self._translated():
                super().rollback()

    def _connect(self) -> sqlite3.Connection:
        self._close_connections_of_dead_threads()
        with self._connections_lock:
            if self._is_closed_for_good:
                raise Unavailable("the database is closed: the server ends", code=ErrorCode.DATABASE_UNAVAILABLE)
        file_number = self._file_number
        # Before another file is opened: SQLite would take the -wal file for its own, and remove it in the end.
        self._demand_place()
        if self._file_id is not None and self.path.stat().st_size == 0:  # SQLite would wait for it without end
            self.note_fault(FaultKind.DAMAGED, _ADVICE[sqlite3.SQLITE_CORRUPT], "the file is empty")
            raise self._unavailable(_ADVICE[sqlite3.SQLITE_CORRUPT])
        with self._translated():
            connection: _Connection = super()._connect()  # type: ignore[misc]  # stubs lack it
        connection.text_factory = _text
        connection.file_number = file_number
        self._file_id = self._file_id or file_id(self.path.stat())
        if not is_same_file(self.path, self._file_id):  # two files must never be taken for one database
            connection.close()
            self.note_fault(FaultKind.PLACE, PLACE_ADVICE)
            raise self._unavailable(PLACE_ADVICE)
        if self._log_id is None:
            self._log = log_path(self.path)
            with suppress(FileNotFoundError):
                self._log_id = file_id(self._log.stat())
        with self._connections_lock:
            self._connections.append((weakref.ref(threading.current_thread()), connection))
        return connection

    def _new_connection(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = _Connection(*arguments, **options)
        connection.fail = self._raise_for
        return connection

    def _close(self, conn: sqlite3.Connection) -> None:
        with self._connections_lock:
            self._connections = [entry for entry in self._connections if entry[1] is not conn]
        super()._close(conn)  # type: ignore[misc]  # stubs lack it

    def _execute_cursor(self, sql: str, params: Any, **cursor_options: Any) -> Any:
        self._leave_former_file()
        with self._translated():
            return super()._execute_cursor(sql, params, **cursor_options)  # type: ignore[misc]  # stubs lack it

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (peewee.DatabaseError, sqlite3.DatabaseError) as error:
            cause: BaseException | None = error
            while isinstance(cause, peewee.PeeweeException):  # wrapped once by each layer it came through
                cause = getattr(cause, "orig", None)
            self._raise_for(cause or error, error)
            raise
        except (OverflowError, UnicodeEncodeError) as error:
            # More than 64 bits, or half a surrogate pair: no row can hold or match it.
            raise InvalidInput(
                "a number or a text of the request is outside of what the database can hold",
                code=ErrorCode.NUMBER_OUT_OF_RANGE,
            ) from error

    def _raise_for(self, cause: BaseException, error: BaseException) -> None:
        """Raise Unavailable for an error that may pass, after taking note of it; returns for all others."""
        code = getattr(cause, "sqlite_errorcode", None)
        advice = _ADVICE.get(code & 0xFF) if isinstance(code, int) else None
        if isinstance(code, int) and advice is not None:
            self.note_fault(_KIND.get(code & 0xFF, FaultKind.WRITE), advice, cause)
            if code & 0xFF == sqlite3.SQLITE_READONLY and not self.is_closed():
                self._state.conn.file_number = _READS_ONLY  # type: ignore[attr-defined]  # stubs lack it
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
    """The database at a path or `sqlite:///path`; the file is made when missing, its folder is not.

    `cache_size_mb` is per thread that uses the database.

    Raises:
        SettingsError: the address names another engine or nothing that lasts.
    """
    path = database_path(url_or_path)
    if not path.parent.is_dir():
        raise SettingsError(_SETTING, f"the folder {path.parent} of the database does not exist; create it")
    return Database(path, busy_timeout_s=busy_timeout_s, cache_size_mb=cache_size_mb)


def database_path(url_or_path: str | Path) -> Path:
    """The file that a path or an address names; raises SettingsError if it is no address of a file."""
    text = str(url_or_path)
    if text.startswith(_SQLITE_SCHEME):
        text = unquote(text.removeprefix(_SQLITE_SCHEME).removeprefix("/"))
    elif "://" in text:
        raise SettingsError(_SETTING, f"{text.split('://', 1)[0]}:// is not supported; use a path or sqlite:///path")
    if not text or text == ":memory:" or text.startswith("file:"):
        raise SettingsError(_SETTING, f"'{url_or_path}' names no file; the database needs one")
    return Path(text)


class _Cursor(sqlite3.Cursor):
    """Translates what goes wrong while rows are fetched: a damaged page in the middle of a table."""

    connection: "_Connection"

    def fetchone(self) -> Any:
        """The next row, or None."""
        try:
            return super().fetchone()
        except sqlite3.DatabaseError as error:
            self.connection.fail(error, error)
            raise

    def __next__(self) -> Any:
        """The next row; raises StopIteration after the last."""
        try:
            return super().__next__()
        except sqlite3.DatabaseError as error:
            self.connection.fail(error, error)
            raise

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        try:
            return super().fetchall()
        except sqlite3.DatabaseError as error:
            self.connection.fail(error, error)
            raise


class _Connection(sqlite3.Connection):
    """Makes such cursors; `fail` raises what stands for an error, if it knows it.

    `file_number` tells the connections to one file from those to the next that took its place.
    """

    fail: Callable[[BaseException, BaseException], None]
    file_number = 0

    def cursor(self, *_: Any) -> Any:
        """A new cursor."""
        return super().cursor(_Cursor)


@contextmanager
def _out_of_the_way(path: Path) -> Iterator[None]:
    """A file has another name for a moment, if there is one."""
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


def _text(stored: bytes) -> str:
    """A stored text; bytes that are no UTF-8 must not make a whole list unreadable."""
    return stored.decode("utf-8", "replace")


def _is_alive(thread: threading.Thread | None) -> bool:
    return thread is not None and thread.is_alive()
