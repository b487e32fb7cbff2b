"""One server at a time on an SQLite database, a job archive and a folder of samples.

A PostgreSQL database, and the archive with it, may be shared: `db.postgres_watch` says who does what.
"""

from pathlib import Path

from cc_backend.archive.file_archive import FileArchive
from cc_backend.db.database_file import wal_path
from cc_backend.db.opening import database_path
from cc_backend.errors import BackendError
from cc_backend.runtime.lockfile import LockFile, read_note, require_free_folder, retry_while_locked
from cc_backend.settings import BackendSettings


def lock_data(settings: BackendSettings) -> list[LockFile]:
    """The archive and the SQLite file, for this process alone; the metric store locks its folder itself.

    The archive of a PostgreSQL database is for all processes on it.

    Raises:
        BackendError: another process has one of them, or as `require_matching_wal`; the text names it.
    """
    database, archive = database_path(settings.main.db), Path(settings.archive.path)
    locks = []
    if database is not None:
        locks.append(LockFile(_lock_path(database), f"the database {database}"))
    try:
        if database is not None:
            require_matching_wal(database)
        FileArchive(archive)
        locks.append(LockFile(archive / ".lock", f"the job archive {archive}", shared=database is None))
    except BackendError:
        for lock_file in locks:
            lock_file.close()
        raise
    return locks


def require_unused(settings: BackendSettings) -> None:
    """Return if no other server uses the database, the archive or the folder of the metric store.

    One that is just ending is waited for.

    Raises:
        BackendError: another process has one of them; the text names it and the process.
    """
    for lock_file in retry_while_locked(lambda: lock_data(settings)):
        lock_file.close()
    require_free_folder(Path(settings.metric_store.wal.directory))


def record_database_file(lock_file: LockFile, database: Path) -> None:
    """Have `require_matching_wal` know that a server uses this file, of which `lock_file` is the lock."""
    lock_file.write_note(str(database.stat().st_ino))


def require_matching_wal(database: Path) -> None:
    """Return if nothing lies beside a database that SQLite would write into it though it is of another one.

    A server that was killed leaves a -wal file, which does not say where it belongs.

    Raises:
        BackendError: the file was replaced since a server used it, and what is in the -wal file is of that time.
    """
    log, lock_file = wal_path(database), _lock_path(database)
    try:
        is_other = read_note(lock_file) not in {"", str(database.stat().st_ino)} and log.stat().st_size > 0
    except OSError:
        return
    if is_other:
        raise BackendError(
            f"{database} is not the file that the last server used, and {log} holds changes to that one, which would "
            f"damage this one. Put that one back, or move the -wal file away to use this one without them; "
            f"if they belong together, as in a copy of the whole folder, remove {lock_file}"
        )


def missing_database_warning(settings: BackendSettings) -> str:
    """A warning if there is no database though a server ran here before; empty if all is as it should be."""
    database, samples = database_path(settings.main.db), Path(settings.metric_store.wal.directory)
    if database is None or database.exists() or not (_lock_path(database).exists() or (samples / "runs").exists()):
        return ""
    return (
        f"WARNING: THE DATABASE {database} IS GONE. A server ran here before, so it was removed or moved. "
        "This one starts with an empty database: without the accounts, tokens and jobs of before. "
        "If that is not what you want, stop it now and put the database or a backup of it back"
    )


def _lock_path(database: Path) -> Path:
    return database.with_name(f"{database.name}.lock")
