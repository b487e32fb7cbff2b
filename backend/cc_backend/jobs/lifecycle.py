"""Start, change and stop of jobs, as schedulers report them."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from cc_backend.auth.caller import SERVICE_CALLER, Caller
from cc_backend.clusters import ClusterRegistry
from cc_backend.db.database import Database
from cc_backend.errors import BackendError, Conflict, InvalidInput, NotAllowed, NotFound
from cc_backend.jobs.damaged_rows import is_start_time
from cc_backend.jobs.detection_queue import queue_detections
from cc_backend.jobs.event_checks import validate_change, validate_stop
from cc_backend.jobs.job_json import job_from_start_event
from cc_backend.jobs.job_rows import insert_job, insert_jobs, listed_name, update_job
from cc_backend.jobs.job_runs import find_running, reject_known_run
from cc_backend.jobs.tags import attach_tags
from cc_backend.model import Job, JobState, MonitoringStatus, Tag
from cc_common.error_codes import ErrorCode
from cc_common.job_events import JobChange, JobStart, JobStop, TagEvent

logger = logging.getLogger(__name__)


class JobLifecycle:
    """Stores the events of schedulers; a returned job is already stored.

    With `queues_detection` the applications of each job are detected soon after its start and its stop.
    """

    def __init__(self, database: Database, clusters: ClusterRegistry, *, queues_detection: bool = False) -> None:
        self._database = database
        self._clusters = clusters
        self._queues_detection = queues_detection

    def start(self, event: JobStart, *, now_s: int, caller: Caller = SERVICE_CALLER) -> Job:
        """Store a running job with its tags, attached on behalf of the caller, in one transaction, and return it.

        Raises:
            InvalidInput: a value of the event is invalid; the text names the field.
            NotAllowed: the caller may not attach a tag of the event.
            Conflict: this run of the job is known, or it overlaps with another run.
        """
        job = self._new_job(event, now_s)
        with self._database.write():
            self._store_start(job, event.tags, caller)
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
        """Finish a running job, and return it without its tags; it waits for the archiver unless it is not monitored.

        Without a start time the newest run of the job is stopped, without a cluster the newest of any cluster.

        Raises:
            InvalidInput: the state is not final, or the stop is before the start.
            NotFound: there is no such job.
            Conflict: the job is not running.
        """
        state = validate_stop(event, now_s=now_s)
        with self._database.write():
            job = self._store_stop(event, state, now_s)
        logger.info(
            "stopped job=%d cluster=%s state=%s duration_s=%d archive=%s",
            job.job_id,
            job.cluster,
            job.state,
            job.duration,
            "no" if job.monitoring_status == MonitoringStatus.DISABLED else "yes",
        )
        return job

    def change(self, event: JobChange, *, now_s: int) -> Job:
        """Change a running job, and return it without its tags; the job is found as by `stop`.

        Raises:
            InvalidInput: a value is invalid, or nothing is to change.
            NotFound: there is no such job.
            Conflict: the job is not running.
        """
        changed = validate_change(event)
        with self._database.write():
            job = find_running(self._database, event, now_s=now_s)
            if event.job_name is not None:
                changed["meta_data"] = {**(job.meta_data or {}), "jobName": event.job_name}
            job = replace(job, **changed)
            name = {} if event.job_name is None else {"name": listed_name(event.job_name)}
            update_job(self._database, job.id, {**changed, **name})
        logger.info("changed job=%d cluster=%s columns=%s", job.job_id, job.cluster, ",".join(changed))
        return job

    def store_all(
        self, events: Sequence[JobStart | JobStop], *, now_s: int, caller: Caller = SERVICE_CALLER
    ) -> list[Job | BackendError]:
        """Store many events in their order, in one transaction; for each the job as stored, or why it was refused.

        Raises:
            Unavailable: the database cannot be written; nothing is stored.
        """
        prepared = [self._prepared(event, now_s, caller) for event in events]
        with self._database.write():
            results = self._store_in_order(prepared)
        starts = sum(isinstance(event, JobStart) for event in events)
        refused = sum(isinstance(result, BackendError) for result in results)
        logger.info("stored events starts=%d stops=%d refused=%d", starts, len(events) - starts, refused)
        return results

    def _prepared(
        self, event: JobStart | JobStop, now_s: int, caller: Caller
    ) -> "Job | Callable[[], Job] | BackendError":
        """A job to insert, the function that stores another event, or why it is invalid; before the write lock is held.

        A job whose start has tags is not inserted with others, as a tag may be refused.
        """
        try:
            if isinstance(event, JobStart):
                job = self._new_job(event, now_s)
                return partial(self._store_start, job, event.tags, caller) if event.tags else job
            return partial(self._store_stop, event, validate_stop(event, now_s=now_s), now_s)
        except BackendError as error:
            return error

    def _store_in_order(self, prepared: "Iterable[Job | Callable[[], Job] | BackendError]") -> list[Job | BackendError]:
        """Store what `_prepared` returned; starts that follow each other are inserted together."""
        results: list[Job | BackendError] = []
        new: dict[tuple[str, int], Job] = {}  # accepted, but not yet inserted
        for step in prepared:
            if isinstance(step, Job):
                if (step.cluster, step.job_id) in new:
                    self._insert(new)
                result = _stored_or_refused(partial(self._accept, step))
                if result is step:
                    new[step.cluster, step.job_id] = step
            elif isinstance(step, BackendError):
                result = step
            else:
                self._insert(new)
                result = _stored_or_refused(step)
            results.append(result)
        self._insert(new)
        return results

    def _accept(self, job: Job) -> Job:
        reject_known_run(self._database, job)
        return job

    def _insert(self, new: dict[tuple[str, int], Job]) -> None:
        """Insert these jobs, and empty the dictionary."""
        jobs = list(new.values())
        new.clear()
        if not jobs:
            return
        for job, id_ in zip(jobs, insert_jobs(self._database, jobs), strict=True):
            job.id = id_
        self._queue_detection(*jobs)

    def _new_job(self, event: JobStart, now_s: int) -> Job:
        job = job_from_start_event(event, self._clusters, now_s=now_s)
        job.cluster_config = self._clusters.generation(job.cluster)
        return job

    def _store_start(self, job: Job, tags: Sequence[TagEvent], caller: Caller) -> Job:
        reject_known_run(self._database, job)
        # a tag may be refused when the row is there already: then it must go, alone
        with self._database.write() if tags else nullcontext():
            job.id = insert_job(self._database, job)
            if tags:
                wanted = [Tag(tag.type, tag.name, tag.scope) for tag in tags]
                job.tags = attach_tags(self._database, job.id, wanted, caller)
            self._queue_detection(job)
        return job

    def _store_stop(self, event: JobStop, state: JobState, now_s: int) -> Job:
        job = find_running(self._database, event, now_s=now_s)
        # a damaged start in the database must not keep the job running for ever
        start_s = job.start_time if is_start_time(job.start_time) else event.stop_time
        job.state, job.duration = state, event.stop_time - start_s
        if job.duration < 0:
            text = f"stopTime: {event.stop_time} lies before the start at {start_s}"
            raise InvalidInput(text, code=ErrorCode.INVALID_JOB)
        if job.judgement is not None:  # the final state affects the judgement: judge it anew
            job.judgement = replace(job.judgement, rules_version=0)
        update_job(self._database, job.id, {"state": str(state), "duration": job.duration, "rules": 0})
        self._queue_detection(job)
        return job

    def _queue_detection(self, *jobs: Job) -> None:
        if self._queues_detection:
            queue_detections(self._database, [job.id for job in jobs])


def _stored_or_refused(step: Callable[[], Job]) -> Job | BackendError:
    """The stored job, or why it was refused, in which case nothing of it was written."""
    try:
        return step()
    except (Conflict, InvalidInput, NotAllowed, NotFound) as error:
        if error.code is ErrorCode.NUMBER_OUT_OF_RANGE:  # the database may have taken the first part
            raise
        return error
