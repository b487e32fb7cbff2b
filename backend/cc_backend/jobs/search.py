"""Questions to the job table. Every question on behalf of somebody carries that somebody's row rule."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import peewee

from cc_backend.database import Database
from cc_backend.errors import InvalidInput, NotFound
from cc_backend.jobs.filters import FootprintRange, JobFilter, conditions, order_terms, visible
from cc_backend.jobs.rows import job_columns, read_jobs, write_footprint
from cc_backend.jobs.tables import JobHostRow, JobRow
from cc_backend.model import NON_TERMINAL_STATES, Job, JobState, MonitoringStatus, RowRule

__all__ = ["EVERYTHING_ON_ONE_PAGE", "Facets", "FootprintRange", "JobFilter", "JobPage", "JobSearch"]

EVERYTHING_ON_ONE_PAGE = -1
_MOST_CHOICES = 1000
_TERMINAL = tuple(str(state) for state in JobState if state not in NON_TERMINAL_STATES)


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a list, and how many jobs there are on all pages."""

    jobs: list[Job]
    total: int


@dataclass(frozen=True, slots=True)
class Facets:
    """What occurs in the jobs that may be seen, each sorted; for the choices of a filter form."""

    clusters: tuple[str, ...]
    sub_clusters: tuple[str, ...]
    partitions: tuple[str, ...]
    users: tuple[str, ...]
    projects: tuple[str, ...]


