from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest

from cc_backend.db.database import Database, Dialect
from cc_backend.jobs import job_changes, job_columns
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_changes import JobChanges
from cc_backend.jobs.job_columns import JobColumns
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.tables import JobRow
from cc_backend.model import Job, RowRule

ALL = RowRule(all_jobs=True)
NOW_S = 1_760_000_000
Start = Callable[..., Job]


@pytest.fixture
def columns(database: Database) -> JobColumns:
    return JobColumns(database)


def ids(columns: JobColumns) -> list[int]:
    with columns.current() as current:
        assert current is not None
        assert [current.ids[place] for place in current.start_order()] == sorted(
            current.ids, key=lambda id_: (current["start_time"][current.places(np.array([id_]))[0]], id_)
        )
        return [int(id_) for id_ in current.ids]


def value(columns: JobColumns, name: str, id_: int) -> int:
    with columns.current() as current:
        assert current is not None
        return int(current[name][current.places(np.array([id_]))[0]])


def change(database: Database, sql: str, *parameters: object) -> None:
    """Change the database as a hand does."""
    database.run_sql(sql, *parameters)


def test_what_other_processes_change_is_seen_at_once(columns: JobColumns, database: Database, started: Start) -> None:
    first, second = started(1).id, started(2, "tn0002").id
    assert ids(columns) == [first, second]
    change(database, "UPDATE job SET num_nodes = 7 WHERE id = ?", first)
    change(database, "DELETE FROM job WHERE id = ?", second)
    assert ids(columns) == [first]
    assert value(columns, "num_nodes", first) == 7


def test_a_change_of_a_footprint_is_seen(columns: JobColumns, database: Database, started: Start) -> None:
    id_ = started(1, footprint={"mem_used_max": 2.5}).id
    with columns.current() as current:
        assert current is not None
        assert current.footprint("mem_used_max").tolist() == [2.5]
        assert np.isnan(current.footprint("other_avg")).all()
    change(database, "UPDATE job_footprint SET value = 3 WHERE job_id = ?", id_)
    with columns.current() as current:
        assert current is not None
        assert current.footprint("mem_used_max").tolist() == [3.0]
    change(database, "DELETE FROM job_footprint")
    with columns.current() as current:
        assert current is not None
        assert np.isnan(current.footprint("mem_used_max")).all()


def test_only_so_many_footprints_are_held(columns: JobColumns, started: Start) -> None:
    started(1, footprint={f"m{number}_avg": float(number) for number in range(40)})
    with columns.current() as current:
        assert current is not None
        for _ in range(2):
            assert [current.footprint(f"m{number}_avg").tolist() for number in range(40)] == [
                [float(number)] for number in range(40)
            ]
        assert len(current._footprints) == 16


def test_larger_numbers_find_room(columns: JobColumns, database: Database, started: Start) -> None:
    id_ = started(1).id
    for number in (3, 32_767, 32_768, 2**31 - 1, 2**31, 2**63 - 1):
        change(database, "UPDATE job SET job_id = ? WHERE id = ?", number, id_)
        assert value(columns, "job_id", id_) == number


@pytest.mark.parametrize("stored", [2e19, "many", -5, b"x", 2**63 - 1, 1.5])
def test_a_number_that_cannot_be_counts_as_none(
    columns: JobColumns, database: Database, started: Start, stored: object
) -> None:
    if database.dialect is not Dialect.SQLITE:
        pytest.skip("other databases store only integers there")
    id_ = started(1, num_hwthreads=4).id
    started(2, "tn0002", num_hwthreads=4)
    change(database, "UPDATE job SET num_hwthreads = ? WHERE id = ?", stored, id_)
    assert value(columns, "num_hwthreads", id_) == 0
    assert value(columns, "num_hwthreads", id_ + 1) == 4


@pytest.mark.parametrize("damage", ["9e999", "x'00ff'", "'zzz'", "-1"])
def test_a_damaged_footprint_costs_no_other_job_its_value(
    columns: JobColumns, database: Database, started: Start, damage: str
) -> None:
    if database.dialect is not Dialect.SQLITE:
        pytest.skip("other databases store only integers there")
    first, second = (started(number, f"tn000{number}", footprint={"load_avg": 2.0}).id for number in (1, 2))
    database.run_sql("PRAGMA foreign_keys = off")
    change(database, f"UPDATE job_footprint SET job_id = {damage} WHERE job_id = ?", first)  # noqa: S608 constants
    with columns.current() as current:
        assert current is not None
        values = current.footprint("load_avg")[current.places(np.array([first, second]))]
    assert np.isnan(values[0])
    assert values[1] == 2.0


def test_a_job_that_is_committed_behind_a_later_one_finds_its_place(
    columns: JobColumns, database: Database, started: Start
) -> None:
    started(1)
    later = started(2, "tn0002").id
    assert ids(columns) == [1, later]
    change(database, "DELETE FROM job_host")
    change(database, "UPDATE job SET id = 500 WHERE id = ?", later)
    assert ids(columns) == [1, 500]
    change(database, "UPDATE job SET id = 600 WHERE id = 1")
    change(database, "UPDATE job SET id = 77, num_nodes = 3 WHERE id = 600")
    assert ids(columns) == [77, 500]
    assert value(columns, "num_nodes", 77) == 3


