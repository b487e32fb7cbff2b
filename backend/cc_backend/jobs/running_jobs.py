"""The running jobs, and the hosts whose samples unfinished jobs still need."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from cc_backend.db.database import Database
from cc_backend.jobs.filters import visible_condition
from cc_backend.jobs.job_rows import JobReader, job_columns, replace_footprint
from cc_backend.jobs.tables import UNARCHIVED, JobHostRow, JobRow
from cc_backend.model import Job, JobState, RowRule

_RUNNING = JobRow.state == str(JobState.RUNNING)


class RunningJobs:
    """Finds running jobs for background work, and stores their present footprints."""

    def __init__(self, database: Database, reader: JobReader | None = None) -> None:
        self._database = database
        self._reader = reader or JobReader(database)

    def list_all(self, *, now_s: int | None = None) -> list[Job]:
        """All running jobs, oldest first; without a time their durations are 0."""
        query = JobRow.select(*job_columns()).where(_RUNNING).order_by(JobRow.start_time, JobRow.id)
        return self._reader.read(query, now_s)

    def start_times(self) -> dict[int, int]:
        """Id -> start time of all running jobs, oldest first; cheap."""
        query = JobRow.select(JobRow.id, JobRow.start_time).where(_RUNNING).order_by(JobRow.start_time, JobRow.id)
        return {id_: start_s for id_, start_s in self._database.raw_rows(query) if type(start_s) is int}

    def by_ids(self, ids: Collection[int], *, now_s: int) -> list[Job]:
        """The jobs with these ids that are still running, without their meta data."""
        query = JobRow.select(*job_columns(with_meta_data=False)).where(JobRow.id.in_(list(ids)), _RUNNING)
        return self._reader.read(query, now_s)

    def hosts(self, before_s: int, row_rule: RowRule) -> dict[str, list[str]]:
        """Cluster -> sorted hosts of visible running jobs that started before a time."""
        starts = self._earliest_start_by_host(_RUNNING, JobRow.start_time < before_s, visible_condition(row_rule))
        return {cluster: sorted(hosts) for cluster, hosts in starts.items()}

    def retention_holds(self) -> dict[str, dict[str, int]]:
        """Cluster -> host -> earliest start of a job there that is running or waits to be archived."""
        holds = self._earliest_start_by_host(_RUNNING)
        for cluster, starts in self._earliest_start_by_host(UNARCHIVED).items():
            hosts = holds.setdefault(cluster, {})
            for host, start_s in starts.items():
                hosts[host] = min(start_s, hosts.get(host, start_s))
        return holds

    def update_footprints(self, footprints: Mapping[int, Mapping[str, float]]) -> None:
        """Store id -> present footprint of running jobs; jobs that have ended meanwhile are skipped."""
        with self._database.write():
            still = JobRow.select(JobRow.id).where(JobRow.id.in_(list(footprints)), _RUNNING)
            for (id_,) in list(still.tuples().execute(self._database)):
                replace_footprint(self._database, id_, footprints[id_])

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
