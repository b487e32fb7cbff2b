"""Queries of the job table for people and programs, each under the row rule of the caller."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import peewee

from cc_backend.archive.folders import MAX_JOB_ID
from cc_backend.clusters import ClusterRegistry
from cc_backend.db.database import Database, not_storable
from cc_backend.errors import InvalidInput, NotAllowed, NotFound, TooLarge
from cc_backend.jobs.column_filters import ColumnFilter, search_scripts
from cc_backend.jobs.column_orders import ColumnOrder
from cc_backend.jobs.filters import (
    MAX_ID,
    FootprintRange,
    JobFilter,
    order_terms,
    ownership_condition,
    visible_and_matching,
    visible_condition,
)
from cc_backend.jobs.job_columns import JobColumns
from cc_backend.jobs.job_rows import JobReader, job_columns
from cc_backend.jobs.restricted_metrics import HiddenValues, job_without_restricted_metrics
from cc_backend.jobs.tables import JobRow
from cc_backend.model import Job, JobState, MonitoringStatus, RowRule
from cc_common.error_codes import ErrorCode

__all__ = ["ALL_ON_ONE_PAGE", "Facets", "FootprintRange", "JobFilter", "JobListPage", "JobQueries"]

ALL_ON_ONE_PAGE = -1
_MAX_FACET_VALUES = 1000
_RECENT_JOBS = 10_000
_BATCH = 900  # variables in a statement
_STATES = frozenset(map(str, JobState))


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

    def __init__(
        self,
        database: Database,
        clusters: ClusterRegistry | None = None,
        reader: JobReader | None = None,
        columns: JobColumns | None = None,
    ) -> None:
        self._database = database
        self._clusters = ClusterRegistry({}) if clusters is None else clusters
        self._reader = reader or JobReader(database)
        self._columns = columns

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
        if page * items_per_page > MAX_ID:
            raise not_storable()
        hidden = self.hidden_values(row_rule)
        with self._column_filter(row_rule, now_s, hidden, job_filter) as by_columns:
            if by_columns is not None:
                found = by_columns.matching(job_filter)
                is_all = items_per_page == ALL_ON_ONE_PAGE
                first, count = (0, None) if is_all else ((page - 1) * items_per_page, items_per_page)
                in_order = ColumnOrder(by_columns)
                ids = in_order.page(found, order, descending=descending, first=first, count=count)
                total = by_columns.count(found)
        if by_columns is not None:
            return JobListPage(self._read(ids.tolist(), row_rule, now_s, with_meta_data=with_meta_data), total)
        conditions = visible_and_matching(row_rule, job_filter, now_s, hidden)
        query = JobRow.select(*job_columns(with_meta_data=with_meta_data)).where(*conditions)
        query = query.order_by(*order_terms(order, descending=descending, now_s=now_s, hidden=hidden))
        if items_per_page != ALL_ON_ONE_PAGE:
            query = query.limit(items_per_page).offset((page - 1) * items_per_page)
        jobs = self._without_restricted(self._reader.read(query, now_s), row_rule)
        if items_per_page == ALL_ON_ONE_PAGE or (page == 1 and len(jobs) < items_per_page):
            return JobListPage(jobs, len(jobs))
        return JobListPage(jobs, self._count(conditions))

    def find_all(
        self,
        job_filter: JobFilter,
        row_rule: RowRule,
        *,
        now_s: int,
        order: str = "startTime",
        descending: bool = True,
        max_jobs: int,
        with_meta_data: bool = False,
    ) -> Iterator[list[Job]]:
        """All visible jobs that match, in batches; which jobs these are, and their order, is settled by this call.

        The rest is as for `find`. Raises TooLarge if there are more than `max_jobs`.
        """
        hidden = self.hidden_values(row_rule)
        with self._column_filter(row_rule, now_s, hidden, job_filter) as by_columns:
            if by_columns is not None:
                found, count = by_columns.matching(job_filter), max_jobs + 1
                page = ColumnOrder(by_columns).page(found, order, descending=descending, first=0, count=count)
                ids, total = page.tolist(), by_columns.count(found)
        if by_columns is None:
            conditions = visible_and_matching(row_rule, job_filter, now_s, hidden)
            terms = order_terms(order, descending=descending, now_s=now_s, hidden=hidden)
            query = JobRow.select(JobRow.id).where(*conditions).order_by(*terms).limit(max_jobs + 1)
            ids = [id_ for (id_,) in self._database.raw_rows(query)]
            total = self._count(conditions) if len(ids) > max_jobs else len(ids)
        if total > max_jobs:
            text = f"these are {total} jobs, over {max_jobs}; filter them, for example by start time"
            raise TooLarge(text, code=ErrorCode.ANSWER_TOO_LARGE)
        return (
            self._read(ids[begin : begin + _BATCH], row_rule, now_s, with_meta_data=with_meta_data)
            for begin in range(0, len(ids), _BATCH)
        )

    def count(self, job_filter: JobFilter, row_rule: RowRule, *, now_s: int) -> int:
        """Number of visible jobs that match."""
        with self._column_filter(row_rule, now_s, self.hidden_values(row_rule), job_filter) as by_columns:
            if by_columns is not None:
                return by_columns.count(by_columns.matching(job_filter))
        return self._count(visible_and_matching(row_rule, job_filter, now_s, self.hidden_values(row_rule)))

    def get(self, id_: int, row_rule: RowRule, *, now_s: int) -> Job:
        """The job with this database id.

        Raises:
            NotFound: there is none, or it is not visible.
            NotAllowed: the caller's token is not valid for its cluster.
        """
        query = JobRow.select(*job_columns()).where(JobRow.id == id_, ownership_condition(row_rule))
        jobs = self._without_restricted(self._reader.read(query, now_s), row_rule)
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
        with self._column_filter(row_rule, 0, None, JobFilter()) as by_columns:
            if by_columns is not None:
                found = by_columns.matching(JobFilter())
                lists = (
                    sorted(value for (value,) in by_columns.count_by([name], found) if value)
                    for name in ("cluster", "partition", "user", "project")
                )
                return Facets(*(tuple(values[:_MAX_FACET_VALUES]) for values in lists))
        return Facets(
            clusters=self._distinct_values(JobRow.cluster, row_rule),
            partitions=self._recent_partitions(row_rule),
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

    @contextmanager
    def _column_filter(
        self, row_rule: RowRule, now_s: int, hidden: HiddenValues | None, wanted: JobFilter
    ) -> Iterator[ColumnFilter | None]:
        """Filters over the columns in memory; None without them, or while they are first read."""
        if self._columns is None:
            yield None
            return
        search_scripts(self._columns, wanted, row_rule)
        with self._columns.current() as columns:
            if columns is None:
                yield None
            else:
                yield ColumnFilter(columns, self._database, row_rule, now_s=now_s, hidden=hidden)

    def _read(self, ids: Sequence[int], row_rule: RowRule, now_s: int, *, with_meta_data: bool) -> list[Job]:
        """The jobs with these ids, in this order."""
        found: dict[int, Job] = {}
        for begin in range(0, len(ids), _BATCH):
            query = JobRow.select(*job_columns(with_meta_data=with_meta_data))
            query = query.where(JobRow.id.in_(ids[begin : begin + _BATCH]))
            found.update((job.id, job) for job in self._reader.read(query, now_s))
        return self._without_restricted([found[id_] for id_ in ids if id_ in found], row_rule)

    def _without_restricted(self, jobs: list[Job], row_rule: RowRule) -> list[Job]:
        """The jobs without the values that this row rule hides."""
        if not row_rule.hides_restricted:
            return jobs
        return [job_without_restricted_metrics(job, self._clusters.restriction_test(job)) for job in jobs]

    def hidden_values(self, row_rule: RowRule) -> HiddenValues | None:
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
        hidden = self.hidden_values(rows)
        with self._column_filter(rows, now_s, hidden, wanted) as by_columns:
            if by_columns is not None:
                return by_columns.count_by([column.name for column in columns], by_columns.matching(wanted))
        conditions = visible_and_matching(rows, wanted, now_s, hidden)
        query = JobRow.select(*columns, peewee.fn.COUNT(JobRow.id)).where(*conditions)
        return {tuple(keys): count for *keys, count in query.group_by(*columns).tuples().execute(self._database)}

    def _distinct_values(self, column: Any, row_rule: RowRule) -> tuple[str, ...]:
        if row_rule.all_jobs and not row_rule.allowed_clusters:
            return self._distinct_of_all(column)
        query = JobRow.select(column).where(visible_condition(row_rule), column != "").distinct().order_by(column)
        values = (value for (value,) in query.limit(_MAX_FACET_VALUES).tuples().execute(self._database))
        return tuple(value for value in values if isinstance(value, str))

    def _recent_partitions(self, row_rule: RowRule) -> tuple[str, ...]:
        """The partitions of the newest visible jobs: they have no index, and reading all jobs would take seconds."""
        query = JobRow.select(JobRow.partition).where(visible_condition(row_rule)).order_by(JobRow.start_time.desc())
        found = {value for (value,) in self._database.raw_rows(query.limit(_RECENT_JOBS)) if type(value) is str}
        return tuple(sorted(found - {""}))[:_MAX_FACET_VALUES]

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
