"""A running server goes on by itself with a backup in the place of its database, and without its -wal file."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cc_backend.auth.tables import UserRow
from cc_backend.db.database_file import replacement_rejection
from cc_backend.db.opening import open_database
from cc_backend.db.sqlite_database import SqliteDatabase
from cc_backend.db.sqlite_watch import DatabaseReplacement, SqliteWatch
from cc_backend.errors import Unavailable
from cc_backend.migrations import LATEST_VERSION, installation_id, migrate
from cc_backend.runtime.lockfile import read_note


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.db"


@pytest.fixture
def database(path: Path) -> Iterator[SqliteDatabase]:
    opened = open_database(path, busy_timeout_s=5)
    migrate(opened, now_s=0)
    yield opened
    opened.close_all()


@pytest.fixture
def watch(database: SqliteDatabase) -> Iterator[SqliteWatch]:
    usable = partial(replacement_rejection, installation=installation_id(database), version=LATEST_VERSION)
    watching = SqliteWatch(database, replacement=DatabaseReplacement(usable, lambda: None))
    watching.check()
    yield watching
    watching.close()


def add(database: SqliteDatabase, name: str) -> None:
    with database.write():
        UserRow.insert(name=name).execute(database)


def seen(database: SqliteDatabase) -> list[str]:
    return sorted(name for (name,) in UserRow.select(UserRow.name).tuples().execute(database))


def names(path: Path) -> list[str]:
    """As a restart finds them."""
    with closing(sqlite3.connect(path)) as other:
        return [name for (name,) in other.execute("SELECT name FROM user ORDER BY name")]


def backup(path: Path, to: Path) -> Path:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
    return to


@pytest.fixture
def kept(database: SqliteDatabase, path: Path) -> Path:
    """A backup with one account; the database has another one since."""
    add(database, "first")
    made = backup(path, path.with_name("kept.db"))
    add(database, "second")
    return made


def looks(watch: SqliteWatch, count: int = 3) -> None:
    for _ in range(count):
        watch.check()


def test_a_backup_that_is_moved_into_its_place_is_used_by_all_threads(
    database: SqliteDatabase, watch: SqliteWatch, path: Path, kept: Path
) -> None:
    asked, answered, found = threading.Event(), threading.Event(), list[list[str]]()

    def other_thread() -> None:
        found.append(seen(database))
        answered.set()
        assert asked.wait(20)
        found.append(seen(database))

    thread = threading.Thread(target=other_thread)
    thread.start()
    assert answered.wait(20)
    path.rename(path.with_name("away.db"))
    kept.rename(path)
    with pytest.raises(Unavailable):
        add(database, "kept out")
    watch.check()
    assert database.faults(), "it might still be written by whoever puts it there"
    watch.check()
    assert database.faults() == []
    add(database, "third")
    asked.set()
    thread.join(20)
    assert found == [["first", "second"], ["first", "third"]]
    assert names(path.with_name("away.db")) == ["first", "second"], "nothing of the one before is lost"
    watch.close()
    database.close_all()
    assert names(path) == ["first", "third"]
    assert not Path(f"{path}-wal").exists()


def test_what_was_in_a_removed_database_is_kept_beside_the_backup(
    database: SqliteDatabase, watch: SqliteWatch, path: Path, kept: Path
) -> None:
    kept.replace(path)
    looks(watch)
    assert seen(database) == ["first"]
    (former,) = path.parent.glob("job.db.before-*")
    assert names(former) == ["first", "second"]
    assert former.stat().st_mode & 0o077 == 0


def foreign(path: Path, kept: Path) -> None:
    other = open_database(path.with_name("other.db"))
    migrate(other, now_s=0)
    other.close_all()
    path.with_name("other.db").replace(path)


def older(path: Path, kept: Path) -> None:
    with closing(sqlite3.connect(kept)) as connection:
        connection.execute("DELETE FROM schema_version WHERE version = ?", (LATEST_VERSION,))
        connection.commit()
    kept.replace(path)


def torn(path: Path, kept: Path) -> None:
    path.unlink()
    path.write_bytes(kept.read_bytes()[:-4096])


def with_log(path: Path, kept: Path) -> None:
    path.unlink()
    Path(f"{path}-wal").unlink()
    Path(f"{path}-wal").write_bytes(b"of somebody else")
    kept.rename(path)


def no_database(path: Path, kept: Path) -> None:
    path.unlink()
    path.write_bytes(b"x")


@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (foreign, "it is of another installation"),
        (older, "it is of another version of this program"),
        (torn, "damaged"),
        (with_log, "a -wal file lies beside it"),
        (no_database, "it is not a database of this program"),
    ],
)
def test_what_is_no_backup_of_it_is_not_used(  # noqa: PLR0917 - fixtures
    database: SqliteDatabase,
    watch: SqliteWatch,
    path: Path,
    kept: Path,
    caplog: pytest.LogCaptureFixture,
    put: Callable[[Path, Path], None],
    reason: str,
) -> None:
    os.link(path, path.with_name("original"))
    put(path, kept)
    there = path.read_bytes()
    looks(watch, 5)
    (fault,) = database.faults()
    assert reason in fault
    with pytest.raises(Unavailable, match="not used before a restart"):
        add(database, "kept out")
    assert path.read_bytes() == there
    assert len(caplog.records) == 2, "it is told once, not at each look"
    if put is not with_log:
        path.with_name("original").replace(path)
        watch.check()
        assert database.faults() == []
        add(database, "third")
        assert seen(database) == ["first", "second", "third"]


def test_a_lost_wal_file_is_written_anew_with_all_that_was_acknowledged(
    database: SqliteDatabase, watch: SqliteWatch, path: Path
) -> None:
    path.chmod(0o640)
    add(database, "first")
    Path(f"{path}-wal").unlink()
    watch.check()
    assert database.faults() == []
    add(database, "second")
    looks(watch)
    assert (seen(database), names(path)) == (["first", "second"], ["first", "second"])
    assert path.stat().st_mode & 0o777 == 0o640
    watch.close()
    database.close_all()
    assert names(path) == ["first", "second"]
    assert sorted(one.name for one in path.parent.iterdir()) == ["job.db"]


def test_a_wal_file_that_somebody_else_has_made_since_is_left_alone(
    database: SqliteDatabase, watch: SqliteWatch, path: Path
) -> None:
    add(database, "first")
    Path(f"{path}-wal").unlink()
    Path(f"{path}-wal").touch()
    looks(watch)
    assert database.faults() == ["the database has lost its -wal file while the server runs: restart the server"]


def test_no_acknowledged_write_is_lost_while_threads_write_and_files_are_changed_under_them(
    database: SqliteDatabase, watch: SqliteWatch, path: Path
) -> None:
    ended = threading.Event()
    acknowledged: list[str] = []
    readers: list[int] = []

    def write(writer: int) -> None:
        for number in range(100_000):
            if ended.is_set():
                return
            try:
                add(database, f"{writer}-{number}")
            except Unavailable:
                continue
            acknowledged.append(f"{writer}-{number}")
            with suppress(Unavailable):
                seen(database)
                readers.append(writer)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        done = len(readers)
        while set(readers[done:]) != {0, 1, 2}:  # none makes its first connection just now
            watch.check()
            ended.wait(0.005)  # the lock is not fair
        Path(f"{path}-wal").unlink()
        while watch.check() or database.faults():
            ended.wait(0.005)
    ended.set()
    for thread in threads:
        thread.join(20)
    assert set(acknowledged) <= set(seen(database))
    watch.close()
    database.close_all()
    assert set(acknowledged) <= set(names(path))


def test_jobs_name_the_configuration_by_its_number_in_the_new_file(site: Any, tmp_path: Path) -> None:
    path, services = tmp_path / "job.db", site.services
    services.health.check_all()
    made = backup(path, tmp_path / "kept.db")
    with closing(sqlite3.connect(made)) as connection:
        connection.execute("UPDATE cluster_config SET id = id + 70")
        connection.commit()
    made.replace(path)
    assert site.client.get("/healthz").status_code in (200, 503)
    for _ in range(3):
        services.health.check_all()
    assert site.client.get("/healthz").status_code == 200
    id_ = site.start_job()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT cluster_config FROM job WHERE id = ?", (id_,)).fetchone() == (71,)
    assert read_note(tmp_path / "job.db.lock") == str(path.stat().st_ino), "known after a kill, too"


def test_a_copy_that_is_not_done_yet_is_not_looked_at(
    database: SqliteDatabase, watch: SqliteWatch, path: Path, kept: Path
) -> None:
    content = kept.read_bytes()
    path.unlink()
    for share in (1, 2, 3, 4):
        path.write_bytes(content[: len(content) * share // 4])
        watch.check()
    assert database.faults()
    watch.check()
    assert database.faults() == []
    assert seen(database) == ["first"]


def test_a_file_that_is_changed_for_another_while_it_is_read_through_is_not_used(
    database: SqliteDatabase, path: Path, kept: Path, tmp_path: Path
) -> None:
    other = open_database(tmp_path / "other.db")
    migrate(other, now_s=0)
    add(other, "stranger")
    other.close_all()
    fits = partial(replacement_rejection, installation=installation_id(database), version=LATEST_VERSION)

    def changed_meanwhile(at: Path) -> str:
        reason = fits(at)
        if (tmp_path / "other.db").exists():
            (tmp_path / "other.db").replace(at)
        return reason

    watch = SqliteWatch(database, replacement=DatabaseReplacement(changed_meanwhile, lambda: None))
    watch.check()
    kept.replace(path)
    looks(watch, 5)
    assert ["it is of another installation" in fault for fault in database.faults()] == [True]
    with pytest.raises(Unavailable):
        add(database, "kept out")
    assert seen(database) == ["first", "second"]
    assert not list(path.parent.glob("job.db.before-*")), "the one before is still in use"
    watch.close()


def test_a_file_that_was_in_use_before_is_not_used_again_without_a_restart(
    database: SqliteDatabase, watch: SqliteWatch, path: Path, kept: Path
) -> None:
    path.rename(path.with_name("away.db"))
    kept.rename(path)
    looks(watch)
    assert database.faults() == []
    path.rename(kept)
    path.with_name("away.db").rename(path)
    looks(watch, 5)
    (fault,) = database.faults()
    assert "it was in use before" in fault, "another process would share neither its locks nor what is in its -wal file"
    with pytest.raises(Unavailable):
        add(database, "kept out")
    kept.rename(path)
    looks(watch)
    assert (database.faults(), seen(database)) == ([], ["first"])


def test_a_file_that_another_process_has_open_is_not_used_before_that_one_ends(
    database: SqliteDatabase, watch: SqliteWatch, path: Path, kept: Path
) -> None:
    kept.rename(path.with_name("elsewhere.db"))
    reading = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(c.execute('SELECT name FROM user').fetchall())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", f"{reading}; sys.stdout.flush(); sys.stdin.read()", path.with_name("elsewhere.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert b"first" in other.stdout.readline()
        path.with_name("elsewhere.db").rename(path)
        looks(watch, 5)
        (fault,) = database.faults()
        assert "another process has it open" in fault
        assert other.stdin is not None
        other.stdin.close()
        other.wait(20)
    looks(watch)
    assert (database.faults(), seen(database)) == ([], ["first"])


def test_a_file_with_a_journal_beside_it_is_not_used(
    database: SqliteDatabase, watch: SqliteWatch, path: Path, kept: Path
) -> None:
    Path(f"{path}-journal").write_bytes(b"of an interrupted copy")
    kept.replace(path)
    looks(watch)
    assert "a -journal file lies beside it" in database.faults()[0]
    Path(f"{path}-journal").unlink()
    watch.check()
    assert database.faults() == []


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A symbolic link to where the database will be."""
    (tmp_path / "fast").mkdir()
    path = tmp_path / "linked.db"
    path.symlink_to(tmp_path / "fast" / "job.db")
    return path


