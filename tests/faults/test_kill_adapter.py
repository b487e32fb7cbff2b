"""kill -9 of the Slurm adapter in loops through a day of jobs: in the end the backend has every run once."""

import json
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faultrig.relay import MODES, Relay
from faultrig.site import CLUSTER, Site, soon
from faultrig.slurmday import DAY_S, SlurmDay, make_day
from processes import BIN

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


class Adapter:
    """The adapter with its state folder."""

    def __init__(self, directory: Path, relay: Relay, token: str, day: SlurmDay) -> None:
        directory.mkdir()
        self.state = directory / "state"
        self._log = directory / "adapter.log"
        self._config = directory / "adapter.json"
        document = {
            "cluster": CLUSTER,
            "interval": "1s",
            "state-directory": str(self.state),
            "backend": {"url": relay.url, "token": token, "timeout": "1s"},
            "slurm": {"command-directory": str(day.commands)},
        }
        self._config.write_text(json.dumps(document), "utf-8")
        self._config.chmod(0o600)
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    def start(self) -> None:
        with self._log.open("ab") as output:
            command = [BIN / "cc-slurm-adapter", "run", "--config", self._config]
            self._running = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)

    def kill(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None

    def once(self) -> str:
        command = [BIN / "cc-slurm-adapter", "once", "--config", self._config]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout


def rows_of(site: Site) -> Counter[tuple[Any, ...]]:
    return Counter(
        (
            row["jobId"],
            row["startTime"],
            row["duration"],
            row["jobState"],
            tuple(sorted(resource["hostname"] for resource in row["resources"])),
            row["user"],
            row["project"],
        )
        for row in site.jobs()
    )


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
            adapter.start()
            for step in range(STEPS_PER_ROUND):
                day.turn_to(begin_s + DAY_S * (number * STEPS_PER_ROUND + step) // steps)
                time.sleep(chance.uniform(0.1, 0.8))
            adapter.kill()
    finally:
        adapter.kill()
    relay.turn("open")
    for name in ("squeue", "sacct"):
        day.break_command(name, broken=False)
    day.turn_to(begin_s + DAY_S)
    soon("the last event", lambda: "sent: 0 starts, 0 stops" in (said := adapter.once()) and "waiting: 0" in said, 90)
    wanted = Counter(run.expected() for run in runs)
    found = rows_of(site)
    assert not wanted - found, "runs that are lost or have other values"
    assert not found - wanted, "runs that are told twice, or were never there"
    assert "Traceback" not in adapter.log
    told = sum(passed.path.startswith("/api/jobs/") for passed in relay.passed)
    assert told >= 2 * len(runs)
