from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_backend.db.database import Database
from cc_backend.jobs.stored_statistics import StoredStatistics
from cc_backend.jobs.tables import JobRow
from cc_backend.model import Job, MetricStatistic, MetricUnit, MonitoringStatus

Start = Callable[..., Job]
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
STATISTICS = st.dictionaries(
    NAMES, st.builds(MetricStatistic, st.builds(MetricUnit, NAMES, NAMES), NUMBERS, NUMBERS, NUMBERS), max_size=5
)
LOAD = {"load_one": MetricStatistic(MetricUnit("F/s", "G"), min=0.0, avg=1.25, max=2.5)}


@pytest.fixture
def stored(database: Database) -> StoredStatistics:
    return StoredStatistics(database)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(statistics=STATISTICS)
def test_what_is_stored_is_read(
    stored: StoredStatistics, database: Database, started: Start, statistics: dict[str, MetricStatistic]
) -> None:
    id_ = int(JobRow.select(JobRow.id).scalar(database) or 0) or started(1).id
    stored.store(id_, statistics)
    assert stored.read([id_]) == {id_: statistics}
    assert list(stored.read([id_])[id_]) == list(statistics)


def test_none_removes_them_and_jobs_without_are_left_out(stored: StoredStatistics, started: Start) -> None:
    first, second = started(1).id, started(2, "tn0002").id
    stored.store(first, LOAD)
    assert stored.read([first, second, 99]) == {first: LOAD}
    stored.store(first, None)
    assert stored.read([first]) == {}


def test_jobs_with_the_same_metrics_share_a_layout(
    stored: StoredStatistics, database: Database, started: Start
) -> None:
    for number in range(1, 4):
        stored.store(started(number, f"tn{number:04}").id, LOAD)
    assert database.first_row("SELECT COUNT(*) FROM metric_list") == (1,)


def test_they_go_with_the_job(stored: StoredStatistics, database: Database, started: Start) -> None:
    id_ = started(1).id
    stored.store(id_, LOAD)
    database.run_sql("DELETE FROM job WHERE id = ?", id_)
    assert database.first_row("SELECT COUNT(*) FROM job_statistics") == (0,)


@pytest.mark.parametrize("packed", [b"", b"\0", b"x" * 50, b"\x03\x00"])
def test_a_damaged_row_counts_as_missing_and_is_logged(
    stored: StoredStatistics, database: Database, started: Start, packed: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = started(1).id, started(2, "tn0002").id
    for id_ in (first, second):
        stored.store(id_, LOAD)
    database.run_sql("UPDATE job_statistics SET numbers = ? WHERE job_id = ?", packed, first)
    assert stored.read([first, second]) == {second: LOAD}
    assert f"id={first}" in caplog.text


@pytest.mark.parametrize("document", ["", "{}", "[1]", "[[]]", '[["a"]]', '[["a","b","c"],["d","e","f"]]', "null"])
def test_a_damaged_layout_counts_as_missing(
    stored: StoredStatistics, database: Database, started: Start, document: str
) -> None:
    id_ = started(1).id
    stored.store(id_, LOAD)
    database.run_sql("UPDATE metric_list SET document = ?", document)
    assert stored.read([id_]) == {}


def test_archived_jobs_that_lack_them_are_found_newest_first(
    stored: StoredStatistics, database: Database, started: Start
) -> None:
    ids = [started(number, f"tn{number:04}").id for number in range(1, 7)]
    database.run_sql("UPDATE job SET monitoring_status = ? WHERE id > 1", MonitoringStatus.ARCHIVED)
    stored.store(ids[3], LOAD)
    assert stored.lacking(before=10**9, limit=3) == [ids[5], ids[4], ids[2]]
    assert stored.lacking(before=ids[2], limit=3) == [ids[1]]
