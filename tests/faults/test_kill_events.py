"""kill -9 of the backend while events are stored: nothing acknowledged is lost, double, or there by halves."""

import os
import random
import time

import pytest
from faultrig.keyed import BulkPoster, KeyedPoster, acknowledged, check
from faultrig.numbered import Poster
from faultrig.site import Site, soon

pytestmark = pytest.mark.faults

DEFAULT_ROUNDS = {"sqlite": "40", "postgresql": "4"}


def test_a_killed_backend_has_every_acknowledged_event_once_and_none_by_halves(
    site_on_engine: Site, engine: str, chance: random.Random
) -> None:
    site, rounds = site_on_engine, int(os.environ.get("CC_FAULT_ROUNDS", DEFAULT_ROUNDS[engine]))
    keyed = [KeyedPoster(site, first_id=number * 1_000_000) for number in (1, 2)]
    bulk = [BulkPoster(site, first_id=3_000_000, keyed=True), BulkPoster(site, first_id=4_000_000, keyed=False)]
    posters: list[Poster] = [*keyed, *bulk]
    for poster in posters:
        poster.start()
    try:
        for _ in range(rounds):
            site.start()
            before = acknowledged(keyed, bulk)
            more = chance.randrange(1, 200)
            soon("acknowledged events", lambda: acknowledged(keyed, bulk) >= before + more)  # noqa: B023 - asked here
            time.sleep(chance.uniform(0, 0.02))
            site.kill()
        site.start()
        for poster in posters:
            poster.end()
        assert not [line for poster in posters for line in poster.wrong]
        check(site, keyed, bulk)
    finally:
        for poster in posters:
            poster.end()
        site.stop()
    assert "Traceback" not in site.log
    assert min(len(poster.stopped) for poster in [*keyed, *bulk]) > rounds / 4
