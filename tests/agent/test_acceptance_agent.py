"""What sites rely on when they replace cc-metric-collector by this agent, with the whole chain from files to lines.

Elsewhere: energy counters that wrap (rapl/test_rapl.py), hardware threads that go and come (test_cpustat.py,
perf/test_collector.py), reload (test_agent.py), GPUs that are lost or made anew (test_nvidia.py), kill -9
(tests/faults/test_kill_agent.py), cost on 128 hardware threads (benchmarks/agent_node.py).
"""

from __future__ import annotations

import dataclasses
import errno
import gc
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from perf_machine import FakePerf, add_counters

from cc_agent.agent import Pipeline, RoutedSink
from cc_agent.cluster_file import describe_cluster
from cc_agent.collectors.base import Collector, RawSeries, Reading, Tick
from cc_agent.collectors.loadavg import LoadavgCollector, LoadavgOptions
from cc_agent.collectors.perf import PerfCollector, PerfOptions
from cc_agent.collectors.registry import CollectorsSettings, make_collectors
from cc_agent.derived import DERIVED_METRICS
from cc_agent.loop import Loop
from cc_agent.options import AgentOptions
from cc_agent.router import Batch, Router
from cc_agent.sampler import Sampler
from cc_agent.settings import AgentConfiguration, load_configuration
from cc_common.delivery import DeliveryWorker, Outbox
from cc_common.delivery.outcome import DeliveryOutcome, OutcomeKind
from cc_common.line_protocol import decode
from cc_common.settings import load

SAMPLE = """
{ "main": { "interval": "30s", "duration": "1s" },
  "collectors": {
    "cpustat": { "exclude_metrics": ["cpu_nice", "cpu_steal", "cpu_guest", "cpu_guest_nice"] },
    "memstat": { "numa_stats": true },
    "loadavg": { "exclude_metrics": ["load_five", "load_fifteen"] },
    "ibstat":  { "send_abs_values": false, "send_derived_values": true, "send_total_values": true },
    "nvidia":  { "use_pci_info_as_type_id": true, "exclude_metrics": ["nv_perf_state", "nv_ecc_mode"] } },
  "router": { "interval_timestamp": true, "normalize_units": true,
    "process_messages": {
      "rename_messages": { "load_one": "cpu_load", "ib_total_bw": "net_bw", "nv_util": "acc_utilization" },
      "add_tags_if": [ { "key": "cluster", "value": "demo", "if": "true" } ],
      "drop_messages_if": [ "tags.type == 'hwthread' && name startsWith 'cpu_i'" ],
      "change_unit_prefix": { "name == 'mem_used'": "G" } } },
  "sinks": { "central": { "type": "http", "url": "https://mon.example.net/api/write?cluster=demo",
                          "jwt": "REPLACE", "flush_delay": "4s", "precision": "s" } },
  "receivers": {} }
"""

OF_THE_REFERENCE = {
    "cpustat", "memstat", "loadavg", "schedstat", "numastats", "netstat", "ibstat", "iostat", "diskstat", "cpufreq",
    "cpufreq_cpuinfo", "tempstat", "rapl", "likwid", "nvidia", "rocm_smi", "ipmistat", "smartmon", "lustrestat",
    "gpfs", "beegfs_meta", "beegfs_storage", "nfs3stat", "nfs4stat", "nfsiostat", "slurm_cgroup", "topprocs",
    "customcmd", "self",
}  # fmt: skip

OF_PRODUCTION = {
    "load_one", "cpu_load_core", "cpu_user", "cpu_system", "cpu_idle", "cpu_iowait", "cpu_irq", "mem_used",
    "mem_cached", "flops_any", "flops_dp", "flops_sp", "mem_bw", "ipc", "clock", "vectorization_ratio", "cpu_power",
    "core_power", "mem_power", "net_bw", "eth_read_bw", "eth_write_bw", "ic_read_bw", "ic_write_bw",
    "ic_rcv_packets", "ic_send_packets", "file_bw", "ib_recv_bw", "ib_xmit_bw", "ib_recv_pkts_bw",
    "ib_xmit_pkts_bw", "ib_total_bw", "net_bytes_in_bw", "net_bytes_out_bw", "nfs4_read", "nfs4_write",
    "nfs4_total", "lustre_open_diff", "lustre_close_diff", "lustre_statfs_diff", "lustre_read_bytes_diff",
    "lustre_write_bytes_diff", "nv_util", "nv_fb_mem_used", "nv_power_usage", "nv_mem_util", "nv_temp",
    "nv_sm_clock", "rocm_gfx_util", "rocm_mem_used", "rocm_avg_power",
}  # fmt: skip
"""What job pages and deployed stores name, before it is renamed: acc_utilization is nv_util, rapl_power cpu_power."""

