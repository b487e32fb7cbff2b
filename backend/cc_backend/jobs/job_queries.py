"""Queries of the job table. Every query on behalf of a caller takes that caller's row rule."""

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import peewee

from cc_backend.archive.folders import MAX_JOB_ID
from cc_backend.clusters import ClusterRegistry
from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput, NotAllowed, NotFound
from cc_backend.jobs.filters import (
    FootprintRange,
    JobFilter,
    order_terms,
    ownership_condition,
    visible_and_matching,
    visible_condition,
)
from cc_backend.jobs.job_rows import (
    QUEUE_COLUMNS,
    job_columns,
    judgement_columns,
    read_jobs,
    read_queued_jobs,
    replace_footprint,
)
from cc_backend.jobs.restricted_metrics import HiddenValues, job_without_restricted_metrics
from cc_backend.jobs.tables import UNARCHIVED, JobHostRow, JobRow, LateHostRow
from cc_backend.model import Job, JobState, Judgement, MonitoringStatus, RowRule
from cc_common.error_codes import ErrorCode

logger = logging.getLogger(__name__)

__all__ = ["ALL_ON_ONE_PAGE", "Facets", "FootprintRange", "JobFilter", "JobListPage", "JobQueries"]

ALL_ON_ONE_PAGE = -1
QUEUE_BATCH = 200
"""Maximum jobs read from the archiver's queue at once; each may have thousands of hosts."""

