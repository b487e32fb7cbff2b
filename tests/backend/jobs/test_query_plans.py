"""What the list and its filters ask of the database is found by indexes: nothing reads all jobs."""

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from cc_backend.db.database import Database, Dialect
from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.concurrent_jobs import ConcurrencyRule, find_concurrent_jobs
from cc_backend.jobs.filters import FootprintRange, JobFilter
from cc_backend.jobs.job_changes import JobChanges
from cc_backend.jobs.job_columns import JobColumns
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.job_removal import KeptTags, remove_jobs_before
from cc_backend.jobs.job_rows import insert_jobs
from cc_backend.jobs.judgements import Judgements
from cc_backend.jobs.lifecycle import JobLifecycle
from cc_backend.jobs.node_history import NodeHistory
from cc_backend.jobs.overdue_jobs import end_overdue_jobs
from cc_backend.jobs.running_jobs import RunningJobs
from cc_backend.jobs.stored_statistics import StoredStatistics
from cc_backend.jobs.tables import NodeRow, NodeStateRow
from cc_backend.model import Job, JobState, Judgement, MonitoringStatus, Resource, RowRule
from cc_common.job_events import JobStart, JobStop
from cc_common.job_events import Resource as EventResource

NOW_S = 1_760_000_000
START_S = NOW_S - 7200
ALL = RowRule(all_jobs=True)
Start = Callable[..., Job]
SCANS = ("SCAN job", "SCAN t1", "SCAN t2", "Seq Scan")


