"""Stores the judgement of each job; it is read together with the job."""

from collections.abc import Iterable

from cc_backend.db.database import Database
from cc_backend.jobs.job_rows import job_columns, judgement_columns, read_jobs
from cc_backend.jobs.tables import SETTLED, JobRow
from cc_backend.model import Job, Judgement


class Judgements:
    """Writes judgements, and finds finished jobs that are not judged by the present rules."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, judged: Iterable[tuple[Job, Judgement]]) -> None:
        """Store the judgement of each job, unless the job has ended or was archived since it was read."""
        with self._database.write():
            for job, judgement in judged:
                JobRow.update(**judgement_columns(judgement)).where(
                    JobRow.id == job.id,
                    JobRow.state == str(job.state),
                    JobRow.monitoring_status == job.monitoring_status,
                ).execute(self._database)

    def outdated(self, *, rules: int, limit: int) -> list[Job]:
        """The newest finished jobs, not waiting to be archived, that were judged by older rules or never."""
        for older in range(rules):
            query = JobRow.select(*job_columns()).where(SETTLED, JobRow.rules == older)
            jobs = read_jobs(self._database, query.order_by(JobRow.start_time.desc()).limit(limit), now_s=None)
            if jobs:
                return jobs
        return []