INTERVAL_S = 10
START_S = 1_700_000_000


@pytest.fixture(autouse=True)
def thaw() -> Iterator[None]:
    """The agent freezes the garbage collector; the other tests want it back."""
    yield
    gc.enable()
    gc.unfreeze()


class KeptSink:
    name = "kept"

    def __init__(self) -> None:
        self.lines = b""

    def start(self) -> None:
        pass

    def put(self, batch: Batch, /) -> None:
        self.lines += batch.lines

    def close(self, _deadline_s: float, /) -> None:
        pass


class MadeAgent:
    """Collectors of the made machine, router and a sink that keeps lines; its clock moves when it is told to."""

    def __init__(self, configuration: AgentConfiguration, collectors: list[Collector]) -> None:
        self.now_s = 100.0
        self.sampler = Sampler(collectors, monotonic=lambda: self.now_s)
        self._sink = KeptSink()
        self._pipeline = Pipeline(self.sampler, [RoutedSink(configuration.make_router(), self._sink)], INTERVAL_S)

    def tick(self, time_s: int, *, elapsed_s: float = INTERVAL_S) -> list[bytes]:
        """The lines of a tick."""
        self.now_s += elapsed_s
        self._sink.lines = b""
        self._pipeline.sample(time_s)
        self._pipeline.hand_over()
        self._pipeline.rest()
        return self._sink.lines.splitlines()

    def values(self, time_s: int, **how: float) -> dict[tuple[str, str], float]:
        """The values of a tick by metric and what they are of."""
        points, errors = decode(b"\n".join(self.tick(time_s, **how)), received_s=0)
        assert not errors
        return {
            (point.metric, " ".join(value for key, value in point.tags.items() if "type" in key)): point.value
            for point in points
        }

    def close(self) -> None:
        self._pipeline.close(0.0)


@pytest.fixture
def made(machine: Path) -> Iterator[Callable[..., MadeAgent]]:
    agents: list[MadeAgent] = []

    def make(configuration: AgentConfiguration, *more: Collector) -> MadeAgent:
        collectors = make_collectors(configuration.settings.collectors, machine)
        agents.append(MadeAgent(configuration, [*collectors, *more]))
        return agents[-1]

    yield make
    for agent in agents:
        agent.close()


@pytest.fixture
def sample_file(tmp_path: Path) -> Path:
    path = tmp_path / "configuration.json"
    path.write_text(SAMPLE, encoding="utf-8")
    path.chmod(0o600)
    return path


def built_in() -> AgentConfiguration:
    return load_configuration(AgentOptions(cluster="demo", hostname="n1"), {})


# The sample configuration


def test_the_sample_configuration_loads_without_a_word(sample_file: Path) -> None:
    configuration = load_configuration(AgentOptions(config=str(sample_file)), {})
    assert configuration.warnings == []
    assert configuration.interval_s == 30
    assert configuration.cluster == "demo"
    assert [sink.name for sink in configuration.sinks] == ["central"]


def test_what_the_sample_configuration_asks_for_is_sent(
    sample_file: Path, made: Callable[..., MadeAgent], busy: Callable[[int], None], nvml: Any
) -> None:
    agent = made(load_configuration(AgentOptions(config=str(sample_file), hostname="n1"), {}))
    agent.tick(START_S)
    busy(2)
    values = agent.values(START_S + INTERVAL_S)
    names = {name for name, _ in values}
    assert {"cpu_load", "net_bw", "acc_utilization", "mem_used", "cpu_user"} <= names
    assert not {"load_one", "load_five", "ib_total_bw", "nv_util", "cpu_nice", "nv_ecc_mode", "ib_recv"} & names
    assert not [name for name, of in values if name.startswith("cpu_i") and of.startswith("hwthread")]
    assert values["mem_used", "node"] == pytest.approx(6.144)  # 6000000 KiB that are not available
    assert {of for name, of in values if name == "mem_used"} == {"node", "memoryDomain 0", "memoryDomain 1"}
    assert nvml.started() == 1


def test_a_key_that_is_not_known_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    document = json.loads(SAMPLE)
    document["collectors"]["memstat"]["numa_stat"] = True
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    path.chmod(0o600)
    try:
        said = " ".join(load_configuration(AgentOptions(config=str(path)), {}).warnings)
    except Exception as error:  # noqa: BLE001 refused or warned of: both name it
        said = str(error)
    assert "collectors.memstat.numa_stat" in said
    assert "numa_stats" in said.replace("numa_stat:", "")


