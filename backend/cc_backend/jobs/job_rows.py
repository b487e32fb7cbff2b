"""Converts jobs to and from database rows: the only module that knows the columns."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

from cc_backend.db.database import Database, Dialect
from cc_backend.db.fields import JSONField
from cc_backend.db.removed_ids import next_id
from cc_backend.insight.finding_json import finding_to_json
from cc_backend.jobs.damaged_rows import is_finite_number, read_columns
from cc_backend.jobs.job_scripts import link_scripts, script_of
from cc_backend.jobs.tables import NOT_JUDGED, FootprintRow, JobRow, JobTagRow, TagRow
from cc_backend.model import Job, JobState, Judgement, Level, Tag
from cc_common.job_document import resource_document

logger = logging.getLogger(__name__)

_COLUMNS = tuple(field for field in JobRow._meta.sorted_fields if field is not JobRow.archive_error)  # noqa: SLF001 - peewee's documented way
_COLUMNS_WITHOUT_META_DATA = tuple(field for field in _COLUMNS if field is not JobRow.meta_data)
_COLUMN_NAMES = tuple(field.name for field in _COLUMNS)
_COLUMN_NAMES_WITHOUT_META_DATA = tuple(field.name for field in _COLUMNS_WITHOUT_META_DATA)
QUEUE_COLUMNS = (
    JobRow.id,
    JobRow.job_id,
    JobRow.cluster,
    JobRow.sub_cluster,
    JobRow.state,
    JobRow.start_time,
    JobRow.duration,
    JobRow.num_nodes,
    JobRow.resources,
    JobRow.monitoring_status,
    JobRow.cluster_config,
)
"""Columns that decide whether a finished job is due for the archiver; the others may be large and are read later."""
_QUEUE_COLUMN_NAMES = tuple(field.name for field in QUEUE_COLUMNS)
# Constant statements, which SQLite compiles once: composing one took longer than running it.
_FIELDS = {field.name: field for field in JobRow._meta.sorted_fields}  # noqa: SLF001 - as above
_INSERTED = tuple(name for name in _FIELDS if name != JobRow.id.name)


def _insert_statement(names: Iterable[str]) -> str:
    columns = [f'"{_FIELDS[name].column_name}"' for name in names]
    return f"INSERT INTO job ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - columns


_INSERT_JOB = _insert_statement(_INSERTED)
_INSERT_JOB_WITH_ID = _insert_statement((*_INSERTED, JobRow.id.name))
_INSERT_JOB_WITH_NEW_ID = _INSERT_JOB_WITH_ID.removesuffix("?)") + f"{next_id('job')})"
"""For SQLite, which would give the id of the last job again if that was removed."""
_JSON_FIELDS = tuple(field for field in _FIELDS.values() if isinstance(field, JSONField))
_INSERT_HOST = "INSERT INTO job_host (job_id, hostname) VALUES (?, ?)"
_FOOTPRINT = 'SELECT job_id, "key", value FROM job_footprint WHERE job_id = ?'
JOB_COLUMNS_SQL = ", ".join(f'"{field.column_name}"' for field in _COLUMNS)
"""The columns of `job_columns`, for a statement."""
_INSERT_FOOTPRINT = 'INSERT INTO job_footprint (job_id, "key", value) VALUES (?, ?, ?)'
_MAX_JOB_NAME_LENGTH = 1024
_MAX_DAMAGE_LOGGED = 1000
_LEVELS = {level.order: level for level in Level}
# SQLite allows 32766 variables in a statement, and a job has 34.
_BATCH = 900


def job_columns(*, with_meta_data: bool = True) -> Sequence[Any]:
    """The columns to select for `read_jobs`; meta data may contain whole job scripts."""
    return _COLUMNS if with_meta_data else _COLUMNS_WITHOUT_META_DATA


def read_jobs(database: Database, query: Any, *, now_s: int | None) -> list[Job]:
    """The jobs of a query of `job_columns`, with tags and footprints, in the order of the query.

    The duration of a running job is the time until `now_s`, 0 if that is None. Unreadable columns are named in the
    `damaged_columns` of their job and affect no other job.
    """
    jobs = [job_from_row(row, now_s) for row in database.raw_rows(query)]
    by_id = {job.id: job for job in jobs}
    for ids in _batches(by_id, _BATCH):
        found, broken = _read_footprints(database, ids)
        for id_, footprint in found.items():
            by_id[id_].footprint = footprint
        for id_ in broken:
            by_id[id_].damaged_columns += ("footprint",)
        for id_, tags in read_tags(database, ids).items():
            by_id[id_].tags = tags
    return jobs


class JobReader:
    """Reads jobs with `read_jobs`, and logs their damaged columns once per job, for at most 1000 jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._damage_logged: set[int] = set()

    def read(self, query: Any, now_s: int | None) -> list[Job]:
        """The jobs of a query; damaged columns are logged once per job."""
        jobs = read_jobs(self._database, query, now_s=now_s)
        for job in jobs:
            if (
                job.damaged_columns
                and job.id not in self._damage_logged
                and len(self._damage_logged) < _MAX_DAMAGE_LOGGED
            ):
                self._damage_logged.add(job.id)
                logger.error(
                    "row of a job is damaged id=%d job=%d cluster=%s columns=%s",
                    job.id,
                    job.job_id,
                    job.cluster,
                    ",".join(job.damaged_columns),
                )
        return jobs


