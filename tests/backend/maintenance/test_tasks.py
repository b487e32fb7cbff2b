"""What the backend does by itself, how often, and in which thread."""

import threading
from pathlib import Path
from typing import Any

import pytest

from cc_backend.jobs.detection_queue import DETECTION_BATCH, queue_detections, queued_detections
from cc_backend.jobs.job_rows import insert_job, read_tags
from cc_backend.maintenance.store_tasks import BackgroundWork
from cc_backend.maintenance.tasks import periodic_tasks
from cc_backend.model import Job, Resource, RowRule
from cc_backend.runtime.periodic import PeriodicTask, TaskFailedError


def task_of(site: Any, name: str) -> PeriodicTask:
    (found,) = [task for task in periodic_tasks(site.services, threading.Event()) if task.name == name]
    return found


def test_the_table_of_periodic_work(site: Any) -> None:
    tasks = periodic_tasks(site.services, threading.Event())
    assert {task.name: (task.interval_s, task.needs_complete_store, task.thread) for task in tasks} == {
        "archive": (2, True, "archiving"),
        "archived tags and meta data": (2, False, "archiving"),
        "footprints": (1, True, "upkeep"),
        "judgements": (2, True, "judging"),
        "job columns": (60, False, "job columns"),
        "job scripts": (10, False, "job columns"),
        "unused job scripts": (3600, False, "job columns"),
        "statistics": (5, False, "job columns"),
        "upkeep": (60, False, "upkeep"),
        "snapshot": (1800, False, "upkeep"),
        "lost files": (1, False, "upkeep"),
        "clusters": (5, False, "upkeep"),
        "old node states": (3600, False, "upkeep"),
        "old node reports": (3600, False, "upkeep"),
        "database integrity": (10, False, "archiving"),
        "database checkpoint": (1, False, "checkpoints"),
        "database statistics": (86400, False, "upkeep"),
        "overdue jobs": (600, False, "upkeep"),
        "idempotency keys": (300, False, "upkeep"),
        "end sessions": (3600, False, "upkeep"),
        "tokens that end": (86400, False, "upkeep"),
        "last use of tokens": (60, False, "upkeep"),
    }


def test_a_snapshot_comes_at_the_interval_of_the_settings_and_soon_after_one_that_failed(site_of: Any) -> None:
    snapshot = task_of(site_of(settings={"metric-store": {"snapshot-interval": "10m"}}), "snapshot")
    assert (snapshot.first_run_s, snapshot.interval_s, snapshot.wait_after_failure_s) == (600, 600, 60)


def snapshots(tmp_path: Path) -> int:
    return len(list(tmp_path.rglob("*.win1")))


def test_a_snapshot_is_taken(site: Any, tmp_path: Path) -> None:
    site.write_node("tn01", from_s=int(site.clock()), minutes=1)
    task_of(site, "snapshot").run()
    assert snapshots(tmp_path) == 1


def test_a_snapshot_that_failed_counts_as_failed(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(site.services.store), "snapshot", lambda *_, **__: False)
    with pytest.raises(TaskFailedError):
        task_of(site, "snapshot").run()


def test_finished_jobs_are_archived(site: Any) -> None:
    site.start_job()
    site.write_node("tn01", from_s=int(site.clock()), minutes=11)
    site.clock.advance(600)
    site.stop_job()
    task_of(site, "archive").run()
    assert site.services.archive_queue.count(RowRule(all_jobs=True)) == 0


