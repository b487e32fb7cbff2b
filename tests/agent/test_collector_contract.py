"""What every collector keeps: it emits what it declares, under the tags it declares."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from perf_machine import BUSY, FakePerf, add_counters, add_energy

from cc_agent.collectors.agentstat import AgentstatCollector, AgentstatOptions
from cc_agent.collectors.base import Collector, Reading, Tick
from cc_agent.collectors.cpufreq import (
    CpufreqCollector,
    CpufreqCpuinfoCollector,
    CpufreqCpuinfoOptions,
    CpufreqOptions,
)
from cc_agent.collectors.cpustat import CpustatCollector, CpustatOptions
from cc_agent.collectors.diskstat import DiskstatCollector, DiskstatOptions
from cc_agent.collectors.ibstat import IbstatCollector, IbstatOptions
from cc_agent.collectors.iostat import IostatCollector, IostatOptions
from cc_agent.collectors.likwid import LikwidCollector, LikwidEventset, LikwidMetric, LikwidOptions
from cc_agent.collectors.loadavg import LoadavgCollector, LoadavgOptions
from cc_agent.collectors.lustrestat import LustrestatCollector, LustrestatOptions
from cc_agent.collectors.memstat import MemstatCollector, MemstatOptions
from cc_agent.collectors.netstat import NetstatCollector, NetstatOptions
from cc_agent.collectors.nfsiostat import NfsiostatCollector, NfsiostatOptions
from cc_agent.collectors.nfsstat import NfsstatCollector, NfsstatOptions
from cc_agent.collectors.numastats import NumastatsCollector, NumastatsOptions
from cc_agent.collectors.nvidia import NvidiaCollector, NvidiaOptions
from cc_agent.collectors.perf import PerfCollector, PerfOptions
from cc_agent.collectors.pressure import PressureCollector, PressureOptions
from cc_agent.collectors.rapl import RaplCollector, RaplOptions
from cc_agent.collectors.registry import CollectorsSettings, make_collectors
from cc_agent.collectors.rocm_smi import RocmSmiCollector, RocmSmiOptions
from cc_agent.collectors.schedstat import SchedstatCollector, SchedstatOptions
from cc_agent.collectors.slurm_cgroup import SlurmCgroupCollector, SlurmCgroupOptions
from cc_agent.collectors.tempstat import TempstatCollector, TempstatOptions
from cc_agent.collectors.vmstat import VmstatCollector, VmstatOptions
from cc_agent.errors import NotAvailableError
from cc_common.settings import load


def _statvfs(_path: str) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, 1000, 400, 300, 0, 0, 0, 0, 255))


def _perf(root: Path) -> Collector:
    if (root / "proc").exists():
        add_counters(root)
    scopes = {f"send_{scope}_total_values": True for scope in ("core", "socket", "node")}
    return PerfCollector(PerfOptions(send_miss_ratios=True, **scopes), root, FakePerf(BUSY, step_s=10.0))


def _rapl(root: Path) -> Collector:
    if (root / "proc").exists():
        add_energy(root)
    return RaplCollector(RaplOptions(), root, FakePerf(BUSY, step_s=10.0))


def _likwid(root: Path) -> Collector:
    if (root / "proc").exists():
        add_counters(root)
        add_energy(root)
    kinds = {"ipc": "hwthread", "mem_bw": "socket", "cpu_power": "socket", "core_power": "hwthread"}
    metrics = tuple(LikwidMetric(name=name, type=kind, publish=True) for name, kind in kinds.items())
    options = LikwidOptions(eventsets=(LikwidEventset(metrics=metrics),))
    return LikwidCollector(options, root, FakePerf(BUSY, step_s=10.0))


MAKERS: dict[str, Callable[[Path], Collector]] = {
    "cpustat": lambda root: CpustatCollector(CpustatOptions(), root),
    "cpustat, node only": lambda root: CpustatCollector(CpustatOptions(hwthread_values=False), root),
    "memstat": lambda root: MemstatCollector(MemstatOptions(), root),
    "memstat, NUMA": lambda root: MemstatCollector(MemstatOptions(numa_stats=True, node_stats=False), root),
    "loadavg": lambda root: LoadavgCollector(LoadavgOptions(), root),
    "netstat, counters": lambda root: NetstatCollector(NetstatOptions(), root),
    "netstat, rates": lambda root: NetstatCollector(
        NetstatOptions(send_abs_values=False, send_derived_values=True, send_device_values=True), root
    ),
    "iostat": lambda root: IostatCollector(IostatOptions(), root),
    "iostat, devices": lambda root: IostatCollector(IostatOptions(send_device_values=True), root),
    "rapl": _rapl,
    "likwid": _likwid,
    "perf": _perf,
    "diskstat": lambda root: DiskstatCollector(DiskstatOptions(send_device_values=True), root, _statvfs),
    "schedstat": lambda root: SchedstatCollector(SchedstatOptions(), root),
    "numastats": lambda root: NumastatsCollector(NumastatsOptions(send_derived_values=True), root),
    "pressure": lambda root: PressureCollector(PressureOptions(), root),
    "cpufreq": lambda root: CpufreqCollector(CpufreqOptions(), root),
    "cpufreq_cpuinfo": lambda root: CpufreqCpuinfoCollector(CpufreqCpuinfoOptions(), root),
    "tempstat": lambda root: TempstatCollector(TempstatOptions(), root),
    "ibstat": lambda root: IbstatCollector(
        IbstatOptions(send_derived_values=True, send_total_values=True, send_state_values=True, roce=False), root
    ),
    "ibstat, RoCE": lambda root: IbstatCollector(
        IbstatOptions(send_derived_values=True, exclude_devices=("mlx5_0",)), root
    ),
    "nfs3stat": lambda root: NfsstatCollector(3, NfsstatOptions(), root),
    "nfs4stat": lambda root: NfsstatCollector(4, NfsstatOptions(per_interval_values=True), root),
    "nfsiostat": lambda root: NfsiostatCollector(NfsiostatOptions(send_derived_values=True), root),
    "lustrestat": lambda root: LustrestatCollector(
        LustrestatOptions(send_abs_values=True, send_derived_values=True, send_diff_values=True), root
    ),
    "self": lambda root: AgentstatCollector(AgentstatOptions(read_rusage=True), root),
    "vmstat": lambda root: VmstatCollector(VmstatOptions(send_abs_values=True), root),
    "nvidia": lambda root: NvidiaCollector(NvidiaOptions(), root),
    "rocm_smi": lambda root: RocmSmiCollector(RocmSmiOptions(), root),
    "slurm_cgroup": lambda root: SlurmCgroupCollector(SlurmCgroupOptions(), root),
    "slurm_cgroup, shares": lambda root: SlurmCgroupCollector(
        SlurmCgroupOptions(send_job_values=False, send_hwthread_shares=True), root
    ),
}


IN_BACKGROUND = {
    "gpfs": "test_gpfs.py",
    "beegfs_meta": "test_beegfs.py",
    "beegfs_storage": "test_beegfs.py",
    "topprocs": "test_topprocs.py",
    "customcmd": "test_customcmd.py",
    "smartmon": "test_smartmon.py",
    "ipmistat": "test_ipmistat.py",
}
"""Collectors that read in the background, and have nothing at the second reading yet; where their tests are."""


@pytest.fixture(params=MAKERS)
def collector(request: pytest.FixtureRequest, machine: Path) -> Collector:
    made = {"nvidia": "nvml", "rocm_smi": "amd"}
    if request.param in made:
        request.getfixturevalue(made[request.param])
    return MAKERS[request.param](machine)


def _second_reading(collector: Collector, busy: Callable[[int], None]) -> list[Reading]:
    collector.open()
    try:
        collector.read(Tick(1000, 50.0, 10.0))
        busy(2)
        return collector.read(Tick(1010, 60.0, 10.0))
    finally:
        collector.close()


def test_the_second_reading_has_exactly_the_declared_metrics(collector: Collector, busy: Callable[[int], None]) -> None:
    emitted = {(series.metric, series.tags["type"]) for series, _ in _second_reading(collector, busy)}
    declared = {(metric.name, metric.scope) for metric in collector.metrics}
    assert emitted == declared - {("mem_direct_mapped_4g", "node")}


def test_every_metric_has_unit_meaning_and_a_known_kind(collector: Collector) -> None:
    for metric in collector.metrics:
        assert metric.unit
        assert metric.meaning.endswith((".", ")"))
        assert metric.kind in ("gauge", "rate", "counter")


def test_the_unit_is_meta_and_never_a_tag(collector: Collector, busy: Callable[[int], None]) -> None:
    readings = _second_reading(collector, busy)
    units = {(metric.name, metric.scope): metric.unit for metric in collector.metrics}
    for series, _ in readings:
        assert series.meta["unit"] == units[series.metric, series.tags["type"]]
        assert set(series.tags) <= {"type", "type-id", "stype", "stype-id"}


def test_nodes_carry_no_id_and_everything_else_does(collector: Collector, busy: Callable[[int], None]) -> None:
    for series, _ in _second_reading(collector, busy):
        assert ("type-id" in series.tags) == (series.tags["type"] != "node")
        assert all(series.tags.values())


def test_series_are_made_once(collector: Collector, busy: Callable[[int], None]) -> None:
    collector.open()
    collector.read(Tick(1000, 50.0, 10.0))
    busy(2)
    first = [series for series, _ in collector.read(Tick(1010, 60.0, 10.0))]
    busy(3)
    second = [series for series, _ in collector.read(Tick(1020, 70.0, 10.0))]
    collector.close()
    assert [id(series) for series in first] == [id(series) for series in second]


def test_the_first_reading_and_one_after_a_gap_have_no_rates(collector: Collector, busy: Callable[[int], None]) -> None:
    rates = {metric.name for metric in collector.metrics if metric.kind == "rate"}
    collector.open()
    first = collector.read(Tick(1000, 50.0, 10.0))
    busy(2)
    late = collector.read(Tick(1030, 75.1, 10.0))
    collector.close()
    assert not rates & {series.metric for series, _ in first + late}


def test_a_machine_without_proc_is_named(tmp_path: Path) -> None:
    for make in MAKERS.values():
        collector = make(tmp_path)
        with pytest.raises(NotAvailableError, match=r"cannot be read") as caught:
            collector.open()
        assert caught.value.advice
        collector.close()


def test_closing_twice_is_no_fault(collector: Collector) -> None:
    collector.open()
    collector.close()
    collector.close()


def test_excluded_metrics_are_neither_declared_nor_emitted(machine: Path) -> None:
    collector = LoadavgCollector(LoadavgOptions(exclude_metrics=("load_one", "proc_run")), machine)
    assert [metric.name for metric in collector.metrics] == ["load_five", "load_fifteen", "proc_total"]
    emitted = {series.metric for series, _ in collector.read(Tick(0, 0.0, 1.0))}
    collector.close()
    assert emitted == {"load_five", "load_fifteen", "proc_total"}


def test_every_setting_of_a_collector_makes_that_collector(machine: Path) -> None:
    known = [field.name for field in dataclasses.fields(CollectorsSettings)]
    settings = load(CollectorsSettings, {name: {} for name in known}, source="test").value
    assert [collector.name for collector in make_collectors(settings, machine)] == known
    assert {maker.partition(",")[0] for maker in MAKERS} | IN_BACKGROUND.keys() == set(known), (
        "each collector is held to this contract"
    )
    assert make_collectors(CollectorsSettings(), machine) == []
