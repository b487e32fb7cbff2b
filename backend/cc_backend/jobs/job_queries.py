"""Questions to the job table. Every question on behalf of somebody carries that somebody's row rule."""

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
"""So many jobs that wait for the archiver are read at once; each may have thousands of hosts."""

_MAX_FACET_VALUES = 1000
_MAX_DAMAGE_LOGGED = 1000
_STATES = frozenset(map(str, JobState))
_RUNNING = JobRow.state == str(JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class JobListPage:
    """One page of a list, and how many jobs there are on all pages."""

    jobs: list[Job]
    total: int


@dataclass(frozen=True, slots=True)
class Facets:
    """What occurs in the jobs that may be seen, each sorted; for the choices of a filter form."""

    clusters: tuple[str, ...]
    partitions: tuple[str, ...]
    users: tuple[str, ...]
    projects: tuple[str, ...]


class JobQueries:
    """Finds jobs for people and programs, and knows which ones background work has to look at."""

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
        """One page of the jobs that fit and may be seen, tags of all scopes included.

        `order` is a column by its name on the wire, or a footprint key such as `mem_used_max`; jobs without that
        value come last. Equal values are ordered by id, so that pages do not overlap. `items_per_page` -1 is all.
        Without meta data only the job's name is loaded.

        Raises:
            InvalidInput: the order, the page or a value of the filter cannot be.
            NotAllowed: the filter names a cluster that the caller's token is not bound to.
        """
        if page < 1 or (items_per_page < 1 and items_per_page != ALL_ON_ONE_PAGE):
            raise InvalidInput("page and items per page must be 1 or more")
        hidden = self._hidden_values(row_rule)
        fitting = visible_and_matching(row_rule, job_filter, now_s, hidden)
        query = JobRow.select(*job_columns(with_meta_data=with_meta_data)).where(*fitting)
        query = query.order_by(*order_terms(order, descending=descending, now_s=now_s, hidden=hidden))
        if items_per_page != ALL_ON_ONE_PAGE:
            query = query.limit(items_per_page).offset((page - 1) * items_per_page)
        jobs = self._without_restricted(self._read(query, now_s), row_rule)
        if items_per_page == ALL_ON_ONE_PAGE or (page == 1 and len(jobs) < items_per_page):
            return JobListPage(jobs, len(jobs))
        return JobListPage(jobs, self._count(fitting))

    def count(self, job_filter: JobFilter, row_rule: RowRule, *, now_s: int) -> int:
        """How many jobs fit and may be seen."""
        return self._count(visible_and_matching(row_rule, job_filter, now_s, self._hidden_values(row_rule)))

    def get(self, id_: int, row_rule: RowRule, *, now_s: int) -> Job:
        """The job with this id of the database.

        Raises:
            NotFound: there is none, or it may not be seen.
            NotAllowed: its cluster is not among those that the caller's token is bound to.
        """
        query = JobRow.select(*job_columns()).where(JobRow.id == id_, ownership_condition(row_rule))
        jobs = self._without_restricted(self._read(query, now_s), row_rule)
        if not jobs:
            raise NotFound(f"there is no job with the id {id_}", code=ErrorCode.JOB_UNKNOWN)
        if not row_rule.allows_cluster(jobs[0].cluster):
            raise NotAllowed("this token is not for the cluster of this job", code=ErrorCode.CLUSTER_NOT_ALLOWED)
        return jobs[0]

    def count_by_state(self, job_filter: JobFilter, row_rule: RowRule, *, now_s: int) -> dict[JobState, int]:
        """How many jobs are in each state that occurs."""
        counts = self._count_by(job_filter, row_rule, now_s, JobRow.state)
        return {JobState(state): count for (state,), count in counts.items() if state in _STATES}

    def count_by_cluster(
        self, job_filter: JobFilter, row_rule: RowRule, *, now_s: int
    ) -> dict[str, dict[JobState, int]]:
        """How many jobs of each cluster are in each state that occurs."""
        found: defaultdict[str, dict[JobState, int]] = defaultdict(dict)
        counts = self._count_by(job_filter, row_rule, now_s, JobRow.cluster, JobRow.state)
        for (cluster, state), count in counts.items():
            if type(cluster) is str and state in _STATES:
                found[cluster][JobState(state)] = count
        return dict(found)

    def facets(self, row_rule: RowRule) -> Facets:
        """The clusters, users and so on that occur in the jobs that may be seen; at most 1000 of each."""
        return Facets(
            clusters=self._distinct_values(JobRow.cluster, row_rule),
            partitions=self._distinct_values(JobRow.partition, row_rule),
            users=self._distinct_values(JobRow.user, row_rule),
            projects=self._distinct_values(JobRow.project, row_rule),
        )

    def cluster_names(self) -> tuple[str, ...]:
        """The clusters that occur in any job, sorted, also those that are no longer configured; at most 1000."""
        return self._distinct_of_all(JobRow.cluster)

    def archived_clusters(self) -> list[str]:
        """The clusters of which jobs are archived."""
        return [name for name in self.cluster_names() if self.has_archived(name, 0, MAX_JOB_ID)]

    def has_archived(self, cluster: str, first: int, last: int) -> bool:
        """Whether jobs of a cluster are archived that have ids from the one to the other, both included."""
        these = (JobRow.cluster == cluster) & JobRow.job_id.between(first, last)
        query = JobRow.select(JobRow.id).where(these, JobRow.monitoring_status == MonitoringStatus.ARCHIVED)
        return query.limit(1).scalar(self._database) is not None

    def running_jobs(self, *, now_s: int | None = None) -> list[Job]:
        """All running jobs, oldest first, for background work; without a time their durations are 0."""
        query = JobRow.select(*job_columns()).where(_RUNNING).order_by(JobRow.start_time, JobRow.id)
        return self._read(query, now_s)

    def running_start_times(self) -> dict[int, int]:
        """Id -> start time of all running jobs, oldest first; cheap, for background work that takes them one by one."""
        query = JobRow.select(JobRow.id, JobRow.start_time).where(_RUNNING).order_by(JobRow.start_time, JobRow.id)
        return {id_: start_s for id_, start_s in self._database.raw_rows(query) if type(start_s) is int}

    def running_by_ids(self, ids: Collection[int], *, now_s: int) -> list[Job]:
        """Those of these jobs that still run, without their meta data."""
        query = JobRow.select(*job_columns(with_meta_data=False)).where(JobRow.id.in_(list(ids)), _RUNNING)
        return self._read(query, now_s)

    def queued_jobs(self, *, after: int = 0, limit: int = QUEUE_BATCH) -> list[Job]:
        """Finished jobs that wait for the archiver, oldest first: a piece of the archiver's durable queue.

        They are those behind the job with the id `after`, or the first ones, and come with what tells whether they are
        due; `finished` has the whole of one.
        """
        query = JobRow.select(*QUEUE_COLUMNS).where(UNARCHIVED)
        if after:  # in SQL, because a damaged start may be anything
            query = query.where(
                peewee.SQL("(start_time, id) > (SELECT start_time, id FROM job WHERE id = ?)", (after,))
            )
        return read_queued_jobs(self._database, query.order_by(JobRow.start_time, JobRow.id).limit(limit))

    def find_finished(self, id_: int) -> Job | None:
        """The whole of a finished job, None if it is gone."""
        query = JobRow.select(*job_columns()).where(JobRow.id == id_, JobRow.state != str(JobState.RUNNING))
        return next(iter(self._read(query, None)), None)

    def count_unarchived(self, row_rule: RowRule) -> int:
        """How many finished jobs that may be seen wait for the archiver."""
        return self._count([UNARCHIVED, visible_condition(row_rule)])

    def hosts_of_running_jobs(self, before_s: int, row_rule: RowRule) -> dict[str, list[str]]:
        """Cluster -> sorted hosts of running jobs that started before a time and may be seen."""
        starts = self._earliest_start_by_host(_RUNNING, JobRow.start_time < before_s, visible_condition(row_rule))
        return {cluster: sorted(hosts) for cluster, hosts in starts.items()}

    def retention_holds(self) -> dict[str, dict[str, int]]:
        """Cluster -> host -> earliest start of a job there that runs or waits for the archiver."""
        needed = self._earliest_start_by_host(_RUNNING)
        for cluster, starts in self._earliest_start_by_host(UNARCHIVED).items():
            hosts = needed.setdefault(cluster, {})
            for host, start_s in starts.items():
                hosts[host] = min(start_s, hosts.get(host, start_s))
        return needed

    def finish_archiving(self, job: Job, *, late_hosts: Collection[str] = ()) -> None:
        """The job is in the archive; its energy and footprint are final unless a late host sends more.

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
        """Archived jobs whose archive lacks the last samples of some hosts, with these hosts: those of higher ids.

        They come as those of `queued_jobs` do.
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
        """Nothing more is expected for the archive of this job."""
        with self._database.write():
            self._forget_late_hosts(id_)

    def mark_archiving_failed(self, id_: int, reason: str) -> None:
        """The archiver gave the job up, and this is why."""
        with self._database.write():
            JobRow.update(monitoring_status=MonitoringStatus.ARCHIVING_FAILED, archive_error=reason, rules=0).where(
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

    def update_footprints(self, footprints: Mapping[int, Mapping[str, float]]) -> None:
        """Id -> footprint of running jobs so far; jobs that ended meanwhile keep what the archiver wrote."""
        with self._database.write():
            still = JobRow.select(JobRow.id).where(JobRow.id.in_(list(footprints)), _RUNNING)
            for (id_,) in list(still.tuples().execute(self._database)):
                replace_footprint(self._database, id_, footprints[id_])

    def _read(self, query: Any, now_s: int | None) -> list[Job]:
        """The jobs of a query; what is damaged of them is logged once for each."""
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
        """The jobs as whoever has this row rule may see them."""
        if not row_rule.hides_restricted:
            return jobs
        return [job_without_restricted_metrics(job, self._clusters.restriction_test(job)) for job in jobs]

    def _hidden_values(self, row_rule: RowRule) -> HiddenValues | None:
        """What whoever has this row rule may neither filter nor sort by; None for nothing."""
        if not row_rule.hides_restricted:
            return None

        def clusters_of(metric: str) -> list[str]:
            every = {*self._clusters.names(), *self.cluster_names()}
            return [name for name in every if metric in self._clusters.ever_restricted_metrics(name)]

        return HiddenValues(clusters_of, self._clusters.clusters_restricting_energy())

    def _count(self, fitting: list[Any]) -> int:
        return int(JobRow.select(peewee.fn.COUNT(JobRow.id)).where(*fitting).scalar(self._database))

    def _count_by(self, wanted: JobFilter, rows: RowRule, now_s: int, *columns: Any) -> dict[tuple[str, ...], int]:
        fitting = visible_and_matching(rows, wanted, now_s, self._hidden_values(rows))
        query = JobRow.select(*columns, peewee.fn.COUNT(JobRow.id)).where(*fitting)
        return {tuple(keys): count for *keys, count in query.group_by(*columns).tuples().execute(self._database)}

    def _distinct_values(self, column: Any, row_rule: RowRule) -> tuple[str, ...]:
        if row_rule.all_jobs and not row_rule.allowed_clusters:
            return self._distinct_of_all(column)
        query = JobRow.select(column).where(visible_condition(row_rule), column != "").distinct().order_by(column)
        values = (value for (value,) in query.limit(_MAX_FACET_VALUES).tuples().execute(self._database))
        return tuple(value for value in values if isinstance(value, str))

    def _distinct_of_all(self, column: Any) -> tuple[str, ...]:
        """Steps from one value to the next in the column's index: DISTINCT would read a million rows for ten values."""
        found: list[str] = []
        while len(found) < _MAX_FACET_VALUES:
            behind = found[-1] if found else ""
            value = JobRow.select(peewee.fn.MIN(column)).where(column > behind).scalar(self._database)
            if not isinstance(value, str):  # none is left, or only what is no text, which comes last
                break
            found.append(value)
        return tuple(found)

    def _earliest_start_by_host(self, *fitting: Any) -> dict[str, dict[str, int]]:
        # Grouped here: asked to group by cluster, SQLite walks the whole index of clusters instead of the few jobs.
        query = (
            JobRow.select(JobRow.cluster, JobHostRow.hostname, JobRow.start_time)
            .join(JobHostRow, on=(JobHostRow.job == JobRow.id))
            .where(*fitting)
        )
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for cluster, host, start_s in self._database.raw_rows(query):
            if type(start_s) is not int or start_s < 0:  # a damaged row
                continue
            found[cluster][host] = min(start_s, found[cluster].get(host, start_s))
        return dict(found)
