"""Backups of the database before its schema is upgraded, for the way back to the program of before."""

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from cc_backend.db.database import Database
from cc_backend.db.database_file import copy_database, wal_path
from cc_backend.db.sqlite_database import SqliteDatabase
from cc_backend.errors import BackendError
from cc_backend.runtime.atomic_files import sync_directory

KEPT = 2
"""Backups of upgrades that are kept; older ones are removed."""

logger = logging.getLogger(__name__)


def back_up(database: Database, version: int) -> Path | None:
    """Copy an SQLite database to `<database>.before-<version>` before it is upgraded to this version; inside `write`.

    Returns the copy. Of PostgreSQL there is none, and the log says that backups are made by its administrator.

    Raises:
        BackendError: there is no room for the copy, or it cannot be written; the text names it.
    """
    if not isinstance(database, SqliteDatabase):
        logger.info(
            "upgrading database=%s schema_version=%d: the upgrade is one transaction; a backup of the time before is "
            "made with pg_dump by the administrator of PostgreSQL only",
            database.address,
            version,
        )
        return None
    target = backup_path(database.path, version)
    _require_room(database.path, target)
    copy = target.with_name(f"{target.name}.new")
    try:
        copy.unlink(missing_ok=True)
        # a second connection reads what was committed, while the lock of the first one keeps it so
        with closing(sqlite3.connect(database.path)) as source:
            copy_database(source, copy)
        copy.replace(target)  # of an upgrade that did not come to its end, if there is one
        sync_directory(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise BackendError(f"the database is not upgraded: its backup {target} cannot be written: {error}") from error
    logger.info("backed up database=%s backup=%s before schema_version=%d", database.path, target, version)
    for path in _backups(database.path)[:-KEPT]:
        path.unlink(missing_ok=True)
        logger.info("removed old backup=%s", path)
    return target


def backup_path(path: Path, version: int) -> Path:
    """The path of the backup before an upgrade to a schema version."""
    return path.with_name(f"{path.name}.before-{version}")


def _backups(path: Path) -> list[Path]:
    """The backups of upgrades of a database, by version."""
    found = {}
    for entry in path.parent.glob(f"{path.name}.before-*"):
        version = entry.name.removeprefix(f"{path.name}.before-")
        if version.isascii() and version.isdigit():  # others are of databases that were replaced
            found[int(version)] = entry
    return [found[version] for version in sorted(found)]


def _require_room(path: Path, target: Path) -> None:
    needed = sum(part.stat().st_size for part in (path, wal_path(path)) if part.exists())
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise BackendError(
            f"the database is not upgraded: its backup {target} needs up to {needed} bytes, and {free} are free; "
            "free some space"
        )
