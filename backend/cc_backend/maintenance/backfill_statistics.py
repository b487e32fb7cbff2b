"""Copies the statistics of jobs that earlier versions have archived from the archive to the database, bit by bit."""

import logging
from collections.abc import Callable

from cc_backend.archive.file_archive import FileArchive
from cc_backend.archive.folders import MAX_JOB_ID
from cc_backend.errors import ArchiveError, NotFound
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.stored_statistics import StoredStatistics
from cc_backend.model import JobKey, RowRule

JOBS_PER_STEP = 100

logger = logging.getLogger(__name__)


class StatisticsBackfill:
    """Adds the statistics that the database lacks, newest jobs first; a job without a readable file is left out."""

    def __init__(
        self, statistics: StoredStatistics, job_queries: JobQueries, archive: FileArchive, now_s: Callable[[], int]
    ) -> None:
        self._statistics = statistics
        self._job_queries = job_queries
        self._archive = archive
        self._now_s = now_s
        self._before = MAX_JOB_ID

    def step(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Add the statistics of the next jobs, and return how many; once all have been seen nothing is done."""
        if not self._before:
            return 0
        ids = self._statistics.lacking(before=self._before, limit=JOBS_PER_STEP)
        added = 0
        for id_ in ids:
            if stopping():
                return added
            added += self._add(id_)
            self._before = id_
        if len(ids) < JOBS_PER_STEP:
            self._before = 0
        return added

    def _add(self, id_: int) -> bool:
        try:
            job = self._job_queries.get(id_, RowRule(all_jobs=True), now_s=self._now_s())
            kept = self._archive.load_meta(JobKey(job.cluster, job.job_id, job.start_time))
        except (ArchiveError, NotFound) as error:
            logger.info("no statistics of an archived job id=%d error=%s", id_, error)
            return False
        self._statistics.store(id_, kept.statistics or {})
        return True
