"""kill -9 of agents in loops, with the backend there, away, silent or forgetful: what was spooled arrives, once."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultrig.nodes import Node, Samples, findings, samples_of, stored
from faultrig.relay import MODES, Relay
from faultrig.rounds import counted
from faultrig.site import Site, soon

pytestmark = pytest.mark.faults

ROUNDS = int(os.environ.get("CC_FAULT_ROUNDS", "10"))
HOSTS = ("n1", "n2", "n3")
TORN_EACH = 4


@pytest.fixture
def relay(site: Site) -> Iterator[Relay]:
    relay = Relay(site.port, mode="away")
    yield relay
    relay.close()


def tear(node: Node, chance: random.Random) -> Samples:
    """Cut the newest spooled batch, and leave a half-written one, as a power cut could; what was in the batch."""
    torn: Samples = {}
    files = sorted(node.batches.glob("*.batch"))
    if files:
        torn = samples_of([node.spooled().get(files[-1].name, b"")])
        size = files[-1].stat().st_size
        os.truncate(files[-1], chance.randrange(size))
    node.batches.mkdir(parents=True, exist_ok=True)
    (node.batches / f".{10**17:018d}.tmp").write_bytes(b"cc-batch 1 100 0000")
    return torn


def kill_round(nodes: list[Node], relay: Relay, chance: random.Random, number: int) -> None:
    """Start all and kill all: each fourth time with something in each spool, each fourth time while they start."""
    fills_spools = number % TORN_EACH == 0
    relay.turn("away" if fills_spools else chance.choice(MODES))
    before = [node.recorded_bytes() for node in nodes]
    for node in nodes:
        node.start()
    if number % TORN_EACH == 1:
        time.sleep(chance.uniform(0.1, 0.9))
    else:
        soon("a tick of each", lambda: sampled_since(nodes, before))
        if fills_spools:
            soon("a batch in each spool", lambda: all(node.spooled() for node in nodes))
        time.sleep(chance.uniform(0, 1.6))
    for node in chance.sample(nodes, len(nodes)):
        node.kill()


def sampled_since(nodes: list[Node], before: list[int]) -> bool:
    """Whether each has had a tick since its record was that long."""
    return all(node.recorded_bytes() > size for node, size in zip(nodes, before, strict=True))


def test_what_a_killed_agent_had_spooled_arrives_once_and_a_torn_file_blocks_nothing(
    site: Site, relay: Relay, tmp_path: Path, chance: random.Random
) -> None:
    nodes = [Node(tmp_path / name, name, relay.url, site.write_token) for name in HOSTS]
    promised: Samples = {}
    torn: Samples = {}
    began_s = int(time.time())
    with site.serving():
        try:
            for number in range(ROUNDS):
                kill_round(nodes, relay, chance, number)
                if number % TORN_EACH == 0:
                    torn |= tear(nodes[number // TORN_EACH % len(nodes)], chance)
                    promised = {key: value for key, value in promised.items() if key not in torn}
                for node in nodes:
                    promised |= samples_of(node.spooled().values())
            relay.turn("open")
            for node in nodes:
                node.start()
            soon("empty spools", lambda: not any(node.waiting() for node in nodes))
            soon("new ticks of all", lambda: hosts_of_last(relay) == set(HOSTS))
        finally:
            for node in nodes:
                node.stop()
    told = samples_of(passed.body for passed in relay.passed if passed.status == 200)
    recorded: Samples = {}
    for node in nodes:
        recorded |= node.recorded()
        assert "Traceback" not in node.log
    found = stored(site, from_s=began_s - 10, to_s=int(time.time()) + 10)
    assert findings(promised, found) == [], "what was spooled has arrived"
    assert findings(told, found) == [], "what was acknowledged is there"
    assert findings(found, recorded) == [], "what is there was sampled, with this value at this time"
    assert torn, "no batch was cut"
    assert promised, "no round left anything in a spool"
    counted(kills=ROUNDS * len(nodes), samples=len(promised | told))


def hosts_of_last(relay: Relay) -> set[str]:
    """Whose batches the backend took last."""
    last = [passed.body for passed in relay.passed[-2 * len(HOSTS) :] if passed.status == 200]
    return {key.host for body in last for key in samples_of([body])}
