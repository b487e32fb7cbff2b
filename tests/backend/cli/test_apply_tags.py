"""`cc-backend apply-tags`: jobs of before, with filters, and what it says."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cc_backend.db.database import Database
from cc_backend.db.opening import open_database
from cc_backend.jobs.job_rows import insert_job, read_tags
from cc_backend.model import Job, JobState, MonitoringStatus, Resource

COMMAND = Path(sys.executable).parent / "cc-backend"
NOW_S = int(time.time())


def cc_backend(*arguments: object) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CC_")}
    return subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60, env=environment
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    done = cc_backend("init", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    return tmp_path / "site/config.json"


def add_job(database: Database, job_id: int, script: str, *, user: str = "ada", age_s: int = 100) -> int:
    job = Job(
        job_id, "tern", user, "p", NOW_S - age_s, (Resource("tn01"),), 1,
        state=JobState.COMPLETED,
        monitoring_status=MonitoringStatus.ARCHIVING_FAILED,
        meta_data={"jobName": "x", "jobScript": script},
    )  # fmt: skip
    return insert_job(database, job)


def tags(database: Database, *ids: int) -> list[list[str]]:
    found = read_tags(database, ids)
    return [[f"{tag.type}:{tag.name}" for tag in found.get(id_, ())] for id_ in ids]


def test_all_jobs_are_tagged_and_again_none_changes(config: Path) -> None:
    database = open_database(config.parent / "var/job.db")
    ids = [add_job(database, 1, "srun gmx mdrun"), add_job(database, 2, "./a.out")]
    done = cc_backend("apply-tags", "--config", config)
    assert (done.returncode, done.stdout) == (0, "jobs=2 changed=1 failed=0\n"), done.stderr
    assert cc_backend("apply-tags", "--config", config).stdout == "jobs=2 changed=0 failed=0\n"
    assert tags(database, *ids) == [["app:gromacs"], []]
    database.close_all()


def test_filters_choose_the_jobs(config: Path) -> None:
    database = open_database(config.parent / "var/job.db")
    ids = [
        add_job(database, 1, "srun gmx mdrun"),
        add_job(database, 2, "srun gmx mdrun", user="ben"),
        add_job(database, 3, "srun gmx mdrun", age_s=10 * 86400),
    ]
    done = cc_backend("apply-tags", "--config", config, "--user", "ada", "--days", 5, "--type", "app")
    assert done.stdout == "jobs=1 changed=1 failed=0\n"
    assert tags(database, *ids) == [["app:gromacs"], [], []]
    assert cc_backend("apply-tags", "--config", config, "--type", "jobClass").stdout == "jobs=3 changed=0 failed=0\n"
    database.close_all()


def test_an_archive_that_cannot_be_read_is_a_failure(config: Path) -> None:
    database = open_database(config.parent / "var/job.db")
    job = Job(
        7, "tern", "ada", "p", NOW_S - 100, (Resource("tn01"),), 1,
        state=JobState.COMPLETED, monitoring_status=MonitoringStatus.ARCHIVED,
    )  # fmt: skip
    insert_job(database, job)
    database.close_all()
    done = cc_backend("apply-tags", "--config", config)
    assert (done.returncode, done.stdout) == (1, "jobs=1 changed=0 failed=1\n")
    assert "the archive of 1 jobs cannot be read" in done.stderr
    assert "job=7" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (("--type", "apps"), 2, "'--type'"),
        (("--cluster", "tren"), 1, "--cluster: there is no cluster 'tren'; none is configured"),
        (("--days", "-1"), 2, "'--days'"),
        (("--usr", "x"), 2, "--usr"),
    ],
)
def test_wrong_arguments_are_named(config: Path, arguments: tuple[str, ...], status: int, problem: str) -> None:
    done = cc_backend("apply-tags", "--config", config, *arguments)
    assert done.returncode == status
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_that_is_misspelt_is_named_with_the_nearest(config: Path) -> None:
    document = json.loads(config.read_text("utf-8"))
    document.setdefault("main", {})["job-taggers"] = {"job-clases": "x"}
    config.write_text(json.dumps(document), "utf-8")
    done = cc_backend("apply-tags", "--config", config)
    assert done.returncode == 2
    assert "main.job-taggers.job-clases" in done.stderr
    assert "'job-classes'" in done.stderr
