from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cc_backend.db.database import FaultKind
from cc_backend.db.opening import open_database
from cc_backend.errors import BackendError, Unavailable

pytest.importorskip("psycopg2")

from cc_backend.db.postgres_watch import PostgresWatch

MakeWatch = Callable[..., PostgresWatch]
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()"


@pytest.fixture
def database_url(postgres_database_url: str) -> str:
    return postgres_database_url


@pytest.fixture
def make_watch(database_url: str) -> Iterator[MakeWatch]:
    """Makes the watch of another process on the database, by default one without a metric store."""
    made: list[tuple[Any, PostgresWatch]] = []

    def make(*, has_store: bool = False) -> PostgresWatch:
        database: Any = open_database(database_url, busy_timeout_s=0.3)
        try:
            watch = PostgresWatch(database, has_store=has_store)
        except BackendError:
            database.close_all()
            raise
        made.append((database, watch))
        return watch

    yield make
    for database, watch in made:
        watch.close()
        database.close_all()


def end_connections(server: Any, url: str) -> None:
    server.execute(TERMINATE.format(url.rpartition("/")[2]))


def test_one_process_leads_until_it_ends_and_then_another_one(make_watch: MakeWatch) -> None:
    first, second, third = make_watch(), make_watch(), make_watch()
    assert [watch.is_leader() for watch in (first, second, third)] == [True, False, False]
    second.check()
    assert not second.is_leader()
    first.close()
    assert not first.is_leader()
    second.check()
    third.check()
    assert [watch.is_leader() for watch in (second, third)] == [True, False]


def test_a_leader_whose_connection_is_lost_leads_no_more_if_another_one_does(
    make_watch: MakeWatch, postgres_server: Any, database_url: str
) -> None:
    first, second = make_watch(), make_watch()
    end_connections(postgres_server, database_url)
    second.check()
    first.check()
    assert [watch.is_leader() for watch in (first, second)] == [False, True]


def test_one_process_on_a_database_has_a_metric_store(make_watch: MakeWatch) -> None:
    first = make_watch(has_store=True)
    with pytest.raises(BackendError, match="metric-store-external with the scope"):
        make_watch(has_store=True)
    make_watch()
    first.close()
    make_watch(has_store=True)


def test_a_process_whose_place_another_one_with_a_store_has_taken_does_not_lead_and_says_so(
    make_watch: MakeWatch, postgres_server: Any, database_url: str
) -> None:
    first = make_watch(has_store=True)
    end_connections(postgres_server, database_url)
    second = make_watch(has_store=True)
    first.check()
    assert [watch.is_leader() for watch in (first, second)] == [False, True]
    (fault,) = first._database.faults()
    assert "another process with a metric store" in fault
    second.close()
    first.check()
    assert first.is_leader()
    assert first._database.faults() == []


def test_a_server_that_is_away_is_a_fault_until_it_is_back(make_watch: MakeWatch, postgres_server: Any) -> None:
    watch = make_watch(has_store=True)
    postgres_server.stop()
    try:
        watch.check()
        assert watch._database.has_fault(FaultKind.UNREACHABLE)
        assert not watch.is_leader()
    finally:
        postgres_server.start()
    watch.check()
    assert watch._database.faults() == []
    assert watch.is_leader()


def test_a_process_does_not_start_while_the_server_is_away(make_watch: MakeWatch, postgres_server: Any) -> None:
    postgres_server.stop()
    try:
        with pytest.raises(Unavailable, match="does not answer"):
            make_watch()
    finally:
        postgres_server.start()


def test_a_server_that_is_read_only_is_a_fault(make_watch: MakeWatch, postgres_server: Any, database_url: str) -> None:
    watch = make_watch()
    name = database_url.rpartition("/")[2]
    postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    end_connections(postgres_server, database_url)
    watch.check()
    assert watch._database.has_fault(FaultKind.ACCESS)
    assert not watch.is_leader()
    postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    end_connections(postgres_server, database_url)
    watch.check()
    assert watch._database.faults() == []
    assert watch.is_leader()


def test_a_write_lock_that_is_free_again_is_seen(make_watch: MakeWatch) -> None:
    watch = make_watch()
    database = watch._database
    database.record_fault(FaultKind.BUSY, "wait")
    with database.write():
        watch.check()
        assert database.has_fault(FaultKind.BUSY)
    database.record_fault(FaultKind.BUSY, "wait")
    watch.check()
    assert database.faults() == []
