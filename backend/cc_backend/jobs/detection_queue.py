"""The queue of jobs whose applications are to be detected: those that have started or stopped since it was done.

A job is queued in the transaction that starts or stops it, so that a restart forgets none.
"""

from collections.abc import Sequence

from cc_backend.db.database import Database
from cc_backend.jobs.job_rows import job_columns, read_jobs
from cc_backend.jobs.tables import DetectionRow, JobRow
from cc_backend.model import Job

DETECTION_BATCH = 100
"""Maximum jobs read from the queue at once; each may have a long script."""


_QUEUE = """INSERT INTO job_detection (job_id, revision) VALUES (?, 1)
ON CONFLICT (job_id) DO UPDATE SET revision = job_detection.revision + 1"""  # constant: it is part of every event


def queue_detections(database: Database, jobs: Sequence[int]) -> None:
    """Queue jobs; inside the transaction that starts or stops them."""
    database.execute_many(_QUEUE, [(job,) for job in jobs])


def queued_detections(database: Database, *, limit: int = DETECTION_BATCH) -> list[tuple[Job, int]]:
    """The next jobs of the queue, each with the revision to be handed to `finish_detection`."""
    query = DetectionRow.select(DetectionRow.job, DetectionRow.revision).order_by(DetectionRow.job).limit(limit)
    revisions = dict(query.tuples().execute(database))
    jobs = read_jobs(database, JobRow.select(*job_columns()).where(JobRow.id.in_(list(revisions))), now_s=None)
    return [(job, revisions[job.id]) for job in jobs]


def finish_detection(database: Database, job: int, revision: int) -> None:
    """Remove a job from the queue, unless it was queued again since that revision was read."""
    with database.write():
        DetectionRow.delete().where(DetectionRow.job == job, DetectionRow.revision == revision).execute(database)


def waiting_detections(database: Database) -> int:
    """Number of jobs in the queue."""
    return int(DetectionRow.select().count(database))
