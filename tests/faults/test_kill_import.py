"""kill -9 of `cc-backend import-db` at random moments: in the end every row is there once, with what belongs to it."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cc_backend.db.opening import open_database

pytestmark = pytest.mark.faults

COMMAND = Path(sys.executable).parent / "cc-backend"
ROUNDS = {"sqlite": "24", "postgresql": "8"}
JOBS, NODES, REPORTS = 6000, 40, 200


def fill(file: Any, columns: Any, start_s: int) -> None:
    file.add_all("job", [columns(number, start_time=start_s + number) for number in range(1, JOBS + 1)])
    for name in ("even", "third"):
        file.add("tag", tag_type="t", tag_name=name, tag_scope="ada")
    links = [
        {"job_id": job, "tag_id": 1 + (job % 3 == 0)} for job in range(1, JOBS + 1) if job % 2 == 0 or job % 3 == 0
    ]
    file.add_all("jobtag", links)
    file.add_all("hpc_user", [{"username": f"u{number}", "roles": '["user"]'} for number in range(50)])
    now_s = int(time.time())
    for node in range(1, NODES + 1):
        file.add("node", hostname=f"tn{node:02d}", cluster="tern", subcluster="std")
        states = [
            {
                "time_stamp": now_s - 60 * REPORTS + 60 * minute,
                "node_state": ("idle", "allocated")[minute % 2],
                "health_state": "full",
                "node_id": node,
            }
            for minute in range(REPORTS)
        ]
        file.add_all("node_state", states)


def run(config: Path, old: Path) -> "subprocess.Popen[bytes]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CC_")}
    arguments = [COMMAND, "import-db", old, "--config", config]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)


def rows(address: str, sql: str) -> list[Any]:
    """The rows of a query; a file is only read, as what a killed process left must be recovered by the next."""
    if address.startswith("postgresql://"):
        database = open_database(address)
        try:
            return database.all_rows(sql)
        finally:
            database.close_all()
    with sqlite3.connect(f"file:{address}?mode=ro", uri=True) as connection:
        return connection.execute(sql).fetchall()


def stored_jobs(address: str) -> int:
    """The number of jobs, 0 if there is no table of them."""
    if address.startswith("postgresql://"):
        has_table = rows(address, "SELECT 1 FROM pg_tables WHERE tablename = 'job'") != []
    else:
        has_table = Path(address).exists()
    return int(rows(address, "SELECT COUNT(*) FROM job")[0][0]) if has_table else 0


@pytest.fixture
def address(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database, which the folder `site` uses."""
    subprocess.run([COMMAND, "init", tmp_path / "site"], check=True, capture_output=True)
    if engine == "sqlite":
        yield str(tmp_path / "site" / "var" / "job.db")
        return
    server: Any = request.getfixturevalue("postgres_server")
    name = server.new_database()
    config = tmp_path / "site" / "config.json"
    document = json.loads(config.read_text("utf-8"))
    document["main"]["db"] = server.url(name)
    config.write_text(json.dumps(document), "utf-8")
    yield server.url(name)
    server.drop_database(name)


def test_a_killed_import_is_continued_by_the_next(
    reference_files: Any, address: str, engine: str, tmp_path: Path, chance: random.Random
) -> None:
    config = tmp_path / "site" / "config.json"
    file = reference_files.ReferenceFile(tmp_path / "old.db")
    fill(file, reference_files.job_columns, reference_files.START_S)
    old = file.close()
    before = old.read_bytes()

    killed = stored = 0
    for _ in range(int(os.environ.get("CC_FAULT_ROUNDS", ROUNDS[engine])) // 2):
        process = run(config, old)
        try:
            process.wait(timeout=chance.uniform(0.8, 4.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate()
        counted = stored_jobs(address)
        assert counted >= stored
        stored = counted
        assert counted % 500 == 0  # whole batches
    assert killed
    process = run(config, old)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output

    assert rows(address, "SELECT COUNT(*), COUNT(DISTINCT job_id) FROM job") == [(JOBS, JOBS)]
    assert rows(address, "SELECT COUNT(*) FROM job_host") == [(JOBS,)]
    assert rows(address, "SELECT COUNT(*) FROM job_footprint") == [(2 * JOBS,)]
    tagged = sum(job % 2 == 0 or job % 3 == 0 for job in range(1, JOBS + 1))
    assert rows(address, "SELECT COUNT(*) FROM job_tag") == [(tagged,)]
    assert rows(address, "SELECT COUNT(*) FROM tag WHERE scope = 'ada'") == [(2,)]
    assert rows(address, 'SELECT COUNT(*) FROM "user"') == [(50,)]
    assert rows(address, "SELECT COUNT(*) FROM node") == [(NODES,)]
    assert rows(address, "SELECT COUNT(*), COUNT(DISTINCT node_id || ':' || time_s) FROM node_state") == [
        (NODES * REPORTS, NODES * REPORTS)
    ]
    assert rows(address, "SELECT MAX(idle_s + allocated_s) FROM node_state") == [(60 * (REPORTS - 1),)]
    assert rows(address, "SELECT COUNT(*) FROM node n JOIN node_state s ON s.id = n.latest_id") == [(NODES,)]
    assert old.read_bytes() == before
