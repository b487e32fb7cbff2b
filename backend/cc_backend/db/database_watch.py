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

from cc_backend.db.database import LOG_ADVICE, PLACE_ADVICE, SUCCESSION_WAIT_S, Database, FaultKind
from cc_backend.db.database_file import copy_database, former_copy, log_path, obstacle_to, put_in_place
from cc_backend.runtime.lockfile import FileId, file_id, is_same_file

LOCKED_AFTER_S = 0.5
INTEGRITY_EVERY_S = 24 * 3600.0
DAMAGED_EVERY_S = 600.0
_BYTES_PER_S = 10_000_000
"""A large file is read through later after the start, when there is less to do."""

_LONGEST_DELAY_S = 600.0
_TRY_AGAIN_S = 60.0
"""So long after a copy could not be made none is tried: it may be large, and the disk full."""
_WRITE_ADVICE = "look at the kernel log, at owner and mode of the file and its folder, and for free space"

logger = logging.getLogger(__name__)

_FileState = tuple[FileId, int, int]
"""What changes whenever a file, its rights or its name do."""


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
        self._log = log_path(database.path)
        self._log_id: FileId | None = None
        self._index_id: FileId | None = None
        self._succession = succession
        self._log_saved = self._save_failed = False
        self._place = -1  # stands for the file itself, whatever its name is now
        self._looked_at: _FileState | None = None
        self._read_through: dict[_FileState, str] = {}
        self._refusal = ""
        self._not_before_s = monotonic()
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
            self._forget_other_file()
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
            if not self._save_failed:
                logger.error("what the -wal file held could not be saved: %s", error)  # noqa: TRY400 - expected
            self._save_failed = True
            return False
        self._save_failed = False
        return not busy

    def _replace_by_copy(self, succession: Succession) -> None:
        """Go on with a copy in its place: all connections to one file share one -wal file, and that is lost."""
        if self._monotonic() < self._not_before_s:
            return
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
                    self._try_later("the database cannot be written anew", reason)
                    return
                if self._log.exists() or not is_same_file(path, file_id(os.fstat(self._place))):
                    copy.unlink()  # somebody has opened the database meanwhile, or put another one in its place
                    return
                put_in_place(copy, path)
                other = file_id(path.stat())
            except (OSError, sqlite3.Error) as error:
                self._try_later("the database cannot be written anew", error)
                return
            self._go_on(succession, other, "it was written anew with all that it held, and its -wal file as well")

    def _look_at_other_file(self) -> None:
        """Go on with another file in the place of the database, once it stays the same and may take it."""
        succession, path = self._succession, self._database.path
        if succession is None or self._connection is None:
            return
        try:
            seen = _state_of(path.stat())
        except OSError:
            self._forget_other_file()
            self._database.note_fault(FaultKind.PLACE, PLACE_ADVICE)
            return
        before, self._looked_at = self._looked_at, seen
        if seen != before or self._monotonic() < self._not_before_s or not self._save_log():
            return
        if reason := self._reason_against(succession, path, seen):
            self._refuse(reason)
        elif not self._stopping.is_set():
            self._take(path, seen, succession)

    def _take(self, path: Path, seen: "_FileState", succession: Succession) -> None:
        """Go on with a file in which all is well, as it was seen."""
        try:
            former = self._kept_former(path)
        except (OSError, sqlite3.Error) as error:
            self._try_later("the former database cannot be saved, and no other is used", error)
            return
        with self._database.idle(wait_s=SUCCESSION_WAIT_S) as is_idle:
            if is_idle and self._make_way(path, seen):
                kept = f"was removed, and is kept as {former}" if former else "is where it was moved to, complete"
                self._go_on(succession, seen[0], f"another file is in its place; the one before {kept}")
                return
        if former is not None:
            former.unlink(missing_ok=True)

    def _make_way(self, path: Path, seen: "_FileState") -> bool:
        """Whether the file is still the one that was looked at, and nothing of the former one is left beside it."""
        try:
            if _state_of(path.stat()) != seen or obstacle_to(path):
                return False
            self._drop_log()
        except OSError as error:
            self._try_later("the file that is in the place of the database now cannot be used", error)
            return False
        return True

    def _reason_against(self, succession: Succession, path: Path, seen: "_FileState") -> str:
        """Why the file that is in the place of the database now is not used; each content is read through once."""
        if self._database.was_in_use(seen[0]):  # the connections of before share what they know of its -wal file
            return "it was in use before"
        if reason := obstacle_to(path):
            return reason
        if seen not in self._read_through:
            self._read_through = {seen: succession.reason_against(path)}
        return self._read_through[seen]

    def _refuse(self, reason: str) -> None:
        advice = f"{PLACE_ADVICE}; what is there now is not used before a restart: {reason}"
        self._database.note_fault(FaultKind.PLACE, advice)
        if reason != self._refusal:
            self._refusal = reason
            logger.error("the file that is in the place of the database now is not used: %s", reason)

    def _try_later(self, what: str, cause: object) -> None:
        self._not_before_s = self._monotonic() + _TRY_AGAIN_S
        logger.error("%s, the next try is in %d s: %s", what, _TRY_AGAIN_S, cause)

    def _forget_other_file(self) -> None:
        self._looked_at, self._read_through, self._refusal = None, {}, ""

    def _drop_log(self) -> None:
        """Remove the -wal file that belongs to the former database, and is empty now, and its index."""
        if self._log != log_path(self._database.path):  # the other file has a -wal file of its own
            return
        for path, known in ((self._log, self._log_id), (_index_of(self._log), self._index_id)):
            if known is not None and is_same_file(path, known):
                path.unlink()

    def _kept_former(self, path: Path) -> Path | None:
        """Where the former database was written to, if nothing has its name any more."""
        if os.fstat(self._place).st_nlink:
            return None
        target = former_copy(path)
        copy_database(self._opened(), target)
        return target

    def _go_on(self, succession: Succession, other: FileId, how: str) -> None:
        """Go on with the other file that is at the path; nobody writes meanwhile."""
        keeper, self._connection = self._opened(), None
        self._log, self._log_id, self._index_id, self._log_saved = log_path(self._database.path), None, None, False
        os.close(self._place)
        self._place = -1
        self._forget_other_file()
        self._database.take_other_file(other, keeper, succession.then)
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
        with suppress(OSError):
            if self._log_id is None:
                self._log_id, self._index_id = file_id(self._log.stat()), file_id(_index_of(self._log).stat())
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


def _state_of(facts: os.stat_result) -> _FileState:
    return file_id(facts), facts.st_size, facts.st_ctime_ns


def _index_of(log: Path) -> Path:
    return log.with_name(f"{log.name.removesuffix('-wal')}-shm")
