"""Adds to archive and database what happened in the made-up cluster since the demo ran last."""

from pathlib import Path

from cc_backend.archive.file_archive import FileArchive
from cc_backend.clusters import ClusterRegistry, load_clusters
from cc_backend.db.database import Database
from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.lifecycle import JobLifecycle
from cc_backend.jobs.running_jobs import RunningJobs
from cc_backend.model import Job
from cc_common.job_events import JobStop
from cc_demo.job_stream import GeneratedJob
from cc_demo.live.folder import DemoFolder
from cc_demo.live.plan import FINISHED, SHAPE, Plan
from cc_demo.records import load_database, make_archived_job, write_archive


def catch_up(folder: DemoFolder, plan: Plan, *, now_s: int, most: int = FINISHED) -> set[int]:
    """Archive jobs that ended since, end those that the last run left; returns the numbers of jobs that still run."""
    archive = FileArchive(Path(folder.settings().archive.path))
    clusters, _ = load_clusters(archive.root)
    database = folder.open_database()
    try:
        running = RunningJobs(database).list_all()
        ended = {job.job_id: job for job in plan.ended}
        known = {job.job_id for job in running}
        since_s = folder.last_tick_s
        new = [job for job in plan.ended if job.start_time > since_s and job.job_id not in known]
        load_database(database, write_archive(archive, clusters, new[max(0, len(new) - most) :]))
        closing = _JobCloser(database, clusters, archive, now_s, since_s)
        still = {job.job_id for job in plan.running}
        for job in running:
            if job.cluster != SHAPE.name:
                closing.abandoned(job)
            elif job.job_id in ended:
                closing.ended(job, ended[job.job_id])
            elif job.job_id not in still:
                closing.abandoned(job)
        return {job.job_id for job in running if job.cluster == SHAPE.name} & still
    finally:
        database.close_all()


class _JobCloser:
    """Ends jobs in the database of a backend that does not run."""

    def __init__(
        self, database: Database, clusters: ClusterRegistry, archive: FileArchive, now_s: int, last_seen_s: int
    ) -> None:
        self._lifecycle = JobLifecycle(database, clusters)
        self._archive_queue = ArchiveQueue(database)
        self._clusters = clusters
        self._archive = archive
        self._now_s = now_s
        self._last_seen_s = last_seen_s

    def ended(self, job: Job, made: GeneratedJob) -> None:
        """A job that ended as planned while the demo was off: stopped and archived."""
        self._lifecycle.stop(made.stop_event(), now_s=self._now_s)
        finished, data = make_archived_job(made, self._clusters)
        finished.id = job.id
        self._archive.store(finished, data)
        self._archive_queue.finish(finished)

    def abandoned(self, job: Job) -> None:
        """A job that ended with the last run: cancelled when the last sample came; the archiver takes it from there."""
        stop_s = min(self._now_s, max(job.start_time, self._last_seen_s))
        stop = JobStop(job.job_id, stop_s, "cancelled", job.cluster, job.start_time)
        self._lifecycle.stop(stop, now_s=self._now_s)
