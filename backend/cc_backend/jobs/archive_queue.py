"""The archiver's durable queue: the finished jobs of the job table that are not archived, or not completely."""

from collections import defaultdict
from collections.abc import Collection

import peewee

from cc_backend.db.database import Database
from cc_backend.errors import NotFound
from cc_backend.jobs.filters import visible_condition
from cc_backend.jobs.job_rows import (
    QUEUE_COLUMNS,
    JobReader,
    job_columns,
    judgement_columns,
    read_queued_jobs,
    replace_footprint,
)
from cc_backend.jobs.stored_statistics import StoredStatistics
from cc_backend.jobs.tables import UNARCHIVED, JobRow, LateHostRow
from cc_backend.model import Job, JobState, Judgement, MonitoringStatus, RowRule
from cc_common.error_codes import ErrorCode

QUEUE_BATCH = 200
"""Maximum jobs read from the queue at once; each may have thousands of hosts."""


class ArchiveQueue:
    """Finds the jobs that are to be archived, and records what became of them."""

    def __init__(self, database: Database, reader: JobReader | None = None) -> None:
        self._database = database
        self._reader = reader or JobReader(database)
        self._statistics = StoredStatistics(database)

    def queued_jobs(self, *, after: int = 0, limit: int = QUEUE_BATCH) -> list[Job]:
        """A batch of the durable queue: finished jobs that wait to be archived, oldest first.

        It starts behind the job with the id `after`, or at the beginning. The jobs have only the columns that decide
        whether they are due; `find_finished` reads the whole job.
        """
        query = JobRow.select(*QUEUE_COLUMNS).where(UNARCHIVED)
        if after:  # in SQL, because a damaged start may be anything
            query = query.where(
                peewee.SQL("(start_time, id) > (SELECT start_time, id FROM job WHERE id = ?)", (after,))
            )
        return read_queued_jobs(self._database, query.order_by(JobRow.start_time, JobRow.id).limit(limit))

    def find_finished(self, id_: int) -> Job | None:
        """A finished job with all columns, None if it does not exist."""
        query = JobRow.select(*job_columns()).where(JobRow.id == id_, JobRow.state != str(JobState.RUNNING))
        return next(iter(self._reader.read(query, None)), None)

    def count(self, row_rule: RowRule) -> int:
        """Number of visible finished jobs that wait to be archived."""
        query = JobRow.select(peewee.fn.COUNT(JobRow.id)).where(UNARCHIVED, visible_condition(row_rule))
        return int(query.scalar(self._database))

    def finish(self, job: Job, *, late_hosts: Collection[str] = ()) -> None:
        """Mark a job as archived, and store what was computed of it; `late_hosts` may still send samples.

        Raises:
            NotFound: there is no such finished job.
        """
        with self._database.write():
            changed = (
                JobRow.update(
                    monitoring_status=MonitoringStatus.ARCHIVED,
                    archive_error="",
                    energy=job.energy,
                    energy_footprint=None if job.energy_footprint is None else dict(job.energy_footprint),
                    **judgement_columns(job.judgement or Judgement(None)),
                )
                .where(JobRow.id == job.id, JobRow.state != str(JobState.RUNNING))
                .execute(self._database)
            )
            if not changed:
                raise NotFound(f"there is no finished job with the id {job.id}", code=ErrorCode.JOB_UNKNOWN)
            replace_footprint(self._database, job.id, job.footprint)
            self._statistics.store(job.id, job.statistics)
            self._forget_late_hosts(job.id)
            for hostname in late_hosts:
                LateHostRow.insert(job=job.id, hostname=hostname).execute(self._database)

    def incomplete_archives(self, *, after: int = 0, limit: int = QUEUE_BATCH) -> list[tuple[Job, tuple[str, ...]]]:
        """A batch of archived jobs with ids above `after` that lack the last samples of some hosts, with these hosts.

        The jobs have the same columns as those of `queued_jobs`.
        """
        some = LateHostRow.select(LateHostRow.job).where(LateHostRow.job > after).distinct()
        some = some.order_by(LateHostRow.job).limit(limit)
        late: defaultdict[int, list[str]] = defaultdict(list)
        wanted = LateHostRow.select(LateHostRow.job, LateHostRow.hostname).where(LateHostRow.job.in_(some))
        for id_, hostname in self._database.raw_rows(wanted):
            if type(id_) is int:
                late[id_].append(hostname)
        query = JobRow.select(*QUEUE_COLUMNS).where(JobRow.id.in_(list(late))).order_by(JobRow.id)
        return [(job, tuple(late[job.id])) for job in read_queued_jobs(self._database, query)] if late else []

    def accept_incomplete(self, id_: int) -> None:
        """Accept the archive of a job as it is: its late hosts are no longer expected."""
        with self._database.write():
            self._forget_late_hosts(id_)

    def mark_failed(self, id_: int, reason: str) -> None:
        """Mark a job as given up by the archiver, with the reason."""
        with self._database.write():
            JobRow.update(monitoring_status=MonitoringStatus.ARCHIVING_FAILED, archive_error=reason, rules=0).where(
                JobRow.id == id_
            ).execute(self._database)

    def failure_reason(self, id_: int) -> str:
        """Why the archiver gave up a job; empty if it did not."""
        return str(JobRow.select(JobRow.archive_error).where(JobRow.id == id_).scalar(self._database) or "")

    def retry_failed(self) -> int:
        """Put all jobs that were given up back into the queue; returns their number."""
        failed = JobRow.monitoring_status == MonitoringStatus.ARCHIVING_FAILED
        with self._database.write():
            again = JobRow.update(monitoring_status=MonitoringStatus.RUNNING_OR_ARCHIVING, archive_error="")
            return int(again.where(failed).execute(self._database))

    def _forget_late_hosts(self, id_: int) -> None:
        LateHostRow.delete().where(LateHostRow.job == id_).execute(self._database)
