"""Watches the SQLite database of a running server: is its file in place, can it be written, is a page damaged?

SQLite itself notices little of this: it continues with a file that was removed, and reads a damaged page only when a
query needs it.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cc_backend.db.database import FaultKind
from cc_backend.db.database_file import copy_database, former_copy_path, install_copy, replacement_obstacle, wal_path
from cc_backend.db.sqlite_database import (
    FILE_REPLACED_ADVICE,
    REPLACEMENT_LOCK_WAIT_S,
    WAL_MISSING_ADVICE,
    SqliteDatabase,
)
from cc_backend.runtime.lockfile import FileId, file_id, is_same_file

LOCKED_AFTER_S = 0.5
INTEGRITY_EVERY_S = 24 * 3600.0
INTEGRITY_RETRY_S = 600.0
_FIRST_CHECK_BYTES_PER_S = 10_000_000
"""Delays the first integrity check after the start in proportion to the size of the file."""

_MAX_FIRST_CHECK_DELAY_S = 600.0
_COPY_RETRY_S = 60.0
"""Wait after a failed copy: the file may be large, and the disk full."""
_WRITE_ADVICE = "look at the kernel log, at owner and mode of the file and its folder, and for free space"

logger = logging.getLogger(__name__)

_FileState = tuple[FileId, int, int]
"""Identity, size and change time (ns) of a file: changes whenever its content, mode or name does."""


@dataclass(frozen=True, slots=True)
class DatabaseReplacement:
    """Whether and how another file at the path replaces the database of the running server.

    `rejection_reason` says why a file is not accepted, empty if it is; `on_replaced` is called after the switch, before
    anything is written to the new file.
    """

    rejection_reason: Callable[[Path], str]
    on_replaced: Callable[[], None]


class SqliteWatch:
    """Checks an SQLite database periodically, with a connection of its own that never waits for locks."""

    def __init__(
        self,
        database: SqliteDatabase,
        *,
        replacement: DatabaseReplacement | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._connection: sqlite3.Connection | None = None
        self._wal_path = wal_path(database.path)
        self._wal_file_id: FileId | None = None
        self._shm_file_id: FileId | None = None
        self._replacement = replacement
        self._is_wal_saved = self._has_save_failed = False
        self._file_descriptor = -1  # refers to the file itself, whatever its name is now
        self._last_state: _FileState | None = None
        self._rejection_by_state: dict[_FileState, str] = {}
        self._logged_rejection = ""
        self._retry_at_s = monotonic()
        self._stopping = threading.Event()
        size_bytes = database.path.stat().st_size if database.path.exists() else 0
        self._integrity_due_s = monotonic() + min(size_bytes / _FIRST_CHECK_BYTES_PER_S, _MAX_FIRST_CHECK_DELAY_S)

    def check(self) -> None:
        """Record and clear faults of the database; cheap enough for once per second. For one thread."""
        database = self._database
        database.check_file()
        if database.has_fault(FaultKind.FILE_REPLACED):
            self._consider_other_file()
        else:
            self._forget_other_file()
            self._check_access()
            self._check_wal()
            self._check_lock()
            if database.has_fault(FaultKind.WRITE):
                self._try_writing()

    def check_integrity(self) -> None:
        """Check the whole file if due: some time after the start, daily, and every 10 minutes while it is damaged."""
        now_s, damaged = self._monotonic(), self._database.has_fault(FaultKind.DAMAGED)
        self._database.check_file()
        if now_s < self._integrity_due_s or self._stopping.is_set():
            return
        if self._database.has_fault(FaultKind.FILE_REPLACED) or self._database.has_fault(FaultKind.WAL_MISSING):
            return  # a new connection would create a new -wal file
        try:
            found = self._quick_check()
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                return  # it could not be read just now, or the server stops
            found = str(error)
        if found != "ok":
            self._database.record_fault(FaultKind.DAMAGED, "restore a backup", found)
        elif damaged:
            self._database.clear_fault(FaultKind.DAMAGED)
        is_damaged = self._database.has_fault(FaultKind.DAMAGED)
        self._integrity_due_s = self._monotonic() + (INTEGRITY_RETRY_S if is_damaged else INTEGRITY_EVERY_S)

    def is_leader(self) -> bool:
        """True: there is only one server on a file."""
        return True

    def close(self) -> None:
        """Stop an integrity check in progress, and close the connection."""
        self._stopping.set()
        if self._connection is not None:
            self._connection.close()
            os.close(self._file_descriptor)
            self._connection = None

    def _check_access(self) -> None:
        path = self._database.path
        if os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK):
            self._database.clear_fault(FaultKind.ACCESS)
        else:
            advice = "give the server's account the right to, and see that the file system is not read-only"
            self._database.record_fault(FaultKind.ACCESS, advice)

    def _check_wal(self) -> None:
        """Record a missing -wal file, which SQLite keeps while a connection is open, such as the one of this watch."""
        database = self._database
        if not database.has_fault(FaultKind.WAL_MISSING):
            with suppress(sqlite3.DatabaseError):  # _check_lock reports such errors
                self._open_connection()
            if self._wal_file_id is None or is_same_file(self._wal_path, self._wal_file_id):
                return
            database.record_fault(FaultKind.WAL_MISSING, WAL_MISSING_ADVICE)
        if self._connection is None:  # a new connection would create another file
            return
        if not self._is_wal_saved:
            self._is_wal_saved = self._checkpoint_wal()
        if (
            self._replacement is not None and not self._wal_path.exists()
        ):  # else another process has opened the database
            self._replace_by_copy(self._replacement)

    def _checkpoint_wal(self) -> bool:
        """Checkpoint the -wal file into the database and empty it, which is impossible after a restart."""
        try:
            (busy, _, _) = self._open_connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.DatabaseError as error:
            if not self._has_save_failed:
                logger.error("what the -wal file held could not be saved: %s", error)  # noqa: TRY400 - expected
            self._has_save_failed = True
            return False
        self._has_save_failed = False
        return not busy

    def _replace_by_copy(self, replacement: DatabaseReplacement) -> None:
        """Replace the database by a copy of itself: all connections to one file share one -wal file, which is lost."""
        if self._monotonic() < self._retry_at_s:
            return
        database, connection = self._database, self._open_connection()
        path = database.path.resolve()
        copy = path.with_name(f"{path.name}.new")
        with database.try_write_lock(wait_s=REPLACEMENT_LOCK_WAIT_S) as is_idle:
            if not is_idle:
                return
            try:
                copy.unlink(missing_ok=True)
                copy_database(connection, copy)
                if reason := replacement.rejection_reason(copy):
                    copy.unlink()
                    self._postpone("the database cannot be written anew", reason)
                    return
                if self._wal_path.exists() or not is_same_file(path, file_id(os.fstat(self._file_descriptor))):
                    copy.unlink()  # the database was opened by another process or replaced meanwhile
                    return
                install_copy(copy, path)
                other = file_id(path.stat())
            except (OSError, sqlite3.Error) as error:
                self._postpone("the database cannot be written anew", error)
                return
            self._switch_file(
                replacement, other, "it was written anew with all that it held, and its -wal file as well"
            )

    def _consider_other_file(self) -> None:
        """Switch to another file at the path of the database, once it is stable and accepted."""
        replacement, path = self._replacement, self._database.path
        if replacement is None or self._connection is None:
            return
        try:
            state = _file_state(path.stat())
        except OSError:
            self._forget_other_file()
            self._database.record_fault(FaultKind.FILE_REPLACED, FILE_REPLACED_ADVICE)
            return
        before, self._last_state = self._last_state, state
        if state != before or self._monotonic() < self._retry_at_s or not self._checkpoint_wal():
            return
        if reason := self._rejection_reason(replacement, path, state):
            self._report_rejection(reason)
        elif not self._stopping.is_set():
            self._replace_by_other_file(path, state, replacement)

    def _replace_by_other_file(self, path: Path, state: "_FileState", replacement: DatabaseReplacement) -> None:
        """Switch to an accepted file if it is still in the observed state."""
        try:
            former = self._save_former_file(path)
        except (OSError, sqlite3.Error) as error:
            self._postpone("the former database cannot be saved, and no other is used", error)
            return
        with self._database.try_write_lock(wait_s=REPLACEMENT_LOCK_WAIT_S) as is_idle:
            if is_idle and self._prepare_replacement(path, state):
                kept = f"was removed, and is kept as {former}" if former else "is where it was moved to, complete"
                self._switch_file(replacement, state[0], f"another file is in its place; the one before {kept}")
                return
        if former is not None:
            former.unlink(missing_ok=True)

    def _prepare_replacement(self, path: Path, state: "_FileState") -> bool:
        """Whether the file is still the checked one; removes the -wal file of the former database."""
        try:
            if _file_state(path.stat()) != state or replacement_obstacle(path):
                return False
            self._remove_former_wal()
        except OSError as error:
            self._postpone("the file that is now at the path of the database cannot be used", error)
            return False
        return True

    def _rejection_reason(self, replacement: DatabaseReplacement, path: Path, state: "_FileState") -> str:
        """Why the file at the path is not accepted, empty if it is; each state of a file is checked once."""
        if self._database.is_former_file(state[0]):  # its open connections share the state of its -wal file
            return "it was in use before"
        if reason := replacement_obstacle(path):
            return reason
        if state not in self._rejection_by_state:
            self._rejection_by_state = {state: replacement.rejection_reason(path)}
        return self._rejection_by_state[state]

    def _report_rejection(self, reason: str) -> None:
        advice = f"{FILE_REPLACED_ADVICE}; what is there now is not used before a restart: {reason}"
        self._database.record_fault(FaultKind.FILE_REPLACED, advice)
        if reason != self._logged_rejection:
            self._logged_rejection = reason
            logger.error("the file that is now at the path of the database is not used: %s", reason)

    def _postpone(self, what: str, cause: object) -> None:
        self._retry_at_s = self._monotonic() + _COPY_RETRY_S
        logger.error("%s, the next try is in %d s: %s", what, _COPY_RETRY_S, cause)

    def _forget_other_file(self) -> None:
        self._last_state, self._rejection_by_state, self._logged_rejection = None, {}, ""

    def _remove_former_wal(self) -> None:
        """Remove the emptied -wal file of the former database, and its -shm file."""
        if self._wal_path != wal_path(self._database.path):  # the other file has a -wal file of its own
            return
        for path, known in ((self._wal_path, self._wal_file_id), (_shm_path(self._wal_path), self._shm_file_id)):
            if known is not None and is_same_file(path, known):
                path.unlink()

    def _save_former_file(self, path: Path) -> Path | None:
        """Copy the former database to a new file if it has no name any more, and return the path of the copy."""
        if os.fstat(self._file_descriptor).st_nlink:
            return None
        target = former_copy_path(path)
        copy_database(self._open_connection(), target)
        return target

    def _switch_file(self, replacement: DatabaseReplacement, other: FileId, how: str) -> None:
        """Switch to the other file at the path; the write lock is held."""
        keeper, self._connection = self._open_connection(), None
        self._wal_path, self._wal_file_id, self._shm_file_id, self._is_wal_saved = (
            wal_path(self._database.path),
            None,
            None,
            False,
        )
        os.close(self._file_descriptor)
        self._file_descriptor = -1
        self._forget_other_file()
        self._database.switch_file(other, keeper, replacement.on_replaced)
        with suppress(sqlite3.DatabaseError):  # the next check reports it
            self._open_connection()
        logger.warning("the database is used again: %s", how)

    def _check_lock(self) -> None:
        """Record whether another process prevents writes; our own long transactions do not count."""
        database = self._database
        with database.try_write_lock() as is_idle:
            if is_idle:
                try:
                    connection = self._open_connection()
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("ROLLBACK")
                except sqlite3.DatabaseError as error:
                    self._record_error(error)
                else:
                    database.clear_fault(FaultKind.LOCKED)
                    database.clear_fault(FaultKind.BUSY)
                return
        since_s = database.lock_wait_since_s()
        if since_s is not None and self._monotonic() - since_s > LOCKED_AFTER_S:
            database.record_fault(FaultKind.LOCKED, "end that process")

    def _record_error(self, error: sqlite3.DatabaseError) -> None:
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                self._database.record_fault(FaultKind.LOCKED, "end that process", error)
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                self._database.record_fault(FaultKind.DAMAGED, "restore a backup", error)
            case _:
                self._database.record_fault(FaultKind.WRITE, _WRITE_ADVICE, error)

    def _try_writing(self) -> None:
        """Clear the write fault if a change succeeds through a new connection; empty transactions prove nothing."""
        with self._database.try_write_lock() as is_idle:
            if not is_idle:
                return
            try:
                connection = self._new_connection()
                try:
                    (version,) = connection.execute("PRAGMA user_version").fetchone()
                    connection.execute(f"PRAGMA user_version = {version}")
                finally:
                    connection.close()
            except sqlite3.DatabaseError as error:
                logger.debug("the database still cannot be written: %s", error)
            else:
                self._database.clear_fault(FaultKind.WRITE)

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._new_connection()
            self._connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()  # makes SQLite open the -wal file
            self._file_descriptor = os.open(
                self._database.path, os.O_PATH | os.O_CLOEXEC
            )  # closing O_PATH ends no lock
        with suppress(OSError):
            if self._wal_file_id is None:
                self._wal_file_id, self._shm_file_id = (
                    file_id(self._wal_path.stat()),
                    file_id(_shm_path(self._wal_path).stat()),
                )
        return self._connection

    def _new_connection(self) -> sqlite3.Connection:
        return sqlite3.connect(self._database.path, timeout=0.1, isolation_level=None, check_same_thread=False)

    def _quick_check(self) -> str:
        connection = sqlite3.connect(f"{self._database.path.resolve().as_uri()}?mode=ro", uri=True, timeout=1.0)
        try:
            connection.set_progress_handler(self._stopping.is_set, 10_000)  # a true result aborts the query
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            return str(found)
        finally:
            connection.close()


def _file_state(facts: os.stat_result) -> _FileState:
    return file_id(facts), facts.st_size, facts.st_ctime_ns


def _shm_path(log: Path) -> Path:
    return log.with_name(f"{log.name.removesuffix('-wal')}-shm")