def plans(database: Database, caplog: pytest.LogCaptureFixture, ask: Callable[[], Any]) -> str:
    """The plans of all queries that a question makes."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger="peewee"):
        ask()
    asked = [record.msg for record in caplog.records if record.name == "peewee"]
    found = []
    if database.dialect is Dialect.POSTGRESQL:
        database.run_sql("SET enable_seqscan = off")  # a table of a few rows is read whole otherwise
    for sql, parameters in asked:
        if sql.startswith(("SELECT", "WITH")):
            explain = "EXPLAIN QUERY PLAN" if database.dialect is Dialect.SQLITE else "EXPLAIN"
            rows = database._execute_cursor(f"{explain} {sql}", parameters)
            found += [f"{row[-1]}  {sql[:60]}" for row in rows]
    assert found
    return "\n".join(found)


@pytest.fixture
def queries(database: Database, started: Start) -> JobQueries:
    for number in range(1, 4):
        started(number, f"tn{number:04}", footprint={"mem_used_max": 2.0})
    columns = JobColumns(database)
    columns.load()
    columns.scripts()  # the first search in scripts reads which job has which
    return JobQueries(database, columns=columns)


@pytest.mark.parametrize(
    "wanted",
    [
        JobFilter(),
        JobFilter(clusters=("tern",), users=("mlindqv",)),
        JobFilter(hosts=("tn0001", "tn0002")),
        JobFilter(tags=(1, 2), no_tags=(3,)),
        JobFilter(text="tn0001"),
        JobFilter(job_ids=(1, 2)),
        JobFilter(script="relax"),
    ],
)
@pytest.mark.parametrize("order", ["startTime", "duration", "user"])
def test_a_list_reads_its_own_jobs_only(
    queries: JobQueries, database: Database, caplog: pytest.LogCaptureFixture, wanted: JobFilter, order: str
) -> None:
    found = plans(database, caplog, lambda: queries.find(wanted, ALL, now_s=NOW_S, order=order))
    assert not any(scan in found for scan in SCANS), found


def test_a_footprint_is_read_by_its_key(
    queries: JobQueries, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = JobFilter(footprint=(FootprintRange("mem_used_max", 1, None),))
    found = plans(database, caplog, lambda: queries.find(wanted, ALL, now_s=NOW_S))
    assert not any(scan in found for scan in SCANS), found


def test_the_newest_jobs_are_found_by_their_start_while_all_are_first_read(
    queries: JobQueries, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    found = plans(database, caplog, lambda: JobQueries(database).find(JobFilter(), ALL, now_s=NOW_S, items_per_page=1))
    assert "jobrow_start_time" in found, found


def test_statistics_are_read_by_job(queries: JobQueries, database: Database, caplog: pytest.LogCaptureFixture) -> None:
    found = plans(database, caplog, lambda: StoredStatistics(database).read([1, 2, 3]))
    assert not any(scan in found for scan in SCANS), found


# What happens with each event and every few seconds, with and without statistics of the tables

STATES, NEWEST = "jobrow_state_start_time", "nodestaterow_node_id_time_s"
RUNS: dict[str, tuple[Callable[["BusySite"], Any], str]] = {
    "start": (lambda site: site.start(9001), "jobrow_cluster_job_id_start_time"),
    "stop": (lambda site: site.stop(1, start_time=START_S + 1), "jobrow_cluster_job_id_start_time"),
    "stop without a start time": (lambda site: site.stop(2), "jobrow_(cluster_)?job_id"),
    "stop by the number only": (lambda site: site.stop(3, cluster=None), "jobrow_job_id"),
    "end of overdue jobs": (lambda site: end_overdue_jobs(site.database, grace_s=60, now_s=NOW_S), STATES),
    "archive queue": (lambda site: site.queue.queued_jobs(), "job_unarchived"),
    "archive queue, next batch": (lambda site: site.queue.queued_jobs(after=7), "job_unarchived"),
    "number of jobs to archive": (lambda site: site.queue.count(ALL), "job_unarchived"),
    "running jobs": (lambda site: site.running.start_times(), STATES),
    "hosts that samples are kept for": (lambda site: site.running.retention_holds(), STATES),
    "jobs to judge": (lambda site: Judgements(site.database).outdated(rules=3, limit=10), "job_rules"),
    "jobs at the same time": (lambda site: site.concurrent(5), "jobhostrow_hostname"),
    "a job by its id": (lambda site: JobQueries(site.database).get(5, ALL, now_s=NOW_S), "PRIMARY KEY"),
    "clusters": (lambda site: JobQueries(site.database).cluster_names(), "jobrow_cluster"),
    "old jobs to remove": (
        lambda site: remove_jobs_before(site.database, START_S, ALL, kept=KeptTags.NONE),
        "jobrow_start_time",
    ),
    "states of a node": (lambda site: site.history.spans("tern", "tn0001", 0, NOW_S, limit=10), NEWEST),
    "node at a time": (lambda site: site.history.state_at("tern", "tn0001", NOW_S), NEWEST),
    "changed jobs": (lambda site: JobChanges(site.database).since(5), "PRIMARY KEY"),
}
WHOLE_INDEX = "USING INDEX job_unarchived"
"""An index of only the jobs that wait to be archived may be read whole."""


@dataclass
class BusySite:
    """A database as it is after some time: of many jobs few are running, and fewer wait to be archived."""

    database: Database
    lifecycle: JobLifecycle

    @property
    def queue(self) -> ArchiveQueue:
        return ArchiveQueue(self.database)

    @property
    def running(self) -> RunningJobs:
        return RunningJobs(self.database)

    @property
    def history(self) -> NodeHistory:
        return NodeHistory(self.database)

    def start(self, job_id: int) -> None:
        self.lifecycle.start(
            JobStart(
                cluster="tern",
                user="ada",
                project="p",
                job_id=job_id,
                start_time=NOW_S - 60,
                num_nodes=1,
                resources=(EventResource("tn0001"),),
            ),
            now_s=NOW_S,
        )

    def stop(self, job_id: int, cluster: str | None = "tern", start_time: int | None = None) -> None:
        event = JobStop(job_id, NOW_S - 30, "completed", cluster, start_time)
        self.lifecycle.stop(event, now_s=NOW_S)

    def concurrent(self, id_: int) -> None:
        job = JobQueries(self.database).get(id_, ALL, now_s=NOW_S)
        find_concurrent_jobs(self.database, replace(job, shared="multi_user"), ALL, ConcurrencyRule(0, 0))


@pytest.fixture
def busy_site(database: Database, lifecycle: JobLifecycle) -> BusySite:
    def status(number: int) -> MonitoringStatus:
        is_waiting = number <= 30
        return MonitoringStatus.RUNNING_OR_ARCHIVING if is_waiting else MonitoringStatus.ARCHIVED

    jobs = [
        Job(
            number,
            "tern",
            f"u{number % 7}",
            "p",
            START_S + number,
            (Resource(f"tn{number % 40 + 1:04}"),),
            1,
            state=JobState.RUNNING if number <= 20 else JobState.COMPLETED,
            duration=600,
            walltime=3600,
            monitoring_status=status(number),
            judgement=Judgement(None, judged_s=NOW_S, rules_version=3),
            footprint={"mem_used_max": 1.0},
        )
        for number in range(1, 2001)
    ]
    with database.write():
        insert_jobs(database, jobs)
        for node in range(1, 11):
            row = NodeRow.insert(cluster="tern", hostname=f"tn{node:04}", sub_cluster="std", seen_s=NOW_S)
            id_ = row.execute(database)
            states = [
                {
                    "node": id_,
                    "time_s": START_S + at,
                    "state": "idle",
                    "reported_states": [],
                    "health": "full",
                    "missing_metrics": [],
                    "degraded_metrics": [],
                }
                for at in range(40)
            ]
            NodeStateRow.insert_many(states).execute(database)
    return BusySite(database, lifecycle)


def test_what_runs_often_finds_its_rows_by_an_index(
    busy_site: BusySite, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = []
    for is_analyzed in (False, True):
        if is_analyzed:  # as PostgreSQL does by itself, and `Database.analyze` once a day
            database.run_sql("ANALYZE")
            database.close()
        for name, (ask, index) in RUNS.items():
            found = plans_of_undone(database, caplog, partial(ask, busy_site))
            lines = [line for line in found.splitlines() if WHOLE_INDEX not in line]
            used = index if database.dialect is Dialect.SQLITE else "Index"  # of two that serve it takes either
            if any(scan in line for scan in SCANS for line in lines) or not re.search(used, found):
                wrong.append(f"{name}, analyzed: {is_analyzed}\n{found}")
    assert not "\n".join(wrong)


class _UndoneError(Exception):
    """Undoes what was written for a look at its plans."""


def plans_of_undone(database: Database, caplog: pytest.LogCaptureFixture, ask: Callable[[], Any]) -> str:
    found = []
    with suppress(_UndoneError), database.write():
        found.append(plans(database, caplog, ask))
        raise _UndoneError
    return found[0]