def test_files_are_looked_for_beside_the_database_and_not_beside_a_link_to_it(linked: Path, tmp_path: Path) -> None:
    database = open_database(linked, busy_timeout_s=5)
    migrate(database, now_s=0)
    fits = partial(replacement_rejection, installation=installation_id(database), version=LATEST_VERSION)
    watch = SqliteWatch(database, replacement=DatabaseReplacement(fits, lambda: None))
    watch.check()
    add(database, "first")
    log = tmp_path / "fast" / "job.db-wal"
    log.unlink()
    watch.check()
    assert (database.faults(), log.exists()) == ([], True)
    made = backup(linked, tmp_path / "fast" / "kept.db")
    add(database, "second")
    before = log.stat().st_ino
    made.replace(tmp_path / "fast" / "job.db")
    looks(watch)
    assert (database.faults(), seen(database)) == ([], ["first"])
    assert log.stat().st_ino != before, "two files that share a -wal file write into each other"
    add(database, "third")
    watch.close()
    database.close_all()
    assert names(linked) == ["first", "third"]


RIGHTS = """
import os, sys
from functools import partial
from pathlib import Path
import test_database_replacement as t
from cc_backend.errors import Unavailable
path = Path(sys.argv[1]) / "job.db"
if os.geteuid() == 0:
    os.setuid(65534)
database = t.open_database(path, busy_timeout_s=1)
t.migrate(database, now_s=0)
fits = partial(t.replacement_rejection, installation=t.installation_id(database), version=t.LATEST_VERSION)
watch = t.SqliteWatch(database, replacement=t.DatabaseReplacement(fits, lambda: None))
watch.check()
t.add(database, "first")
made = t.backup(path, path.with_name("kept.db"))
made.chmod(0o444)
made.replace(path)
t.looks(watch)
print("it may not be read and written" in database.faults()[0])
path.chmod(0o644)
t.looks(watch)
t.add(database, "second")
path.chmod(0o444)
database._writer = None  # the next write makes a connection while the file may only be read
def later():
    try:
        t.add(database, "kept out")
    except Unavailable:
        print("refused")
    path.chmod(0o644)
    watch.check()
    t.add(database, "third")
thread = t.threading.Thread(target=later)
thread.start()
thread.join()
print(t.seen(database), database.faults())
"""


