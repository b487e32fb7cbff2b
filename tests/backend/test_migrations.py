import logging
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cc_backend import migrations
from cc_backend.auth.tables import UserRow
from cc_backend.auth.users import User, Users
from cc_backend.db.database import Database, Dialect
from cc_backend.db.opening import open_database
from cc_backend.db.sqlite_database import SqliteDatabase
from cc_backend.errors import BackendError, Unavailable
from cc_backend.jobs.job_rows import insert_job
from cc_backend.migrations import LATEST_VERSION, SchemaVersion, migrate
from cc_backend.model import Job, Resource

NOW_S = 1_760_000_000
ONLY_SQLITE = pytest.mark.parametrize("new_database_url", [Dialect.SQLITE], indirect=True)
AddUpgrades = Callable[..., None]


@pytest.fixture
def add_upgrades(monkeypatch: pytest.MonkeyPatch) -> AddUpgrades:
    """The program of a later version, with so many upgrades more."""

    def add(*upgrades: Callable[[Database], object]) -> None:
        monkeypatch.setattr(migrations, "_UPGRADES", (*migrations._UPGRADES, *upgrades))

    return add


@pytest.fixture
def database_url(new_database_url: str) -> str:
    return new_database_url


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.db"


def add_column(database: Database, name: str = "extra") -> None:
    database.run_sql(f"ALTER TABLE tag ADD COLUMN {name} INTEGER NOT NULL DEFAULT 7")


def add_column_then_fail(database: Database) -> None:
    add_column(database)
    raise RuntimeError("the upgrade is wrong")


def columns(database: Database) -> list[str]:
    return [column.name for column in database.get_columns("tag")]


def version(database: Database) -> int:
    (found,) = database.first_row("SELECT MAX(version) FROM schema_version") or (0,)
    return int(found)


def backups(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.glob("job.db.before-*"))


def test_migrating_twice_changes_nothing(database: Database) -> None:
    UserRow.insert(name="kmeyer").execute(database)
    assert migrate(database, now_s=NOW_S + 1) == LATEST_VERSION
    assert [name for (name,) in database.raw_rows(UserRow.select(UserRow.name))] == ["kmeyer"]
    assert SchemaVersion.select().count(database) == LATEST_VERSION


def test_a_database_of_a_newer_program_is_left_alone(database: Database) -> None:
    with database.write():
        SchemaVersion.insert(version=99, applied_s=NOW_S).execute(database)
    with pytest.raises(BackendError, match="99"):
        migrate(database)


def test_a_database_without_the_states_of_accounts_gets_them(database: Database) -> None:
    with database.write():
        UserRow.insert(name="kmeyer").execute(database)
        for statement in (
            "DROP TABLE known_browser",
            "DROP TABLE removed_user",
            'ALTER TABLE "user" DROP COLUMN disabled_s',
            "DELETE FROM schema_version WHERE version > 1",
        ):
            database.run_sql(statement)
    migrate(database, now_s=NOW_S)
    users = Users(database)
    assert users.list() == [User("kmeyer", frozenset())]
    users.disable("kmeyer", now_s=NOW_S)
    users.remove("kmeyer", now_s=NOW_S)


def test_a_database_from_before_jobs_named_their_configuration_is_upgraded_with_its_jobs(database: Database) -> None:
    insert_job(database, Job(1, "tern", "ada", "demo", NOW_S, (Resource("tn01"),), 1, sub_cluster="std"))
    with database.write():
        database.run_sql("DELETE FROM schema_version WHERE version > 1")
        database.run_sql("DROP TABLE cluster_config")
        database.run_sql("ALTER TABLE job DROP COLUMN cluster_config")
    migrate(database, now_s=NOW_S + 1)
    assert database.first_row("SELECT job_id, cluster_config FROM job") == (1, 0)
    assert database.first_row("SELECT COUNT(*) FROM cluster_config") == (0,)


def test_an_upgrade_that_fails_is_undone_and_those_before_it_stay(
    database: Database, add_upgrades: AddUpgrades
) -> None:
    add_upgrades(lambda opened: add_column(opened, "first"), add_column_then_fail)
    with pytest.raises(BackendError, match=f"schema version {LATEST_VERSION + 2} failed and was undone.*is wrong"):
        migrate(database)
    assert version(database) == LATEST_VERSION + 1
    assert columns(database) == ["id", "type", "name", "scope", "first"]


