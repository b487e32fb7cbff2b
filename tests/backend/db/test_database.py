import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cc_backend.auth.tables import UserRow
from cc_backend.db.database import Database
from cc_backend.db.opening import open_database
from cc_backend.errors import Conflict, InvalidInput, NotFound, Unavailable
from cc_backend.jobs.tables import TagRow


def add(database: Database, name: str) -> None:
    with database.write():
        UserRow.insert(name=name).execute(database)


def add_then_fail(database: Database, name: str) -> None:
    UserRow.insert(name=name).execute(database)
    raise InvalidInput(name)


def names(database: Database) -> list[str]:
    return [row.name for row in UserRow.select().order_by(UserRow.name).execute(database)]


@pytest.fixture
def other_process(database_url: str) -> Iterator[Database]:
    """The same database as another process has it open."""
    opened = open_database(database_url, busy_timeout_s=0.2)
    yield opened
    opened.close_all()


def test_every_thread_can_use_it_at_once(database: Database) -> None:
    database.busy_timeout_s = 60.0  # the last of a hundred waits for all others, on whatever disk
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add(database, f"user{number:03}"), range(100)))
    assert len(names(database)) == 100


def test_connections_are_reused_and_those_of_dead_threads_are_closed(database: Database) -> None:
    names(database)
    for _ in range(5):
        thread = threading.Thread(target=names, args=(database,))
        thread.start()
        thread.join()
    names(database)
    assert len(database._connections) <= 2


def test_after_closing_it_is_closed_for_all_threads(database: Database) -> None:
    ready, go_on = threading.Event(), threading.Event()

    def use() -> str:
        names(database)
        ready.set()
        go_on.wait(10)
        try:
            names(database)
        except Unavailable as error:
            return str(error)
        return "still open"

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(use)
        ready.wait(10)
        database.close_all()
        go_on.set()
        assert "is closed" in answer.result(10)
    with pytest.raises(Unavailable, match="is closed"):
        names(database)


def test_a_write_that_fails_is_undone(database: Database) -> None:
    with pytest.raises(InvalidInput), database.write():
        add_then_fail(database, "kmeyer")
    assert names(database) == []


def test_a_write_inside_a_write_is_undone_alone(database: Database) -> None:
    with database.write():
        UserRow.insert(name="outer").execute(database)
        with pytest.raises(InvalidInput), database.write():
            add_then_fail(database, "inner")
    assert names(database) == ["outer"]


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "half \ud800 pair"])
def test_what_no_row_can_hold_is_the_askers_mistake(database: Database, value: object) -> None:
    with pytest.raises(InvalidInput):
        UserRow.select().where(UserRow.created_s == value).count(database)


def test_a_row_that_belongs_to_one_that_is_gone_is_not_found(database: Database) -> None:
    statement = "INSERT INTO job_host (job_id, hostname) VALUES (?, ?)"
    with pytest.raises(NotFound, match="removed it meanwhile"), database.write():
        database.run_sql(statement, 99_999, "tn01")
    with pytest.raises(NotFound), database.write():
        database.execute_many(statement, [(99_999, "tn01")])
    assert database.all_rows("SELECT * FROM job_host") == []


def test_one_process_writes_at_a_time(database: Database, other_process: Database) -> None:
    with database.write():
        UserRow.insert(name="first").execute(database)
        with ThreadPoolExecutor(1) as pool, pytest.raises(Unavailable, match="another process holds the database"):
            pool.submit(add, other_process, "second").result(20)
        assert names(other_process) == []
    add(other_process, "third")
    assert names(database) == ["first", "third"]
    assert other_process.faults() == []


def test_what_is_read_in_a_write_stays_true_until_it_ends(database: Database, database_url: str) -> None:
    """Two processes that each add one to a number, at the same time, add two."""
    patient = open_database(database_url, busy_timeout_s=60)
    with database.write():
        UserRow.insert(name="counter", created_s=0).execute(database)

    def count(opened: Database) -> None:
        for _ in range(20):
            with opened.write():
                (found,) = opened.first_row('SELECT created_s FROM "user" WHERE name = ?', "counter") or (0,)
                opened.run_sql('UPDATE "user" SET created_s = ? WHERE name = ?', found + 1, "counter")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(count, (database, patient)))
    assert database.first_row('SELECT created_s FROM "user"') == (40,)
    patient.close_all()


def test_a_second_row_of_the_same_key_is_a_conflict(database: Database) -> None:
    add(database, "kmeyer")
    with pytest.raises(Conflict, match="exists already"):
        add(database, "kmeyer")
    assert names(database) == ["kmeyer"]


def test_statements_as_text_are_the_same_on_every_engine(database: Database) -> None:
    with database.write():
        database.execute_many(
            "INSERT INTO tag (type, name, scope) VALUES (?, ?, ?)",
            [("a", "50%", "x"), ("b", "%s", "y"), ("c", "?", "z")],
        )
        assert database.run_sql("UPDATE tag SET type = 'd' WHERE name = ?", "50%") == 1
    assert database.first_row("SELECT type FROM tag WHERE name LIKE '50%' AND scope = ?", "x") == ("d",)
    assert database.first_row("SELECT type FROM tag WHERE name = ?", "none") is None
    assert list(database.raw_rows(TagRow.select(TagRow.name).order_by(TagRow.id))) == [("50%",), ("%s",), ("?",)]


def test_texts_are_found_without_regard_to_case_and_sorted_by_their_bytes(database: Database) -> None:
    for name in ("ada", "Zoe", "bob", "_x", "100%"):
        add(database, name)
    assert names(database) == ["100%", "Zoe", "_x", "ada", "bob"]
    for part, found in (("O", ["Zoe", "bob"]), ("%", ["100%"]), ("_", ["_x"])):
        query = UserRow.select(UserRow.name).where(UserRow.name.contains(part)).order_by(UserRow.name)
        assert [name for (name,) in database.raw_rows(query)] == found


def test_sums_and_means_are_plain_numbers(database: Database) -> None:
    with database.write():
        for number in (2**40, 2**41):
            UserRow.insert(name=str(number), created_s=number).execute(database)
    row = database.first_row('SELECT SUM(created_s), COUNT(*), AVG(created_s), MIN(disabled_s) FROM "user"')
    assert row == (3 * 2**40, 2, 1.5 * 2**40, None)
    assert [type(value) for value in row] == [int, int, float, type(None)]


def test_reserved_ids_are_used_by_no_other_row(database: Database) -> None:
    with database.write():
        first = TagRow.insert(type="a", name="a").execute(database)
        reserved = database.reserve_ids(TagRow, 3)
        for id_ in reserved:
            TagRow.insert(id=id_, type="b", name=str(id_)).execute(database)
        last = TagRow.insert(type="c", name="c").execute(database)
    assert len({first, *reserved, last}) == 5
    assert list(reserved) == sorted(reserved)