def test_rights_that_come_later_need_no_restart() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o777)
        ended = subprocess.run(
            [sys.executable, "-c", RIGHTS, folder],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        shutil.rmtree(folder)
    assert ended.stdout.splitlines() == ["True", "refused", "['first', 'second', 'third'] []"], ended.stderr


def test_a_copy_for_which_there_is_no_room_is_not_tried_at_each_look(
    database: SqliteDatabase, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = 0.0
    fits = partial(replacement_rejection, installation=installation_id(database), version=LATEST_VERSION)
    watch = SqliteWatch(database, replacement=DatabaseReplacement(fits, lambda: None), monotonic=lambda: now_s)
    watch.check()
    add(database, "first")
    path.with_name("job.db.new").mkdir()
    Path(f"{path}-wal").unlink()
    looks(watch, 5)
    assert ["written anew" in record.message for record in caplog.records] == [False, True]
    path.with_name("job.db.new").rmdir()
    now_s += 60
    watch.check()
    assert (database.faults(), seen(database)) == ([], ["first"])
    watch.close()


def test_a_file_that_was_emptied_in_its_place_keeps_no_thread_waiting(database: SqliteDatabase, path: Path) -> None:
    add(database, "first")
    os.truncate(path, 0)
    refused: list[str] = []

    def other_thread() -> None:
        try:
            seen(database)
        except Unavailable as error:
            refused.append(str(error))

    thread = threading.Thread(target=other_thread, daemon=True)
    thread.start()
    thread.join(20)
    assert refused == ["the database cannot be used now: the file is damaged: restore a backup"]
