import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from cc_backend.auth.tables import UserRow
from cc_backend.db.database import Database, FaultKind
from cc_backend.db.opening import open_database
from cc_backend.errors import BackendError, InvalidInput, Unavailable

postgres_database = pytest.importorskip("cc_backend.db.postgres_database", reason="psycopg2 is not installed")

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()"


@pytest.fixture
def database_url(postgres_database_url: str) -> str:
    return postgres_database_url


@pytest.fixture
def opened(database_url: str) -> Iterator[Any]:
    """The database with short limits."""
    database = open_database(database_url, busy_timeout_s=0.3, statement_timeout_s=0.6)
    yield database
    database.close_all()


def add(database: Database, name: str) -> None:
    with database.write():
        UserRow.insert(name=name).execute(database)


def names(database: Database) -> list[str]:
    return [name for (name,) in database.raw_rows(UserRow.select(UserRow.name).order_by(UserRow.name))]


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def test_a_connection_that_was_lost_is_made_anew_and_nobody_notices(
    database: Database, database_url: str, postgres_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    add(database, "before")
    for use in (lambda: names(database), lambda: add(database, "after")):
        postgres_server.execute(TERMINATE.format(name_of(database_url)))
        use()
    assert names(database) == ["after", "before"]
    assert (database.faults(), caplog.records) == ([], [])


def test_a_connection_that_is_lost_in_a_transaction_undoes_it(
    database: Database, database_url: str, postgres_server: Any
) -> None:
    def add_and_lose() -> None:
        with database.write():
            UserRow.insert(name="lost").execute(database)
            postgres_server.execute(TERMINATE.format(name_of(database_url)))
            UserRow.insert(name="second").execute(database)

    with pytest.raises(Unavailable, match="does not answer") as refused:
        add_and_lose()
    assert refused.value.retry_after_s
    add(database, "kmeyer")
    assert (names(database), database.faults()) == (["kmeyer"], [])


def test_a_connection_that_is_lost_in_a_savepoint_or_before_the_commit_undoes_all(
    database: Database, database_url: str, postgres_server: Any
) -> None:
    def add_in_savepoint() -> None:
        with database.write():
            UserRow.insert(name="outer").execute(database)
            with database.write():
                UserRow.insert(name="inner").execute(database)
                postgres_server.execute(TERMINATE.format(name_of(database_url)))

    with pytest.raises(Unavailable):
        add_in_savepoint()
    assert names(database) == []


def test_while_the_server_is_away_it_is_unavailable_and_comes_back_by_itself(
    database: Database, postgres_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    add(database, "kmeyer")
    postgres_server.stop(kill=True)
    try:
        for _ in range(2):
            with pytest.raises(Unavailable, match="PostgreSQL server does not answer"):
                names(database)
            with pytest.raises(Unavailable, match="PostgreSQL server does not answer"):
                add(database, "kept out")
        (fault,) = database.faults()
        assert fault.startswith("the database cannot be reached: ")
    finally:
        postgres_server.start()
    assert names(database) == ["kmeyer"]
    assert database.faults() == []
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_while_a_watch_knows_that_the_server_is_away_nobody_waits_for_it(opened: Any) -> None:
    opened.has_watch = True
    opened.record_fault(FaultKind.UNREACHABLE, "look at it")
    opened.new_connection = None  # would be called
    with pytest.raises(Unavailable, match="look at it"):
        names(opened)


def test_a_login_that_is_refused_is_told_without_the_password(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = open_database(database_url, password="not-this-one")
    with pytest.raises(Unavailable) as refused:
        names(database)
    assert "password authentication failed" in caplog.text
    for text in (str(refused.value), str(refused.value.__cause__), caplog.text, *database.faults()):
        assert "not-this-one" not in text
    database.close_all()


def test_the_password_may_come_from_elsewhere_than_the_address(postgres_server: Any, database_url: str) -> None:
    url = postgres_server.url(name_of(database_url), with_password=False)
    database = open_database(url, password="p@ss:w/rd")
    assert names(database) == []
    database.close_all()


def test_a_statement_that_takes_too_long_is_ended(opened: Any) -> None:
    with pytest.raises(Unavailable, match="took too long"):
        opened.first_row("SELECT pg_sleep(20)")
    assert opened.faults() == [], "nothing is wrong with the database"
    assert names(opened) == []


def test_a_migration_may_take_longer(opened: Any) -> None:
    with opened.write():
        opened.lift_time_limits()
        opened.first_row("SELECT pg_sleep(0.8)")
    with pytest.raises(Unavailable, match="took too long"):
        opened.first_row("SELECT pg_sleep(20)")


def test_a_lock_that_another_program_holds_makes_it_unavailable_until_it_is_free(
    database: Database, opened: Any
) -> None:
    with database.write():
        database.run_sql('LOCK TABLE "user"')
        with ThreadPoolExecutor(1) as pool, pytest.raises(Unavailable, match="another process holds"):
            pool.submit(names, opened).result(20)
        assert opened.has_fault(FaultKind.BUSY)
    add(opened, "kmeyer")
    assert opened.faults() == []


def test_two_transactions_that_wait_for_each_other_end(database: Database, opened: Any) -> None:
    """Ours never do, as one writes at a time; another program may take rows in another order."""
    with database.write():
        for name in ("first", "second"):
            UserRow.insert(name=name).execute(database)
    other = opened.new_connection(lock_timeout_s=20, statement_timeout_s=20)
    other.autocommit = False
    update = "UPDATE \"user\" SET email = 'x' WHERE name = '{}'"

    def write() -> None:
        with database.write():
            database.first_row("SELECT set_config('deadlock_timeout', '50ms', true)")
            database.run_sql(update.format("first"))
            with other.cursor() as cursor:
                cursor.execute(update.format("second"))
            waiting = threading.Thread(target=lambda: other.cursor().execute(update.format("first")))
            waiting.start()
            try:
                database.run_sql(update.format("second"))
            finally:
                threads.append(waiting)

    threads: list[threading.Thread] = []
    with pytest.raises(Unavailable, match="another transaction was in the way"):
        write()
    threads[0].join(20)
    other.rollback()
    other.close()
    assert names(database) == ["first", "second"]


@pytest.mark.parametrize("value", ["zero \0 byte", 2**63, "half \ud800 pair"])
def test_what_postgresql_cannot_store_is_the_askers_mistake_in_every_statement(
    database: Database, value: object
) -> None:
    column = UserRow.full_name if isinstance(value, str) else UserRow.created_s
    statement = f'UPDATE "user" SET {column.name} = ?'  # noqa: S608 - one of two columns
    for run in (
        lambda: UserRow.select().where(column == value).count(database),
        lambda: database.run_sql(statement, value),
        lambda: database.execute_many(statement, [(value,)]),
    ):
        with pytest.raises(InvalidInput), database.write():
            run()
    assert names(database) == []


def test_a_number_that_its_column_cannot_hold_is_the_askers_mistake(database: Database) -> None:
    with pytest.raises(InvalidInput), database.write():
        database.run_sql("INSERT INTO schema_version (version, applied_s) VALUES (?, 0)", 2**40)


def test_a_read_only_server_says_so(database_url: str, postgres_server: Any) -> None:
    postgres_server.execute(f"ALTER DATABASE {name_of(database_url)} SET default_transaction_read_only = on")
    database = open_database(database_url)
    with pytest.raises(Unavailable, match="must name the primary"):
        add(database, "kmeyer")
    assert names(database) == []
    database.close_all()


def test_another_encoding_than_utf_8_is_refused(postgres_server: Any) -> None:
    postgres_server.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    database = open_database(postgres_server.url("latin"))
    with pytest.raises(BackendError, match="encoding LATIN1"):
        names(database)
    database.close_all()
    postgres_server.drop_database("latin")


def test_a_socket_of_this_machine_will_do(database_url: str, postgres_server: Any) -> None:
    name = name_of(database_url)
    database = open_database(
        f"postgresql://cockpit@/{name}?host={postgres_server.folder}&port={postgres_server.port}", password="p@ss:w/rd"
    )
    add(database, "kmeyer")
    assert names(database) == ["kmeyer"]
    assert database.address == f"postgresql://cockpit@{postgres_server.folder}:{postgres_server.port}/{name}"
    database.close_all()


def test_what_a_process_has_locked_that_is_gone_or_stopped_is_free_after_a_while(database: Database) -> None:
    found = {
        name: database.first_row("SELECT current_setting(?)", name)
        for name in ("tcp_keepalives_idle", "tcp_keepalives_count", "idle_in_transaction_session_timeout")
    }
    assert found == {
        "tcp_keepalives_idle": ("10",),
        "tcp_keepalives_count": ("2",),
        "idle_in_transaction_session_timeout": ("1min",),
    }


def test_a_server_of_before_version_13_is_refused() -> None:
    with pytest.raises(BackendError, match="PostgreSQL 13 or newer is needed; the server is 12"):
        postgres_database._require_usable(SimpleNamespace(server_version=120_022))


def test_each_thread_has_a_connection_that_ends_with_it(database: Database, database_url: str) -> None:
    count = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = ?"
    for _ in range(5):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(names, database).result(20)
    assert len(database._connections) <= 1
    (connections,) = database.first_row(count, name_of(database_url)) or (0,)
    assert connections <= 3
