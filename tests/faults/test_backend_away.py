"""The backend is away, silent or forgetful while agents sample at full rate: all is kept, and told once it is back."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from faultrig.nodes import Node, findings, samples_of, stored
from faultrig.relay import Relay
from faultrig.site import CLUSTER, METRICS, Site, soon

from cc_common.delivery.spool import Spool

pytestmark = pytest.mark.faults

OUTAGE_BATCHES = 900
EVERY_S = 60
MOST_MEMORY_BYTES = 80 << 20
MOST_GROWTH_BYTES = 8 << 20


@pytest.fixture
def relay(site: Site) -> Iterator[Relay]:
    relay = Relay(site.port, mode="away")
    site.start()
    yield relay
    relay.close()
    site.stop()


MakeNode = Callable[..., Node]


@pytest.fixture
def make_node(site: Site, relay: Relay, tmp_path: Path) -> Iterator[MakeNode]:
    nodes: list[Node] = []

    def make(hostname: str = "n1", **sink: Any) -> Node:
        nodes.append(Node(tmp_path / hostname, hostname, relay.url, site.write_token, **sink))
        return nodes[-1]

    yield make
    for node in nodes:
        node.stop()


def past_batches(hostname: str, count: int) -> list[bytes]:
    """What an agent with an interval of a minute would have kept in so many minutes."""
    first_s = int(time.time()) // EVERY_S * EVERY_S - (count + 1) * EVERY_S
    return [
        "".join(
            f"{metric},cluster={CLUSTER},hostname={hostname},type=node "
            f"value={at * 10 + number} {first_s + at * EVERY_S}\n"
            for number, metric in enumerate(METRICS)
        ).encode()
        for at in range(count)
    ]


def fill_spool(node: Node, batches: list[bytes]) -> None:
    """As the agent's own outbox would have written them."""
    spool = Spool(node.batches)
    for number, batch in enumerate(batches):
        spool.write(number, batch)
    spool.close()


def ticks(node: Node) -> int:
    """How many times it sampled."""
    return len({key.time_s for key in node.recorded()})


def first_times(relay: Relay) -> list[int]:
    """The time of the first sample of each batch that the backend took, in order of arrival."""
    taken = [passed for passed in relay.passed if passed.status == 200 and passed.path == "/api/write"]
    return [int(passed.body.split(b"\n", 1)[0].rsplit(b" ", 1)[1]) for passed in taken]


def memory_bytes(node: Node) -> int:
    assert node.running is not None
    return int(psutil.Process(node.running.pid).memory_info().rss)


def test_after_a_long_outage_all_arrives_oldest_first_each_sample_once_at_its_own_time(
    site: Site, relay: Relay, make_node: MakeNode
) -> None:
    node = make_node(timeout="30s")  # a request that the agent gave up would arrive twice
    past = past_batches("n1", OUTAGE_BATCHES)
    fill_spool(node, past)
    node.start()
    soon("new ticks in the spool", lambda: node.waiting() >= OUTAGE_BATCHES + 3)
    before = memory_bytes(node)
    relay.turn("open")
    soon("an empty spool", lambda: not node.waiting(), 120)
    growth = memory_bytes(node) - before
    node.stop()
    site.stop()
    times = first_times(relay)
    assert times == sorted(times), "oldest first"
    assert len(times) == len(set(times)), "each batch once"
    wanted = samples_of(past) | node.recorded()
    found = stored(site, from_s=times[0] - 10, to_s=times[-1] + 10)
    assert findings(wanted, found) == []
    assert findings(found, wanted) == [], "nothing else is there"
    assert node.is_over_outages(), node.log
    assert before < MOST_MEMORY_BYTES
    assert growth < MOST_GROWTH_BYTES


def test_over_its_limit_the_spool_drops_the_oldest_says_so_and_keeps_the_newest(
    site: Site, relay: Relay, make_node: MakeNode
) -> None:
    most = 40
    node = make_node(spool_limit_bytes=most * 4096)
    past = past_batches("n1", 100)
    fill_spool(node, past)
    node.start()
    soon("new ticks in the spool", lambda: ticks(node) >= 4 and node.waiting() == most)
    assert sum(-(-path.stat().st_size // 4096) * 4096 for path in node.batches.glob("*.batch")) <= most * 4096
    kept, before = node.spooled(), ticks(node)
    relay.turn("open")
    soon("the first delivery", lambda: bool(first_times(relay)))
    most_pushed_out = ticks(node) - before + 1  # each new tick until then takes the place of the oldest batch
    soon("an empty spool", lambda: not node.waiting())
    node.stop()
    site.stop()
    times = first_times(relay)
    assert times == sorted(set(times))
    found = stored(site, from_s=times[0] - 100 * EVERY_S, to_s=times[-1] + 10)
    came = [name for name in sorted(kept) if not findings(samples_of([kept[name]]), found)]
    assert came == sorted(kept)[len(kept) - len(came) :], "what did not come is the oldest"
    assert len(kept) - len(came) <= most_pushed_out
    oldest_s = min(key.time_s for key in found)
    wanted = {key: value for key, value in (samples_of(past) | node.recorded()).items() if key.time_s >= oldest_s}
    assert findings(wanted, found) == [], "what is newer than the oldest that arrived has arrived"
    assert "dropped oldest batch reason='disk limit is reached'" in node.log


@pytest.mark.parametrize("mode", ["hang", "lose"])
def test_a_backend_that_takes_requests_and_does_not_answer_costs_nothing(
    site: Site, relay: Relay, make_node: MakeNode, mode: str
) -> None:
    relay.turn(mode)
    node = make_node()
    node.start()
    soon("the agent's notice", lambda: "cannot deliver" in node.log)
    seen = ticks(node)
    soon("sampling goes on", lambda: ticks(node) >= seen + 3)
    relay.turn("open")
    soon("delivery", lambda: not node.waiting() and node.is_over_outages())
    node.stop()
    site.stop()
    recorded = node.recorded()
    times = [key.time_s for key in recorded]
    found = stored(site, from_s=min(times) - 10, to_s=max(times) + 10)
    assert findings(recorded, found) == []
    assert findings(found, recorded) == []
    assert not node.unexplained_gaps(), "no tick was left out"
