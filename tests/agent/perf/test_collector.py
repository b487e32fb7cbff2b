"""The collector over time: sharing, hot-plug, giving the counters away and taking them back."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

import pytest
from perf_machine import FakePerf, add_pmu, make_processor, write

from cc_agent.collectors.base import PausableCollector, Reading, Tick
from cc_agent.collectors.perf.collector import PerfCollector, PerfOptions
from cc_agent.collectors.perf.processor_counters import allow_descriptors
from cc_agent.errors import AgentError, NotAvailableError, NotPresentError

INSTRUCTIONS, CYCLES = (0, 1), (0, 0)
LOCK = "var/run/likwid.lock"


class Node:
    """A collector on a made machine, and the clock."""

    def __init__(self, root: Path, calls: FakePerf, **options: object) -> None:
        self.root = root
        self.calls = calls
        self.collector = PerfCollector(PerfOptions(**options), root, calls)  # type: ignore[arg-type]
        self.now_s = 1000.0
        self.collector.open()
        self.tick()

    def tick(self, seconds: float = 10.0, interval_s: float = 10.0) -> list[Reading]:
        self.now_s += seconds
        self.calls.advance(seconds)
        return self.collector.read(Tick(int(self.now_s), self.now_s, interval_s))

    def values(self, metric: str, scope: str = "hwthread", seconds: float = 10.0) -> dict[str, float]:
        return {
            series.tags.get("type-id", ""): value
            for series, value in self.tick(seconds)
            if (series.metric, series.tags["type"]) == (metric, scope)
        }


@pytest.fixture
def calls() -> FakePerf:
    return FakePerf({INSTRUCTIONS: 3e9, CYCLES: 2e9})


@pytest.fixture
def node(tmp_path: Path, calls: FakePerf) -> Node:
    make_processor(tmp_path, "unknown")
    return Node(tmp_path, calls)


def test_each_hardware_thread_has_its_values(node: Node) -> None:
    assert node.values("ipc") == dict.fromkeys("0123", 1.5)
    assert node.values("perf_multiplex_ratio") == dict.fromkeys("0123", 100.0)


def test_a_reading_after_a_gap_gives_no_rate(node: Node) -> None:
    assert node.tick(26.0) == []
    assert node.values("ipc") == dict.fromkeys("0123", 1.5)


def test_shared_counters_are_scaled_and_told(node: Node) -> None:
    node.calls.share = {1: 0.25}
    readings = {(series.metric, series.tags["type-id"]): value for series, value in node.tick()}
    assert readings["ipc", "1"] == pytest.approx(1.5)
    assert readings["perf_multiplex_ratio", "1"] == pytest.approx(25.0)
    assert readings["perf_multiplex_ratio", "0"] == 100.0


def test_a_group_that_never_runs_is_cut_until_it_does(tmp_path: Path, calls: FakePerf) -> None:
    make_processor(tmp_path, "unknown")
    calls.counters = 2
    calls.only_listed = True
    calls.per_s |= {(0, 9): 2e9}
    node = Node(tmp_path, calls, include_metrics=("ipc", "clock", "perf_multiplex_ratio"))
    assert [len(group) for group in calls.groups] == [3]
    starved = node.tick()
    assert {(series.metric, value) for series, value in starved} == {("perf_multiplex_ratio", 0.0)}
    node.tick()
    assert [len(group) for group in calls.groups] == [1, 2], "after two readings"
    assert node.tick() == [], "opened anew"
    assert node.values("ipc") == dict.fromkeys("0123", 1.5)
    assert node.values("clock") == dict.fromkeys("0123", 2000.0)


def test_a_hardware_thread_that_is_always_starved_does_not_cost_the_others(node: Node) -> None:
    node.calls.share = {3: 0.0}
    before = node.calls.opened
    for _ in range(4):
        assert node.values("ipc") == dict.fromkeys("012", 1.5)
    assert node.calls.opened == before


def test_totals_are_of_sums_and_not_means_of_ratios(tmp_path: Path, calls: FakePerf) -> None:
    make_processor(tmp_path, "unknown", sockets=2)
    scopes = {f"send_{scope}_total_values": True for scope in ("core", "socket", "node")}
    node = Node(tmp_path, calls, **scopes)
    node.calls.share = {0: 0.5}  # scaled, so it makes no difference
    readings = {
        (series.tags["type"], series.tags.get("type-id")): value
        for series, value in node.tick()
        if series.metric == "ipc"
    }
    assert readings == {
        **{("hwthread", cpu): pytest.approx(1.5) for cpu in "0123"},
        **{("core", core): pytest.approx(1.5) for core in "01"},
        **{("socket", socket): pytest.approx(1.5) for socket in "01"},
        ("node", None): pytest.approx(1.5),
    }


def test_flops_of_a_node_are_those_of_all_hardware_threads(tmp_path: Path) -> None:
    make_processor(tmp_path, "zen 4")
    node = Node(tmp_path, FakePerf({(4, 0x1F03): 2e9}), send_node_total_values=True, include_metrics=("flops_any",))
    assert node.values("flops_any", "node") == {"": pytest.approx(8.0)}


def test_miss_ratios_are_counted_on_request(tmp_path: Path, calls: FakePerf) -> None:
    make_processor(tmp_path, "unknown")
    calls.per_s |= {(0, 2): 1e8, (0, 3): 2.5e7, (0, 4): 1e9, (0, 5): 1e7}
    node = Node(tmp_path, calls, send_miss_ratios=True)
    assert node.values("cache_miss_ratio") == dict.fromkeys("0123", 25.0)
    assert node.values("branch_miss_ratio") == dict.fromkeys("0123", 1.0)


def test_a_hardware_thread_that_goes_and_comes_back_is_counted_again(node: Node) -> None:
    online = node.root / "sys/devices/system/cpu/online"
    node.calls.offline = {2}
    online.write_text("0-1,3\n")
    assert node.values("ipc") == dict.fromkeys("013", 1.5), "at once, without waiting for the look at the list"
    for _ in range(6):
        node.tick()
    assert node.values("ipc") == dict.fromkeys("013", 1.5)
    assert not [event for event in node.calls.events.values() if event.cpu == 2]
    node.calls.offline = set()
    online.write_text("0-3\n")
    for _ in range(7):
        node.tick()
    assert node.values("ipc") == dict.fromkeys("0123", 1.5)


def test_one_that_was_away_between_two_looks_is_opened_anew(node: Node) -> None:
    node.calls.silent = {1}  # its old events count no longer
    assert node.values("ipc") == dict.fromkeys("023", 1.5)
    node.calls.silent = set()
    old = {number for number, event in node.calls.events.items() if event.cpu == 1}
    node.calls.silent = {1}
    for _ in range(6):
        node.tick()
    assert not old & set(node.calls.events)


def test_a_hybrid_processor_has_events_of_both_kinds_of_core(tmp_path: Path, calls: FakePerf) -> None:
    make_processor(tmp_path, "unknown", smt=False)
    (tmp_path / "sys/bus/event_source/devices/cpu/type").unlink()
    (tmp_path / "sys/bus/event_source/devices/cpu").rename(tmp_path / "old")
    add_pmu(tmp_path, "cpu_core", 4, cpus="0-1")
    add_pmu(tmp_path, "cpu_atom", 10, cpus="2-3")
    calls.per_s = {
        (0, 4 << 32 | 1): 4e9,
        (0, 4 << 32): 2e9,
        (0, 10 << 32 | 1): 1e9,
        (0, 10 << 32): 1e9,
    }
    node = Node(tmp_path, calls, send_node_total_values=True)
    assert node.values("ipc") == {"0": 2.0, "1": 2.0, "2": 1.0, "3": 1.0}
    assert node.values("ipc", "node") == {}, "different events have no sum"


def test_counters_are_closed_while_the_lock_file_belongs_to_a_user(node: Node) -> None:
    write(node.root / LOCK, "")
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(node.root / LOCK, 4711, -1)
    assert node.tick() == []
    assert not node.calls.events
    assert node.collector.waiting_for.endswith("belongs to uid 4711")
    assert node.tick() == []
    os.chown(node.root / LOCK, 0, -1)
    assert node.tick() == [], "opened anew"
    assert node.values("ipc") == dict.fromkeys("0123", 1.5)
    assert node.collector.waiting_for == ""


def test_an_agent_that_starts_during_such_a_job_waits_for_its_end(tmp_path: Path, calls: FakePerf) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    make_processor(tmp_path, "unknown")
    write(tmp_path / LOCK, "")
    os.chown(tmp_path / LOCK, 4711, -1)
    node = Node(tmp_path, calls)
    assert not calls.events
    assert "ipc" in {metric.name for metric in node.collector.metrics}
    (tmp_path / LOCK).unlink()
    node.tick()
    assert node.values("ipc") == dict.fromkeys("0123", 1.5)


def test_a_pause_acts_at_once_and_ends_by_command(node: Node) -> None:
    node.collector.pause(now_s=node.now_s)
    assert not node.calls.events, "a prolog goes on when the counters are free"
    assert node.tick() == []
    assert node.collector.waiting_for == "paused by command"
    node.collector.resume()
    assert node.tick() == []
    assert node.values("ipc") == dict.fromkeys("0123", 1.5)


def test_a_pause_ends_by_itself_after_its_time(node: Node) -> None:
    node.collector.pause(25.0, now_s=node.now_s)
    assert node.tick() == node.tick() == []
    assert not node.calls.events
    node.tick()
    assert node.calls.events
    assert node.values("ipc") == dict.fromkeys("0123", 1.5)


def test_a_pause_for_a_job_ends_with_its_cgroup(node: Node) -> None:
    cgroup = node.root / "sys/fs/cgroup/system.slice/slurmstepd.scope/job_17"
    node.collector.pause(0.0, "17", now_s=node.now_s)
    assert node.tick() == [], "the prolog runs before the job has a cgroup"
    cgroup.mkdir(parents=True)
    assert node.tick() == []
    assert node.collector.waiting_for == "paused for job 17"
    cgroup.rmdir()
    node.tick()
    assert node.values("ipc") == dict.fromkeys("0123", 1.5)


def test_a_job_that_never_comes_is_not_waited_for_for_ever(node: Node) -> None:
    node.collector.pause(0.0, "17", now_s=node.now_s)
    node.tick(599.0)
    assert not node.calls.events
    node.tick(1.0)
    assert node.calls.events


def test_the_control_socket_finds_it(node: Node) -> None:
    assert isinstance(node.collector, PausableCollector)


@pytest.mark.parametrize("job", ["../../etc", "job 1", "*", "1" * 33])
def test_names_that_are_no_job_never_become_paths(node: Node, job: str) -> None:
    with pytest.raises(AgentError, match="is not the id of a job"):
        node.collector.pause(60.0, job)
    assert node.calls.events


@pytest.mark.parametrize("duration_s", [-1.0, float("nan"), float("inf"), 1e9])
def test_a_pause_has_an_end_that_can_be_lived_to_see(node: Node, duration_s: float) -> None:
    with pytest.raises(AgentError, match="a pause lasts"):
        node.collector.pause(duration_s)
    assert node.calls.events


def test_a_kernel_without_a_pmu_of_the_processor_is_no_fault(tmp_path: Path) -> None:
    make_processor(tmp_path, "unknown")
    (tmp_path / "sys/bus/event_source/devices/cpu").rename(tmp_path / "old")
    with pytest.raises(NotPresentError, match="as in most virtual machines"):
        PerfCollector(PerfOptions(), tmp_path, FakePerf()).open()


def test_this_machine_has_counters_or_says_why_not() -> None:
    collector = PerfCollector(PerfOptions())
    problem = ""
    try:
        collector.open()
        collector.read(Tick(0, 0.0, 10.0))
    except NotAvailableError as error:
        problem = str(error)
    finally:
        collector.close()
    assert re.search(r"^$|PMU|counters|perf_event", problem)


def test_the_limit_of_open_files_is_raised_or_the_lack_named(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, new: limits.__setitem__(slice(None), list(new)))
    allow_descriptors(100)
    assert limits == [1024, 4096]
    allow_descriptors(1408)
    assert limits == [1408 + 256, 4096]
    with pytest.raises(NotAvailableError, match="need 5256 open files, and the limit is 4096") as caught:
        allow_descriptors(5000)
    assert caught.value.advice == "set LimitNOFILE=5256 of the service"
