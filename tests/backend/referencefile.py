"""Writes job databases as ClusterCockpit 1.5 has them, with invented content."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

START_S = 1_760_000_000
_JOB = """
    id INTEGER PRIMARY KEY, job_id BIGINT NOT NULL, cluster TEXT NOT NULL, subcluster TEXT NOT NULL,
    submit_time BIGINT NOT NULL DEFAULT 0, start_time BIGINT NOT NULL DEFAULT 0, hpc_user TEXT NOT NULL,
    project TEXT NOT NULL, cluster_partition TEXT, array_job_id BIGINT, duration INT NOT NULL, walltime INT NOT NULL,
    job_state TEXT NOT NULL, meta_data TEXT, resources TEXT NOT NULL, num_nodes INT NOT NULL, num_hwthreads INT,
    num_acc INT, smt INT NOT NULL DEFAULT 1, shared TEXT NOT NULL, monitoring_status TINYINT NOT NULL DEFAULT 1,
    energy REAL NOT NULL DEFAULT 0.0, energy_footprint TEXT, footprint TEXT, UNIQUE (job_id, cluster, start_time)
"""


class ReferenceFile:
    """A file with the tables of a schema; rows are added by the names of their columns."""

    def __init__(self, path: Path, schema: int = 11) -> None:
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        health = ", health_metrics TEXT" if schema > 10 else ""
        self._connection.executescript(
            f"""
            CREATE TABLE schema_migrations (version uint64, dirty bool);
            INSERT INTO schema_migrations VALUES ({schema}, 0);
            CREATE TABLE job ({_JOB});
            CREATE TABLE job_cache ({_JOB});
            CREATE TABLE tag (id INTEGER PRIMARY KEY, tag_type TEXT NOT NULL, tag_name TEXT NOT NULL,
                insert_ts TEXT DEFAULT CURRENT_TIMESTAMP, tag_scope TEXT NOT NULL DEFAULT 'global',
                UNIQUE (tag_type, tag_name));
            CREATE TABLE jobtag (job_id INTEGER, tag_id INTEGER, insert_ts TEXT, PRIMARY KEY (job_id, tag_id));
            CREATE TABLE hpc_user (username TEXT PRIMARY KEY NOT NULL, password TEXT, ldap tinyint NOT NULL DEFAULT 0,
                name TEXT, roles TEXT NOT NULL DEFAULT '[]', email TEXT, projects TEXT NOT NULL DEFAULT '[]');
            CREATE TABLE configuration (username TEXT, confkey TEXT, value TEXT, PRIMARY KEY (username, confkey));
            CREATE TABLE node (id INTEGER PRIMARY KEY, hostname TEXT NOT NULL, cluster TEXT NOT NULL,
                subcluster TEXT NOT NULL, meta_data TEXT, UNIQUE (hostname, cluster));
            CREATE TABLE node_state (id INTEGER PRIMARY KEY, time_stamp INTEGER NOT NULL,
                jobs_running INTEGER DEFAULT 0, cpus_allocated INTEGER DEFAULT 0, memory_allocated INTEGER DEFAULT 0,
                gpus_allocated INTEGER DEFAULT 0, node_state TEXT NOT NULL, health_state TEXT NOT NULL{health},
                node_id INTEGER);
            """  # noqa: S608 our schema
        )

    def add(self, table: str, **columns: Any) -> int:
        """Insert a row, lists and objects as JSON, and return its id."""
        return self.add_all(table, [columns])

    def add_all(self, table: str, rows: Iterable[Mapping[str, Any]]) -> int:
        """Insert rows with the same columns, and return the id of the last."""
        rows = list(rows)
        values = [
            tuple(json.dumps(value) if isinstance(value, dict | list) else value for value in row.values())
            for row in rows
        ]
        names, marks = ", ".join(rows[0]), ", ".join("?" * len(rows[0]))
        self._connection.execute("BEGIN")
        self._connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)  # noqa: S608 our names
        self._connection.execute("COMMIT")
        return int(self._connection.execute(f"SELECT MAX(rowid) FROM {table}").fetchone()[0])  # noqa: S608 same

    def add_job(self, job_id: int = 1, *, table: str = "job", **changes: Any) -> int:
        """Insert a finished job of ada on tn01; `changes` by column."""
        return self.add(table, **job_columns(job_id, **changes))

    def run(self, sql: str, *parameters: Any) -> list[Any]:
        """The rows of a statement."""
        return self._connection.execute(sql, parameters).fetchall()

    def close(self) -> Path:
        """Close the file, and return its path."""
        self._connection.close()
        return self.path


def job_columns(job_id: int, **changes: Any) -> dict[str, Any]:
    """The columns of a finished job."""
    return {
        "job_id": job_id,
        "cluster": "tern",
        "subcluster": "std",
        "submit_time": START_S - 60,
        "start_time": START_S,
        "hpc_user": "ada",
        "project": "p1",
        "cluster_partition": "day",
        "array_job_id": 0,
        "duration": 3600,
        "walltime": 7200,
        "job_state": "completed",
        "meta_data": {"jobName": "relax", "jobScript": "#!/bin/sh\n"},
        "resources": [{"hostname": "tn01", "hwthreads": [0, 1], "accelerators": ["00000000:17:00.0"]}],
        "num_nodes": 1,
        "num_hwthreads": 2,
        "num_acc": 1,
        "smt": 1,
        "shared": "none",
        "monitoring_status": 3,
        "energy": 1.25,
        "energy_footprint": {"cpu_power": 1.25},
        "footprint": {"mem_used_avg": 12.5, "load_one_avg": 1},
        **changes,
    }