def test_every_collector_of_the_reference_is_there() -> None:
    ours = {field.name for field in dataclasses.fields(CollectorsSettings)}
    assert ours >= OF_THE_REFERENCE


def test_every_metric_of_production_clusters_comes_from_some_collector() -> None:
    chosen: dict[str, Any] = {field.name: {} for field in dataclasses.fields(CollectorsSettings)}
    chosen["netstat"] = {"send_derived_values": True}
    chosen["ibstat"] = {"send_derived_values": True, "send_total_values": True}
    chosen["lustrestat"] = {"send_diff_values": True}
    settings = load(CollectorsSettings, chosen, source="test").value
    described = {metric.name for collector in make_collectors(settings) for metric in collector.metrics}
    described |= {metric.name for metric in DERIVED_METRICS}
    assert described >= OF_PRODUCTION


# Lines


def test_every_line_is_one_that_a_store_takes(made: Callable[..., MadeAgent], busy: Callable[[int], None]) -> None:
    agent = made(built_in())
    agent.tick(START_S)
    busy(2)
    lines = agent.tick(START_S + INTERVAL_S)
    points, errors = decode(b"\n".join(lines), received_s=0)
    assert not errors
    assert len(points) == len(lines) > 40
    for point, line in zip(points, lines):  # noqa: B905 Python 3.9 has no strict
        assert re.fullmatch(rb"[^ ]+ value=-?[0-9][0-9.e+-]* [0-9]{10}", line), line
        assert ("type-id" in point.tags) == (point.tags["type"] != "node"), line
        assert all(point.tags.values()), line
        assert {"cluster", "hostname", "type"} <= point.tags.keys()
    series = [line.rpartition(b" value=")[0] for line in lines]
    assert len(series) == len(set(series)), "each series once"


def test_ids_are_those_of_the_operating_system_and_of_the_cluster_file(
    made: Callable[..., MadeAgent], busy: Callable[[int], None], machine: Path, nvml: Any
) -> None:
    configuration = built_in()
    agent = made(configuration)
    agent.tick(START_S)
    busy(2)
    points, _ = decode(b"\n".join(agent.tick(START_S + INTERVAL_S)), received_s=0)
    ids: dict[str, set[str]] = {}
    for point in points:
        ids.setdefault(point.tags["type"], set()).add(point.tags.get("type-id", ""))
    assert ids["hwthread"] == {"0", "1", "2", "3"}
    assert ids["accelerator"] == {"00000000:A0:00.0"}
    assert nvml.started() == 1
    document = describe_cluster(configuration, root=machine, processor="Some CPU").document
    topology = document["subClusters"][0]["topology"]
    assert sorted(thread for socket in topology["socket"] for thread in socket) == [0, 1, 2, 3]


# Times


class DriftingClock:
    """Each wait takes a little too long, and each look at it a little time."""

    def __init__(self, now_s: float) -> None:
        self.now = now_s

    def now_s(self) -> float:
        self.now += 0.0001
        return self.now

    def wait(self, seconds: float, /) -> None:
        self.now += seconds + 0.013

    def wake(self) -> None:
        pass


class CountedWork:
    def __init__(self, clock: DriftingClock, until_s: int) -> None:
        self.clock, self.until_s = clock, until_s
        self.ticks: list[int] = []
        self.late: list[float] = []
        self.loop: Loop | None = None

    def sample(self, time_s: int, /) -> None:
        self.ticks.append(time_s)
        self.late.append(self.clock.now - time_s)
        self.clock.now += 0.2
        if time_s >= self.until_s and self.loop is not None:
            self.loop.stop()

    def hand_over(self) -> None:
        pass

    def rest(self) -> None:
        pass


def test_after_a_day_ticks_are_still_on_the_grid_and_none_is_missing() -> None:
    clock = DriftingClock(START_S + 3.3)
    work = CountedWork(clock, START_S + 86_400)
    work.loop = Loop(work, interval_s=INTERVAL_S, hostname="n1", clock=clock)
    work.loop.run()
    assert work.ticks == list(range(START_S + INTERVAL_S, START_S + 86_400 + 1, INTERVAL_S))
    assert max(work.late) < 0.1


