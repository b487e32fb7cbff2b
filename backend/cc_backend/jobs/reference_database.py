"""Reads the job database of ClusterCockpit 1.5: an SQLite file of schema 10 or 11, which is never written.

Everything is read in one transaction, so that a cc-backend that still runs on the file may go on. Values are as stored:
whoever takes them over checks them.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cc_backend.errors import InvalidInput

SCHEMA_VERSIONS = (10, 11)
MAX_VALUE_BYTES = 16 << 20
"""Longer values are cut, which makes them unreadable as JSON."""

BATCH_ROWS = 500
MAX_BATCH_BYTES = 32 << 20

JOB_COLUMNS = (
    *("id", "job_id", "cluster", "subcluster", "cluster_partition", "project", "hpc_user", "shared", "job_state"),
    *("array_job_id", "start_time", "submit_time", "duration", "walltime", "num_nodes", "num_hwthreads", "num_acc"),
    *("smt", "resources", "meta_data", "monitoring_status", "energy", "energy_footprint", "footprint"),
)
"""Columns of `job` and `job_cache` in the order in which rows of jobs have them."""
_CUT_COLUMNS = frozenset({"resources", "meta_data", "energy_footprint", "footprint"})
_IDS_PER_QUERY = 500

Row = tuple[Any, ...]


class ReferenceDatabase:
    """The content of an opened database; made by `open_reference_database`.

    Raises:
        InvalidInput: a page of the file is damaged.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, version: int) -> None:
        self._connection = connection
        self._path = path
        self.version = version

    def count(self, table: str) -> int:
        """Number of rows of a table, 0 if a damage keeps them from being counted."""
        try:
            ((number,),) = self._connection.execute(f"SELECT COUNT(*) FROM {table}")  # noqa: S608 our own name
        except sqlite3.DatabaseError:
            return 0
        return int(number)

    def users(self) -> Iterator[Row]:
        """Name, password hash, source, full name, roles, email and projects of each account."""
        return self._rows(
            "SELECT username, password, ldap, name, roles, email, projects FROM hpc_user ORDER BY username"
        )

    def tags(self) -> Iterator[Row]:
        """Id, type, name and scope of each tag."""
        return self._rows("SELECT id, tag_type, tag_name, tag_scope FROM tag ORDER BY id")

    def job_batches(self, table: str) -> Iterator[list[Row]]:
        """The rows of `job` or `job_cache` in the order of their ids, `JOB_COLUMNS` each, at most 500 at a time."""
        columns = ", ".join(
            f"substr({name}, 1, {MAX_VALUE_BYTES})" if name in _CUT_COLUMNS else name for name in JOB_COLUMNS
        )
        batch: list[Row] = []
        size_bytes = 0
        for row in self._rows(f"SELECT {columns} FROM {table} ORDER BY id"):  # noqa: S608 our own names
            batch.append(row)
            size_bytes += sum(len(value) for value in row if isinstance(value, str | bytes))
            if len(batch) == BATCH_ROWS or size_bytes > MAX_BATCH_BYTES:
                yield batch
                batch, size_bytes = [], 0
        if batch:
            yield batch

    def tag_links(self, ids: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Pairs of the id of a job (of the table `job`) and the id of one of its tags, for these jobs."""
        for at in range(0, len(ids), _IDS_PER_QUERY):
            some = ids[at : at + _IDS_PER_QUERY]
            marks = ", ".join("?" * len(some))
            sql = f"SELECT job_id, tag_id FROM jobtag WHERE job_id IN ({marks}) ORDER BY job_id, tag_id"  # noqa: S608 marks
            yield from self._rows(sql, some)

    def nodes(self) -> Iterator[Row]:
        """Id, cluster, host name and subcluster of each node."""
        return self._rows("SELECT id, cluster, hostname, subcluster FROM node ORDER BY id")

    def node_states(self, node_id: int, *, from_s: int) -> Iterator[Row]:
        """The reports about a node, oldest first, from the one that holds at `from_s` on.

        Time, state, health, health metrics (JSON, or None in schema 10), allocated processors, memory and GPUs, jobs.
        """
        health = "health_metrics" if self._has_column("node_state", "health_metrics") else "NULL"
        sql = (
            f"SELECT time_stamp, node_state, health_state, {health}, cpus_allocated, memory_allocated, gpus_allocated, "  # noqa: S608
            "jobs_running FROM node_state WHERE node_id = ? AND time_stamp >= COALESCE("
            "(SELECT MAX(time_stamp) FROM node_state WHERE node_id = ? AND time_stamp <= ?), 0) ORDER BY time_stamp, id"
        )
        return self._rows(sql, (node_id, node_id, from_s))

    def has_table(self, name: str) -> bool:
        """Whether there is a table of this name."""
        return bool(list(self._rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,))))

    def _has_column(self, table: str, column: str) -> bool:
        return bool(list(self._rows("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", (table, column))))

    def _rows(self, sql: str, parameters: Iterable[Any] = ()) -> Iterator[Row]:
        try:
            yield from self._connection.execute(sql, tuple(parameters))
        except sqlite3.DatabaseError as error:
            raise InvalidInput(
                f"{self._path}: cannot be read to its end ({error}); what was read so far is kept. "
                "`sqlite3 FILE .recover` can save the rest into a new file: import that"
            ) from error


@contextmanager
def open_reference_database(path: Path) -> Iterator[ReferenceDatabase]:
    """A job database of ClusterCockpit 1.5, open for reading inside the block.

    Raises:
        InvalidInput: the file cannot be read, or is not such a database, or is of another schema.
    """
    if not path.is_file():
        raise InvalidInput(f"{path}: there is no such file; give the file that `main.db` of the old server names")
    connection = _connect(path)
    try:
        connection.execute("BEGIN")
        found = ReferenceDatabase(connection, path, _schema_version(connection, path))
        yield found
    finally:
        connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    """A read-only connection; immutable if the folder cannot be written and no log has to be read."""
    address = f"file:{quote(str(path.resolve()))}"
    wal = path.with_name(f"{path.name}-wal")
    for options in ("?mode=ro", "?immutable=1"):
        connection = sqlite3.connect(address + options, uri=True, isolation_level=None)
        connection.text_factory = _decode_text
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.OperationalError as error:
            connection.close()
            if wal.exists() and wal.stat().st_size:
                raise InvalidInput(
                    f"{path}: cannot be opened ({error}); stop the old server, or copy the file together with "
                    f"{wal.name} into a folder that can be written"
                ) from error
            failure = error
        except sqlite3.DatabaseError as error:
            connection.close()
            raise InvalidInput(f"{path}: is not an SQLite database ({error})") from error
        else:
            return connection
    raise InvalidInput(f"{path}: cannot be opened ({failure}); look at its owner and mode") from failure


def _schema_version(connection: sqlite3.Connection, path: Path) -> int:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "schema_version" in tables:
        raise InvalidInput(f"{path}: is a database of this program; `main.db` names the one that is used")
    missing = {"schema_migrations", "job", "tag", "jobtag", "hpc_user"} - tables
    if missing:
        names = ", ".join(sorted(missing))
        raise InvalidInput(f"{path}: is not a job database of ClusterCockpit 1.5: it has no table {names}")
    rows = connection.execute("SELECT version, dirty FROM schema_migrations").fetchall()
    version, is_dirty = rows[0] if len(rows) == 1 else (None, True)
    if is_dirty or version not in SCHEMA_VERSIONS:
        state = "in the middle of an upgrade" if version in SCHEMA_VERSIONS else f"of schema {version}"
        raise InvalidInput(
            f"{path}: is {state}, and schemas {', '.join(map(str, SCHEMA_VERSIONS))} can be read; bring it there with "
            "`cc-backend -migrate-db` of ClusterCockpit 1.5, on a copy"
        )
    return int(version)


def _decode_text(stored: bytes) -> str:
    return stored.decode("utf-8", "replace")
