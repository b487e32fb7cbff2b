"""Takes over the content of a job database of ClusterCockpit 1.5: accounts, tags, jobs, and the states of nodes.

Everything may be repeated: jobs are known by cluster, job id and start time, and what is there stays, except that it
gets what it lacks. Each batch is one transaction with all that belongs to it, so that a killed import is continued by
starting it again.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import peewee

from cc_backend.auth.imported_passwords import is_imported_hash
from cc_backend.auth.tables import RemovedUserRow
from cc_backend.auth.users import Users
from cc_backend.db.database import Database
from cc_backend.errors import BackendError
from cc_backend.jobs.job_rows import insert_jobs, replace_footprint
from cc_backend.jobs.job_scripts import replace_script
from cc_backend.jobs.limits import MAX_NAME
from cc_backend.jobs.reference_database import ReferenceDatabase, Row
from cc_backend.jobs.reference_jobs import ReferenceJob, reference_job
from cc_backend.jobs.reference_nodes import import_node_states
from cc_backend.jobs.stored_statistics import StoredStatistics
from cc_backend.jobs.tables import FootprintRow, JobRow, JobTagRow, TagRow
from cc_backend.jobs.tags import GLOBAL
from cc_backend.model import Job, JobKey, JobState, MetricStatistic, MonitoringStatus
from cc_backend.taggers.detectors import APPLICATION_TAGS, CLASS_TAGS

MAX_NAMED_FAULTS = 100
NOT_ARCHIVED = "the old server had not archived it, and its samples are older than they are kept"
_SOURCES = ("local", "ldap", "token", "oidc")
_ROWS_PER_STATEMENT = 10_000
_MAX_NAMES_SHOWN = 20

Progress = Callable[[str, int, int], None]
"""(what, number done, total)."""
IsArchived = Callable[[JobKey], bool]
ArchivedStatistics = Callable[[JobKey], Mapping[str, MetricStatistic] | None]
"""The statistics that the job archive has of a job, None without a readable file."""


@dataclass(slots=True)
class DatabaseImportReport:
    """What was taken over: numbers by subject and outcome, and the first faults."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: int = 0

    def count(self, subject: str, outcome: str, number: int = 1) -> None:
        """Add to the number of one outcome."""
        outcomes = self.counts.setdefault(subject, {})
        outcomes[outcome] = outcomes.get(outcome, 0) + number

    def refuse(self, subject: str, fault: str) -> None:
        """Record a row that is left out, with what to do."""
        self.count(subject, "refused")
        self.refused += 1
        self.warn(fault)

    def warn(self, fault: str) -> None:
        """Record a fault; the first 100 are named."""
        if len(self.faults) < MAX_NAMED_FAULTS:
            self.faults.append(fault)

    def text_lines(self) -> Iterator[str]:
        """The numbers as lines of text, and the notes."""
        for subject, outcomes in self.counts.items():
            yield f"{subject}: {', '.join(f'{number} {outcome}' for outcome, number in outcomes.items())}"
        yield from self.notes


