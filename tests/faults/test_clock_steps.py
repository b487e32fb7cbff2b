"""The wall clock is set an hour forth or back under running processes: they go on, and lose nothing."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultrig.nodes import Node, findings, stored
from faultrig.numbered import SampleSender
from faultrig.site import CLUSTER, Site, soon

pytestmark = pytest.mark.faults

HOUR_S = 3600
DAY_S = 24 * HOUR_S
HERE = Path(__file__).resolve().parent


class Clock:
    """The wall clock of the processes that are given its environment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.environment = {"CC_FAULT_CLOCK": str(path), "PYTHONPATH": str(HERE / "faultrig/steppedclock")}
        self.set(0)

    def set(self, offset_s: int) -> None:
        """So many seconds before or behind the true time."""
        beside = self._path.with_suffix(".new")
        beside.write_text(str(offset_s), "ascii")
        beside.rename(self._path)
        self.offset_s = offset_s

    def now_s(self) -> float:
        return time.time() + self.offset_s


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def node(site: Site, clock: Clock, tmp_path: Path) -> Iterator[Node]:
    # a request that the agent gave up would be taken twice
    node = Node(tmp_path / "n1", "n1", f"http://127.0.0.1:{site.port}", site.write_token, timeout="30s")
    node.environment = clock.environment
    yield node
    node.stop()
    site.stop()


def ticks(node: Node) -> list[int]:
    """Times of its samples, in the order it took them."""
    return list(dict.fromkeys(key.time_s for key in node.recorded()))


def sampled_after(node: Node, clock: Clock, seen: int) -> bool:
    """Whether it took three samples more than so many, at the time that the clock shows now."""
    new = ticks(node)[seen:]
    return len([time_s for time_s in new if abs(time_s - clock.now_s()) < 60]) >= 3


def all_taken(site: Site, node: Node, clock: Clock) -> bool:
    """Whether the backend has taken every sample, that of the present second included."""
    text = site.ask("GET", "/metrics")[1].decode()
    taken = re.search(r'^cc_backend_store_lines_total\{result="accepted"[^}]*\} (\d+)', text, re.MULTILINE)
    recorded = list(node.recorded())
    is_current = bool(recorded) and recorded[-1].time_s == int(clock.now_s())
    return is_current and taken is not None and int(taken[1]) == len(recorded)


def paused_with_all_taken(site: Site, node: Node, clock: Clock) -> bool:
    """Whether the agent stands still with nothing on its way; it goes on if something is."""
    if not all_taken(site, node, clock):
        return False
    node.pause()
    if all_taken(site, node, clock):
        return True
    node.go_on()
    return False


@pytest.mark.parametrize("steps", [(HOUR_S, 0), (-HOUR_S, 0)], ids=["forth and back", "back and forth"])
def test_node_and_backend_go_on_when_the_clock_of_both_is_set(
    site: Site, clock: Clock, node: Node, steps: tuple[int, ...]
) -> None:
    site.environment = clock.environment
    began_s = time.time()
    with site.serving():
        node.start()
        soon("samples", lambda: len(ticks(node)) >= 3)
        for offset_s in steps:
            # once the clocks agree again, what is still on its way comes from an hour ahead, and is refused
            soon("nothing on its way", lambda: paused_with_all_taken(site, node, clock))
            seen = len(ticks(node))
            clock.set(offset_s)
            node.go_on()
            soon(f"samples after a step to {offset_s} s", lambda seen=seen: sampled_after(node, clock, seen))
        node.stop()
        assert not node.waiting(), node.log
    recorded = node.recorded()
    found = stored(site, from_s=int(began_s) - 2 * HOUR_S, to_s=int(time.time()) + 2 * HOUR_S)
    assert findings(recorded, found) == [], node.log
    assert findings(found, recorded) == []
    assert "refused" not in node.log


def test_the_archiver_goes_on_when_the_clock_is_set_back(site: Site, clock: Clock) -> None:
    site.environment = clock.environment
    base_s = int(time.time()) - 2 * HOUR_S
    sender = SampleSender(site, 1, base_s)
    with site.serving():
        for number, offset_s in enumerate((0, -HOUR_S, HOUR_S, 0)):
            clock.set(offset_s)
            first = sender.acknowledged
            start = {
                "jobId": number + 1,
                "cluster": CLUSTER,
                "user": "ada",
                "project": "engines",
                "startTime": base_s + first,
                "numNodes": 1,
                "resources": [{"hostname": "n1"}],
            }
            assert site.post_job("start_job", start)[0] == 201
            while sender.acknowledged < first + 12:
                sender.step()
            stop = {"jobId": number + 1, "cluster": CLUSTER, "stopTime": base_s + first + 10}
            assert site.post_job("stop_job", stop)[0] == 200
            soon(
                f"archiving after a step to {offset_s} s",
                lambda: all(row["monitoringStatus"] == 3 for row in site.jobs()),
            )
            meta, data = site.archived(number + 1, base_s + first)
            assert meta["duration"] == 10
            (series,) = data["cpu_load"]["node"]["series"]
            assert series["data"] == [sender.value(0, first + at) for at in range(11)]


def send_until(sender: SampleSender, count: int) -> None:
    """So many batches are acknowledged."""
    while sender.acknowledged < count and not sender.wrong:
        sender.step()
    assert not sender.wrong, sender.wrong


@pytest.mark.parametrize("offset_s", [30 * DAY_S, 50 * 366 * DAY_S], ids=["30 days", "50 years"])
def test_a_clock_that_is_set_far_ahead_stalls_and_empties_nothing(site: Site, clock: Clock, offset_s: int) -> None:
    """The server's alone: the nodes and the scheduler know the time."""
    site.environment = clock.environment
    base_s = int(time.time()) - 2 * HOUR_S
    sender = SampleSender(site, 1, base_s)
    start = {
        "jobId": 1,
        "cluster": CLUSTER,
        "user": "ada",
        "project": "engines",
        "startTime": base_s,
        "numNodes": 1,
        "resources": [{"hostname": "n1"}],
    }
    with site.serving():
        assert site.post_job("start_job", start)[0] == 201
        send_until(sender, 12)
        clock.set(offset_s)
        send_until(sender, 24)
        clock.set(0)
        stop = {"jobId": 1, "cluster": CLUSTER, "stopTime": base_s + 20}
        assert site.post_job("stop_job", stop)[0] == 200
        soon("archiving", lambda: all(row["monitoringStatus"] == 3 for row in site.jobs()))
        clock.set(offset_s)
    with site.serving():  # started while it is ahead
        soon("samples of before its start", site.is_whole)
        send_until(sender, 36)
        soon("upkeep", lambda: "capacity series" in site.log.rpartition("restored files")[2])
        clock.set(0)
    found = stored(site, from_s=base_s - 10, to_s=base_s + 100)
    assert {key.time_s for key in found} == {base_s + slot for slot in range(sender.acknowledged)}
    assert "was expected" in site.log
    assert "Traceback" not in site.log


def test_samples_from_before_a_step_back_are_kept_while_the_backend_is_away_and_delivered_after(
    site: Site, clock: Clock, node: Node
) -> None:
    node.start()
    soon("samples", lambda: len(ticks(node)) >= 2)
    seen = len(ticks(node))
    clock.set(-HOUR_S)
    soon("samples after the step", lambda: sampled_after(node, clock, seen))
    with site.serving():
        soon("delivery", lambda: not node.waiting())
        node.stop()
    recorded = node.recorded()
    found = stored(site, from_s=int(time.time()) - 2 * HOUR_S, to_s=int(time.time()) + 60)
    assert findings(recorded, found) == []