def read_queued_jobs(database: Database, query: Any) -> list[Job]:
    """The jobs of a query of `QUEUE_COLUMNS`, with these columns only, in the order of the query."""
    jobs = []
    for row in database.raw_rows(query):
        columns, damaged = read_columns(_QUEUE_COLUMN_NAMES, row)
        jobs.append(Job(**columns, user="", project="", damaged_columns=damaged))
    return jobs


def insert_job(database: Database, job: Job) -> int:
    """Insert a job with its hosts and footprint, without its tags, and return its id, which no job had before."""
    statement = _INSERT_JOB_WITH_NEW_ID if database.dialect is Dialect.SQLITE else _INSERT_JOB
    id_ = database.insert_row(statement, _stored_values(job))
    database.execute_many(_INSERT_HOST, [(id_, name) for name in _hostnames(job)])
    if job.footprint:
        database.execute_many(_INSERT_FOOTPRINT, [(id_, key, value) for key, value in job.footprint.items()])
    if script := script_of(job.meta_data):
        link_scripts(database, [(id_, script)])
    return id_


def update_job(database: Database, id_: int, values: Mapping[str, Any]) -> None:
    """Store these values of a job, by the names of their fields."""
    stored = [_FIELDS[name].db_value(value) for name, value in values.items()]
    database.execute_many(_update_statement(tuple(values)), [(*stored, id_)])


@cache
def _update_statement(names: tuple[str, ...]) -> str:
    assignments = ", ".join(f'"{_FIELDS[name].column_name}" = ?' for name in names)
    return f"UPDATE job SET {assignments} WHERE id = ?"  # noqa: S608 - names of columns


def insert_jobs(database: Database, jobs: Sequence[Job]) -> Sequence[int]:
    """Insert many jobs, several times faster than one by one, and return their ids in the same order.

    The caller holds the write lock (`database.write()`), so that no other insert takes one of the ids.
    """
    ids = database.reserve_ids(JobRow, len(jobs))
    numbered = list(zip(ids, jobs, strict=True))
    hosts = [(id_, name) for id_, job in numbered for name in _hostnames(job)]
    values = [(id_, key, value) for id_, job in numbered for key, value in (job.footprint or {}).items()]
    for statement, rows in (
        (_INSERT_JOB_WITH_ID, [(*_stored_values(job), id_) for id_, job in numbered]),
        (_INSERT_HOST, hosts),
        (_INSERT_FOOTPRINT, values),
    ):
        if rows:
            database.execute_many(statement, rows)
    link_scripts(database, [(id_, script) for id_, job in numbered if (script := script_of(job.meta_data))])
    return ids


def _stored_values(job: Job) -> list[Any]:
    """The values of a new row, in the order of `_INSERTED`, as they are stored."""
    columns = _job_to_columns(job)
    columns["archive_error"] = ""
    for field in _JSON_FIELDS:  # all others are stored as they are
        columns[field.name] = field.db_value(columns[field.name])
    return [columns[name] for name in _INSERTED]


def _hostnames(job: Job) -> list[str]:
    return list(dict.fromkeys(resource.hostname for resource in job.resources))


def _job_to_columns(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "cluster": job.cluster,
        "sub_cluster": job.sub_cluster,
        "partition": job.partition,
        "project": job.project,
        "user": job.user,
        "name": listed_name(job.name),
        "shared": job.shared,
        "state": str(job.state),
        "array_job_id": job.array_job_id,
        "start_time": job.start_time,
        "submit_time": job.submit_time,
        "duration": 0 if job.state is JobState.RUNNING else job.duration,
        "walltime": job.walltime,
        "requested_memory": job.requested_memory,
        "num_nodes": job.num_nodes,
        "num_hwthreads": job.num_hwthreads,
        "num_acc": job.num_acc,
        "smt": job.smt,
        "resources": [resource_document(resource) for resource in job.resources],
        "meta_data": None if job.meta_data is None else dict(job.meta_data),
        "monitoring_status": job.monitoring_status,
        "energy": job.energy,
        "energy_footprint": None if job.energy_footprint is None else dict(job.energy_footprint),
        "cluster_config": job.cluster_config,
        **judgement_columns(job.judgement or Judgement(None)),
    }


