"""A running server's database is removed, locked, filled up or damaged by somebody else."""

import logging
import os
import resource
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from cc_backend.auth.tables import UserRow
from cc_backend.db.database import FaultKind
from cc_backend.db.opening import open_database
from cc_backend.db.sqlite_database import SqliteDatabase
from cc_backend.db.sqlite_watch import INTEGRITY_EVERY_S, INTEGRITY_RETRY_S, SqliteWatch
from cc_backend.errors import Unavailable
from cc_backend.migrations import migrate


class MonotonicClock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> MonotonicClock:
    return MonotonicClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.db"


@pytest.fixture
def database(path: Path) -> Iterator[SqliteDatabase]:
    opened = open_database(path, busy_timeout_s=0.2)
    migrate(opened, now_s=0)
    yield opened
    opened.close_all()


@pytest.fixture
def watch(database: SqliteDatabase, clock: MonotonicClock) -> Iterator[SqliteWatch]:
    watching = SqliteWatch(database, monotonic=clock)
    watching.check()
    assert database.faults() == []
    yield watching
    watching.close()


def add(database: SqliteDatabase, name: str) -> None:
    with database.write():
        UserRow.insert(name=name).execute(database)


def names(path: Path) -> list[str]:
    """As another process finds them."""
    other = sqlite3.connect(path)
    try:
        return [name for (name,) in other.execute("SELECT name FROM user ORDER BY name")]
    finally:
        other.close()


def refused(database: SqliteDatabase) -> bool:
    with pytest.raises(Unavailable) as error:
        add(database, "kept out")
    return bool(error.value.retry_after_s)


@pytest.mark.parametrize("how", ["removed", "replaced", "moved"])
def test_a_file_that_is_not_in_place_is_a_fault_until_it_is_back(
    database: SqliteDatabase, watch: SqliteWatch, path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    os.link(path, path.with_name("kept"))
    path.unlink()
    if how == "replaced":
        path.write_bytes(b"x")
    for _ in range(3):
        watch.check()
    assert len(database.faults()) == 1
    assert refused(database)
    path.with_name("kept").replace(path)
    watch.check()
    assert database.faults() == []
    add(database, "kmeyer")
    assert names(path) == ["kmeyer"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_lock_of_another_process_is_noticed_without_waiting_and_so_is_its_end(
    database: SqliteDatabase, watch: SqliteWatch, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    watch.check()
    watch.check()
    assert database.faults() == ["the database cannot be written: another process holds it: end that process"]
    assert refused(database)
    assert database.first_row("SELECT COUNT(*) FROM user") == (0,), "reading goes on"
    other.close()
    watch.check()
    assert database.faults() == []
    add(database, "kmeyer")
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_long_transaction_of_our_own_is_no_fault(
    database: SqliteDatabase, watch: SqliteWatch, clock: MonotonicClock
) -> None:
    with database.write(), ThreadPoolExecutor(1) as pool:
        UserRow.insert(name="kmeyer").execute(database)
        clock.now_s += 60
        pool.submit(watch.check).result(20)
        assert database.faults() == []


def test_a_disk_that_is_full_is_a_fault_until_something_can_really_be_written(
    database: SqliteDatabase, watch: SqliteWatch, path: Path
) -> None:
    version = database.first_row("PRAGMA user_version")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        assert refused(database)
        watch.check()
        assert database.has_fault(FaultKind.WRITE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    watch.check()
    assert database.faults() == []
    assert database.first_row("PRAGMA user_version") == version
    assert names(path) == []


def test_what_was_written_ends_the_fault_at_once_and_a_transaction_without_change_does_not(
    database: SqliteDatabase,
) -> None:
    database.record_fault(FaultKind.WRITE, "the disk is full: free some space")
    with database.write():
        pass
    assert database.has_fault(FaultKind.WRITE)
    add(database, "kmeyer")
    assert database.faults() == []


def test_while_all_is_well_no_look_writes(database: SqliteDatabase, watch: SqliteWatch, path: Path) -> None:
    add(database, "kmeyer")
    before = [(one.stat().st_size, one.stat().st_mtime_ns) for one in (path, Path(f"{path}-wal"))]
    for _ in range(20):
        watch.check()
    assert [(one.stat().st_size, one.stat().st_mtime_ns) for one in (path, Path(f"{path}-wal"))] == before


def test_a_wal_file_that_is_gone_stops_writing_and_what_it_held_is_saved(
    database: SqliteDatabase, watch: SqliteWatch, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(database, "kmeyer")
    Path(f"{path}-wal").unlink()
    watch.check()
    watch.check()
    assert database.faults() == ["the database has lost its -wal file while the server runs: restart the server"]
    assert refused(database)
    assert len(caplog.records) == 1
    watch.close()
    database.close_all()
    assert names(path) == ["kmeyer"]


def test_permissions_taken_away_are_a_fault_while_they_last(
    database: SqliteDatabase, watch: SqliteWatch, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of the kernel: root may all the same, and then nothing is wrong."""
    for place in (path, path.parent):
        with monkeypatch.context() as forbidden:
            forbidden.setattr(os, "access", lambda asked, _, place=place: asked != place)
            watch.check()
        assert "may not be read and written" in database.faults()[0]
        watch.check()
        assert database.faults() == []


def damage(path: Path) -> bytes:
    """Overwrites a page that no query of these tests reads; returns what was there."""
    content = path.read_bytes()
    path.write_bytes(content[: -2 * 4096] + bytes(4096) + content[-4096:])
    return content


def test_a_damaged_page_is_found_though_no_query_comes_by(
    path: Path, clock: MonotonicClock, caplog: pytest.LogCaptureFixture
) -> None:
    first = open_database(path)
    migrate(first, now_s=0)
    first.close_all()
    whole = damage(path)
    database = open_database(path)
    watch = SqliteWatch(database, monotonic=clock)
    clock.now_s += 1
    watch.check_integrity()
    assert database.faults() == ["the database is damaged: restore a backup"]
    watch.check_integrity()
    path.write_bytes(whole)
    watch.check_integrity()
    assert len(database.faults()) == 1, "not looked at each time"
    clock.now_s += INTEGRITY_RETRY_S
    watch.check_integrity()
    assert database.faults() == []
    told = [record.levelname for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == ["ERROR", "WARNING"]
    watch.close()
    database.close_all()


def test_a_whole_file_is_read_once_a_day_and_a_large_one_not_at_once(
    database: SqliteDatabase, path: Path, clock: MonotonicClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[float] = []
    monkeypatch.setattr(SqliteWatch, "_quick_check", lambda _: (reads.append(clock.now_s), "ok")[1])
    with path.open("r+b") as file:
        file.truncate(100 << 20)
    watch = SqliteWatch(database, monotonic=clock)
    for _ in range(20000):
        watch.check_integrity()
        clock.now_s += 10
    assert reads[0] == pytest.approx(1010, abs=10)
    assert [later - earlier for earlier, later in pairwise(reads)] == [INTEGRITY_EVERY_S] * 2
    watch.close()


def test_a_check_that_is_under_way_ends_with_the_server(database: SqliteDatabase, clock: MonotonicClock) -> None:
    watch = SqliteWatch(database, monotonic=clock)
    clock.now_s += 1
    watch.close()
    watch.check_integrity()
    assert database.faults() == []
