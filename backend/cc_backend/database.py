"""The relational database: how it is opened and written to. Its tables are made by `schema`.

Models are declared without a database; whoever runs a query passes one:
`query.execute(database)`. Everything that writes does so inside `with database.write():`.
"""

import logging
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import peewee

from cc_backend.errors import InvalidInput, Unavailable
from cc_common.errorcodes import ErrorCode
from cc_common.errors import SettingsError

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 30
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


class Database(peewee.SqliteDatabase):
    """One SQLite file, usable from any thread; each thread has a connection of its own, kept open.

    Statements that fail because the disk is full, the file is locked and the like raise Unavailable (503)
    after one line in the log; numbers and texts that SQLite cannot hold raise InvalidInput (400).
    """

    def __init__(self, path: Path, *, busy_timeout_s: float, cache_size_mb: int) -> None:
        # SQLite has one writer at a time and its waiters poll; a lock of our own makes threads queue up instead.
        self._write_lock = threading.RLock()
        self._write_failed = False
        self._connections: list[tuple[weakref.ref[threading.Thread], sqlite3.Connection]] = []
        self._connections_lock = threading.Lock()
        self._is_closed_for_good = False
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
        )

    @contextmanager
    def write(self) -> Iterator[None]:
        """A transaction that holds the write lock from its first statement; nested ones are savepoints."""
        with self._write_lock:
            try:
                with self.atomic("IMMEDIATE"):
                    yield
            except Unavailable:
                self._write_failed = True
                raise

    def check_writable(self) -> None:
        """Raises Unavailable if nothing can be written.

        A transaction without a change succeeds on a full disk too; after a failure something is really written.
        """
        with self.write():
            if self._write_failed:
                (version,) = self.first_row("PRAGMA user_version") or (0,)
                self._execute_cursor(f"PRAGMA user_version = {version}", ()).close()
        self._write_failed = False

    def first_row(self, sql: str, *parameters: Any) -> tuple[Any, ...] | None:
        """The first row of a hand-written query, without the cost of building one."""
        cursor = self._execute_cursor(sql, parameters)
        row: tuple[Any, ...] | None = cursor.fetchone()
        cursor.close()
        return row

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
        self.dispose()

    def begin(self, lock_type: str | None = None) -> None:
        """As peewee's, with errors translated."""
        with _translated(self.database):
            super().begin(lock_type)

    def commit(self) -> None:
        """As peewee's, with errors translated."""
        with _translated(self.database):
            super().commit()

    def rollback(self) -> None:
        """As peewee's, but without complaint when SQLite rolled back already."""
        # SQLite may have rolled back by itself, for instance when the disk got full.
        connection: sqlite3.Connection = self.connection()  # type: ignore[no-untyped-call]  # stubs lack it
        if connection.in_transaction:
            with _translated(self.database):
                super().rollback()

    def _connect(self) -> sqlite3.Connection:
        self._close_connections_of_dead_threads()
        with self._connections_lock:
            if self._is_closed_for_good:
                raise Unavailable(f"the database {self.database} is closed", code=ErrorCode.DATABASE_UNAVAILABLE)
        with _translated(self.database):
            connection: sqlite3.Connection = super()._connect()  # type: ignore[misc]  # stubs lack it
        connection.text_factory = _text
        with self._connections_lock:
            self._connections.append((weakref.ref(threading.current_thread()), connection))
        return connection

    def _close(self, conn: sqlite3.Connection) -> None:
        with self._connections_lock:
            self._connections = [entry for entry in self._connections if entry[1] is not conn]
        super()._close(conn)  # type: ignore[misc]  # stubs lack it

    def _execute_cursor(self, sql: str, params: Any, **cursor_options: Any) -> Any:
        with _translated(self.database):
            return super()._execute_cursor(sql, params, **cursor_options)  # type: ignore[misc]  # stubs lack it

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
    text = str(url_or_path)
    if text.startswith(_SQLITE_SCHEME):
        text = unquote(text.removeprefix(_SQLITE_SCHEME).removeprefix("/"))
    elif "://" in text:
        raise SettingsError(_SETTING, f"{text.split('://', 1)[0]}:// is not supported; use a path or sqlite:///path")
    if not text or text == ":memory:" or text.startswith("file:"):
        raise SettingsError(_SETTING, f"'{url_or_path}' names no file; the database needs one")
    path = Path(text)
    if not path.parent.is_dir():
        raise SettingsError(_SETTING, f"the folder {path.parent} of the database does not exist; create it")
    return Database(path, busy_timeout_s=busy_timeout_s, cache_size_mb=cache_size_mb)


def _text(stored: bytes) -> str:
    """A stored text; bytes that are no UTF-8 must not make a whole list unreadable."""
    return stored.decode("utf-8", "replace")


def _is_alive(thread: threading.Thread | None) -> bool:
    return thread is not None and thread.is_alive()


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except peewee.DatabaseError as error:
        cause: BaseException | None = error
        while isinstance(cause, peewee.PeeweeException):  # wrapped once by each layer it came through
            cause = getattr(cause, "orig", None)
        code = getattr(cause, "sqlite_errorcode", None)
        advice = _ADVICE.get(code & 0xFF) if isinstance(code, int) else None
        if advice is None:
            if "closed database" in str(error):
                raise Unavailable(f"the database {name} is closed", code=ErrorCode.DATABASE_UNAVAILABLE) from error
            raise
        # One line: where in our code it happened says nothing about a full disk.
        logger.error("database failed file=%s error=%s advice=%s", name, cause, advice)  # noqa: TRY400
        raise Unavailable(
            f"the database cannot be used now: {advice}",
            code=ErrorCode.DATABASE_UNAVAILABLE,
            retry_after_s=RETRY_AFTER_S,
        ) from error
    except (OverflowError, UnicodeEncodeError) as error:
        # More than 64 bits, or half a surrogate pair: no row can hold or match it.
        raise InvalidInput(
            "a number or a text of the request is outside of what the database can hold",
            code=ErrorCode.NUMBER_OUT_OF_RANGE,
        ) from error
