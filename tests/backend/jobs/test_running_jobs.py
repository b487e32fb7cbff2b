from collections.abc import Callable

from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.running_jobs import RunningJobs
from cc_backend.model import Job, RowRule

NOW_S = 1_760_000_000
ALL = RowRule(all_jobs=True)
Start = Callable[..., Job]


def test_used_nodes_are_those_of_running_jobs_that_started_before(
    running_jobs: RunningJobs, started: Start, stopped: Start
) -> None:
    started(1, "tn0002", "tn0001", start_time=NOW_S - 100)
    started(2, "tn0003", start_time=NOW_S - 50)
    stopped(3, "tn0004")
    assert running_jobs.hosts(NOW_S - 50, ALL) == {"tern": ["tn0001", "tn0002"]}


def test_samples_are_needed_since_the_start_of_jobs_that_run_or_wait_for_the_archiver(
    running_jobs: RunningJobs, archive_queue: ArchiveQueue, started: Start, stopped: Start
) -> None:
    waiting = stopped(1, "tn0001", start_time=NOW_S - 5000)
    started(2, "tn0001", "tn0002", start_time=NOW_S - 100)
    stopped(3, "tn0003", monitoring_status=0)
    assert running_jobs.retention_holds() == {"tern": {"tn0001": NOW_S - 5000, "tn0002": NOW_S - 100}}
    archive_queue.finish(waiting)
    assert running_jobs.retention_holds() == {"tern": {"tn0001": NOW_S - 100, "tn0002": NOW_S - 100}}


def test_the_footprint_of_a_running_job_is_replaced(
    job_queries: JobQueries, running_jobs: RunningJobs, started: Start
) -> None:
    job = started(footprint={"a_avg": 1.0, "b_avg": 2.0})
    running_jobs.update_footprints({job.id: {"a_avg": 3.0}})
    assert job_queries.get(job.id, ALL, now_s=NOW_S).footprint == {"a_avg": 3.0}
