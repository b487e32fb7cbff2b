"""Tags that detectors give to jobs, and takes back those that they gave and no longer find; tags of people stay."""

from collections.abc import Iterable, Sequence

from cc_backend.db.database import Database
from cc_backend.jobs.job_rows import job_columns, read_jobs, read_tags
from cc_backend.jobs.meta_changes import queue_meta_changes
from cc_backend.jobs.tables import JobRow, JobTagRow, TagRow
from cc_backend.jobs.tags import find_or_create_tag
from cc_backend.model import Job, Tag
from cc_backend.taggers.hint_messages import with_hints


def set_detected_tags(database: Database, job: int, type_: str, wanted: Iterable[Tag]) -> bool:
    """Give a job these detected tags of one type, in place of the detected ones that it has; whether that changed any.

    The archive follows for a finished job. A job that does not exist gets none.
    """
    with database.write():
        wanted_ids = {find_or_create_tag(database, tag) for tag in wanted}
        present = dict(_tags_of(database, job, type_))
        outdated = [id_ for id_, is_detected in present.items() if is_detected and id_ not in wanted_ids]
        new = wanted_ids - present.keys()
        if new and not JobRow.select().where(JobRow.id == job).exists(database):  # removed meanwhile
            return False
        if outdated:
            JobTagRow.delete().where(JobTagRow.job == job, JobTagRow.tag.in_(outdated)).execute(database)
        for id_ in new:
            JobTagRow.insert(job=job, tag=id_, detected=True).execute(database)
        if outdated or new:
            queue_meta_changes(database, JobRow.id == job)
    return bool(outdated or new)


def set_job_classes(
    database: Database, job: int, type_: str, wanted: Sequence[Tag], hints: Sequence[str]
) -> tuple[Job | None, bool]:
    """Give a job these detected tags and hints in one transaction; the job as it is then, and whether that changed it.

    Hints are joined to `message` of its meta data, see `with_hints`. None if there is no such job.
    """
    with database.write():
        query = JobRow.select(*job_columns()).where(JobRow.id == job)
        job_now = next(iter(read_jobs(database, query, now_s=None)), None)
        if job_now is None:
            return None, False
        has_changed = set_detected_tags(database, job, type_, wanted)
        if has_changed:
            job_now.tags = read_tags(database, [job]).get(job, ())
        meta_data = with_hints(job_now.meta_data, hints)
        if meta_data != (dict(job_now.meta_data) if job_now.meta_data else None) and _is_readable(job_now):
            job_now.meta_data = meta_data
            JobRow.update(meta_data=meta_data).where(JobRow.id == job).execute(database)
            queue_meta_changes(database, JobRow.id == job)
            has_changed = True
    return job_now, has_changed


def _is_readable(job: Job) -> bool:
    return "meta_data" not in job.damaged_columns


def _tags_of(database: Database, job: int, type_: str) -> list[tuple[int, bool]]:
    """Id of each tag of a type that a job has, and whether a detector gave it."""
    query = JobTagRow.select(JobTagRow.tag, JobTagRow.detected).join(TagRow)
    found = query.where(JobTagRow.job == job, TagRow.type == type_).tuples().execute(database)
    return [(id_, bool(detected)) for id_, detected in found]
