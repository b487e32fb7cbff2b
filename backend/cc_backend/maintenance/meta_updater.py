"""Brings changed tags and meta data of finished jobs into their meta.json; the queue is `jobs.meta_changes`."""

import logging
from collections.abc import Callable

from cc_backend.archive.file_archive import FileArchive
from cc_backend.db.database import Database
from cc_backend.errors import ArchiveError, Unavailable
from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.meta_changes import CHANGES_BATCH, finish_meta_change, queued_meta_changes
from cc_backend.model import JobKey, MonitoringStatus

RETRY_S = 600
"""Seconds until a meta.json that could not be read is tried again; somebody may have restored it."""

logger = logging.getLogger(__name__)


class MetaUpdater:
    """Rewrites meta.json of changed jobs, one round at a time, in the thread of the archiver.

    In that thread, because both read a job and then write its file: neither may overwrite the newer state of the other.
    """

    def __init__(self, database: Database, queue: ArchiveQueue, archive: FileArchive) -> None:
        self._database = database
        self._queue = queue
        self._archive = archive
        self._after = 0  # id of the last job of the previous round
        self._retry_s: dict[int, int] = {}

    def run_once(self, *, now_s: int, stopping: Callable[[], bool] = lambda: False) -> int:
        """Bring a batch of the queue into the archive; returns how many changes are done with.

        Jobs that wait to be archived keep their place in the queue until they are.

        Raises:
            ArchiveUnavailable: the archive, or a folder of it, is missing; the queue stays as it is.
        """
        changes = queued_meta_changes(self._database, after=self._after)
        self._after = changes[-1][0] if len(changes) == CHANGES_BATCH else 0
        finished = 0
        for id_, revision in changes:
            if stopping():
                break
            if not now_s < self._retry_s.get(id_, 0) <= now_s + RETRY_S and self._is_followed(id_, now_s):
                self._retry_s.pop(id_, None)
                finish_meta_change(self._database, id_, revision)
                finished += 1
        return finished

    def _is_followed(self, id_: int, now_s: int) -> bool:
        """Whether the archive has the present state of a job now, or never will."""
        job = self._queue.find_finished(id_)
        if job is None or job.is_unusable:
            return True
        key = JobKey(job.cluster, job.job_id, job.start_time)
        if not self._archive.exists(key):
            self._archive.require_folders(key)
            return job.monitoring_status != MonitoringStatus.RUNNING_OR_ARCHIVING
        try:
            if self._archive.update_meta(job):
                logger.info("updated meta.json job=%d cluster=%s tags=%d", job.job_id, job.cluster, len(job.tags))
        except Unavailable:
            raise
        except ArchiveError as error:
            self._retry_s[id_] = now_s + RETRY_S
            logger.warning("tags and meta data of job=%d wait for its meta.json: %s", job.job_id, error)
            return False
        return True
