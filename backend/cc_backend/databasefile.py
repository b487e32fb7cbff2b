"""Files that may take the place of the database of a running server: which may, and copies of what was in use."""

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from cc_backend.archive.atomic import sync_directory


def reason_against(path: Path, *, installation: str, version: int) -> str:
    """Why a file cannot take the place of a database, empty if it can; reads all of it, and nothing that lies beside.

    It has to be whole, of the same installation, and with its tables as this program has them.
    """
    beside = Path(f"{path}-wal")
    try:
        if beside.stat().st_size:
            return "a -wal file lies beside it"
    except OSError:
        pass
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


def former_copy(path: Path) -> Path:
    """A name beside the database that is free, for what was in it before."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    names = [
        path.with_name(f"{path.name}.before-{stamp}{suffix}") for suffix in ("", *(f"-{n}" for n in range(2, 100)))
    ]
    return next(name for name in names if not name.exists())


def put_in_place(copy: Path, path: Path) -> None:
    """Give a copy the name of the database, its owner and its mode; the index of the former -wal file goes."""
    facts = path.stat()
    copy.chmod(facts.st_mode & 0o7777)
    with suppress(PermissionError):  # it is ours already, unless somebody else's file may be used
        os.chown(copy, facts.st_uid, facts.st_gid)
    Path(f"{path}-shm").unlink(missing_ok=True)
    copy.replace(path)
    sync_directory(path.parent)
