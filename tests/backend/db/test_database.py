import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cc_backend import migrations
from cc_backend.auth.tables import UserRow
from cc_backend.auth.users import User, Users
from cc_backend.db.database import Database, FaultKind, open_database
from cc_backend.errors import BackendError, InvalidInput, Unavailable
from cc_backend.jobs.job_rows import insert_job
from cc_backend.migrations import SchemaVersion, migrate
from cc_backend.model import Job, Resource
from cc_common.errors import SettingsError

NOW_S = 1_760_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    opened = open_database(path, busy_timeout_s=0.2)
    migrate(opened, now_s=NOW_S)
    yield opened
    opened.close_all()


def add(database: Database, name: str) -> None:
    with database.write():
        UserRow.insert(name=name).execute(database)


def add_then_fail(database: Database, name: str) -> None:
    UserRow.insert(name=name).execute(database)
    raise InvalidInput(name)


def names(database: Database) -> list[str]:
    return [row.name for row in UserRow.select().order_by(UserRow.name).execute(database)]


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
def test_a_database_is_opened_by_path_or_address(path: Path, form: str) -> None:
    database = open_database(form.format(path))
    assert migrate(database, now_s=NOW_S) == len(migrations._UPGRADES)
    database.close_all()
    assert path.is_file()


@pytest.mark.parametrize(
    "address", ["", ":memory:", "sqlite://", "sqlite:///:memory:", "postgres://host/db", "file:x?mode=memory"]
)
def test_an_address_that_keeps_nothing_is_refused(address: str) -> None:
    with pytest.raises(SettingsError):
        open_database(address)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="gone"):
        open_database(tmp_path / "gone" / "job.db")


def test_the_connection_is_set_up_for_a_service(database: Database) -> None:
    found = {name: database.first_row(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "foreign_keys")}
    assert found == {"journal_mode": ("wal",), "synchronous": (1,), "foreign_keys": (1,)}
    assert database.first_row("PRAGMA temp_store") == (2,)
    assert database.first_row("PRAGMA busy_timeout") == (200,)


def test_migrating_twice_changes_nothing(database: Database) -> None:
    add(database, "kmeyer")
    assert migrate(database, now_s=NOW_S + 1) == len(migrations._UPGRADES)
    assert names(database) == ["kmeyer"]
    assert SchemaVersion.select().count(database) == len(migrations._UPGRADES)


def test_a_database_from_before_jobs_named_their_configuration_is_upgraded_with_its_jobs(path: Path) -> None:
    database = open_database(path)
    migrate(database, now_s=NOW_S)
    insert_job(database, Job(1, "tern", "ada", "demo", NOW_S, (Resource("tn01"),), 1, sub_cluster="std"))
    with database.write():
        database.execute_sql("DELETE FROM schema_version WHERE version > 1")
        database.execute_sql("DROP TABLE cluster_config")
        database.execute_sql("ALTER TABLE job DROP COLUMN cluster_config")
    migrate(database, now_s=NOW_S + 1)
    assert database.first_row("SELECT job_id, cluster_config FROM job") == (1, 0)
    assert database.first_row("SELECT COUNT(*) FROM cluster_config") == (0,)
    database.close_all()


def test_a_database_without_the_states_of_accounts_gets_them(database: Database) -> None:
    with database.write():
        UserRow.insert(name="kmeyer").execute(database)
        for statement in (
            "DROP TABLE known_browser",
            "DROP TABLE removed_user",
            'ALTER TABLE "user" DROP COLUMN disabled_s',
            "DELETE FROM schema_version WHERE version > 1",
        ):
            database.first_row(statement)
    migrate(database, now_s=NOW_S)
    users = Users(database)
    assert users.list() == [User("kmeyer", frozenset())]
    users.disable("kmeyer", now_s=NOW_S)
    users.remove("kmeyer", now_s=NOW_S)


def test_a_database_of_a_newer_program_is_left_alone(database: Database) -> None:
    with database.write():
        SchemaVersion.insert(version=99, applied_s=NOW_S).execute(database)
    with pytest.raises(BackendError, match="99"):
        migrate(database)


def test_an_upgrade_that_fails_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Database) -> None:
        raise BackendError("no")

    monkeypatch.setattr(migrations, "_UPGRADES", (*migrations._UPGRADES, fails))
    database = open_database(path)
    with pytest.raises(BackendError, match="no"):
        migrate(database)
    assert database.get_tables() == []
    database.close_all()


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


def test_after_closing_it_is_closed_for_all_threads(path: Path) -> None:
    database = open_database(path)
    migrate(database, now_s=NOW_S)
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


def test_a_full_disk_is_said_once_and_the_service_goes_on(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    add(database, "before")
    pages = database.first_row("PRAGMA page_count")
    assert pages is not None
    database.first_row(f"PRAGMA max_page_count = {pages[0]}")
    with pytest.raises(Unavailable, match="disk is full") as refused, database.write():
        UserRow.insert(name="kept out", full_name="x" * 1_000_000).execute(database)
    assert refused.value.retry_after_s
    assert names(database) == ["before"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "advice=the disk is full" in caplog.text
    database.first_row("PRAGMA max_page_count = 1000000")
    add(database, "after")
    assert names(database) == ["after", "before"]


def test_each_kind_of_fault_is_told_once_until_it_is_over(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    pages = database.first_row("PRAGMA page_count")
    assert pages is not None
    database.first_row(f"PRAGMA max_page_count = {pages[0]}")
    for _ in range(3):
        with pytest.raises(Unavailable), database.write():
            UserRow.insert(name="kept out", full_name="x" * 1_000_000).execute(database)
    database.clear_fault(FaultKind.WRITE)
    database.clear_fault(FaultKind.WRITE)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert database.faults() == []


def test_nothing_is_written_to_a_file_that_was_replaced(database: Database, path: Path) -> None:
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


def test_a_write_does_not_count_if_the_file_went_away_meanwhile(database: Database, path: Path) -> None:
    def add_and_move() -> None:
        with database.write():
            UserRow.insert(name="nowhere").execute(database)
            path.rename(path.with_name("away.db"))

    with pytest.raises(Unavailable):
        add_and_move()


def test_no_thread_opens_another_file_beside_the_one_of_the_others(database: Database, path: Path) -> None:
    names(database)
    path.rename(path.with_name("away.db"))
    with ThreadPoolExecutor(1) as pool, pytest.raises(Unavailable, match="put the file back"):
        pool.submit(names, database).result(20)


def test_threads_do_not_queue_up_behind_a_lock_of_another_process(database: Database, path: Path) -> None:
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


def test_a_damaged_page_in_the_middle_of_a_table_is_unavailable_and_remembered(database: Database, path: Path) -> None:
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


def test_a_lock_of_another_process_that_does_not_end_makes_it_unavailable(database: Database, path: Path) -> None:
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


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "half \ud800 pair"])
def test_what_no_row_can_hold_is_the_askers_mistake(database: Database, value: object) -> None:
    with pytest.raises(InvalidInput):
        UserRow.select().where(UserRow.created_s == value).count(database)


def test_foreign_keys_are_kept(database: Database) -> None:
    with pytest.raises(Exception, match="FOREIGN KEY"), database.write():
        database.execute_sql("INSERT INTO session VALUES ('hash', 'nobody', 0, 0)")


def test_a_file_that_was_moved_away_keeps_what_only_its_wal_file_has(database: Database, path: Path) -> None:
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
