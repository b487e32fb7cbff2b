"""Folders and the database go away under a running server, or somebody else holds them; then all is mended."""

import contextlib
import http.client
import json
import os
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from faultrig.numbered import SampleSender
from faultrig.site import CLUSTER, METRICS, Site, soon
from processes import BIN

pytestmark = pytest.mark.faults


def faults(site: Site) -> list[str]:
    """What the health check names; empty while all is well."""
    status, body = site.ask("GET", "/healthz")
    found: list[str] = json.loads(body).get("faults", [])
    assert (status == http.client.OK) is not bool(found)
    return found


def noticed(site: Site, part: str) -> None:
    """Soon the health check names this part alone, and no path."""
    soon(f"word of {part}", lambda: faults(site))
    found = faults(site)
    assert all(part in fault for fault in found), found
    assert str(site.directory) not in str(found)


def well(site: Site) -> None:
    """All is well again soon."""
    soon("health", lambda: not faults(site))


def start_of(number: int, start_s: int) -> dict[str, Any]:
    """The start event of a job."""
    return {
        "jobId": number,
        "cluster": CLUSTER,
        "user": "ada",
        "project": "engines",
        "startTime": start_s,
        "numNodes": 1,
        "resources": [{"hostname": "n1"}],
    }


def sent(sender: SampleSender, count: int) -> None:
    """So many more batches, each acknowledged."""
    wanted = sender.acknowledged + count
    while sender.acknowledged < wanted:
        sender.step()


def refused(sender: SampleSender, site: Site) -> bool:
    """Whether the next batch is refused for now."""
    return site.write(sender.batch(sender.acknowledged)) == http.client.SERVICE_UNAVAILABLE


def held(site: Site, sender: SampleSender) -> list[str]:
    """What of the acknowledged samples is missing, looked at through a job that spans them."""
    status, body = site.post_job("start_job", start_of(9000, sender.base_s))
    assert status == 201, body
    number = json.loads(body)["id"]
    return [
        wrong
        for at, metric in enumerate(METRICS)
        for wrong in sender.missing(site.samples(number, metric), at, upto=sender.acknowledged)
    ]


@pytest.mark.parametrize("how", ["removed", "moved and back", "replaced by a file"])
def test_the_folder_of_the_log_goes_away(site: Site, how: str) -> None:
    folder = site.directory / "var/metric-store"
    away = folder.with_name("away")
    sender = SampleSender(site, 1, int(time.time()) - 1000)
    with site.serving():
        sent(sender, 20)
        folder.rename(away)
        if how == "replaced by a file":
            folder.write_text("")
        assert refused(sender, site), "at once, not after a second"
        noticed(site, "write-ahead log")
        assert refused(sender, site)
        if how == "replaced by a file":
            folder.unlink()
        if how == "moved and back":
            away.rename(folder)
        else:
            shutil.rmtree(away)
            folder.mkdir()
        well(site)
        sent(sender, 20)
        site.kill()
    with site.serving():
        assert held(site, sender) == []
    assert site.log.count("cannot be written (") == 1, site.log
    assert "Traceback" not in site.log


def test_snapshots_are_removed_and_written_anew(site: Site) -> None:
    sender = SampleSender(site, 1, int(time.time()) - 1000)
    with site.serving():
        sent(sender, 20)
    windows = site.directory / "var/metric-store/windows"
    assert list(windows.iterdir())
    with site.serving():
        soon("samples of before its start", site.is_whole)
        shutil.rmtree(windows)
        soon("new ones", lambda: windows.is_dir() and list(windows.glob("*.win1")))
        well(site)
        site.kill()
    with site.serving():
        assert held(site, sender) == []
    assert "written again from memory" in site.log


@pytest.mark.parametrize("how", ["moved", "replaced by no backup of it"])
def test_the_database_goes_away_and_samples_are_taken_all_the_same(site: Site, how: str) -> None:
    database = site.directory / "var/job.db"
    away = database.with_name("away.db")
    start_s = int(time.time()) - 1000
    sender = SampleSender(site, 1, start_s)
    with site.serving():
        sent(sender, 5)
        assert site.post_job("start_job", start_of(1, start_s))[0] == 201
        database.rename(away)
        if how != "moved":
            database.write_bytes(away.read_bytes()[:-4096])
        assert site.post_job("start_job", start_of(2, start_s))[0] == 503
        noticed(site, "database")
        sent(sender, 20)
        status, body = site.post_job("start_job", start_of(2, start_s))
        assert status == 503
        assert b"put the file back" in body
        away.rename(database)
        well(site)
        assert site.post_job("start_job", start_of(2, start_s))[0] == 201
        site.kill()
    with site.serving():
        assert {row["jobId"] for row in site.jobs()} == {1, 2}
    assert site.log.count("database failed") == 1, site.log
    assert "Traceback" not in site.log