def listed_name(name: str) -> str:
    """The job name for lists: its first 1024 characters, with unprintable ones such as line breaks as blanks."""
    name = name[:_MAX_JOB_NAME_LENGTH]
    return name if name.isprintable() else "".join(mark if mark.isprintable() else " " for mark in name)


def judgement_columns(judgement: Judgement) -> dict[str, Any]:
    """The columns of the job table for a judgement."""
    finding = judgement.finding
    return {
        "verdict": NOT_JUDGED if judgement.level is None else judgement.level.order,
        "finding": None if finding is None else finding_to_json(finding),
        "more_findings": judgement.more,
        "lost_core_hours": 0.0 if finding is None else finding.core_hours,
        "lost_gpu_hours": 0.0 if finding is None else finding.gpu_hours,
        "judged_s": judgement.judged_s,
        "rules": judgement.rules_version,
    }


def _pop_judgement(columns: dict[str, Any]) -> Judgement | None:
    """Remove the judgement's columns from those of a job, and return the judgement; None if it was never judged."""
    finding, verdict, more = columns.pop("finding"), columns.pop("verdict"), columns.pop("more_findings")
    judged_s, rules = columns.pop("judged_s"), columns.pop("rules")
    del columns["lost_core_hours"], columns["lost_gpu_hours"]  # they only serve queries; the finding has them as well
    if not judged_s:
        return None
    return Judgement(_LEVELS.get(verdict), finding, more, judged_s, rules)


def replace_footprint(database: Database, id_: int, footprint: Mapping[str, float] | None) -> None:
    """Replace the footprint of a job by these values."""
    FootprintRow.delete().where(FootprintRow.job == id_).execute(database)
    rows = [{"job": id_, "key": key, "value": value} for key, value in (footprint or {}).items()]
    for batch in _batches(rows, _BATCH):
        FootprintRow.insert_many(batch).execute(database)


def read_tags(database: Database, ids: Sequence[int]) -> dict[int, tuple[Tag, ...]]:
    """Job id -> its tags of all scopes; jobs without tags are left out."""
    query = (
        JobTagRow.select(JobTagRow.job, TagRow.id, TagRow.type, TagRow.name, TagRow.scope)
        .join(TagRow)
        .where(JobTagRow.job.in_(ids))
        .order_by(TagRow.type, TagRow.name, TagRow.id)
    )
    found: defaultdict[int, list[Tag]] = defaultdict(list)
    for job, id_, type_, name, scope in query.tuples().execute(database):
        found[job].append(Tag(type_, name, scope, id_))
    return {job: tuple(tags) for job, tags in found.items()}


def _read_footprints(database: Database, ids: Sequence[int]) -> tuple[dict[int, dict[str, float]], set[int]]:
    """Job id -> footprint, and the ids of jobs with an unreadable value."""
    query = FootprintRow.select(FootprintRow.job, FootprintRow.key, FootprintRow.value).where(FootprintRow.job.in_(ids))
    return _footprints(database.raw_rows(query))


def _footprints(rows: Iterable[Sequence[Any]]) -> tuple[dict[int, dict[str, float]], set[int]]:
    found: defaultdict[int, dict[str, float]] = defaultdict(dict)
    broken: set[int] = set()
    for job, key, value in rows:
        if type(key) is str and is_finite_number(value):
            found[job][key] = value
        else:
            broken.add(job)
    return dict(found), broken


def read_footprint(database: Database, job: Job) -> None:
    """Give a job its footprint."""
    found, broken = _footprints(database.all_rows(_FOOTPRINT, job.id))
    job.footprint = found.get(job.id)
    if broken:
        job.damaged_columns += ("footprint",)


def job_from_row(row: Sequence[Any], now_s: int | None) -> Job:
    """The job of a row of `job_columns` as stored, without tags and footprint; `now_s` as for `read_jobs`."""
    columns, damaged = read_columns(
        _COLUMN_NAMES if len(row) == len(_COLUMN_NAMES) else _COLUMN_NAMES_WITHOUT_META_DATA, row
    )
    name = columns.pop("name")
    meta_data = columns.pop("meta_data", None)
    if meta_data is None and name:
        meta_data = {"jobName": name}
    duration = columns.pop("duration")
    if columns["state"] is JobState.RUNNING and now_s is not None and "start_time" not in damaged:
        duration = max(0, now_s - columns["start_time"])
    judgement = _pop_judgement(columns)
    return Job(**columns, judgement=judgement, duration=duration, meta_data=meta_data, damaged_columns=damaged)


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
