"""Concurrent jobs: other jobs that run on the same hosts at the same time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cc_backend.db.database import Database
from cc_backend.jobs.filters import visible_condition
from cc_backend.jobs.tables import STOP_TIME, JobHostRow, JobRow
from cc_backend.model import Job, JobState, RowRule

MAX_COUNTED = 10_000
"""Maximum concurrent jobs that are counted."""
MAX_LISTED = 100
"""Maximum concurrent jobs that are listed."""
_HOSTS_AT_ONCE = 900


@dataclass(frozen=True, slots=True)
class ConcurrentJob:
    """A concurrent job: its id in the database, and the scheduler's."""

    id: int
    job_id: int


@dataclass(frozen=True, slots=True)
class ConcurrentJobs:
    """The number of concurrent jobs, and the first of them by their start."""

    count: int = 0
    items: tuple[ConcurrentJob, ...] = ()


@dataclass(frozen=True, slots=True)
class ConcurrencyRule:
    """Jobs of at most `min_duration_s` have no concurrent jobs; those of others overlap by more than `margin_s`."""

    min_duration_s: int
    margin_s: int


def find_concurrent_jobs(database: Database, job: Job, row_rule: RowRule, rule: ConcurrencyRule) -> ConcurrentJobs:
    """The visible other jobs on any host of a job that overlap with it in time; at most `MAX_COUNTED` are counted.

    A job that shares no node (`shared` is `none`) has none. What happens within `margin_s` after the start of the job
    and before its end does not count: there, one job takes over from another.
    """
    from_s, to_s = job.start_time + rule.margin_s, job.stop_time - rule.margin_s
    if job.shared == "none" or job.duration <= rule.min_duration_s or from_s >= to_s:
        return ConcurrentJobs()
    is_running = JobRow.state == str(JobState.RUNNING)
    found: set[tuple[int, int, int]] = set()
    for hosts in _batches(sorted({resource.hostname for resource in job.resources})):
        query = (
            JobRow.select(JobRow.start_time, JobRow.id, JobRow.job_id)
            .join(JobHostRow, on=(JobHostRow.job == JobRow.id))
            .where(
                JobHostRow.hostname.in_(hosts),
                JobRow.cluster == job.cluster,
                JobRow.id != job.id,
                JobRow.start_time < to_s,
                is_running | (from_s < STOP_TIME),
                visible_condition(row_rule),
            )
            .distinct()
            .limit(MAX_COUNTED)
        )
        found.update(query.tuples().execute(database))
    first = sorted(found)[:MAX_LISTED]
    return ConcurrentJobs(min(len(found), MAX_COUNTED), tuple(ConcurrentJob(id_, job_id) for _, id_, job_id in first))


def _batches(hosts: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(hosts), _HOSTS_AT_ONCE):
        yield hosts[begin : begin + _HOSTS_AT_ONCE]
