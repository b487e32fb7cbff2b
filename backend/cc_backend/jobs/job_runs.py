"""The runs of a job in the database: the one that an event means, and those that forbid another start."""

from functools import cache

from cc_backend.db.database import Database
from cc_backend.errors import Conflict, NotFound
from cc_backend.jobs.job_rows import JOB_COLUMNS_SQL, job_from_row, read_footprint
from cc_backend.model import Job, JobState
from cc_common.error_codes import ErrorCode
from cc_common.job_events import JobChange, JobStop

_RUNS = "SELECT start_time, duration, state FROM job WHERE cluster = ? AND job_id = ?"


def reject_known_run(database: Database, job: Job) -> None:
    """Raise Conflict if the run is known, or overlaps with another run of the same job id.

    Schedulers requeue a job under its id once the previous run is over. A run that is reported late, after a
    later one has ended, is accepted, as their times do not overlap.
    """
    for start_s, duration_s, state in database.all_rows(_RUNS, job.cluster, job.job_id):
        name = f"{job.job_id} of {job.cluster}"
        if start_s == job.start_time:
            text = f"the job {name} with the start time {start_s} is known already; its state is {state}"
            raise Conflict(text, code=ErrorCode.JOB_KNOWN)
        if state == JobState.RUNNING:
            raise Conflict(f"the job {name} is running already, since {start_s}", code=ErrorCode.JOB_RUNNING)
        if start_s < job.start_time < start_s + duration_s:
            text = f"the job {name} ran from {start_s} to {start_s + duration_s}; it cannot start between"
            raise Conflict(text, code=ErrorCode.RUN_OVERLAPS)


def find_running(database: Database, event: JobStop | JobChange, *, now_s: int) -> Job:
    """The running job that an event means, without its tags.

    Without a start time that is the newest run of the job, without a cluster the newest of any cluster.

    Raises:
        NotFound: there is no such job.
        Conflict: the job is not running.
    """
    named = {"job_id": event.job_id, "cluster": event.cluster, "start_time": event.start_time}
    given = {column: value for column, value in named.items() if value is not None}
    row = database.first_row(_newest_run(tuple(given)), *given.values())
    if row is None:
        raise NotFound(f"there is no job {_describe(event)}", code=ErrorCode.JOB_UNKNOWN)
    job = job_from_row(row, now_s)
    if job.state is not JobState.RUNNING:
        text = f"the job {_describe(event)} is not running; its state is {job.state}"
        raise Conflict(text, code=ErrorCode.JOB_NOT_RUNNING)
    read_footprint(database, job)
    return job


@cache
def _newest_run(columns: tuple[str, ...]) -> str:
    conditions = " AND ".join(f"{column} = ?" for column in columns)
    return f"SELECT {JOB_COLUMNS_SQL} FROM job WHERE {conditions} ORDER BY id DESC LIMIT 1"  # noqa: S608 - no input


def _describe(event: JobStop | JobChange) -> str:
    cluster = "" if event.cluster is None else f" of {event.cluster}"
    start = "" if event.start_time is None else f" with the start time {event.start_time}"
    return f"{event.job_id}{cluster}{start}"
