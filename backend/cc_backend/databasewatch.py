"""Looks after the database of a running server: is its file in place, can it be written, is a page damaged?

SQLite itself notices little of this: it goes on with a file that was removed, and reads a damaged page only when a
query comes by.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cc_backend.database import Database, FaultKind
from cc_backend.lockfile import FileId, file_id, is_same_file

LOCKED_AFTER_S = 0.5
INTEGRITY_EVERY_S = 24 * 3600.0
DAMAGED_EVERY_S = 600.0
_BYTES_PER_S = 10_000_000
"""A large file is read through later after the start, when there is less to do."""

_LONGEST_DELAY_S = 600.0
_WRITE_ADVICE = "look at the kernel log, at owner and mode of the file and its folder, and for free space"

logger = logging.getLogger(__name__)


class DatabaseWatch:
    """Looks at a database from time to time, with a connection of its own that waits for nobody."""

    def __init__(self, database: Database, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic
        self._connection: sqlite3.Connection | None = None
        self._log = Path(f"{database.path}-wal")
        self._log_id: FileId | None = None
        self._stopping = threading.Event()
        size_bytes = database.path.stat().st_size if database.path.exists() else 0
        self._integrity_due_s = monotonic() + min(size_bytes / _BYTES_PER_S, _LONGEST_DELAY_S)

    def look(self) -> None:
        """Have the database take note of its faults; cheap enough for each second. For one thread."""
        database = self._database
        database.check_place()
        if not database.has_fault(FaultKind.PLACE):
            self._check_access()
            self._check_log()
            self._check_lock()
            if database.has_fault(FaultKind.WRITE):
                self._try_writing()

    def check_integrity(self) -> None:
        """Read the whole file if that is due: a while after the start, each day, and soon after damage was seen."""
        now_s, damaged = self._monotonic(), self._database.has_fault(FaultKind.DAMAGED)
        self._database.check_place()
        if now_s < self._integrity_due_s or self._stopping.is_set() or self._database.has_fault(FaultKind.PLACE):
            return
        try:
            found = self._quick_check()
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                return  # it could not be read just now, or the server stops
            found = str(error)
        if found != "ok":
            self._database.note_fault(FaultKind.DAMAGED, "restore a backup", found)
        elif damaged:
            self._database.end_fault(FaultKind.DAMAGED)
        is_damaged = self._database.has_fault(FaultKind.DAMAGED)
        self._integrity_due_s = self._monotonic() + (DAMAGED_EVERY_S if is_damaged else INTEGRITY_EVERY_S)

    def close(self) -> None:
        """End a check of the whole file that is under way, and close the connection."""
        self._stopping.set()
        if self._connection is not None:
            self._connection.close()

    def _check_access(self) -> None:
        path = self._database.path
        if os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK):
            self._database.end_fault(FaultKind.ACCESS)
        else:
            advice = "give the server's account the right to, and see that the file system is not read-only"
            self._database.note_fault(FaultKind.ACCESS, advice)

    def _check_log(self) -> None:
        """SQLite keeps its -wal file while a connection is open, as that of this watch is."""
        if self._log_id is None or is_same_file(self._log, self._log_id):
            return
        if not self._database.has_fault(FaultKind.LOG):
            self._database.note_fault(FaultKind.LOG, "restart the server")
            self._save_log()

    def _save_log(self) -> None:
        """Bring what the lost file holds into the database itself: after a restart nobody could."""
        try:
            self._opened().execute("PRAGMA wal_checkpoint(FULL)").fetchall()
        except sqlite3.DatabaseError as error:
            logger.error("what the -wal file held could not be saved: %s", error)  # noqa: TRY400 - expected

    def _check_lock(self) -> None:
        """Whether another process keeps us from writing. A long transaction of our own does not count."""
        database = self._database
        with database.idle() as is_idle:
            if is_idle:
                try:
                    connection = self._opened()
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("ROLLBACK")
                except sqlite3.DatabaseError as error:
                    self._note(error)
                else:
                    database.end_fault(FaultKind.LOCKED)
                    database.end_fault(FaultKind.BUSY)
                return
        since_s = database.busy_since_s()
        if since_s is not None and self._monotonic() - since_s > LOCKED_AFTER_S:
            database.note_fault(FaultKind.LOCKED, "end that process")

    def _note(self, error: sqlite3.DatabaseError) -> None:
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                self._database.note_fault(FaultKind.LOCKED, "end that process", error)
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                self._database.note_fault(FaultKind.DAMAGED, "restore a backup", error)
            case _:
                self._database.note_fault(FaultKind.WRITE, _WRITE_ADVICE, error)

    def _try_writing(self) -> None:
        """A transaction without a change succeeds on a full disk too: really write, through a new connection."""
        with self._database.idle() as is_idle:
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
                self._database.end_fault(FaultKind.WRITE)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._new_connection()
            self._connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()  # opens the -wal file
            if self._log.exists():
                self._log_id = file_id(self._log.stat())
        return self._connection

    def _new_connection(self) -> sqlite3.Connection:
        return sqlite3.connect(self._database.path, timeout=0.1, isolation_level=None, check_same_thread=False)

    def _quick_check(self) -> str:
        connection = sqlite3.connect(f"{self._database.path.resolve().as_uri()}?mode=ro", uri=True, timeout=1.0)
        try:
            connection.set_progress_handler(self._stopping.is_set, 10_000)  # a true answer ends the query
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            return str(found)
        finally:
            connection.close()
