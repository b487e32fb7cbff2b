"""PostgreSQL that is killed or read-only while events arrive: each is answered, and nothing acknowledged is lost."""

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from faultrig.keyed import BulkPoster, KeyedPoster, acknowledged, check
from faultrig.numbered import Poster
from faultrig.site import Site, soon

pytestmark = pytest.mark.faults

ROUNDS = int(os.environ.get("CC_FAULT_ROUNDS", "3"))


@pytest.fixture
def server(postgres_server: Any) -> Iterator[Any]:
    """A PostgreSQL server that runs again after the test."""
    yield postgres_server
    postgres_server.stop()
    postgres_server.start()


def test_the_backend_goes_on_by_itself_after_postgresql_was_killed_or_was_read_only(
    site: Site, server: Any, chance: random.Random
) -> None:
    name = server.new_database()
    site.use_database(server.url(name))
    keyed = [KeyedPoster(site, first_id=number * 1_000_000) for number in (1, 2)]
    bulk = [BulkPoster(site, first_id=3_000_000, keyed=True), BulkPoster(site, first_id=4_000_000, keyed=False)]
    posters: list[Poster] = [*keyed, *bulk]
    with site.serving():
        for poster in posters:
            poster.needs_answers = True  # the backend runs all the time: 503, not a lost connection
            poster.start()
        try:
            for number in range(ROUNDS):
                before = acknowledged(keyed, bulk)
                more = chance.randrange(1, 200)
                soon("acknowledged events", lambda: acknowledged(keyed, bulk) >= before + more)  # noqa: B023 - asked here
                time.sleep(chance.uniform(0, 0.02))
                if number % 2:
                    set_read_only(server, name, value="on")
                    soon("the fault", lambda: site.ask("GET", "/healthz")[0] == 503)
                    set_read_only(server, name, value="off")
                else:
                    server.stop(kill=True)
                    soon("the fault", lambda: site.ask("GET", "/healthz")[0] == 503)
                    server.start()
            soon("the end of the fault", site.is_up)
            for poster in posters:
                poster.end()
            assert not [line for poster in posters for line in poster.wrong]
            check(site, keyed, bulk)
        finally:
            for poster in posters:
                poster.end()
    assert "Traceback" not in site.log
    assert min(len(poster.stopped) for poster in [*keyed, *bulk]) > 1
    server.drop_database(name)


def set_read_only(server: Any, name: str, *, value: str) -> None:
    """Let new transactions of all sessions be read-only, as on a server that is not the primary any more, or not."""
    server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608 - of the test
