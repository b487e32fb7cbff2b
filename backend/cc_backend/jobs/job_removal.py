"""Removal of jobs from the database; the job archive keeps them."""

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import peewee

from cc_backend.db.database import Database
from cc_backend.errors import NotFound
from cc_backend.jobs.filters import visible_condition
from cc_backend.jobs.tables import UNARCHIVED, JobRow, JobTagRow, TagRow
from cc_backend.model import NON_TERMINAL_STATES, MonitoringStatus, RowRule
from cc_common.error_codes import ErrorCode

logger = logging.getLogger(__name__)

_BATCH = 500
_AUTOMATIC_TAG_TYPES = ("app", "jobClass")


class KeptTags(StrEnum):
    """Which tags keep a job from being removed with all others of its age."""

    NONE = "none"
    ALL = "all"
    USER = "user"


@dataclass(frozen=True, slots=True)
class RemovedJobs:
    """How many jobs were removed, and how many were old enough but stay because they wait to be archived."""

    removed: int
    unarchived: int


def remove_job(database: Database, id_: int) -> None:
    """Remove one job with its tags' assignments, hosts and footprint, running or not.

    Raises:
        NotFound: there is no such job.
    """
    with database.write():
        if not JobRow.delete().where(JobRow.id == id_).execute(database):
            raise NotFound(f"there is no job with the id {id_}", code=ErrorCode.JOB_UNKNOWN)
    logger.info("removed job from the database id=%d", id_)


def remove_jobs_before(database: Database, before_s: int, row_rule: RowRule, *, kept: KeptTags) -> RemovedJobs:
    """Remove the visible finished jobs that started before a time (Unix seconds), oldest first; returns their numbers.

    Jobs that wait to be archived stay: without their row nobody would archive them.

    `kept` says whose tags keep a job: nobody's, anybody's, or those that people gave, which are all but the types `app`
    and `jobClass`. Each transaction removes some hundred jobs, so that other writers wait for moments only.
    """
    old = [
        JobRow.start_time < before_s,
        JobRow.state.not_in([str(state) for state in NON_TERMINAL_STATES]),
        visible_condition(row_rule),
        *_without_kept_tags(kept),
    ]
    conditions = [*old, JobRow.monitoring_status != MonitoringStatus.RUNNING_OR_ARCHIVING]
    removed, last = 0, (0, 0)
    while rows := _next_jobs(database, conditions, last):
        last = rows[-1]
        # read outside of the transaction, where other writers get their turn; so the conditions are checked again
        some = JobRow.id.in_([id_ for _, id_ in rows])
        with database.write():
            removed += int(JobRow.delete().where(some, *conditions).execute(database))
    unarchived = int(JobRow.select().where(UNARCHIVED, *old).count(database))
    logger.info(
        "removed jobs from the database before_s=%d kept_tags=%s jobs=%d unarchived=%d",
        before_s,
        kept,
        removed,
        unarchived,
    )
    return RemovedJobs(removed, unarchived)


def _next_jobs(database: Database, conditions: list[Any], last: tuple[int, int]) -> list[tuple[int, int]]:
    """Start time and id of the next jobs behind `last`, in this order."""
    place = (JobRow.start_time, JobRow.id)
    query = JobRow.select(*place).where(*conditions, peewee.Tuple(*place) > peewee.Tuple(*last))
    return list(query.order_by(*place).limit(_BATCH).tuples().execute(database))


def _without_kept_tags(kept: KeptTags) -> list[Any]:
    if kept is KeptTags.NONE:
        return []
    tags = JobTagRow.select(peewee.Value(1)).where(JobTagRow.job == JobRow.id)
    if kept is KeptTags.USER:
        tags = tags.join(TagRow).where(TagRow.type.not_in(_AUTOMATIC_TAG_TYPES))
    return [~peewee.fn.EXISTS(tags)]