def test_a_backup_in_the_place_of_the_database_is_used_without_a_restart(site: Site) -> None:
    database = site.directory / "var/job.db"
    made = database.with_name("backup.db")
    start_s = int(time.time()) - 1000
    sender = SampleSender(site, 1, start_s)
    with site.serving():
        assert site.post_job("start_job", start_of(1, start_s))[0] == 201
        with contextlib.closing(sqlite3.connect(database)) as source, contextlib.closing(sqlite3.connect(made)) as to:
            source.backup(to)
        assert site.post_job("start_job", start_of(2, start_s))[0] == 201
        time.sleep(1.5)  # until the watch has opened the file
        made.replace(database)
        assert site.post_job("start_job", start_of(3, start_s))[0] == 503
        sent(sender, 5)
        well(site)
        assert site.post_job("start_job", start_of(3, start_s))[0] == 201
        site.kill()
    with site.serving():
        assert {row["jobId"] for row in site.jobs()} == {1, 3}
    (former,) = database.parent.glob("job.db.before-*")
    with contextlib.closing(sqlite3.connect(former)) as kept:
        assert kept.execute("SELECT job_id FROM job ORDER BY job_id").fetchall() == [(1,), (2,)]
    assert "Traceback" not in site.log


def test_a_lost_wal_file_of_the_database_costs_no_restart_and_no_job(site: Site) -> None:
    log = site.directory / "var/job.db-wal"
    start_s = int(time.time()) - 1000
    with site.serving():
        time.sleep(1.5)  # until the watch has opened the file
        for number in range(1, 6):
            assert site.post_job("start_job", start_of(number, start_s))[0] == 201
            log.unlink()
            soon("a new file", log.exists, 15)
            well(site)
        site.kill()
    with site.serving():
        assert {row["jobId"] for row in site.jobs()} == {1, 2, 3, 4, 5}
    assert site.log.count("has lost its -wal file") >= 5
    assert "Traceback" not in site.log


def test_another_process_holds_the_database_and_samples_do_not_wait(site: Site) -> None:
    start_s = int(time.time()) - 1000
    sender = SampleSender(site, 1, start_s)
    with site.serving():
        sent(sender, 5)
        other = sqlite3.connect(site.directory / "var/job.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            noticed(site, "database")
            for _ in range(30):  # an answer may take 20 s, the lock is waited for a minute
                assert site.post_job("start_job", start_of(2, start_s))[0] == 503
                assert site.write(sender.batch(0)) == 200
            assert site.jobs() == [], "reading goes on"
        finally:
            other.close()
        well(site)
        assert site.post_job("start_job", start_of(2, start_s))[0] == 201
    assert site.log.count("database failed") == 1, site.log
    assert "Traceback" not in site.log


def test_the_archive_goes_away_and_jobs_are_archived_once_it_is_back(site: Site) -> None:
    archive = site.directory / "var/job-archive"
    base_s = int(time.time()) - 1000
    sender = SampleSender(site, 1, base_s)
    with site.serving():
        assert site.post_job("start_job", start_of(1, base_s))[0] == 201
        sent(sender, 60)
        archive.rename(archive.with_name("away"))
        noticed(site, "job archive")
        stop = {"jobId": 1, "cluster": CLUSTER, "startTime": base_s, "stopTime": base_s + 40}
        assert site.post_job("stop_job", stop)[0] == 200
        sent(sender, 5)
        time.sleep(3)  # the archiver runs each two seconds
        assert not archive.exists(), "it must not be made anew"
        archive.with_name("away").rename(archive)
        well(site)
        soon("archiving", lambda: site.jobs()[0]["monitoringStatus"] == 3)
    assert "archiving failed" not in site.log
    assert "Traceback" not in site.log


def test_a_damaged_page_is_said_without_any_request(site: Site) -> None:
    start_s = int(time.time()) - 100_000
    with site.serving():
        for number in range(1, 20):
            document = {**start_of(number, start_s + number), "metaData": {"jobScript": "x" * 20_000}}
            assert site.post_job("start_job", document)[0] == 201
    database = site.directory / "var/job.db"
    content = database.read_bytes()
    middle = content.index(b"x" * 4092) // 4096 * 4096 + 4096  # of a script, which no start reads
    database.write_bytes(content[:middle] + bytes(4096) + content[middle + 4096 :])
    site.start(wait=False)
    try:
        soon("an answer", lambda: answers(site))
        noticed(site, "damaged")
        sent(SampleSender(site, 1, int(time.time()) - 1000), 5)
    finally:
        site.stop()


def answers(site: Site) -> bool:
    """Whether it answers at all."""
    try:
        return site.ask("GET", "/healthz")[0] > 0
    except (OSError, http.client.HTTPException):
        return False


def test_a_second_server_on_the_same_data_is_refused_in_one_line(site: Site, tmp_path: Path) -> None:
    with site.serving():
        serving = next(line for line in (site.directory / "var/metric-store/lock").read_text("ascii").split())
        other = tmp_path / "other.json"
        document = json.loads(site.backend.config.read_text("utf-8"))
        for change in ({}, {"db": "var/other.db"}):
            document["main"].update(change)
            other = site.directory / "other.json"
            other.write_text(json.dumps(document), "utf-8")
            other.chmod(0o600)
            environment = {**os.environ, "CC_BACKEND_ADDR": f"127.0.0.1:{site.port + 1}"}
            done = subprocess.run(
                [BIN / "cc-backend", "serve", "--config", other],
                capture_output=True, text=True, check=False, timeout=60, env=environment,
            )  # fmt: skip
            assert done.returncode == 1
            line = done.stderr.splitlines()[-1]
            assert f"(pid {serving})" in line
            assert str(site.directory / "var") in line
            assert "Traceback" not in done.stderr
        assert site.is_up()
