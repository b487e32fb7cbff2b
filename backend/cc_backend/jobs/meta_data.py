"""Changes of a job's meta data: free texts by key, such as jobName, jobScript and message."""

from collections.abc import Mapping

from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput, NotFound, TooLarge
from cc_backend.jobs.job_rows import job_columns, listed_name, read_jobs
from cc_backend.jobs.job_scripts import SCRIPT_KEY, replace_script
from cc_backend.jobs.limits import MAX_META_DATA_BYTES, MAX_META_KEYS, MAX_NAME
from cc_backend.jobs.meta_changes import queue_meta_changes
from cc_backend.jobs.tables import JobRow
from cc_common.error_codes import ErrorCode


def set_meta_data(database: Database, id_: int, texts: Mapping[str, str]) -> None:
    """Set some keys of a job's meta data in one transaction; the others stay. The archive follows for finished jobs.

    Raises:
        InvalidInput: a key is empty, too long, or cannot be shown.
        TooLarge: the job would have too many keys or too much text.
        NotFound: there is no such job.
    """
    _check_keys(texts)
    with database.write():
        query = JobRow.select(*job_columns()).where(JobRow.id == id_)
        job = next(iter(read_jobs(database, query, now_s=None)), None)
        if job is None:
            raise NotFound(f"there is no job with the id {id_}", code=ErrorCode.JOB_UNKNOWN)
        merged = {**(job.meta_data or {}), **texts}
        if merged == job.meta_data:
            return
        _check_size(merged)
        changed = JobRow.update(meta_data=merged, name=listed_name(merged.get("jobName", "")))
        changed.where(JobRow.id == id_).execute(database)
        if SCRIPT_KEY in texts:
            replace_script(database, id_, merged)
        queue_meta_changes(database, JobRow.id == id_)


def _check_keys(texts: Mapping[str, str]) -> None:
    for key in texts:
        if not key:
            raise InvalidInput("key: is required")
        if len(key) > MAX_NAME:
            raise InvalidInput(f"key: is longer than {MAX_NAME} characters")
        if not key.isprintable():
            raise InvalidInput("key: holds characters that cannot be shown")


def _check_size(texts: Mapping[str, str]) -> None:
    if len(texts) > MAX_META_KEYS:
        raise TooLarge(f"the meta data of a job has at most {MAX_META_KEYS} keys")
    if sum(len(key.encode()) + len(text.encode()) for key, text in texts.items()) > MAX_META_DATA_BYTES:
        raise TooLarge(f"the meta data of a job has at most {MAX_META_DATA_BYTES >> 20} MiB")
