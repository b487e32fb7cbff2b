from collections.abc import Callable
from typing import Any

import pytest

from cc_backend.db.database import Database, Dialect
from cc_backend.errors import NotFound
from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.model import Job, MonitoringStatus, RowRule

NOW_S = 1_760_000_000
ALL = RowRule(all_jobs=True)
Start = Callable[..., Job]


def test_an_archived_job_has_its_final_values(
    job_queries: JobQueries, archive_queue: ArchiveQueue, stopped: Start
) -> None:
    job = stopped(footprint={"old_avg": 1.0})
    job.footprint = {"mem_used_max": 3.25}
    job.energy = 1.75
    job.energy_footprint = {"cpu_power": 1.75}
    archive_queue.finish(job)
    stored = job_queries.get(job.id, ALL, now_s=NOW_S)
    assert stored.monitoring_status == MonitoringStatus.ARCHIVED
    assert (stored.footprint, stored.energy, stored.energy_footprint) == (
        {"mem_used_max": 3.25},
        1.75,
        {"cpu_power": 1.75},
    )
    assert archive_queue.queued_jobs() == []


def test_a_running_job_cannot_be_archived(archive_queue: ArchiveQueue, started: Start) -> None:
    with pytest.raises(NotFound):
        archive_queue.finish(started())


def test_a_job_that_cannot_be_archived_leaves_the_queue_with_a_reason_until_it_is_tried_again(
    job_queries: JobQueries, archive_queue: ArchiveQueue, stopped: Start
) -> None:
    job = stopped()
    archive_queue.mark_failed(job.id, "the disk is full")
    assert archive_queue.queued_jobs() == []
    assert job_queries.get(job.id, ALL, now_s=NOW_S).monitoring_status == MonitoringStatus.ARCHIVING_FAILED
    assert archive_queue.failure_reason(job.id) == "the disk is full"
    assert archive_queue.retry_failed() == 1
    assert [waiting.id for waiting in archive_queue.queued_jobs()] == [job.id]
    assert archive_queue.count(ALL) == 1
    assert archive_queue.failure_reason(job.id) == ""


def test_the_archiver_s_queue_is_read_in_pieces_oldest_first_and_without_job_scripts(
    archive_queue: ArchiveQueue, stopped: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [
        stopped(number, start_time=NOW_S - 9000 + 7 * number % 5, meta_data={"jobScript": "x"})
        for number in range(1, 8)
    ]
    oldest_first = [job.id for job in sorted(jobs, key=lambda job: (job.start_time, job.id))]
    asked: list[str] = []
    execute = Database._execute_cursor
    monkeypatch.setattr(
        Database, "_execute_cursor", lambda self, sql, *more: (asked.append(sql), execute(self, sql, *more))[1]
    )
    first = archive_queue.queued_jobs(limit=3)
    second = archive_queue.queued_jobs(after=first[-1].id, limit=3)
    third = archive_queue.queued_jobs(after=second[-1].id, limit=3)
    assert [job.id for job in (*first, *second, *third)] == oldest_first
    assert archive_queue.queued_jobs(after=third[-1].id, limit=3) == []
    assert "meta_data" not in "".join(asked)
    assert all(job.resources and job.duration for job in first)
    whole = archive_queue.find_finished(first[0].id)
    assert whole is not None
    assert whole.meta_data == {"jobScript": "x"}


@pytest.mark.parametrize("database_url", [Dialect.SQLITE], indirect=True)
def test_the_queue_is_read_by_its_index(database: Database, archive_queue: ArchiveQueue, stopped: Start) -> None:
    job = stopped()
    plans: list[tuple[str, ...]] = []
    rows = database.raw_rows

    def explained(query: Any) -> Any:
        sql, parameters = database.get_sql_context().sql(query).query()
        plans.extend(database._execute_cursor(f"EXPLAIN QUERY PLAN {sql}", parameters))
        return rows(query)

    database.raw_rows = explained  # type: ignore[method-assign]  # watched, not replaced
    archive_queue.queued_jobs()
    archive_queue.queued_jobs(after=job.id)
    said = " ".join(plan[3] for plan in plans)
    assert "SCAN t1 USING INDEX job_unarchived" in said
    assert "SEARCH t1 USING INDEX job_unarchived" in said
    assert "TEMP B-TREE" not in said