@pytest.mark.parametrize("step_s", [3600, -3600, 17])
def test_a_wall_clock_that_jumps_changes_no_rate(
    step_s: int, made: Callable[..., MadeAgent], busy: Callable[[int], None]
) -> None:
    agent = made(built_in())
    agent.tick(START_S)
    busy(2)
    usual = agent.values(START_S + INTERVAL_S)
    busy(3)
    jumped = agent.values(START_S + 2 * INTERVAL_S + step_s)
    assert jumped.keys() == usual.keys()
    rates = {key: value for key, value in usual.items() if "_bw" in key[0] or key[0].startswith("cpu_")}
    assert rates
    assert {key: jumped[key] for key in rates} == pytest.approx(rates)


def test_after_a_sleep_of_the_machine_there_are_no_rates_and_then_the_usual_ones(
    made: Callable[..., MadeAgent], busy: Callable[[int], None]
) -> None:
    agent = made(built_in())
    agent.tick(START_S)
    busy(2)
    usual = agent.values(START_S + INTERVAL_S)
    busy(3)
    woken = agent.values(START_S + 3600, elapsed_s=3600.0)
    busy(4)
    later = agent.values(START_S + 3610)
    for values in (usual, later):
        values.pop(("part_max_used", "node"))  # of the real disk, which others fill
    assert not [name for name, _ in woken if name.endswith("_bw") or name == "cpu_user"]
    assert ("mem_used", "node") in woken
    assert later == pytest.approx(usual)


def test_counters_that_begin_again_give_nothing_below_zero(
    made: Callable[..., MadeAgent], busy: Callable[[int], None]
) -> None:
    agent = made(built_in())
    busy(5)
    agent.tick(START_S)
    busy(6)
    usual = agent.values(START_S + INTERVAL_S)
    busy(1)
    reset = agent.values(START_S + 2 * INTERVAL_S)
    busy(2)
    later = agent.values(START_S + 3 * INTERVAL_S)
    assert min(reset.values()) >= 0
    assert ("net_bw", "node") in usual
    assert ("disk_read_bw", "node") not in reset
    assert later.keys() == usual.keys()


# Collectors that fail


class Liar:
    """A collector that gives what nobody can send."""

    name = "liar"
    metrics = ()

    def open(self) -> None:
        pass

    def read(self, _tick: Tick, /) -> list[Reading]:
        tags = {"type": "node"}
        values: list[Any] = [float("nan"), float("inf"), -float("inf"), 10**400]
        series = [RawSeries(f"lie_{index}", tags, {}) for index, _ in enumerate(values)]
        return [
            *zip(series, values),  # noqa: B905 Python 3.9 has no strict
            (RawSeries("two\nlines", tags, {}), 1.0),
            (RawSeries("", tags, {}), 1.0),
        ]

    def close(self) -> None:
        pass


class Crashing(Liar):
    name = "crashing"

    def read(self, _tick: Tick, /) -> list[Reading]:
        raise MemoryError("no more")


class Hanging(Liar):
    name = "hanging"

    def __init__(self) -> None:
        self.end = threading.Event()

    def read(self, _tick: Tick, /) -> list[Reading]:
        self.end.wait(60)
        return []


