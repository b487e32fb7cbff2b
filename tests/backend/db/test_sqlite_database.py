import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cc_backend.auth.tables import UserRow
from cc_backend.db import sqlite_database
from cc_backend.db.database import FaultKind
from cc_backend.db.database_file import wal_path
from cc_backend.db.opening import open_database
from cc_backend.db.sqlite_database import SqliteDatabase
from cc_backend.errors import InvalidInput, Unavailable
from cc_backend.migrations import migrate

NOW_S = 1_760_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.db"


@pytest.fixture
def database(path: Path) -> Iterator[SqliteDatabase]:
    opened = open_database(path, busy_timeout_s=0.2)
    migrate(opened, now_s=NOW_S)
    yield opened
    opened.close_all()


def add(database: SqliteDatabase, name: str) -> None:
    with database.write():
        UserRow.insert(name=name).execute(database)


def add_then_fail(database: SqliteDatabase, name: str) -> None:
    UserRow.insert(name=name).execute(database)
    raise InvalidInput(name)


def limit_pages(database: SqliteDatabase, count: int) -> None:
    """Let the file have so many pages at most, as on a full disk; that holds for the connection that writes."""
    with database.write():
        database.first_row(f"PRAGMA max_page_count = {count}")


def names(database: SqliteDatabase) -> list[str]:
    return [row.name for row in UserRow.select().order_by(UserRow.name).execute(database)]


def test_the_connection_is_set_up_for_a_service(database: SqliteDatabase) -> None:
    found = {name: database.first_row(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "foreign_keys")}
    assert found == {"journal_mode": ("wal",), "synchronous": (1,), "foreign_keys": (1,)}
    assert database.first_row("PRAGMA temp_store") == (2,)
    assert database.first_row("PRAGMA busy_timeout") == (200,)


