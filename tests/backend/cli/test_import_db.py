"""`cc-backend import-db`, as an administrator uses it."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import bcrypt
import pytest

COMMAND = Path(sys.executable).parent / "cc-backend"


def cc_backend(*arguments: object) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CC_")}
    return subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60, env=environment
    )


@pytest.fixture
def config(tmp_path: Path, tern: dict[str, Any]) -> Path:
    done = cc_backend("init", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    path = tmp_path / "site" / "config.json"
    (tmp_path / "cluster.json").write_text(json.dumps(tern), "utf-8")
    assert cc_backend("cluster", "add", tmp_path / "cluster.json", "--config", path).returncode == 0
    return path


@pytest.fixture
def old(reference_files: Any, tmp_path: Path) -> Any:
    return reference_files.ReferenceFile(tmp_path / "old.db")


def count(config: Path, table: str) -> int:
    with sqlite3.connect(config.parent / "var/job.db") as connection:
        return int(connection.execute(f'SELECT COUNT(*) FROM "{table}"').fetchone()[0])  # noqa: S608 our name


def test_a_database_is_taken_over_with_a_summary(config: Path, old: Any) -> None:
    old.add_job(1)
    old.add_job(2, cluster="skua")
    stored = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()
    old.add("hpc_user", username="ada", password=stored, roles=["user"])
    done = cc_backend("import-db", old.close(), "--config", config)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "accounts: 1 new",
        "jobs: 2 new",
        (
            "clusters with jobs that are not configured here: skua; put the old job archive in place, "
            "then add them by `cc-backend cluster add`"
        ),
    ]
    assert done.stderr.splitlines() == [
        f"{old.path}: job database of ClusterCockpit 1.5, schema 11",
        "jobs: 2 of 2",
    ]
    again = cc_backend("import-db", old.path, "--config", config)
    assert (again.returncode, again.stdout.splitlines()[:2]) == (
        0,
        ["accounts: 1 known already", "jobs: 2 known already"],
    )
    assert (count(config, "job"), count(config, "user")) == (2, 1)


def test_a_row_that_is_refused_is_named_and_the_status_is_1(config: Path, old: Any) -> None:
    old.add_job(1, resources="{")
    old.add_job(2)
    done = cc_backend("import-db", old.close(), "--config", config)
    assert (done.returncode, done.stdout) == (1, "jobs: 1 refused, 1 new\n")
    assert "job 1 of 'tern' (row 1 of job): resources cannot be read; correct the row" in done.stderr
    assert "Traceback" not in done.stderr
    assert count(config, "job") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "is not a job database"),
        (b"\x00" * 4096, "is not"),
        (b"SQLite format 3\x00", "is not"),
    ],
)
def test_what_is_no_such_database_is_one_line(config: Path, tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "no.db"
    if content is not None:
        path.write_bytes(content)
    done = cc_backend("import-db", path, "--config", config)
    assert (done.returncode, len(done.stderr.splitlines()), said in done.stderr) == (1, 1, True), done.stderr


def test_the_own_database_is_not_taken_for_an_old_one(config: Path) -> None:
    done = cc_backend("import-db", config.parent / "var/job.db", "--config", config)
    assert (done.returncode, "of this program" in done.stderr) == (1, True)


def test_other_schemas_are_refused_with_what_to_do(config: Path, old: Any) -> None:
    old.run("UPDATE schema_migrations SET version = 8")
    done = cc_backend("import-db", old.close(), "--config", config)
    assert (done.returncode, "schema 8" in done.stderr, "-migrate-db" in done.stderr) == (1, True, True)
