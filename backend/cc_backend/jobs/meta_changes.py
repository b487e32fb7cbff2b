"""The queue of finished jobs whose meta.json is to follow a change of their tags or meta data.

The database is the truth. A change is queued in the transaction that makes it, so that a restart loses none;
`maintenance.meta_updater` brings it into the archive.
"""

from typing import Any

import peewee

from cc_backend.db.database import Database
from cc_backend.jobs.tables import JobRow, MetaChangeRow
from cc_backend.model import JobState

CHANGES_BATCH = 200
"""Maximum changes read from the queue at once."""


def queue_meta_changes(database: Database, jobs: Any) -> None:
    """Queue the finished jobs that match a condition; inside the transaction of the change."""
    finished = JobRow.select(JobRow.id, peewee.Value(1)).where(jobs, JobRow.state != str(JobState.RUNNING))
    query = MetaChangeRow.insert_from(finished, (MetaChangeRow.job, MetaChangeRow.revision))
    query = query.on_conflict(
        conflict_target=(MetaChangeRow.job,), update={MetaChangeRow.revision: MetaChangeRow.revision + 1}
    )
    query.execute(database)


def queued_meta_changes(database: Database, *, after: int = 0, limit: int = CHANGES_BATCH) -> list[tuple[int, int]]:
    """A batch of the queue: job id and revision, for ids above `after`, sorted by id."""
    query = MetaChangeRow.select(MetaChangeRow.job, MetaChangeRow.revision).where(MetaChangeRow.job > after)
    return list(query.order_by(MetaChangeRow.job).limit(limit).tuples().execute(database))


def finish_meta_change(database: Database, id_: int, revision: int) -> None:
    """Remove a job from the queue, unless it was changed again since that revision was read."""
    with database.write():
        MetaChangeRow.delete().where(MetaChangeRow.job == id_, MetaChangeRow.revision == revision).execute(database)
