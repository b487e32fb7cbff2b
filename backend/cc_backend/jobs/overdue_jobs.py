"""Ends running jobs whose time limit has passed, as their end was most likely never reported."""

import logging

import orjson

from cc_backend.db.database import Database
from cc_backend.jobs.damaged_rows import is_start_time
from cc_backend.jobs.job_rows import update_job
from cc_backend.model import JobState

logger = logging.getLogger(__name__)

_BATCH = 200
_OVERDUE = """SELECT id, job_id, cluster, start_time, walltime, meta_data FROM job
WHERE state = 'running' AND start_time < ? AND walltime > 0 AND start_time + walltime < ? AND id > ?
ORDER BY id LIMIT ?"""


def end_overdue_jobs(database: Database, *, grace_s: int, now_s: int) -> int:
    """End all running jobs whose time limit passed more than `grace_s` seconds ago; returns their number.

    They get the state failed, last until their time limit, and wait for the archiver. `message` of their meta data says
    why they ended.
    """
    ended, after = 0, 0
    while True:
        with database.write():
            rows = database.all_rows(_OVERDUE, now_s - grace_s, now_s - grace_s, after, _BATCH)
            for id_, job_id, cluster, start_s, walltime_s, meta_data in rows:
                if not is_start_time(start_s) or type(walltime_s) is not int:  # a damaged row
                    continue
                values = {"state": str(JobState.FAILED), "duration": walltime_s, "rules": 0}
                values["meta_data"] = _with_message(meta_data, _message(walltime_s, grace_s))
                update_job(database, id_, values)
                ended += 1
                logger.warning("ended overdue job=%s cluster=%s walltime_s=%d", job_id, cluster, walltime_s)
        if len(rows) < _BATCH:
            return ended
        after = rows[-1][0]


def _message(walltime_s: int, grace_s: int) -> str:
    return (
        f"No end of this job was reported: its time limit of {walltime_s} s passed more than {grace_s} s ago. "
        "It counts as failed at its time limit (main.stop-jobs-exceeding-walltime)."
    )


def _with_message(stored: object, message: str) -> dict[str, str]:
    """The stored meta data with the message behind the one that it has; damaged meta data are replaced."""
    try:
        meta_data = orjson.loads(stored) if isinstance(stored, str) else {}
    except ValueError:
        meta_data = {}
    if not isinstance(meta_data, dict):
        meta_data = {}
    before = meta_data.get("message")
    return {**meta_data, "message": f"{before}\n{message}" if before else message}
