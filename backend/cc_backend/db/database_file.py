"""Files that replace the database of a running server: which are accepted, and copies of the former database."""

import fcntl
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from cc_backend.runtime.atomic_files import sync_directory

_SQLITE_SHARED_LOCK = 510, 0x4000_0002
"""Length and start of SQLite's shared lock in a file (https://www.sqlite.org/src/file/src/os.h, SHARED_FIRST)."""


def wal_path(path: Path) -> Path:
    """Path of a database's -wal file, which SQLite keeps beside the file itself, not beside a symbolic link to it."""
    return Path(f"{path.resolve()}-wal")


def replacement_obstacle(path: Path) -> str:
    """Why a file cannot replace the database at this moment, empty if it can.

    This process must not have the file open: that would end its locks.
    """
    if not path.is_file():
        return "it is not a file"
    for beside in ("-wal", "-journal"):
        with suppress(OSError):
            if Path(f"{path.resolve()}{beside}").stat().st_size:
                return f"a {beside} file lies beside it"
    try:
        with path.open("rb+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, *_SQLITE_SHARED_LOCK)
    except (BlockingIOError, PermissionError) as error:  # both are raised for a lock of another process
        held = isinstance(error, BlockingIOError) or os.access(path, os.R_OK | os.W_OK)
        return "another process has it open" if held else "it may not be read and written"
    except OSError:
        return "it cannot be read"
    return ""


def replacement_rejection(path: Path, *, installation: str, version: int) -> str:
    """Why a file cannot replace the database, empty if it can; reads the whole file, but no -wal file beside it.

    It must be undamaged, of the same installation, and of the schema version of this program.
    """
    try:
        # immutable: SQLite then locks nothing and ignores a -wal file
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                return "it is damaged"
            (known,) = connection.execute("SELECT MAX(version) FROM schema_version").fetchone()
            if known != version:
                return "it is of another version of this program"
            if connection.execute("SELECT id FROM installation").fetchall() != [(installation,)]:
                return "it is of another installation"
    except sqlite3.DatabaseError:
        return "it is not a database of this program, or damaged"
    return ""


def copy_database(source: sqlite3.Connection, target: Path) -> None:
    """Copy the database of a connection, including its -wal file, to a new file with mode 0600.

    Raises sqlite3.Error or OSError after removing the incomplete file.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(target.parent)
    except (sqlite3.Error, OSError):
        target.unlink(missing_ok=True)
        raise


def former_copy_path(path: Path) -> Path:
    """An unused path beside the database for a copy of its former content."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    names = [
        path.with_name(f"{path.name}.before-{stamp}{suffix}") for suffix in ("", *(f"-{n}" for n in range(2, 100)))
    ]
    return next(name for name in names if not name.exists())


def install_copy(copy: Path, path: Path) -> None:
    """Rename a copy to the path of the database, with its owner and mode; removes the former -shm file."""
    facts = path.stat()
    copy.chmod(facts.st_mode & 0o7777)
    with suppress(PermissionError):  # only needed if the database belongs to another account
        os.chown(copy, facts.st_uid, facts.st_gid)
    Path(f"{path}-shm").unlink(missing_ok=True)
    copy.replace(path)
    sync_directory(path.parent)