def test_no_job_is_archived_while_samples_of_before_the_start_come_back(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.start_job()
    site.write_node("tn01", from_s=int(site.clock()), minutes=11)
    site.clock.advance(600)
    site.stop_job()
    archive = task_of(site, "archive")
    runner = BackgroundWork(site.services, lambda _, __: [archive]).runner
    with monkeypatch.context() as restoring:
        restoring.setattr(type(site.services.store), "restoring", property(lambda _: True))
        assert runner.run_task(archive) == 2
        assert site.services.archive_queue.count(RowRule(all_jobs=True)) == 1
    assert runner.run_task(archive) is None
    assert site.services.archive_queue.count(RowRule(all_jobs=True)) == 0


def test_logins_that_are_over_are_removed(site: Any) -> None:
    site.user("ada", password="a long password")
    site.services.sessions.create("ada", site.clock())
    site.clock.advance(30 * 24 * 3600)
    task_of(site, "end sessions").run()
    assert site.services.sessions.purge(site.clock()) == 0


@pytest.mark.parametrize(("retention", "kept"), [({"age": 24}, 1), ({"age": 24, "policy": "move"}, 3), ({}, 3)])
def test_old_node_states_are_removed(site_of: Any, retention: dict[str, Any], kept: int) -> None:
    site = site_of(settings={"main": {"nodestate-retention": retention}})
    headers = site.headers()
    for state in ("idle", "allocated"):
        body = {"cluster": "tern", "nodes": [{"hostname": "tn01", "states": [state]}]}
        assert site.client.post("/api/nodestate/", json=body, headers=headers).status_code == 200
        site.clock.advance(26 * 3600)
    task_of(site, "old node states").run()
    assert site.services.database.first_row("SELECT COUNT(*) FROM node_state") == (kept,)


def test_the_end_takes_a_last_snapshot_and_leaves_no_log(site: Any, tmp_path: Path) -> None:
    background = BackgroundWork(site.services, periodic_tasks)
    background.start()
    site.write_node("tn01", from_s=int(site.clock()), minutes=1)
    background.stop()
    background.stop()
    assert snapshots(tmp_path) == 1
    assert list(tmp_path.rglob("*.wal")) == []


def test_applications_are_detected_if_taggers_are_enabled_many_in_one_run(site_of: Any) -> None:
    site = site_of(settings={"main": {"enable-job-taggers": True}})
    database = site.services.database
    ids = [site.start_job(jobId=number, metaData={"jobName": "x", "jobScript": "gmx mdrun"}) for number in (1, 2)]
    with database.write():
        for number in range(1000, 1000 + 2 * DETECTION_BATCH):
            job = Job(number, "tern", "u", "p", 1_760_000_400, (Resource("tn01"),), 1, sub_cluster="std")
            queue_detections(database, [insert_job(database, job)])
    (task,) = [task for task in periodic_tasks(site.services, threading.Event()) if task.name == "applications of jobs"]
    task.run()
    assert queued_detections(database) == []
    assert [[tag.name for tag in tags] for tags in read_tags(database, ids).values()] == [["gromacs"], ["gromacs"]]


@pytest.mark.parametrize(("grace_s", "state"), [(0, "running"), (600, "failed"), (1_000_000, "running")])
def test_jobs_beyond_their_time_limit_are_ended_as_the_setting_says(site_of: Any, grace_s: int, state: str) -> None:
    site = site_of(settings={"main": {"stop-jobs-exceeding-walltime": grace_s}})
    database_id = site.start_job(walltime=3600)
    site.clock.advance(3600 + 601)
    task_of(site, "overdue jobs").run()
    meta = site.client.get(f"/api/jobs/{database_id}", headers=site.headers()).get_json()["Meta"]
    assert meta["jobState"] == state
    assert ("stop-jobs-exceeding-walltime" in meta["metaData"].get("message", "")) == (state == "failed")
    if state == "failed":
        assert (meta["duration"], site.archive()) == (3600, [database_id])


def test_a_jump_of_the_clock_ends_no_job(site_of: Any) -> None:
    site = site_of(settings={"main": {"stop-jobs-exceeding-walltime": 600}})
    database_id = site.start_job(walltime=3600)
    site.services.retention_now_s()
    site.clock.step(1_000_000)
    task_of(site, "overdue jobs").run()
    meta = site.client.get(f"/api/jobs/{database_id}", headers=site.headers()).get_json()["Meta"]
    assert meta["jobState"] == "running"


def test_kept_answers_of_yesterday_are_removed(site: Any) -> None:
    headers = {**site.headers(), "Idempotency-Key": "k"}
    site.client.post("/api/jobs/start_job/", json=site.start_document(), headers=headers)
    task_of(site, "idempotency keys").run()
    count = "SELECT COUNT(*) FROM idempotency_key"
    assert site.services.database.first_row(count) == (1,)
    site.clock.advance(86_401)
    task_of(site, "idempotency keys").run()
    assert site.services.database.first_row(count) == (0,)