_MAX_FACET_VALUES = 1000
_MAX_DAMAGE_LOGGED = 1000
_STATES = frozenset(map(str, JobState))
_RUNNING = JobRow.state == str(JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class JobListPage:
    """One page of a job list, and the number of jobs on all pages."""

    jobs: list[Job]
    total: int


@dataclass(frozen=True, slots=True)
class Facets:
    """Sorted values that occur in the visible jobs, as choices of a filter form."""

    clusters: tuple[str, ...]
    partitions: tuple[str, ...]
    users: tuple[str, ...]
    projects: tuple[str, ...]


class JobQueries:
    """Finds jobs for people and programs."""

    def __init__(self, database: Database, clusters: ClusterRegistry | None = None) -> None:
        self._database = database
        self._clusters = ClusterRegistry({}) if clusters is None else clusters
        self._damage_logged: set[int] = set()

    def find(
        self,
        job_filter: JobFilter,
        row_rule: RowRule,
        *,
        now_s: int,
        order: str = "startTime",
        descending: bool = True,
        page: int = 1,
        items_per_page: int = 25,
        with_meta_data: bool = True,
    ) -> JobListPage:
        """One page of the visible jobs that match, with tags of all scopes.

        `order` is a column by its JSON key, or a footprint key such as `mem_used_max`; jobs without that value come
        last. Equal values are sorted by id, so that pages do not overlap. `items_per_page` -1 means all jobs. Without
        meta data only the job's name is loaded.

        Raises:
            InvalidInput: the order, the page or a value of the filter is invalid.
            NotAllowed: the filter names a cluster that the caller's token is not valid for.
        """
        if page < 1 or (items_per_page < 1 and items_per_page != ALL_ON_ONE_PAGE):
            raise InvalidInput("page and items per page must be 1 or more")
        hidden = self._hidden_values(row_rule)
        conditions = visible_and_matching(row_rule, job_filter, now_s, hidden)
        query = JobRow.select(*job_columns(with_meta_data=with_meta_data)).where(*conditions)
        query = query.order_by(*order_terms(order, descending=descending, now_s=now_s, hidden=hidden))
        if items_per_page != ALL_ON_ONE_PAGE:
            query = query.limit(items_per_page).offset((page - 1) * items_per_page)
        jobs = self._without_restricted(self._read(query, now_s), row_rule)
        if items_per_page == ALL_ON_ONE_PAGE or (page == 1 and len(jobs) < items_per_page):
            return JobListPage(jobs, len(jobs))
        return JobListPage(jobs, self._count(conditions))

    def count(self, job_filter: JobFilter, row_rule: RowRule, *, now_s: int) -> int:
        """Number of visible jobs that match."""
        return self._count(visible_and_matching(row_rule, job_filter, now_s, self._hidden_values(row_rule)))

    def get(self, id_: int, row_rule: RowRule, *, now_s: int) -> Job:
        """The job with this database id.

        Raises:
            NotFound: there is none, or it is not visible.
            NotAllowed: the caller's token is not valid for its cluster.
        """
        query = JobRow.select(*job_columns()).where(JobRow.id == id_, ownership_condition(row_rule))
        jobs = self._without_restricted(self._read(query, now_s), row_rule)
        if not jobs:
            raise NotFound(f"there is no job with the id {id_}", code=ErrorCode.JOB_UNKNOWN)
        if not row_rule.allows_cluster(jobs[0].cluster):
            raise NotAllowed("this token is not for the cluster of this job", code=ErrorCode.CLUSTER_NOT_ALLOWED)
        return jobs[0]

    def count_by_state(self, job_filter: JobFilter, row_rule: RowRule, *, now_s: int) -> dict[JobState, int]:
        """State -> number of matching visible jobs, for the states that occur."""
        counts = self._count_by(job_filter, row_rule, now_s, JobRow.state)
        return {JobState(state): count for (state,), count in counts.items() if state in _STATES}

    def count_by_cluster(
        self, job_filter: JobFilter, row_rule: RowRule, *, now_s: int
    ) -> dict[str, dict[JobState, int]]:
        """Cluster -> state -> number of matching visible jobs, for those that occur."""
        found: defaultdict[str, dict[JobState, int]] = defaultdict(dict)
        counts = self._count_by(job_filter, row_rule, now_s, JobRow.cluster, JobRow.state)
        for (cluster, state), count in counts.items():
            if type(cluster) is str and state in _STATES:
                found[cluster][JobState(state)] = count
        return dict(found)

    def facets(self, row_rule: RowRule) -> Facets:
        """The clusters, partitions, users and projects of the visible jobs, at most 1000 each."""
        return Facets(
            clusters=self._distinct_values(JobRow.cluster, row_rule),
            partitions=self._distinct_values(JobRow.partition, row_rule),
            users=self._distinct_values(JobRow.user, row_rule),
            projects=self._distinct_values(JobRow.project, row_rule),
        )

    def cluster_names(self) -> tuple[str, ...]:
        """The sorted clusters of all jobs, including those no longer configured; at most 1000."""
        return self._distinct_of_all(JobRow.cluster)

    def archived_clusters(self) -> list[str]:
        """The clusters that have archived jobs."""
        return [name for name in self.cluster_names() if self.has_archived(name, 0, MAX_JOB_ID)]

    def has_archived(self, cluster: str, first: int, last: int) -> bool:
        """Whether a cluster has archived jobs with job ids in [first, last]."""
        these = (JobRow.cluster == cluster) & JobRow.job_id.between(first, last)
        query = JobRow.select(JobRow.id).where(these, JobRow.monitoring_status == MonitoringStatus.ARCHIVED)
        return query.limit(1).scalar(self._database) is not None

    def running_jobs(self, *, now_s: int | None = None) -> list[Job]:
        """All running jobs, oldest first; without a time their durations are 0."""
        query = JobRow.select(*job_columns()).where(_RUNNING).order_by(JobRow.start_time, JobRow.id)
        return self._read(query, now_s)

    def running_start_times(self) -> dict[int, int]:
        """Id -> start time of all running jobs, oldest first; cheap."""
        query = JobRow.select(JobRow.id, JobRow.start_time).where(_RUNNING).order_by(JobRow.start_time, JobRow.id)
        return {id_: start_s for id_, start_s in self._database.raw_rows(query) if type(start_s) is int}

    def running_by_ids(self, ids: Collection[int], *, now_s: int) -> list[Job]:
        """The jobs with these ids that are still running, without their meta data."""
        query = JobRow.select(*job_columns(with_meta_data=False)).where(JobRow.id.in_(list(ids)), _RUNNING)
        return self._read(query, now_s)

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
        return next(iter(self._read(query, None)), None)

    def count_unarchived(self, row_rule: RowRule) -> int:
        """Number of visible finished jobs that wait to be archived."""
        return self._count([UNARCHIVED, visible_condition(row_rule)])

    def hosts_of_running_jobs(self, before_s: int, row_rule: RowRule) -> dict[str, list[str]]:
        """Cluster -> sorted hosts of visible running jobs that started before a time."""
        starts = self._earliest_start_by_host(_RUNNING, JobRow.start_time < before_s, visible_condition(row_rule))
        return {cluster: sorted(hosts) for cluster, hosts in starts.items()}

    def retention_holds(self) -> dict[str, dict[str, int]]:
        """Cluster -> host -> earliest start of a job there that is running or waits to be archived."""
        needed = self._earliest_start_by_host(_RUNNING)
        for cluster, starts in self._earliest_start_by_host(UNARCHIVED).items():
            hosts = needed.setdefault(cluster, {})
            for host, start_s in starts.items():
                hosts[host] = min(start_s, hosts.get(host, start_s))
        return needed

    def finish_archiving(self, job: Job, *, late_hosts: Collection[str] = ()) -> None:
        """Mark a job as archived, and store its energy, footprint and judgement; `late_hosts` may still send samples.

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

    def accept_incomplete_archive(self, id_: int) -> None:
        """Accept the archive of a job as it is: its late hosts are no longer expected."""
        with self._database.write():
            self._forget_late_hosts(id_)

    def mark_archiving_failed(self, id_: int, reason: str) -> None:
        """Mark a job as given up by the archiver, with the reason."""
        with self._database.write():
            JobRow.update(monitoring_status=MonitoringStatus.ARCHIVING_FAILED, archive_error=reason, rules=0).where(
                JobRow.id == id_
            ).execute(self._database)

    def archiving_failure(self, id_: int) -> str:
        """Why the archiver gave up a job; empty if it did not."""
        return str(JobRow.select(JobRow.archive_error).where(JobRow.id == id_).scalar(self._database) or "")

    def retry_failed_archiving(self) -> int:
        """Put all jobs that were given up back into the queue; returns their number."""
        failed = JobRow.monitoring_status == MonitoringStatus.ARCHIVING_FAILED
        with self._database.write():
            again = JobRow.update(monitoring_status=MonitoringStatus.RUNNING_OR_ARCHIVING, archive_error="")
            return int(again.where(failed).execute(self._database))

    def update_footprints(self, footprints: Mapping[int, Mapping[str, float]]) -> None:
        """Store id -> present footprint of running jobs; jobs that have ended meanwhile are skipped."""
        with self._database.write():
            still = JobRow.select(JobRow.id).where(JobRow.id.in_(list(footprints)), _RUNNING)
            for (id_,) in list(still.tuples().execute(self._database)):
                replace_footprint(self._database, id_, footprints[id_])

    def _read(self, query: Any, now_s: int | None) -> list[Job]:
        """The jobs of a query; damaged columns are logged once per job."""
        jobs = read_jobs(self._database, query, now_s=now_s)
        for job in jobs:
            if (
                job.damaged_columns
                and job.id not in self._damage_logged
                and len(self._damage_logged) < _MAX_DAMAGE_LOGGED
            ):
                self._damage_logged.add(job.id)
                logger.error(
                    "row of a job is damaged id=%d job=%d cluster=%s columns=%s",
                    job.id,
                    job.job_id,
                    job.cluster,
                    ",".join(job.damaged_columns),
                )
        return jobs

    def _forget_late_hosts(self, id_: int) -> None:
        LateHostRow.delete().where(LateHostRow.job == id_).execute(self._database)

    def _without_restricted(self, jobs: list[Job], row_rule: RowRule) -> list[Job]:
        """The jobs without the values that this row rule hides."""
        if not row_rule.hides_restricted:
            return jobs
        return [job_without_restricted_metrics(job, self._clusters.restriction_test(job)) for job in jobs]

    def _hidden_values(self, row_rule: RowRule) -> HiddenValues | None:
        """The values that this row rule allows neither to filter nor to sort by; None if there are none."""
        if not row_rule.hides_restricted:
            return None

        def clusters_of(metric: str) -> list[str]:
            every = {*self._clusters.names(), *self.cluster_names()}
            return [name for name in every if metric in self._clusters.ever_restricted_metrics(name)]

        return HiddenValues(clusters_of, self._clusters.clusters_restricting_energy())

    def _count(self, conditions: list[Any]) -> int:
        return int(JobRow.select(peewee.fn.COUNT(JobRow.id)).where(*conditions).scalar(self._database))

    def _count_by(self, wanted: JobFilter, rows: RowRule, now_s: int, *columns: Any) -> dict[tuple[str, ...], int]:
        conditions = visible_and_matching(rows, wanted, now_s, self._hidden_values(rows))
        query = JobRow.select(*columns, peewee.fn.COUNT(JobRow.id)).where(*conditions)
        return {tuple(keys): count for *keys, count in query.group_by(*columns).tuples().execute(self._database)}

    def _distinct_values(self, column: Any, row_rule: RowRule) -> tuple[str, ...]:
        if row_rule.all_jobs and not row_rule.allowed_clusters:
            return self._distinct_of_all(column)
        query = JobRow.select(column).where(visible_condition(row_rule), column != "").distinct().order_by(column)
        values = (value for (value,) in query.limit(_MAX_FACET_VALUES).tuples().execute(self._database))
        return tuple(value for value in values if isinstance(value, str))

    def _distinct_of_all(self, column: Any) -> tuple[str, ...]:
        """Distinct values, by stepping through an index: DISTINCT would read a million rows for ten values."""
        found: list[str] = []
        while len(found) < _MAX_FACET_VALUES:
            behind = found[-1] if found else ""
            value = JobRow.select(peewee.fn.MIN(column)).where(column > behind).scalar(self._database)
            if not isinstance(value, str):  # no value is left, or only non-text values, which sort last
                break
            found.append(value)
        return tuple(found)

    def _earliest_start_by_host(self, *conditions: Any) -> dict[str, dict[str, int]]:
        # Grouped here: with GROUP BY, SQLite would scan the whole index of clusters instead of the few jobs.
        query = (
            JobRow.select(JobRow.cluster, JobHostRow.hostname, JobRow.start_time)
            .join(JobHostRow, on=(JobHostRow.job == JobRow.id))
            .where(*conditions)
        )
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for cluster, host, start_s in self._database.raw_rows(query):
            if type(start_s) is not int or start_s < 0:  # a damaged row
                continue
            found[cluster][host] = min(start_s, found[cluster].get(host, start_s))
        return dict(found)