def test_a_full_disk_is_said_once_and_the_service_goes_on(
    database: SqliteDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    add(database, "before")
    pages = database.first_row("PRAGMA page_count")
    assert pages is not None
    limit_pages(database, pages[0])
    with pytest.raises(Unavailable, match="disk is full") as refused, database.write():
        UserRow.insert(name="kept out", full_name="x" * 1_000_000).execute(database)
    assert refused.value.retry_after_s
    assert names(database) == ["before"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "advice=the disk is full" in caplog.text
    limit_pages(database, 1_000_000)
    add(database, "after")
    assert names(database) == ["after", "before"]


def test_each_kind_of_fault_is_told_once_until_it_is_over(
    database: SqliteDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    pages = database.first_row("PRAGMA page_count")
    assert pages is not None
    limit_pages(database, pages[0])
    for _ in range(3):
        with pytest.raises(Unavailable), database.write():
            UserRow.insert(name="kept out", full_name="x" * 1_000_000).execute(database)
    database.clear_fault(FaultKind.WRITE)
    database.clear_fault(FaultKind.WRITE)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert database.faults() == []


def test_nothing_is_written_to_a_file_that_was_replaced(database: SqliteDatabase, path: Path) -> None:
    path.rename(path.with_name("away.db"))
    for _ in range(2):
        with pytest.raises(Unavailable, match="put the file back"):
            add(database, "kept out")
    path.write_bytes(b"")
    with pytest.raises(Unavailable, match="put the file back"):
        add(database, "kept out")
    (fault,) = database.faults()
    assert fault.startswith("the database was removed, moved or replaced while the server runs: put the file back")
    path.with_name("away.db").rename(path)
    add(database, "kmeyer")
    assert (names(database), database.faults()) == (["kmeyer"], [])


def test_a_write_does_not_count_if_the_file_went_away_meanwhile(database: SqliteDatabase, path: Path) -> None:
    def add_and_move() -> None:
        with database.write():
            UserRow.insert(name="nowhere").execute(database)
            path.rename(path.with_name("away.db"))

    with pytest.raises(Unavailable):
        add_and_move()


def test_a_wal_file_that_vanishes_is_named_and_no_connection_makes_another_one(
    database: SqliteDatabase, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(database, "first")
    assert names(database) == ["first"]
    Path(f"{path}-wal").unlink()
    with ThreadPoolExecutor(1) as pool, pytest.raises(Unavailable, match="restart the server"):
        pool.submit(names, database).result()
    with pytest.raises(Unavailable, match="restart the server"):
        add(database, "second")
    assert database.faults() == ["the database has lost its -wal file while the server runs: restart the server"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert not Path(f"{path}-wal").exists()
    assert names(database) == ["first"]  # by the connection that has it open still


def test_a_wal_file_that_vanishes_while_a_connection_is_made_is_named_too(
    database: SqliteDatabase, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, "first")
    names(database)
    connect = database._new_connection

    def lose_it_then_connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        Path(f"{path}-wal").unlink()
        return connect(*arguments, **options)

    monkeypatch.setitem(database.connect_params, "factory", lose_it_then_connect)
    with ThreadPoolExecutor(1) as pool, pytest.raises(Unavailable, match="restart the server"):
        pool.submit(names, database).result()
    assert database.has_fault(FaultKind.WAL_MISSING)
    assert not database.has_fault(FaultKind.WRITE)


def test_no_thread_opens_another_file_beside_the_one_of_the_others(database: SqliteDatabase, path: Path) -> None:
    names(database)
    path.rename(path.with_name("away.db"))
    with ThreadPoolExecutor(1) as pool, pytest.raises(Unavailable, match="put the file back"):
        pool.submit(names, database).result(20)


def test_threads_do_not_queue_up_behind_a_lock_of_another_process(database: SqliteDatabase, path: Path) -> None:
    patient = open_database(path, busy_timeout_s=600)
    names(patient)
    held, release = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with patient.write():
            held.set()
            release.wait(20)

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(write_slowly)
        held.wait(20)
        waiting = pool.submit(add, patient, "kept out")
        patient.record_fault(FaultKind.LOCKED, "end that process")
        with pytest.raises(Unavailable, match="another process"):
            waiting.result(20)
        release.set()
        slow.result(20)
    patient.close_all()


def test_a_damaged_page_in_the_middle_of_a_table_is_unavailable_and_remembered(
    database: SqliteDatabase, path: Path
) -> None:
    with database.write():
        for number in range(500):
            UserRow.insert(name=f"user{number:03}", full_name="x" * 300).execute(database)
    database.first_row("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close_all()
    content = bytearray(path.read_bytes())
    middle = content.index(b"user250") // 4096 * 4096
    content[middle : middle + 4096] = bytes(4096)
    path.write_bytes(content)
    again = open_database(path)
    with pytest.raises(Unavailable, match="damaged"):
        names(again)
    with pytest.raises(Unavailable, match="damaged"):
        list(again.raw_rows(UserRow.select()))
    assert again.faults() == ["the database is damaged: the file is damaged: restore a backup"]
    again.close_all()


def test_a_lock_of_another_process_that_does_not_end_makes_it_unavailable(database: SqliteDatabase, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="another process"):
        add(database, "kmeyer")
    assert names(database) == []
    other.execute("ROLLBACK")
    other.close()
    add(database, "kmeyer")


def test_a_file_that_is_no_database_is_named_in_the_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    database = open_database(path)
    with pytest.raises(Unavailable, match="not an SQLite database"):
        migrate(database)
    assert str(path) in caplog.text
    database.close_all()


def test_a_file_that_was_moved_away_keeps_what_only_its_wal_file_has(database: SqliteDatabase, path: Path) -> None:
    """A connection to an empty file of that name would take the -wal file for its own, and remove it when it ends."""
    add(database, "kmeyer")
    path.rename(path.with_name("away.db"))
    for content in (None, b""):
        if content is not None:
            path.write_bytes(content)
        with ThreadPoolExecutor(4) as pool:
            for asked in [pool.submit(names, database) for _ in range(4)]:
                with pytest.raises(Unavailable):
                    asked.result(20)
        assert path.exists() is (content is not None), "nothing is made in its place"
    path.with_name("away.db").rename(path)
    database.close_all()
    again = open_database(path)
    assert names(again) == ["kmeyer"]
    again.close_all()


def in_the_file_alone(path: Path, copy: Path) -> list[str]:
    """The names that are in the file of a database, without its -wal file."""
    copy.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(copy)) as database:
        return [name for (name,) in database.execute("SELECT name FROM user ORDER BY name")]


def test_a_checkpoint_brings_commits_into_the_file(database: SqliteDatabase, path: Path, tmp_path: Path) -> None:
    database.checkpoint()
    add(database, "ada")
    assert in_the_file_alone(path, tmp_path / "copy.db") == []
    database.checkpoint()
    assert in_the_file_alone(path, tmp_path / "copy.db") == ["ada"]


def test_no_commit_waits_for_a_checkpoint_and_the_wal_file_does_not_grow(
    database: SqliteDatabase, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_database, "_MAX_WAL_PAGES", 10)
    sizes = []
    for number in range(3000):
        add(database, f"user{number}")
        if number % 500 == 499:
            database.checkpoint()
            sizes.append(wal_path(path).stat().st_size)
    assert sizes[-1] < 2 * sizes[0]
    assert len(names(database)) == 3000


def test_statistics_are_of_a_part_of_each_index(database: SqliteDatabase) -> None:
    with database.write():
        UserRow.insert_many([{"name": f"u{number}"} for number in range(3000)]).execute(database)
    database.analyze()
    assert database.first_row("SELECT COUNT(*) FROM sqlite_stat1 WHERE tbl = 'user'") == (1,)
    with database.write():
        assert database.first_row("PRAGMA analysis_limit") == (1000,)


def test_a_checkpoint_waits_for_nobody_who_writes(database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_database, "_MAX_WAL_PAGES", 0)
    monkeypatch.setattr(sqlite_database, "_CHECKPOINT_WAIT_S", 0.01)
    add(database, "ada")
    with ThreadPoolExecutor(1) as other, database.write():
        UserRow.insert(name="bob").execute(database)
        other.submit(database.checkpoint).result(timeout=20)
    assert names(database) == ["ada", "bob"]


def test_a_file_that_is_not_the_one_of_the_path_gets_no_checkpoint(
    database: SqliteDatabase, path: Path, tmp_path: Path
) -> None:
    database.checkpoint()
    add(database, "ada")
    path.rename(tmp_path / "moved.db")
    database.check_file()
    database.checkpoint()
    assert in_the_file_alone(tmp_path / "moved.db", tmp_path / "copy.db") == []


def test_all_threads_write_with_one_connection_and_read_with_their_own(database: SqliteDatabase) -> None:
    connections = []

    def use() -> None:
        with database.write():
            connections.append(database.connection())
        names(database)
        connections.append(database.connection())

    use()
    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
        thread.join()
    writers, readers = connections[::2], connections[1::2]
    assert len(set(writers)) == 1
    assert len({*readers, writers[0]}) == 5


def test_the_connection_that_writes_outlives_the_thread_that_opened_it(path: Path) -> None:
    database = open_database(path, busy_timeout_s=0.2)
    first = threading.Thread(target=migrate, args=(database,))
    first.start()
    first.join()
    add(database, "ada")
    for _ in range(2):
        other = threading.Thread(target=names, args=(database,))  # closes connections of threads that have ended
        other.start()
        other.join()
    add(database, "bob")
    assert names(database) == ["ada", "bob"]
    database.close_all()


def test_after_an_error_each_thread_has_its_own_connection_again(database: SqliteDatabase) -> None:
    names(database)
    own = database.connection()
    with pytest.raises(InvalidInput), database.write():
        add_then_fail(database, "kept out")
    assert database.connection() is own
    assert names(database) == []
