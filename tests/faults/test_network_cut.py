"""The wire between agent and backend is pulled, or loses packets: the agent notices, keeps, and delivers after."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from faultrig.network import Wire, wire
from faultrig.nodes import Node, findings, stored
from faultrig.site import Site, soon

pytestmark = pytest.mark.faults


@pytest.fixture
def cable() -> Iterator[Wire]:
    with wire() as cable:
        yield cable


@pytest.fixture
def node(site: Site, cable: Wire, tmp_path: Path) -> Iterator[Node]:
    """An agent in a namespace of its own, delivering over the wire."""
    site.host = cable.here_address
    url = f"http://{cable.here_address}:{site.port}"
    node = Node(tmp_path / "n1", "n1", url, site.write_token, timeout="1s")
    site.start()
    node.start(*cable.inside)
    soon("sampling", lambda: ticks(node) >= 2)
    yield node
    node.stop()
    site.stop()


def ticks(node: Node) -> int:
    return len({key.time_s for key in node.recorded()})


def check_everything_is_there(site: Site, node: Node) -> None:
    node.stop()
    site.stop()
    recorded = node.recorded()
    times = {key.time_s for key in recorded}
    found = stored(site, from_s=min(times) - 10, to_s=max(times) + 10)
    assert findings(recorded, found) == []
    assert findings(found, recorded) == []
    assert not node.unexplained_gaps(), "no tick was left out"


def test_a_pulled_cable_is_noticed_and_what_was_kept_is_delivered_when_it_is_back(
    site: Site, cable: Wire, node: Node
) -> None:
    cable.link("down")
    soon("the agent's notice", lambda: "cannot deliver" in node.log)
    seen = ticks(node)
    soon("sampling goes on", lambda: ticks(node) >= seen + 2)
    assert node.waiting() >= 2
    cable.link("up")
    soon("delivery", lambda: not node.waiting() and node.is_over_outages())
    check_everything_is_there(site, node)


def test_packets_lost_in_silence_are_noticed_by_the_time_limits(site: Site, cable: Wire, node: Node) -> None:
    cable.drop(dropping=True)
    soon("the agent's notice", lambda: "cannot deliver" in node.log)
    seen = ticks(node)
    soon("sampling goes on", lambda: ticks(node) >= seen + 2)
    cable.drop(dropping=False)
    soon("delivery", lambda: not node.waiting() and node.is_over_outages())
    check_everything_is_there(site, node)
    assert "Timeout" in node.log


def test_a_network_that_comes_and_goes_loses_nothing(
    site: Site, cable: Wire, node: Node, chance: random.Random
) -> None:
    for number in range(6):
        cut = cable.link if number % 2 else None
        if cut:
            cut("down")
        else:
            cable.drop(dropping=True)
        time.sleep(chance.uniform(0.3, 1.5))
        if cut:
            cut("up")
        else:
            cable.drop(dropping=False)
        time.sleep(chance.uniform(0.1, 0.8))
    seen = ticks(node)
    soon("the end of what was under way", lambda: ticks(node) >= seen + 3)
    soon("delivery", lambda: not node.waiting() and node.is_over_outages(at_least=0))
    check_everything_is_there(site, node)


def test_a_connection_that_only_the_agent_believes_in_is_given_up(site: Site, cable: Wire, node: Node) -> None:
    cable.link("down")
    site.kill()  # its end of the connection is gone, and no packet tells the agent
    cable.link("up")
    site.start()
    assert node.running is not None
    running = psutil.Process(node.running.pid)
    soon("new samples", lambda: ticks(node) >= 6)
    soon("delivery", lambda: not node.waiting())
    assert running.is_running(), "the same agent"
    check_everything_is_there(site, node)
