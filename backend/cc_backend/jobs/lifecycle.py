"""Start and stop of jobs, as schedulers report them."""

import logging
from typing import Any

from cc_backend.auth.caller import SERVICE_CALLER, Caller
from cc_backend.clusters import ClusterRegistry
from cc_backend.db.database import Database
from cc_backend.errors import Conflict, InvalidInput, NotFound
from cc_backend.jobs.damaged_rows import is_start_time
from cc_backend.jobs.event_checks import validate_stop
from cc_backend.jobs.job_json import job_from_start_event
from cc_backend.jobs.job_rows import insert_job, job_columns, read_jobs
from cc_backend.jobs.tables import JobRow
from cc_backend.jobs.tags import attach_tags
from cc_backend.model import Job, JobState, MonitoringStatus, Tag
from cc_common.error_codes import ErrorCode
from cc_common.job_events import JobStart, JobStop

logger = logging.getLogger(__name__)


class JobLifecycle:
    """Stores the start and stop events of schedulers; a returned job is already stored."""

    def __init__(self, database: Database, clusters: ClusterRegistry) -> None:
        self._database = database
        self._clusters = clusters

    def start(self, event: JobStart, *, now_s: int, caller: Caller = SERVICE_CALLER) -> Job:
        """Store a running job with its tags, attached on behalf of the caller, in one transaction, and return it.

        Raises:
            InvalidInput: a value of the event is invalid; the text names the field.
            NotAllowed: the caller may not attach a tag of the event.
            Conflict: this run of the job is known, or it overlaps with another run.
        """
        job = job_from_start_event(event, self._clusters, now_s=now_s)
        job.cluster_config = self._clusters.generation(job.cluster)
        with self._database.write():
            self._reject_known_run(job)
            job.id = insert_job(self._database, job)
            if event.tags:
                tags = [Tag(tag.type, tag.name, tag.scope) for tag in event.tags]
                job.tags = attach_tags(self._database, job.id, tags, caller)
        logger.info(
            "started job=%d cluster=%s sub_cluster=%s nodes=%d user=%s",
            job.job_id,
            job.cluster,
            job.sub_cluster,
            job.num_nodes,
            job.user,
        )
        return job

    def stop(self, event: JobStop, *, now_s: int) -> Job:
        """Finish a running job, and return it; it waits for the archiver unless its monitoring is disabled.

        Without a start time the newest run of the job is stopped, without a cluster the newest of any cluster.

        Raises:
            InvalidInput: the state is not final, or the stop is before the start.
            NotFound: there is no such job.
            Conflict: the job is not running.
        """
        state = validate_stop(event, now_s=now_s)
        with self._database.write():
            row = self._newest_run(event)
            if row is None:
                raise NotFound(f"there is no job {_describe_job(event)}", code=ErrorCode.JOB_UNKNOWN)
            if row["state"] != JobState.RUNNING:
                text = f"the job {_describe_job(event)} is not running; its state is {row['state']}"
                raise Conflict(text, code=ErrorCode.JOB_NOT_RUNNING)
            # a damaged start in the database must not keep the job running for ever
            start_s = row["start_time"] if is_start_time(row["start_time"]) else event.stop_time
            duration = event.stop_time - start_s
            if duration < 0:
                text = f"stopTime: {event.stop_time} lies before the start at {row['start_time']}"
                raise InvalidInput(text, code=ErrorCode.INVALID_JOB)
            # the final state affects the judgement: judge it anew
            ended = JobRow.update(state=str(state), duration=duration, rules=0)
            ended.where(JobRow.id == row["id"]).execute(self._database)
            job = self._read_job(row["id"], now_s)
        logger.info(
            "stopped job=%d cluster=%s state=%s duration_s=%d archive=%s",
            job.job_id,
            job.cluster,
            job.state,
            job.duration,
            "no" if job.monitoring_status == MonitoringStatus.DISABLED else "yes",
        )
        return job

    def _reject_known_run(self, job: Job) -> None:
        """Raise Conflict if the run is known, or overlaps with another run of the same job id.

        Schedulers requeue a job under its id once the previous run is over. A run that is reported late, after a
        later one has ended, is accepted, as their times do not overlap.
        """
        same = (JobRow.cluster == job.cluster) & (JobRow.job_id == job.job_id)
        runs = JobRow.select(JobRow.start_time, JobRow.duration, JobRow.state).where(same)
        for start_s, duration_s, state in runs.tuples().execute(self._database):
            name = f"{job.job_id} of {job.cluster}"
            if start_s == job.start_time:
                text = f"the job {name} with the start time {start_s} is known already; its state is {state}"
                raise Conflict(text, code=ErrorCode.JOB_KNOWN)
            if state == JobState.RUNNING:
                raise Conflict(f"the job {name} is running already, since {start_s}", code=ErrorCode.JOB_RUNNING)
            if start_s < job.start_time < start_s + duration_s:
                text = f"the job {name} ran from {start_s} to {start_s + duration_s}; it cannot start between"
                raise Conflict(text, code=ErrorCode.RUN_OVERLAPS)

    def _newest_run(self, event: JobStop) -> dict[str, Any] | None:
        query = JobRow.select(JobRow.id, JobRow.state, JobRow.start_time).where(JobRow.job_id == event.job_id)
        if event.cluster is not None:
            query = query.where(JobRow.cluster == event.cluster)
        if event.start_time is not None:
            query = query.where(JobRow.start_time == event.start_time)
        found = query.order_by(JobRow.id.desc()).limit(1).dicts().execute(self._database)
        return next(iter(found), None)

    def _read_job(self, id_: int, now_s: int) -> Job:
        query = JobRow.select(*job_columns()).where(JobRow.id == id_)
        return read_jobs(self._database, query, now_s=now_s)[0]


def _describe_job(event: JobStop) -> str:
    cluster = "" if event.cluster is None else f" of {event.cluster}"
    start = "" if event.start_time is None else f" with the start time {event.start_time}"
    return f"{event.job_id}{cluster}{start}"
