from collections.abc import Callable

import pytest

from cc_backend.db.database import Database, Dialect
from cc_backend.errors import Conflict
from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.lifecycle import JobLifecycle
from cc_backend.jobs.overdue_jobs import end_overdue_jobs
from cc_backend.model import Job, JobState, RowRule
from cc_common.job_events import JobStop

NOW_S = 1_760_000_000
ALL = RowRule(all_jobs=True)


def test_a_job_beyond_its_time_limit_and_grace_has_failed_at_its_time_limit(
    database: Database, started: Callable[..., Job], job_queries: JobQueries, archive_queue: ArchiveQueue
) -> None:
    job = started(1, walltime=3600, start_time=NOW_S - 5000, meta_data={"jobName": "relax"})
    assert end_overdue_jobs(database, grace_s=600, now_s=NOW_S) == 1
    ended = job_queries.get(job.id, ALL, now_s=NOW_S)
    assert (ended.state, ended.duration) == (JobState.FAILED, 3600)
    assert ended.meta_data is not None
    assert ended.meta_data["jobName"] == "relax"
    assert "time limit of 3600 s passed more than 600 s ago" in ended.meta_data["message"]
    assert [waiting.id for waiting in archive_queue.queued_jobs()] == [job.id]


@pytest.mark.parametrize(
    "fields",
    [
        {"walltime": 3600, "start_time": NOW_S - 4200},
        {"walltime": 0, "start_time": NOW_S - 500_000_000},
        {"walltime": 86_400, "start_time": NOW_S - 5000},
    ],
)
def test_a_job_within_limit_and_grace_or_without_a_limit_runs_on(
    database: Database, started: Callable[..., Job], job_queries: JobQueries, fields: dict[str, int]
) -> None:
    job = started(1, **fields)
    assert end_overdue_jobs(database, grace_s=600, now_s=NOW_S) == 0
    assert job_queries.get(job.id, ALL, now_s=NOW_S).state is JobState.RUNNING


def test_a_second_passes_the_grace(database: Database, started: Callable[..., Job]) -> None:
    started(1, walltime=3600, start_time=NOW_S - 4201)
    assert end_overdue_jobs(database, grace_s=600, now_s=NOW_S) == 1


def test_a_job_that_ended_in_time_stays_as_it_is(
    database: Database, stopped: Callable[..., Job], job_queries: JobQueries
) -> None:
    job = stopped(1, walltime=60, start_time=NOW_S - 86_400, ran_s=30)
    assert end_overdue_jobs(database, grace_s=600, now_s=NOW_S) == 0
    assert job_queries.get(job.id, ALL, now_s=NOW_S).state is JobState.COMPLETED


def test_a_message_of_before_is_kept(database: Database, started: Callable[..., Job], job_queries: JobQueries) -> None:
    job = started(1, walltime=60, start_time=NOW_S - 86_400, meta_data={"message": "low flops"})
    end_overdue_jobs(database, grace_s=600, now_s=NOW_S)
    found = job_queries.get(job.id, ALL, now_s=NOW_S).meta_data
    assert found is not None
    assert found["message"].startswith("low flops\nNo end of this job was reported")


def test_a_late_stop_is_told_that_the_job_is_not_running(
    database: Database, started: Callable[..., Job], lifecycle: JobLifecycle
) -> None:
    started(1, walltime=60, start_time=NOW_S - 86_400)
    end_overdue_jobs(database, grace_s=600, now_s=NOW_S)
    with pytest.raises(Conflict, match="not running"):
        lifecycle.stop(JobStop(1, NOW_S, cluster="tern"), now_s=NOW_S)


def test_many_are_ended_in_several_transactions(database: Database, started: Callable[..., Job]) -> None:
    for job_id in range(1, 404):
        started(job_id, walltime=60, start_time=NOW_S - 86_400)
    assert end_overdue_jobs(database, grace_s=600, now_s=NOW_S) == 403


@pytest.mark.parametrize(
    "damage", ["walltime = 'x'", "meta_data = 'no json'", "meta_data = '[1]'", "meta_data = x'ff'", "start_time = -5"]
)
@pytest.mark.parametrize("database_url", [Dialect.SQLITE], indirect=True)  # PostgreSQL stores no such values
def test_a_damaged_row_keeps_no_other_job_running(
    database: Database, started: Callable[..., Job], job_queries: JobQueries, damage: str
) -> None:
    damaged = started(1, walltime=60, start_time=NOW_S - 86_400)
    job = started(2, walltime=60, start_time=NOW_S - 86_400)
    with database.write():
        database.execute_many(f"UPDATE job SET {damage} WHERE id = ?", [(damaged.id,)])  # noqa: S608 - from the table
    end_overdue_jobs(database, grace_s=600, now_s=NOW_S)
    assert job_queries.get(job.id, ALL, now_s=NOW_S).state is JobState.FAILED