@pytest.mark.parametrize("bad", [Liar, Crashing, Hanging])
def test_a_collector_that_lies_crashes_or_hangs_costs_only_its_own_samples(
    bad: type[Liar], made: Callable[..., MadeAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_agent.sampler.MAX_READING_S", 0.2)
    culprit = bad()
    agent = made(built_in(), culprit)
    try:
        for number in range(3):
            names = {name for name, _ in agent.values(START_S + number * INTERVAL_S)}
            assert {"cpu_load", "mem_used"} <= names
            assert not [name for name in names if name.startswith("lie_") or "lines" in name]
        status = agent.sampler.statuses[-1]
        assert bad is Liar or status.problem
    finally:
        if isinstance(culprit, Hanging):
            culprit.end.set()


def test_counters_that_are_not_allowed_are_named_and_the_rest_goes_on(
    tmp_path: Path, made: Callable[..., MadeAgent]
) -> None:
    add_counters(tmp_path)

    class Forbidden(FakePerf):
        def open(self, *_arguments: object) -> int:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    settings = load_configuration(AgentOptions(), {})
    loadavg = LoadavgCollector(LoadavgOptions(), tmp_path)
    agent = MadeAgent(settings, [PerfCollector(PerfOptions(), tmp_path, Forbidden()), loadavg])
    assert ("cpu_load", "node") in agent.values(START_S)
    perf = agent.sampler.statuses[0]
    agent.close()
    assert perf.problem
    assert not perf.absent
    assert "CAP_PERFMON" in perf.advice


def test_no_process_is_started_and_no_thread_is_left(
    made: Callable[..., MadeAgent], busy: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **_: started.append(arguments))
    for name in ("fork", "posix_spawn", "system"):
        monkeypatch.setattr(os, name, lambda *arguments: started.append(arguments))
    before = threading.active_count()
    agent = made(built_in())
    for number in range(4):
        busy(number + 1)
        agent.tick(START_S + number * INTERVAL_S)
    assert threading.active_count() <= before + 2, "one for collectors, one for file systems"
    assert started == []


# The backend is away


class Peer:
    """A backend that is away for an hour, and keeps what it gets."""

    peer = "made"

    def __init__(self) -> None:
        self.away = True
        self.tries = 0
        self.batches: list[bytes] = []

    def send(self, batch: bytes) -> DeliveryOutcome:
        self.tries += 1
        if self.away:
            return DeliveryOutcome(OutcomeKind.RETRY, "away")
        self.batches.append(batch)
        return DeliveryOutcome(OutcomeKind.DELIVERED)

    def close(self) -> None:
        pass


def _full_rate() -> list[Reading]:
    """What a node of 128 hardware threads sends at a tick: 1290 samples."""
    tags = [{"type": "node"}, *({"type": "hwthread", "type-id": str(number)} for number in range(128))]
    return [(RawSeries(f"metric_{metric}", tag, {}), metric + 0.125) for metric in range(10) for tag in tags]


def test_an_hour_without_the_backend_at_full_rate_loses_nothing_and_takes_no_memory(tmp_path: Path) -> None:
    now = [0.0]
    peer = Peer()
    outbox = Outbox(tmp_path / "spool", memory_limit_bytes=1 << 20, disk_limit_bytes=256 << 20)
    worker = DeliveryWorker(outbox, peer, clock=lambda: now[0])
    router = Router([], {"hostname": "n1", "cluster": "demo"})
    readings = _full_rate()
    sent: list[bytes] = []
    process = psutil.Process()
    for number in range(360):
        batch = router.encode(readings, START_S + number * INTERVAL_S)
        sent.append(batch.lines[-200:])
        worker.put(batch.lines)
        worker.step()
        now[0] += INTERVAL_S
        if number == 30:
            before = process.memory_info().rss
    growth = process.memory_info().rss - before
    assert outbox.stats().dropped == 0
    assert outbox.stats().queued_bytes <= 1 << 20
    assert growth < 8 << 20
    assert peer.tries < 60, "a server that is away is not asked at every tick"
    peer.away = False
    now[0] += 600.0
    while worker.step() is not None:
        pass
    worker.stop(0.0)
    assert [batch[-200:] for batch in peer.batches] == sent, "all of it, oldest first, each once"
    assert sum(batch.count(b"\n") for batch in peer.batches) == 360 * 1290
    times = [int(line.rpartition(b" ")[2]) for batch in peer.batches for line in batch.splitlines()[:1]]
    assert times == [START_S + number * INTERVAL_S for number in range(360)], "with the times that they had"


def test_an_agent_that_was_killed_goes_on_with_what_was_on_disk_and_repeats_no_time(tmp_path: Path) -> None:
    router = Router([], {"hostname": "n1"})
    series = RawSeries("x", {"type": "node"}, {})
    first = Outbox(tmp_path / "spool")
    away = Peer()
    worker = DeliveryWorker(first, away, clock=lambda: 0.0)
    for number in range(5):
        worker.put(router.encode([(series, number)], START_S + number * INTERVAL_S).lines)
        worker.step()
    on_disk = sorted((tmp_path / "spool").glob("*.batch"))
    assert len(on_disk) == 5, "all of it is on disk before anybody closes anything"
    os.truncate(on_disk[-1], 10)  # the power went while this one was written
    for path in (tmp_path / "spool").iterdir():  # the lock ends with the process
        if path.name == ".lock":
            path.unlink()
    second = Outbox(tmp_path / "spool")
    back = Peer()
    back.away = False
    worker = DeliveryWorker(second, back, clock=lambda: 0.0)
    worker.put(router.encode([(series, 9)], START_S + 9 * INTERVAL_S).lines)
    while worker.step() is not None:
        pass
    worker.stop(0.0)
    first.close()
    times = [int(line.rpartition(b" ")[2]) for batch in back.batches for line in batch.splitlines()]
    assert times == [START_S + number * INTERVAL_S for number in (0, 1, 2, 3, 9)]
