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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cc_backend.database import LOG_ADVICE, PLACE_ADVICE, SUCCESSION_WAIT_S, Database, FaultKind
from cc_backend.databasefile import copy_database, former_copy, put_in_place
from cc_backend.lockfile import FileId, file_id, is_same_file

LOCKED_AFTER_S = 0.5
INTEGRITY_EVERY_S = 24 * 3600.0
DAMAGED_EVERY_S = 600.0
_BYTES_PER_S = 10_000_000
"""A large file is read through later after the start, when there is less to do."""

_LONGEST_DELAY_S = 600.0
_WRITE_ADVICE = "look at the kernel log, at owner and mode of the file and its folder, and for free space"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Succession:
    """When and how the server goes on with another file at the path of its database.

    `reason_against` says why a file cannot take its place, `then` is called when one has, before anybody writes to it.
    """

    reason_against: Callable[[Path], str]
    then: Callable[[], None]


class DatabaseWatch:
    """Looks at a database from time to time, with a connection of its own that waits for nobody."""

    def __init__(
        self,
        database: Database,
        *,
        succession: Succession | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._connection: sqlite3.Connection | None = None
        self._log = Path(f"{database.path}-wal")
        self._log_id: FileId | None = None
        self._succession = succession
        self._log_saved = False
        self._place = -1  # stands for the file itself, whatever its name is now
        self._looked_at: tuple[FileId, int, int] | None = None
        self._refused: tuple[FileId, int, int] | None = None
        self._stopping = threading.Event()
        size_bytes = database.path.stat().st_size if database.path.exists() else 0
        self._integrity_due_s = monotonic() + min(size_bytes / _BYTES_PER_S, _LONGEST_DELAY_S)

    def look(self) -> None:
        """Have the database take note of its faults; cheap enough for each second. For one thread."""
        database = self._database
        database.check_place()
        if database.has_fault(FaultKind.PLACE):
            self._look_at_other_file()
        else:
            self._looked_at = self._refused = None
            self._check_access()
            self._check_log()
            self._check_lock()
            if database.has_fault(FaultKind.WRITE):
                self._try_writing()

    def check_integrity(self) -> None:
        """Read the whole file if that is due: a while after the start, each day, and soon after damage was seen."""
        now_s, damaged = self._monotonic(), self._database.has_fault(FaultKind.DAMAGED)
        self._database.check_place()
        if now_s < self._integrity_due_s or self._stopping.is_set():
            return
        if self._database.has_fault(FaultKind.PLACE) or self._database.has_fault(FaultKind.LOG):
            return  # a new connection would make a new -wal file
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
            os.close(self._place)
            self._connection = None

    def _check_access(self) -> None:
        path = self._database.path
        if os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK):
            self._database.end_fault(FaultKind.ACCESS)
        else:
            advice = "give the server's account the right to, and see that the file system is not read-only"
            self._database.note_fault(FaultKind.ACCESS, advice)

    def _check_log(self) -> None:
        """Whether the -wal file is there that SQLite keeps while a connection is open, as that of this watch is."""
        database = self._database
        if not database.has_fault(FaultKind.LOG):
            with suppress(sqlite3.DatabaseError):  # what is wrong then is told by the look at the lock
                self._opened()
            if self._log_id is None or is_same_file(self._log, self._log_id):
                return
            database.note_fault(FaultKind.LOG, LOG_ADVICE)
        if self._connection is None:  # a new one would make another file
            return
        if not self._log_saved:
            self._log_saved = self._save_log()
        if self._succession is not None and not self._log.exists():  # else somebody else has opened the database
            self._replace_by_copy(self._succession)

    def _save_log(self) -> bool:
        """Bring what the -wal file holds into the database itself, and empty it: after a restart nobody could."""
        try:
            (busy, _, _) = self._opened().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.DatabaseError as error:
            logger.error("what the -wal file held could not be saved: %s", error)  # noqa: TRY400 - expected
            return False
        return not busy

    def _replace_by_copy(self, succession: Succession) -> None:
        """Go on with a copy in its place: all connections to one file share one -wal file, and that is lost."""
        database, connection = self._database, self._opened()
        path = database.path.resolve()
        copy = path.with_name(f"{path.name}.new")
        with database.idle(wait_s=SUCCESSION_WAIT_S) as is_idle:
            if not is_idle:
                return
            try:
                copy.unlink(missing_ok=True)
                copy_database(connection, copy)
                if reason := succession.reason_against(copy):
                    copy.unlink()
                    logger.error("the database cannot be written anew: %s", reason)
                    return
                put_in_place(copy, path)
            except (OSError, sqlite3.Error) as error:
                logger.error("the database cannot be written anew: %s", error)  # noqa: TRY400 - expected
                return
            self._go_on(succession, "it was written anew with all that it held, and its -wal file as well")

    def _look_at_other_file(self) -> None:
        """Go on with another file in the place of the database, once it stays the same and may take it."""
        succession, path = self._succession, self._database.path
        if succession is None or self._connection is None:
            return
        try:
            facts = path.stat()
        except OSError:
            self._refused = None
            self._database.note_fault(FaultKind.PLACE, PLACE_ADVICE)
            return
        seen = file_id(facts), facts.st_size, facts.st_mtime_ns
        before, self._looked_at = self._looked_at, seen
        if seen in (self._refused, None) or seen != before or not self._save_log():
            return
        if reason := succession.reason_against(path):
            self._refused = seen
            advice = f"{PLACE_ADVICE}; what is there now is not used before a restart: {reason}"
            self._database.note_fault(FaultKind.PLACE, advice)
            logger.error("the file that is in the place of the database now is not used: %s", reason)
            return
        try:
            kept = self._kept_former(path)
        except (OSError, sqlite3.Error) as error:
            logger.error("the former database cannot be saved, and no other is used: %s", error)  # noqa: TRY400 - expected
            return
        self._drop_log()
        self._go_on(succession, f"another file is in its place; {kept}")

    def _drop_log(self) -> None:
        """Remove the -wal file that belongs to the former database, and is empty now, and its index."""
        if self._log_id is not None and is_same_file(self._log, self._log_id):
            self._log.unlink()
        Path(f"{self._database.path}-shm").unlink(missing_ok=True)

    def _kept_former(self, path: Path) -> str:
        """Where the former database is; it is written to a file of its own where nothing has its name any more."""
        if os.fstat(self._place).st_nlink:
            return "the one before is where it was moved to, with all that it held"
        target = former_copy(path)
        copy_database(self._opened(), target)
        return f"the one before was removed, and is kept as {target}"

    def _go_on(self, succession: Succession, how: str) -> None:
        keeper = self._opened()
        if not self._database.take_file_in_place(keeper, succession.then):
            return
        self._connection, self._log_id = None, None
        os.close(self._place)
        self._place = -1
        self._looked_at = self._refused = None
        self._log_saved = False
        with suppress(sqlite3.DatabaseError):  # it is told at the next look
            self._opened()
        logger.warning("the database is used again: %s", how)

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
            self._place = os.open(self._database.path, os.O_PATH | os.O_CLOEXEC)  # to close it ends no lock of SQLite's
        if self._log_id is None and self._log.exists():
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