def test_jobs_that_started_earlier_are_ordered_among_the_others(columns: JobColumns, started: Start) -> None:
    for number in range(1, 30):
        started(number, f"tn{number:04}", start_time=NOW_S - 1000 - 37 * number % 11)
        ids(columns)
    assert len(ids(columns)) == 29


def test_a_reader_that_missed_changes_reads_everything(
    columns: JobColumns, database: Database, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(1)
    assert ids(columns) == [1]
    monkeypatch.setattr(job_changes, "KEPT_CHANGES", 3)
    for number in range(2, 12):
        started(number, f"tn{number:04}")
    JobChanges(database).prune()
    assert JobChanges(database).since(1) is None
    assert len(ids(columns)) == 11


def test_the_log_of_changes_stays_short(
    columns: JobColumns, database: Database, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_changes, "KEPT_CHANGES", 10)
    started(1)
    for number in range(40):
        change(database, "UPDATE job SET num_nodes = ?", number)
        columns.maintain()
    assert database.first_row("SELECT COUNT(*) FROM job_change")[0] <= 12  # type: ignore[index]
    assert value(columns, "num_nodes", 1) == 39


@pytest.mark.parametrize("statement", ["DELETE FROM job_change", "DELETE FROM job_change WHERE seq > 1"])
def test_a_log_that_a_hand_emptied_costs_nothing(
    columns: JobColumns, database: Database, started: Start, statement: str
) -> None:
    started(1)
    started(2, "tn0002")
    assert ids(columns) == [1, 2]
    change(database, statement)
    change(database, "UPDATE job SET num_nodes = 9")
    ids(columns)
    change(database, "UPDATE job SET num_nodes = 8")
    assert value(columns, "num_nodes", 1) == 8


def test_another_file_is_read_anew(columns: JobColumns, database: Database, started: Start) -> None:
    started(1)
    assert ids(columns) == [1]
    change(database, "UPDATE job SET num_nodes = 5")
    change(database, "DELETE FROM job_change WHERE seq > 1")  # the log of the other file is as long
    assert value(columns, "num_nodes", 1) == 1
    columns.reset()
    assert value(columns, "num_nodes", 1) == 5


def test_lists_are_served_while_many_jobs_are_first_read(
    columns: JobColumns, database: Database, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_columns, "_LOADED_AT_ONCE", 1)
    monkeypatch.setattr(job_columns, "_STEP", 1)
    for number in range(1, 4):
        started(number, f"tn{number:04}")
    queries = JobQueries(database, columns=columns)
    with columns.current() as current:
        assert current is None
    assert queries.find(JobFilter(), ALL, now_s=NOW_S).total == 3
    steps = iter([False, False, True])
    columns.load(lambda: next(steps))  # half of them
    started(4, "tn0004")
    assert queries.find(JobFilter(), ALL, now_s=NOW_S).total == 4
    columns.load()
    assert ids(columns) == [1, 2, 3, 4]


def test_what_a_transaction_undoes_was_never_seen(columns: JobColumns, database: Database, started: Start) -> None:
    started(1)
    assert ids(columns) == [1]
    with suppress(ZeroDivisionError), database.write():
        change(database, "UPDATE job SET num_nodes = 5")
        with columns.current() as current:
            assert current is None
        raise ZeroDivisionError
    change(database, "UPDATE job SET num_nodes = 6")
    assert value(columns, "num_nodes", 1) == 6


def test_a_job_that_changes_while_all_are_first_read_is_read_again(
    columns: JobColumns, database: Database, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_columns, "_STEP", 1)
    for number in range(1, 4):
        started(number, f"tn{number:04}")
    steps = iter([False, False, True])
    columns.load(lambda: next(steps))
    change(database, "UPDATE job SET num_nodes = 9 WHERE id = 1")
    change(database, "DELETE FROM job WHERE id = 2")
    columns.load()
    assert ids(columns) == [1, 3]
    assert value(columns, "num_nodes", 1) == 9


def test_many_changes_at_once_are_read(columns: JobColumns, database: Database, started: Start) -> None:
    started(1)
    assert ids(columns) == [1]
    names = [field.column_name for field in JobRow._meta.sorted_fields if field.name not in ("id", "job_id")]
    holders = ", ".join(f'"{name}"' for name in names)
    numbers = "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
    copies = f"SELECT i, i, {holders} FROM job, n WHERE job.id = 1"  # noqa: S608 constants
    change(database, f"{numbers} INSERT INTO job (id, job_id, {holders}) {copies}")
    assert len(ids(columns)) == 3000
    change(database, "DELETE FROM job WHERE id % 2 = 1")
    assert len(ids(columns)) == 1500
