"""kill -9 of the Slurm adapter in loops through a day of jobs: in the end the backend has every run once."""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultrig.adapter import Adapter, rows_of
from faultrig.relay import MODES, Relay
from faultrig.rounds import counted
from faultrig.site import Site, soon
from faultrig.slurmday import DAY_S, SlurmDay, make_day

pytestmark = pytest.mark.faults

ROUNDS = int(os.environ.get("CC_FAULT_ROUNDS", "24"))
JOBS = 200
STEPS_PER_ROUND = 3


@pytest.fixture
def relay(site: Site) -> Iterator[Relay]:
    relay = Relay(site.port)
    site.start()
    yield relay
    relay.close()
    site.stop()


def start_and_wait(adapter: Adapter, *, waits: bool) -> None:
    """Start it, and return at once or when it begins to look."""
    before = adapter.log.count("started cluster=")
    adapter.start()
    if waits:
        soon("the adapter's start", lambda: adapter.log.count("started cluster=") > before)


def told(relay: Relay) -> int:
    """How many job events the backend took."""
    return sum(passed.path.startswith("/api/jobs/") for passed in relay.passed)


def test_a_killed_adapter_tells_every_run_of_the_day_once(
    site: Site, relay: Relay, tmp_path: Path, chance: random.Random
) -> None:
    begin_s = int(time.time()) - DAY_S
    runs = make_day(chance, begin_s, JOBS)
    day = SlurmDay(tmp_path / "slurm", runs)
    adapter = Adapter(tmp_path / "adapter", relay, site.jobs_token, day)
    steps = ROUNDS * STEPS_PER_ROUND
    day.turn_to(begin_s)
    try:
        for number in range(ROUNDS):
            relay.turn(chance.choice((*MODES, "open")))
            day.break_command("squeue", broken=chance.random() < 0.15)
            day.break_command("sacct", broken=chance.random() < 0.15)
            start_and_wait(adapter, waits=number % 4 != 1)
            for step in range(STEPS_PER_ROUND):
                day.turn_to(begin_s + DAY_S * (number * STEPS_PER_ROUND + step) // steps)
                time.sleep(chance.uniform(0.1, 0.8))
            if number == ROUNDS - 1 and not told(relay):  # in a few rounds the backend may never have been in reach
                relay.turn("lose")
                for name in ("squeue", "sacct"):
                    day.break_command(name, broken=False)
                soon("a first event", lambda: told(relay) > 0)
            adapter.kill()
    finally:
        adapter.kill()
    relay.turn("open")
    for name in ("squeue", "sacct"):
        day.break_command(name, broken=False)
    day.turn_to(begin_s + DAY_S)
    soon("the last event", adapter.is_done, 90)
    wanted = Counter(run.expected() for run in runs)
    found = rows_of(site)
    assert not wanted - found, "runs that are lost or have other values"
    assert not found - wanted, "runs that are told twice, or were never there"
    assert "Traceback" not in adapter.log
    assert told(relay) >= 2 * len(runs)
    counted(kills=ROUNDS, events=2 * len(runs))