class ReferenceImport:
    """Imports one reference database into the job database.

    `is_archived` says whether the job archive has a job, `statistics_of` what it has of the metrics of one;
    `clusters` are those that are configured. Finished jobs that are not archived wait for the archiver if they ended
    after `samples_from_s`. `states_from_s` is how far back states of nodes are kept.
    """

    def __init__(
        self,
        database: Database,
        reference: ReferenceDatabase,
        *,
        clusters: Collection[str],
        is_archived: IsArchived,
        statistics_of: ArchivedStatistics = lambda _: None,
        now_s: int,
        samples_from_s: int,
        states_from_s: int,
    ) -> None:
        self._database = database
        self._reference = reference
        self._clusters = clusters
        self._unconfigured: set[str] = set()
        self._is_archived = is_archived
        self._statistics_of = statistics_of
        self._statistics = StoredStatistics(database)
        self._now_s = now_s
        self._samples_from_s = samples_from_s
        self._states_from_s = states_from_s
        self._tag_types: dict[int, str] = {}
        """Id there of each tag of scope global -> its type."""
        self.report = DatabaseImportReport()

    def run(self, progress: Progress) -> DatabaseImportReport:
        """Import everything, and return the report.

        Raises:
            InvalidInput: the reference database is damaged; what was read before that is imported.
        """
        self._import_users()
        tags = self._import_tags()
        self._import_jobs("job", tags, progress)
        if self._reference.has_table("job_cache"):
            self._import_jobs("job_cache", {}, progress)
        if self._unconfigured:
            names = ", ".join(sorted(self._unconfigured)[:_MAX_NAMES_SHOWN])
            self.report.notes.append(
                f"clusters with jobs that are not configured here: {names}; put the old job archive in place, "
                "then add them by `cc-backend cluster add`"
            )
        if self._reference.has_table("node"):
            import_node_states(self._database, self._reference, self.report, self._states_from_s, progress)
        if self._reference.has_table("configuration") and (left_out := self._reference.count("configuration")):
            self.report.notes.append(f"{left_out} settings of pages were left out: there are no such settings here")
        return self.report

    # Accounts

    def _import_users(self) -> None:
        users = Users(self._database)
        removed = {name for (name,) in self._database.raw_rows(RemovedUserRow.select(RemovedUserRow.name))}
        without_password = 0
        for row in self._reference.users():
            name = row[0]
            if isinstance(name, str) and users.find(name) is not None:
                self.report.count("accounts", "known already")
            elif name in removed:
                self.report.count("accounts", "removed here, left out")
            else:
                without_password += self._import_user(users, row)
        if without_password:
            self.report.notes.append(
                f"{without_password} of the new accounts have no password: they log in once LDAP or another source "
                "does, or get one by `cc-backend user password NAME`"
            )

    def _import_user(self, users: Users, row: Row) -> bool:
        """Import an account; returns whether it has no password."""
        name, password, source, full_name, roles, email, projects = row
        has_password = isinstance(password, str) and is_imported_hash(password)
        try:
            wanted, managed = _strings(roles), _strings(projects)
            users.add(
                name if isinstance(name, str) else "",
                wanted,
                password_hash=password if has_password else None,
                projects=managed if "manager" in wanted else (),
                full_name=full_name if isinstance(full_name, str) else "",
                email=email if isinstance(email, str) else "",
                source=_SOURCES[source] if source in range(len(_SOURCES)) else _SOURCES[0],
                now_s=self._now_s,
            )
        except (BackendError, ValueError) as error:
            self.report.refuse(
                "accounts",
                f"account {name!r:.80}: {error}; make it by hand with `cc-backend user add`, or leave it out",
            )
            return False
        self.report.count("accounts", "new")
        return not has_password

    # Tags

    def _import_tags(self) -> dict[int, int]:
        """Id of each tag in the reference database -> its id here."""
        ids: dict[int, int] = {}
        with self._database.write():
            for id_, type_, name, scope in self._reference.tags():
                fault = _tag_fault(type_, name, scope)
                if fault:
                    self.report.refuse(
                        "tags", f"tag {id_}: {fault}; correct it in a copy of the old database, then run this again"
                    )
                    continue
                values = {"type": type_, "name": name, "scope": scope or GLOBAL}
                same = [getattr(TagRow, key) == value for key, value in values.items()]
                found = TagRow.select(TagRow.id).where(*same).scalar(self._database)
                self.report.count("tags", "new" if found is None else "known already")
                if values["scope"] == GLOBAL:
                    self._tag_types[id_] = type_
                ids[id_] = int(TagRow.insert(**values).execute(self._database) if found is None else found)
        return ids

    # Jobs

    def _import_jobs(self, table: str, tags: dict[int, int], progress: Progress) -> None:
        total, done = self._reference.count(table), 0
        for rows in self._reference.job_batches(table):
            jobs = [reference_job(row) for row in rows]
            usable = [job for job in jobs if self._is_usable(table, job)]
            links = list(self._reference.tag_links([job.row_id for job in usable])) if tags else []
            for job in usable:
                self._set_monitoring_status(job.job)
            archived = self._archived_statistics(usable)
            with self._database.write():
                ids = self._store_jobs(usable, archived)
                jobs_here = {entry.row_id: entry.job for entry in usable}
                pairs = [
                    (ids[job], tags[tag], _was_detected(self._tag_types.get(tag, ""), jobs_here[job]))
                    for job, tag in links
                    if tag in tags
                ]
                for at in range(0, len(pairs), _ROWS_PER_STATEMENT):
                    some = pairs[at : at + _ROWS_PER_STATEMENT]
                    insert = JobTagRow.insert_many(some, (JobTagRow.job, JobTagRow.tag, JobTagRow.detected))
                    insert.on_conflict_ignore().execute(self._database)
            done += len(rows)
            progress("jobs" if table == "job" else "cached jobs", done, max(done, total))

    def _is_usable(self, table: str, found: ReferenceJob) -> bool:
        job = found.job
        name = f"job {job.job_id} of {job.cluster!r:.60} (row {found.row_id} of {table})"
        if found.refused:
            self.report.refuse(
                "jobs", f"{name}: {found.refused}; correct the row in a copy of the old database, then run this again"
            )
        elif found.unreadable:
            self.report.count("jobs", "with an unreadable column")
            self.report.warn(f"{name}: taken over without {', '.join(found.unreadable)}, which cannot be read")
        if not found.refused and job.cluster not in self._clusters and len(self._unconfigured) < _MAX_NAMES_SHOWN:
            self._unconfigured.add(job.cluster)
        return not found.refused

    def _set_monitoring_status(self, job: Job) -> None:
        """The archiver must not look for samples of finished jobs that nobody has any more."""
        if job.state is JobState.RUNNING or job.monitoring_status != MonitoringStatus.RUNNING_OR_ARCHIVING:
            return
        if self._is_archived(JobKey(job.cluster, job.job_id, job.start_time)):
            job.monitoring_status = MonitoringStatus.ARCHIVED
        elif job.stop_time < self._samples_from_s:
            job.monitoring_status = MonitoringStatus.ARCHIVING_FAILED

    def _archived_statistics(self, found: Sequence[ReferenceJob]) -> dict[int, Mapping[str, MetricStatistic]]:
        """Row id there -> statistics, of the jobs that are not known; before the write lock is held."""
        known = self._read_known([entry.job.job_id for entry in found])
        statistics: dict[int, Mapping[str, MetricStatistic]] = {}
        for entry in found:
            key = JobKey(entry.job.cluster, entry.job.job_id, entry.job.start_time)
            is_new = (key.cluster, key.job_id, key.start_time) not in known
            if is_new and entry.job.monitoring_status == MonitoringStatus.ARCHIVED:
                entries = self._statistics_of(key)
                if entries:
                    statistics[entry.row_id] = entries
        return statistics

    def _store_jobs(
        self, found: Sequence[ReferenceJob], archived: Mapping[int, Mapping[str, MetricStatistic]]
    ) -> dict[int, int]:
        """Insert the jobs that are not known, complete the others; row id there -> id here."""
        known = self._read_known([entry.job.job_id for entry in found])
        ids: dict[int, int] = {}
        new: list[ReferenceJob] = []
        for entry in found:
            job = entry.job
            here = known.get((job.cluster, job.job_id, job.start_time))
            if here is None:
                new.append(entry)
                continue
            ids[entry.row_id] = here["id"]
            self.report.count("jobs", "completed" if self._complete(here, job) else "known already")
        for id_, entry in zip(insert_jobs(self._database, [entry.job for entry in new]), new, strict=True):
            ids[entry.row_id] = id_
        failed = [ids[e.row_id] for e in new if e.job.monitoring_status == MonitoringStatus.ARCHIVING_FAILED]
        if failed:
            JobRow.update(archive_error=NOT_ARCHIVED).where(JobRow.id.in_(failed)).execute(self._database)
        if new:
            self.report.count("jobs", "new", len(new))
        statistics = {ids[entry.row_id]: archived[entry.row_id] for entry in new if entry.row_id in archived}
        self._statistics.store_new(statistics)
        return ids

    def _read_known(self, job_ids: Sequence[int]) -> dict[tuple[str, int, int], dict[str, Any]]:
        """Key -> what decides whether a stored job is completed."""
        query = JobRow.select(
            JobRow.id,
            JobRow.cluster,
            JobRow.job_id,
            JobRow.start_time,
            JobRow.state,
            JobRow.submit_time,
            JobRow.energy,
            JobRow.meta_data.is_null().alias("lacks_meta_data"),
            JobRow.energy_footprint.is_null().alias("lacks_energy_footprint"),
            peewee.fn.EXISTS(FootprintRow.select(FootprintRow.key).where(FootprintRow.job == JobRow.id)).alias("has"),
        ).where(JobRow.job_id.in_(list(set(job_ids))))
        rows = query.dicts().execute(self._database)
        return {(row["cluster"], row["job_id"], row["start_time"]): row for row in rows}

    def _complete(self, here: dict[str, Any], job: Job) -> bool:
        """Give a stored job what it lacks; returns whether that was anything."""
        changes: dict[str, Any] = {}
        if here["state"] == str(JobState.RUNNING) and job.state is not JobState.RUNNING:
            changes |= {
                "state": str(job.state),
                "duration": job.duration,
                "monitoring_status": job.monitoring_status,
                "rules": 0,
            }
        if job.meta_data and here["lacks_meta_data"]:
            changes |= {"meta_data": dict(job.meta_data), "name": job.name[:MAX_NAME]}
        if job.energy_footprint and here["lacks_energy_footprint"]:
            changes["energy_footprint"] = dict(job.energy_footprint)
        for column in ("submit_time", "energy"):
            if getattr(job, column) and not here[column]:
                changes[column] = getattr(job, column)
        if changes:
            JobRow.update(**changes).where(JobRow.id == here["id"]).execute(self._database)
        if "meta_data" in changes:
            replace_script(self._database, here["id"], job.meta_data)
        if job.footprint and not here["has"]:
            replace_footprint(self._database, here["id"], job.footprint)
            return True
        return bool(changes)


def _was_detected(tag_type: str, job: Job) -> bool:
    """Whether the taggers of the reference made an assignment of a global tag, as far as one can tell.

    They look for applications in job scripts only, and for classes of archived jobs.
    """
    if tag_type == APPLICATION_TAGS:
        return bool((job.meta_data or {}).get("jobScript"))
    return tag_type == CLASS_TAGS and job.monitoring_status == MonitoringStatus.ARCHIVED


def _strings(stored: Any) -> tuple[str, ...]:
    """The strings of a stored JSON list, none for an empty value; raises ValueError if it is something else."""
    found = orjson.loads(stored) if stored else []
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"roles or projects are no list of names: {str(stored)[:60]!r}")
    return tuple(found)


def _tag_fault(type_: Any, name: Any, scope: Any) -> str:
    """What is wrong with a tag, empty if nothing."""
    for key, text in (("type", type_), ("name", name), ("scope", scope)):
        if not isinstance(text, str) or (not text and key != "scope"):
            return f"its {key} is empty or no text"
        if len(text) > MAX_NAME or not text.isprintable():
            return f"its {key} is longer than {MAX_NAME} characters or has characters that cannot be shown"
    return ""