def test_a_disk_that_is_full_is_a_reason_to_try_again(database: Database, add_upgrades: AddUpgrades) -> None:
    def fail(_: Database) -> None:
        raise Unavailable("the disk is full")

    add_upgrades(fail)
    with pytest.raises(Unavailable, match=r"failed and was undone.*the disk is full"):
        migrate(database)


def test_of_several_processes_one_upgrades(database_url: str, add_upgrades: AddUpgrades) -> None:
    run: list[str] = []
    add_upgrades(lambda opened: (run.append("first"), add_column(opened, "first")), lambda _: run.append("second"))

    def open_and_migrate(_: int) -> int:
        opened = open_database(database_url, busy_timeout_s=60)
        try:
            return migrate(opened)
        finally:
            opened.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(open_and_migrate, range(4))) == {LATEST_VERSION + 2}
    assert run == ["first", "second"]


@ONLY_SQLITE
def test_a_file_is_copied_before_it_is_upgraded(
    database: SqliteDatabase, path: Path, add_upgrades: AddUpgrades, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with database.write():
        UserRow.insert(name="kmeyer").execute(database)  # is in the -wal file only
    add_upgrades(add_column, lambda opened: add_column(opened, "second"))
    migrate(database)
    (name,) = backups(path)
    assert name == f"job.db.before-{LATEST_VERSION + 1}"
    copy = path.with_name(name)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert f"backup={copy} before" in caplog.text
    former = open_database(copy)
    assert (version(former), columns(former)) == (LATEST_VERSION, ["id", "type", "name", "scope"])
    assert [name for (name,) in former.raw_rows(UserRow.select(UserRow.name))] == ["kmeyer"]
    former.close_all()


@ONLY_SQLITE
def test_the_copies_of_the_newest_two_upgrades_are_kept(
    database: SqliteDatabase, path: Path, add_upgrades: AddUpgrades
) -> None:
    for number in range(4):
        add_upgrades(lambda opened, number=number: add_column(opened, f"column{number}"))
        migrate(database)
    path.with_name("job.db.before-20260101T000000Z").touch()  # of a database that was replaced
    add_upgrades(lambda _: None)
    migrate(database)
    newest = LATEST_VERSION + 5
    assert backups(path) == sorted(
        [f"job.db.before-{newest - 1}", f"job.db.before-{newest}", "job.db.before-20260101T000000Z"]
    )


def test_a_new_database_needs_no_copy(tmp_path: Path) -> None:
    new = open_database(tmp_path / "new.db")
    migrate(new)
    assert not list(tmp_path.glob("new.db.before*"))
    new.close_all()


@ONLY_SQLITE
def test_without_room_for_the_copy_nothing_is_upgraded(
    database: SqliteDatabase, path: Path, add_upgrades: AddUpgrades, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_upgrades(add_column)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))  # type: ignore[attr-defined]
    with pytest.raises(BackendError, match=rf"is not upgraded: its backup {path}.* 1000 are free"):
        migrate(database)
    assert (version(database), columns(database), backups(path)) == (
        LATEST_VERSION,
        ["id", "type", "name", "scope"],
        [],
    )


@ONLY_SQLITE
def test_a_copy_that_cannot_be_written_stops_the_upgrade(
    database: SqliteDatabase, path: Path, add_upgrades: AddUpgrades
) -> None:
    add_upgrades(add_column)
    path.with_name(f"job.db.before-{LATEST_VERSION + 1}").mkdir()
    with pytest.raises(BackendError, match=r"is not upgraded: its backup .* cannot be written"):
        migrate(database)
    assert version(database) == LATEST_VERSION


