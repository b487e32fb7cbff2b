"""Files that may take the place of the database of a running server: which may, and copies of what was in use."""

import fcntl
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from cc_backend.runtime.atomic_files import sync_directory

_SQLITE_SHARED_LOCK = 510, 0x4000_0002
"""Length and start of what SQLite locks of a file (https://www.sqlite.org/src/file/src/os.h, SHARED_FIRST)."""


def wal_path(path: Path) -> Path:
    """The -wal file of a database: SQLite keeps it beside the file itself, not beside a symbolic link to it."""
    return Path(f"{path.resolve()}-wal")


def replacement_obstacle(path: Path) -> str:
    """What keeps a file from taking the place of a database just now, empty if nothing does.

    Nothing of this process may have the file open: its locks would end here.
    """
    if not path.is_file():
        return "it is no file"
    for beside in ("-wal", "-journal"):
        with suppress(OSError):
            if Path(f"{path.resolve()}{beside}").stat().st_size:
                return f"a {beside} file lies beside it"
    try:
        with path.open("rb+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, *_SQLITE_SHARED_LOCK)
    except (BlockingIOError, PermissionError) as error:  # a lock that another has may be told by either
        held = isinstance(error, BlockingIOError) or os.access(path, os.R_OK | os.W_OK)
        return "another process has it open" if held else "it may not be read and written"
    except OSError:
        return "it cannot be read"
    return ""


def replacement_rejection(path: Path, *, installation: str, version: int) -> str:
    """Why a file cannot take the place of a database, empty if it can; reads all of it, and nothing that lies beside.

    It has to be whole, of the same installation, and with its tables as this program has them.
    """
    try:
        # immutable: SQLite locks nothing then, and takes no -wal file for its own
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
        return "it is no database of this program, or damaged"
    return ""


def copy_database(source: sqlite3.Connection, target: Path) -> None:
    """Write what a connection sees, its -wal file included, to a new file that only its owner may read.

    Raises sqlite3.Error or OSError; the file is removed then.
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
    """A name beside the database that is free, for what was in it before."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    names = [
        path.with_name(f"{path.name}.before-{stamp}{suffix}") for suffix in ("", *(f"-{n}" for n in range(2, 100)))
    ]
    return next(name for name in names if not name.exists())


def install_copy(copy: Path, path: Path) -> None:
    """Give a copy the name of the database, its owner and its mode; the index of the former -wal file goes."""
    facts = path.stat()
    copy.chmod(facts.st_mode & 0o7777)
    with suppress(PermissionError):  # it is ours already, unless somebody else's file may be used
        os.chown(copy, facts.st_uid, facts.st_gid)
    Path(f"{path}-shm").unlink(missing_ok=True)
    copy.replace(path)
    sync_directory(path.parent)
