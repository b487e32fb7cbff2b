"""What the list and its filters ask of the database is found by indexes: nothing reads all jobs."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from cc_backend.db.database import Database, Dialect
from cc_backend.jobs.filters import FootprintRange, JobFilter
from cc_backend.jobs.job_columns import JobColumns
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.stored_statistics import StoredStatistics
from cc_backend.model import Job, RowRule

NOW_S = 1_760_000_000
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