@ONLY_SQLITE
def test_after_an_upgrade_that_failed_the_way_back_is_told_and_works(
    database: SqliteDatabase, path: Path, add_upgrades: AddUpgrades, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = migrations._UPGRADES
    add_upgrades(add_column, add_column_then_fail)
    copy = path.with_name(f"job.db.before-{LATEST_VERSION + 1}")
    with pytest.raises(BackendError, match=f"put {copy} in its place; that has version {LATEST_VERSION}"):
        migrate(database)
    database.close_all()
    copy.replace(path)
    monkeypatch.setattr(migrations, "_UPGRADES", before)
    former = open_database(path)
    assert migrate(former) == LATEST_VERSION
    former.close_all()


@pytest.mark.parametrize("new_database_url", [Dialect.POSTGRESQL], indirect=True)
def test_of_postgresql_the_log_says_who_makes_backups(
    database: Database, add_upgrades: AddUpgrades, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    add_upgrades(add_column)
    migrate(database)
    assert "pg_dump" in caplog.text
    assert columns(database)[-1] == "extra"


KILLED_PROGRAM = """
import sys
from cc_backend import migrations
from cc_backend.db.opening import open_database

url, stop_at = sys.argv[1:]


def reach(point):
    print(point, flush=True)
    if point == stop_at:
        sys.stdin.read()  # until this process is killed


def upgrade(number):
    def run(database):
        reach(f"begin{number}")
        database.run_sql(f"ALTER TABLE tag ADD COLUMN extra{number} INTEGER NOT NULL DEFAULT 0")
        reach(f"column{number}")
        rows = [(f"{number}", f"{row}", "x" * 200) for row in range(2000)]
        database.execute_many("INSERT INTO tag (type, name, scope) VALUES (?, ?, ?)", rows)
        reach(f"rows{number}")
        database.run_sql(f"CREATE TABLE more{number} (id INTEGER PRIMARY KEY)")
        reach(f"table{number}")
    return run


migrations._UPGRADES = (*migrations._UPGRADES, upgrade(1), upgrade(2))
database = open_database(url)
reach("opened")
migrations.migrate(database)
reach("end")
"""
POINTS = [f"{point}{number}" for number in (1, 2) for point in ("begin", "column", "rows", "table")]


class KilledMigrations:
    """Runs that program on copies of a database, kills it, and says what it has left."""

    def __init__(self, new_url: Callable[[], str], folder: Path) -> None:
        self._new_url = new_url
        self._program = folder / "program.py"
        self._program.write_text(textwrap.dedent(KILLED_PROGRAM))

    def run(self, *, stop_at: str = "", after_s: float = 0.0) -> tuple[str, str]:
        """Kill the program at a point or so long after its start; the last point it reached, and the address."""
        url = self._new_url()
        process = subprocess.Popen(
            [sys.executable, str(self._program), url, stop_at],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        reached = process.stdout.readline().strip()
        if stop_at:
            while reached != stop_at:
                reached = process.stdout.readline().strip()
                assert reached
        else:
            time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        reached = ([reached, *process.stdout.read().split()])[-1]
        process.wait(20)
        process.stdin.close()
        process.stdout.close()
        return reached, url

    def check(self, url: str) -> int:
        """How many of the two upgrades are there; each is whole or has left nothing."""
        database = open_database(url)
        try:
            done = version(database) - LATEST_VERSION
            assert columns(database)[4:] == [f"extra{number}" for number in (1, 2)][:done]
            assert database.first_row("SELECT COUNT(*) FROM tag") == (2000 * done,)
            tables = set(database.get_tables()) & {"more1", "more2"}
            assert tables == {f"more{number}" for number in (1, 2)[:done]}
        finally:
            database.close_all()
        return done


@pytest.fixture
def killed_migrations(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[KilledMigrations]:
    made: list[str] = []

    def new_url() -> str:
        made.append(f"copy{len(made)}")
        if not database_url.startswith("postgresql:"):
            folder = tmp_path / made[-1]
            folder.mkdir()
            return str(shutil.copy(database_url, folder / "job.db"))
        server: Any = request.getfixturevalue("postgres_server")
        made[-1] = server.new_database(database_url.rpartition("/")[2])
        return str(server.url(made[-1]))

    yield KilledMigrations(new_url, tmp_path)
    if database_url.startswith("postgresql:"):
        for name in made:
            request.getfixturevalue("postgres_server").drop_database(name)


def test_a_kill_anywhere_in_an_upgrade_leaves_the_schema_of_before_or_after(
    killed_migrations: KilledMigrations,
) -> None:
    left = {}
    for point in POINTS:
        _, url = killed_migrations.run(stop_at=point)
        left[point] = killed_migrations.check(url)
    assert left == {point: int(point[-1]) - 1 for point in POINTS}


def test_a_kill_at_any_time_leaves_a_whole_schema(killed_migrations: KilledMigrations) -> None:
    reached, after_s = "", 0.0
    while reached != "end":  # later each time
        reached, url = killed_migrations.run(after_s=after_s)
        killed_migrations.check(url)
        after_s += 0.05
    killed_migrations.check(url)
