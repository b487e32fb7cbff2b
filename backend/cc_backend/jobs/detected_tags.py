"""Tags that detectors give to jobs, and take back when they no longer find them.

What people do counts more: their tags stay, and a detected tag that somebody took from a job does not come back.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cc_backend.db.database import Database
from cc_backend.jobs.job_rows import job_columns, read_jobs
from cc_backend.jobs.meta_changes import queue_meta_changes
from cc_backend.jobs.tables import JobRow, JobTagRow, RejectedTagRow, TagRow
from cc_backend.jobs.tags import find_or_create_tag
from cc_backend.model import Job, Tag
from cc_backend.taggers.hint_messages import with_hints


def set_detected_tags(database: Database, job: int, type_: str, wanted: Collection[Tag]) -> bool:
    """Give a job these detected tags of one type, in place of the detected ones that it has; whether that changed any.

    Those that somebody took from the job are left out. The archive follows for a finished job. A job that does not
    exist gets none.
    """
    wanted = _without_rejected(database, job, type_, wanted)
    if _has_exactly(database, job, type_, wanted):  # most often, and without the write lock
        return False
    with database.write():
        wanted = _without_rejected(database, job, type_, wanted)
        present = _tags_of(database, job, type_)
        wanted_ids = {find_or_create_tag(database, tag) for tag in wanted}
        known_ids = {id_ for id_, _ in present.values()}
        outdated = [id_ for id_, is_detected in present.values() if is_detected and id_ not in wanted_ids]
        new = wanted_ids - known_ids
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
    database: Database, job: int, type_: str, wanted: Collection[Tag], hints: Sequence[str]
) -> tuple[Job | None, bool]:
    """Give a job these detected tags and hints in one transaction; the job as it is then, and whether that changed it.

    Hints are joined to `message` of its meta data, see `with_hints`. None if there is no such job.
    """
    job_now = _find_job(database, job)
    wanted = _without_rejected(database, job, type_, wanted)
    if job_now is None or (_new_meta_data(job_now, hints) is None and _has_exactly(database, job, type_, wanted)):
        return job_now, False
    with database.write():
        has_changed = set_detected_tags(database, job, type_, wanted)
        job_now = _find_job(database, job)
        if job_now is not None and (meta_data := _new_meta_data(job_now, hints)) is not None:
            job_now.meta_data = meta_data["meta_data"]
            JobRow.update(**meta_data).where(JobRow.id == job).execute(database)
            queue_meta_changes(database, JobRow.id == job)
            has_changed = True
    return job_now, has_changed


def _find_job(database: Database, job: int) -> Job | None:
    query = JobRow.select(*job_columns()).where(JobRow.id == job)
    return next(iter(read_jobs(database, query, now_s=None)), None)


def _new_meta_data(job: Job, hints: Sequence[str]) -> Mapping[str, Any] | None:
    """The column with the meta data that a job is to have, None if it has them or if they cannot be read."""
    if "meta_data" in job.damaged_columns:
        return None
    meta_data = with_hints(job.meta_data, hints)
    return None if meta_data == (dict(job.meta_data or {}) or None) else {"meta_data": meta_data}


def _without_rejected(database: Database, job: int, type_: str, wanted: Collection[Tag]) -> list[Tag]:
    if not wanted:
        return []
    query = RejectedTagRow.select(RejectedTagRow.name, RejectedTagRow.scope)
    query = query.where(RejectedTagRow.job == job, RejectedTagRow.type == type_)
    rejected = set(query.tuples().execute(database))
    return [tag for tag in wanted if (tag.name, tag.scope) not in rejected]


def _has_exactly(database: Database, job: int, type_: str, wanted: Collection[Tag]) -> bool:
    """Whether a job has these tags of a type, and no other that a detector gave."""
    present = _tags_of(database, job, type_)
    names = {(tag.name, tag.scope) for tag in wanted}
    return names <= present.keys() and all(key in names for key, (_, is_detected) in present.items() if is_detected)


def _tags_of(database: Database, job: int, type_: str) -> dict[tuple[str, str], tuple[int, bool]]:
    """Name and scope of each tag of a type that a job has -> its id, and whether a detector gave it."""
    query = JobTagRow.select(TagRow.name, TagRow.scope, JobTagRow.tag, JobTagRow.detected).join(TagRow)
    found = query.where(JobTagRow.job == job, TagRow.type == type_).tuples().execute(database)
    return {(name, scope): (id_, bool(detected)) for name, scope, id_, detected in found}
