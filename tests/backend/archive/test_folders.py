"""Folders of the archive that were moved away: noticed, never made anew, and new ones where nothing was."""

import logging
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from cc_backend.archive.file_archive import FileArchive
from cc_backend.archive.folders import ArchiveFolders
from cc_backend.errors import Unavailable
from cc_backend.maintenance.tasks import periodic_tasks
from cc_backend.model import JobKey, MonitoringStatus

START_S = 1_760_000_400
FAULT = (
    "the job archive lacks the folder of cluster 'tern': put it back as it was, or make an empty one in its place if "
    "what it held is gone for good"
)


def round_of_the_archiver(site: Any) -> None:
    next(task for task in periodic_tasks(site.services, threading.Event()) if task.name == "archive").run()


def finished_job(site: Any, job_id: int) -> int:
    id_ = site.start_job(jobId=job_id)
    site.clock.advance(60)
    site.stop_job(job_id=job_id)
    site.clock.advance(700)
    return int(id_)


def status(site: Any, id_: int) -> int:
    answer = site.client.get(f"/api/jobs/{id_}", headers=site.headers())
    assert answer.status_code == 200, answer.text
    return int(answer.get_json()["Meta"]["monitoringStatus"])


def faults(site: Any) -> list[str]:
    """What /healthz says after one look."""
    site.services.health.check_all()
    answer = site.client.get("/healthz")
    found: list[str] = answer.get_json().get("faults", [])
    assert (answer.status_code == 503) is bool(found)
    return found


@pytest.mark.parametrize("restart", [False, True])
def test_a_cluster_s_folder_that_is_gone_is_said_and_its_jobs_wait_for_it(
    site: Any, site_of: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, restart: bool
) -> None:
    archived = site.archived_job()
    folder, away = tmp_path / "job-archive" / "tern", tmp_path / "away"
    assert faults(site) == []
    waiting = finished_job(site, 88413)
    if restart:
        site.services.close()
    folder.rename(away)
    if restart:
        site = site_of()
    for _ in range(3):
        assert faults(site) == [FAULT]
        round_of_the_archiver(site)
    site.clock.advance(72 * 3600)  # longer than samples are kept: no job is given up for that
    round_of_the_archiver(site)
    assert not folder.exists()
    assert status(site, waiting) == MonitoringStatus.RUNNING_OR_ARCHIVING
    asked = site.client.get(f"/api/jobs/{archived}?all-metrics=true", headers=site.headers())
    assert (asked.status_code, asked.get_json()["error"]) == (503, FAULT)
    away.rename(folder)
    assert faults(site) == []
    round_of_the_archiver(site)
    assert status(site, waiting) == MonitoringStatus.ARCHIVED
    assert site.client.get(f"/api/jobs/{archived}?all-metrics=true", headers=site.headers()).status_code == 200
    told = [record for record in caplog.records if record.name.endswith("folders")]
    assert [record.levelname for record in told] == ["ERROR", "WARNING"]
    assert str(folder) in told[0].getMessage()


def test_an_empty_folder_in_its_place_is_taken_for_what_is_wanted(site: Any, tmp_path: Path) -> None:
    site.archived_job()
    waiting = finished_job(site, 99_000)
    (tmp_path / "job-archive" / "tern").rename(tmp_path / "away")
    assert faults(site) == [FAULT]
    (tmp_path / "job-archive" / "tern").mkdir()
    assert faults(site) == []
    round_of_the_archiver(site)
    assert status(site, waiting) == MonitoringStatus.ARCHIVED


def test_a_cluster_without_archived_jobs_gets_its_folder(site: Any, tmp_path: Path) -> None:
    folder = tmp_path / "job-archive" / "tern"
    (folder / "cluster.json").unlink()
    folder.rmdir()
    first = finished_job(site, 1)
    assert faults(site) == []
    round_of_the_archiver(site)
    assert status(site, first) == MonitoringStatus.ARCHIVED
    assert (folder / "0" / "001").is_dir()


def test_other_clusters_are_archived_meanwhile(site_of: Any, tern: dict[str, Any], tmp_path: Path) -> None:
    site = site_of(clusters=[tern, {**tern, "name": "skua"}])
    site.archived_job()
    (tmp_path / "job-archive" / "tern").rename(tmp_path / "away")
    waiting = finished_job(site, 5)
    other = site.start_job(jobId=6, cluster="skua")
    site.clock.advance(60)
    site.stop_job(job_id=6, cluster="skua")
    site.clock.advance(700)
    round_of_the_archiver(site)
    assert (status(site, waiting), status(site, other)) == (
        MonitoringStatus.RUNNING_OR_ARCHIVING,
        MonitoringStatus.ARCHIVED,
    )


def test_a_folder_of_a_thousand_jobs_that_is_gone_is_said_when_the_next_belongs_there(
    site: Any, tmp_path: Path
) -> None:
    site.archived_job()
    below = tmp_path / "job-archive" / "tern" / "88"
    below.rename(tmp_path / "away")
    there, elsewhere = finished_job(site, 88_999), finished_job(site, 89_000)
    round_of_the_archiver(site)
    assert not below.exists()
    assert (status(site, there), status(site, elsewhere)) == (
        MonitoringStatus.RUNNING_OR_ARCHIVING,
        MonitoringStatus.ARCHIVED,
    )
    (fault,) = faults(site)
    assert "lacks the folder of jobs 88000 to 88999 of cluster 'tern'" in fault
    (tmp_path / "away").rename(below)
    assert faults(site) == []
    round_of_the_archiver(site)
    assert status(site, there) == MonitoringStatus.ARCHIVED


def test_a_description_makes_no_folder_anew_either(tmp_path: Path, tern: dict[str, Any]) -> None:
    archive = FileArchive.create(tmp_path / "archive")
    archive.folders.expect_clusters((), lambda cluster, first, last: (cluster, first) == ("tern", 0) and last > 10**15)
    with pytest.raises(Unavailable, match="lacks the folder of cluster 'tern'"):
        archive.store_cluster(tern)
    archive.store_cluster({**tern, "name": "skua"})
    assert archive.clusters() == ["skua"]


def test_a_look_asks_the_database_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def recorded(*_: object) -> bool:
        raise AssertionError

    folders = ArchiveFolders(tmp_path)
    folders.expect_clusters(["tern"], recorded)
    (tmp_path / "skua" / "0").mkdir(parents=True)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            folders.check()
    folders.require_job_folder(JobKey("skua", 1, START_S))
    assert len(caplog.records) == 1


RIGHTS = """
import os, sys
from pathlib import Path
from cc_backend.archive.file_archive import FileArchive
from cc_backend.errors import Unavailable
from cc_backend.model import JobKey
root = Path(sys.argv[1])
archive = FileArchive.create(root / "archive")
(root / "archive" / "tern").mkdir()
if os.geteuid() == 0:
    for path in [root, *root.rglob("*")]:
        os.chown(path, 65534, 65534)
    os.setuid(65534)
archive.folders.expect_clusters(["tern"], lambda *_: True)
for folder in (root / "archive", root / "archive" / "tern"):
    folder.chmod(0o600)
    archive.check()
    try:
        archive.require_folders(JobKey("tern", 7, 5))
    except Unavailable as error:
        print(error.status, archive.faults() != [])
    folder.chmod(0o700)
"""


def test_a_folder_that_may_not_be_looked_into_is_as_one_that_is_not_there() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o777)
        ended = subprocess.run(
            [sys.executable, "-c", RIGHTS, folder], capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        shutil.rmtree(folder)
    assert (ended.returncode, ended.stdout.splitlines()) == (0, ["503 True"] * 2), ended.stderr
