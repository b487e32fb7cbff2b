"""The queue of jobs whose applications are to be detected."""

from collections.abc import Callable
from typing import Any

import pytest

from cc_backend.clusters import ClusterRegistry
from cc_backend.db.database import Database
from cc_backend.jobs.detection_queue import finish_detection, queue_detections, queued_detections
from cc_backend.jobs.job_removal import remove_job
from cc_backend.jobs.lifecycle import JobLifecycle
from cc_backend.model import Job
from cc_common.job_events import JobStart, JobStop, Resource

NOW_S = 1_760_000_000


def start_event(**changes: Any) -> JobStart:
    return JobStart("tern", "u", 1, NOW_S, 1, (Resource("tn0001"),), sub_cluster="std", **changes)


@pytest.fixture
def queueing(database: Database, clusters: ClusterRegistry) -> JobLifecycle:
    return JobLifecycle(database, clusters, queues_detection=True)


def waiting(database: Database) -> list[tuple[int, int]]:
    return [(job.id, revision) for job, revision in queued_detections(database)]


def test_a_job_waits_from_its_start_until_it_was_looked_at(database: Database, queueing: JobLifecycle) -> None:
    job = queueing.start(start_event(meta_data={"jobScript": "gmx"}), now_s=NOW_S)
    ((found, revision),) = queued_detections(database)
    assert (found.id, (found.meta_data or {})["jobScript"]) == (job.id, "gmx")
    finish_detection(database, job.id, revision)
    assert waiting(database) == []


def test_a_stop_while_the_job_is_looked_at_is_not_lost(database: Database, queueing: JobLifecycle) -> None:
    job = queueing.start(start_event(), now_s=NOW_S)
    ((_, revision),) = queued_detections(database)
    queueing.stop(JobStop(1, NOW_S + 100, "completed", "tern"), now_s=NOW_S + 100)
    finish_detection(database, job.id, revision)
    assert waiting(database) == [(job.id, revision + 1)]


def test_without_taggers_no_job_waits(database: Database, started: Callable[..., Job]) -> None:
    started()
    assert waiting(database) == []


def test_a_job_that_is_removed_leaves_the_queue(database: Database, queueing: JobLifecycle) -> None:
    job = queueing.start(start_event(), now_s=NOW_S)
    remove_job(database, job.id)
    assert waiting(database) == []


def test_a_batch_has_a_limit_and_the_oldest_come_first(database: Database, started: Callable[..., Job]) -> None:
    ids = [started(number).id for number in (1, 2, 3)]
    with database.write():
        for id_ in reversed(ids):
            queue_detections(database, [id_])
    assert [job.id for job, _ in queued_detections(database, limit=2)] == ids[:2]