class JobSearch:
    """Finds jobs for people and programs, and knows which ones background work has to look at."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self,
        wanted: JobFilter,
        rows: RowRule,
        *,
        now_s: int,
        order: str = "startTime",
        descending: bool = True,
        page: int = 1,
        items_per_page: int = 25,
        with_meta_data: bool = True,
    ) -> JobPage:
        """One page of the jobs that fit and may be seen, tags of all scopes included.

        `order` is a column by its name on the wire, or a footprint key such as `mem_used_max`; jobs without that
        value come last. Equal values are ordered by id, so that pages do not overlap. `items_per_page` -1 is all.
        Without meta data only the job's name is loaded.

        Raises:
            InvalidInput: the order, the page or a value of the filter cannot be.
        """
        if page < 1 or (items_per_page < 1 and items_per_page != EVERYTHING_ON_ONE_PAGE):
            raise InvalidInput("page and items per page must be 1 or more")
        fitting = [visible(rows), *conditions(wanted, now_s)]
        query = JobRow.select(*job_columns(with_meta_data=with_meta_data)).where(*fitting)
        query = query.order_by(*order_terms(order, descending=descending, now_s=now_s))
        if items_per_page != EVERYTHING_ON_ONE_PAGE:
            query = query.limit(items_per_page).offset((page - 1) * items_per_page)
        jobs = read_jobs(self._database, query, now_s=now_s)
        if items_per_page == EVERYTHING_ON_ONE_PAGE or (page == 1 and len(jobs) < items_per_page):
            return JobPage(jobs, len(jobs))
        return JobPage(jobs, self._count(fitting))

    def count(self, wanted: JobFilter, rows: RowRule, *, now_s: int) -> int:
        """How many jobs fit and may be seen."""
        return self._count([visible(rows), *conditions(wanted, now_s)])

    def get(self, id_: int, rows: RowRule, *, now_s: int) -> Job:
        """The job with this id of the database.

        Raises:
            NotFound: there is none, or it may not be seen.
        """
        query = JobRow.select(*job_columns()).where(JobRow.id == id_, visible(rows))
        jobs = read_jobs(self._database, query, now_s=now_s)
        if not jobs:
            raise NotFound(f"there is no job with the id {id_}")
        return jobs[0]

    def count_by_state(self, wanted: JobFilter, rows: RowRule, *, now_s: int) -> dict[JobState, int]:
        """How many jobs are in each state that occurs."""
        counts = self._count_by(wanted, rows, now_s, JobRow.state)
        return {JobState(state): count for (state,), count in counts.items()}

    def count_by_cluster(self, wanted: JobFilter, rows: RowRule, *, now_s: int) -> dict[str, dict[JobState, int]]:
        """How many jobs of each cluster are in each state that occurs."""
        found: defaultdict[str, dict[JobState, int]] = defaultdict(dict)
        counts = self._count_by(wanted, rows, now_s, JobRow.cluster, JobRow.state)
        for (cluster, state), count in counts.items():
            found[cluster][JobState(state)] = count
        return dict(found)

    def facets(self, rows: RowRule) -> Facets:
        """The clusters, users and so on that occur in the jobs that may be seen; at most 1000 of each."""
        return Facets(
            clusters=self._distinct(JobRow.cluster, rows),
            sub_clusters=self._distinct(JobRow.sub_cluster, rows),
            partitions=self._distinct(JobRow.partition, rows),
            users=self._distinct(JobRow.user, rows),
            projects=self._distinct(JobRow.project, rows),
        )

    def running(self, *, now_s: int | None = None) -> list[Job]:
        """All running jobs by id, for background work; without a time their durations are 0."""
        query = JobRow.select(*job_columns()).where(JobRow.state == str(JobState.RUNNING)).order_by(JobRow.id)
        return read_jobs(self._database, query, now_s=now_s)

    def finished_unarchived(self) -> list[Job]:
        """All finished jobs that wait for the archiver, oldest first: the archiver's durable queue."""
        query = JobRow.select(*job_columns()).where(*_unarchived()).order_by(JobRow.id)
        return read_jobs(self._database, query, now_s=None)

    def used_nodes(self, before_s: int) -> dict[str, list[str]]:
        """Cluster -> sorted hosts of running jobs that started before a time."""
        started = (JobRow.state == str(JobState.RUNNING)) & (JobRow.start_time < before_s)
        return {cluster: sorted(hosts) for cluster, hosts in self._first_starts([started]).items()}

    def needed_since(self) -> dict[str, dict[str, int]]:
        """Cluster -> host -> earliest start of a job there that runs or waits for the archiver."""
        running = self._first_starts([JobRow.state == str(JobState.RUNNING)])
        for cluster, starts in self._first_starts(_unarchived()).items():
            needed = running.setdefault(cluster, {})
            for host, start_s in starts.items():
                needed[host] = min(start_s, needed.get(host, start_s))
        return running

    def finish_archiving(self, job: Job) -> None:
        """The job is in the archive; its energy and footprint are final.

        Raises:
            NotFound: the job is gone or does not wait for the archiver.
        """
        with self._database.write():
            changed = (
                JobRow.update(
                    monitoring_status=MonitoringStatus.ARCHIVED,
                    archive_error="",
                    energy=job.energy,
                    energy_footprint=None if job.energy_footprint is None else dict(job.energy_footprint),
                )
                .where(JobRow.id == job.id, JobRow.state != str(JobState.RUNNING))
                .execute(self._database)
            )
            if not changed:
                raise NotFound(f"there is no finished job with the id {job.id}")
            write_footprint(self._database, job.id, job.footprint)

    def mark_archiving_failed(self, id_: int, reason: str) -> None:
        """The archiver gave the job up, and this is why."""
        with self._database.write():
            JobRow.update(monitoring_status=MonitoringStatus.ARCHIVING_FAILED, archive_error=reason).where(
                JobRow.id == id_
            ).execute(self._database)

    def archiving_failure(self, id_: int) -> str:
        """Why the archiver gave the job up; empty when it did not."""
        return str(JobRow.select(JobRow.archive_error).where(JobRow.id == id_).scalar(self._database) or "")

    def retry_failed_archiving(self) -> int:
        """Puts all jobs that the archiver gave up back into its queue and says how many."""
        failed = JobRow.monitoring_status == MonitoringStatus.ARCHIVING_FAILED
        with self._database.write():
            again = JobRow.update(monitoring_status=MonitoringStatus.RUNNING_OR_ARCHIVING, archive_error="")
            return int(again.where(failed).execute(self._database))

    def update_footprint(self, id_: int, footprint: Mapping[str, float]) -> None:
        """The footprint of a running job so far."""
        with self._database.write():
            write_footprint(self._database, id_, footprint)

    def _count(self, fitting: list[Any]) -> int:
        return int(JobRow.select(peewee.fn.COUNT(JobRow.id)).where(*fitting).scalar(self._database))

    def _count_by(self, wanted: JobFilter, rows: RowRule, now_s: int, *columns: Any) -> dict[tuple[str, ...], int]:
        query = JobRow.select(*columns, peewee.fn.COUNT(JobRow.id)).where(visible(rows), *conditions(wanted, now_s))
        return {tuple(keys): count for *keys, count in query.group_by(*columns).tuples().execute(self._database)}

    def _distinct(self, column: Any, rows: RowRule) -> tuple[str, ...]:
        query = JobRow.select(column).where(visible(rows), column != "").distinct().order_by(column)
        return tuple(value for (value,) in query.limit(_MOST_CHOICES).tuples().execute(self._database))

    def _first_starts(self, fitting: list[Any]) -> dict[str, dict[str, int]]:
        query = (
            JobRow.select(JobRow.cluster, JobHostRow.hostname, peewee.fn.MIN(JobRow.start_time))
            .join(JobHostRow, on=(JobHostRow.job == JobRow.id))
            .where(*fitting)
            .group_by(JobRow.cluster, JobHostRow.hostname)
        )
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for cluster, host, start_s in query.tuples().execute(self._database):
            found[cluster][host] = start_s
        return dict(found)


def _unarchived() -> list[Any]:
    # Named states instead of "not running": the index begins with status and state.
    return [JobRow.monitoring_status == MonitoringStatus.RUNNING_OR_ARCHIVING, JobRow.state.in_(_TERMINAL)]
