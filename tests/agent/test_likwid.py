"""Settings of LIKWID event sets, served by the kernel's counters."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from perf_machine import BUSY, FakePerf, add_energy, make_processor, write

from cc_agent.collectors.base import PausableCollector, Tick
from cc_agent.collectors.likwid import LikwidCollector, LikwidOptions, likwid_warnings, map_metrics
from cc_agent.collectors.registry import CollectorsSettings
from cc_agent.errors import NotAvailableError
from cc_agent.options import AgentOptions
from cc_agent.settings import load_configuration
from cc_common.errors import SettingsError
from cc_common.settings import load


def metric(name: str, kind: str = "hwthread", **more: object) -> dict[str, object]:
    return {"name": name, "calc": "PMC0/time", "type": kind, "publish": True, **more}


def options(*metrics: dict[str, object], **more: object) -> LikwidOptions:
    document: dict[str, Any] = {
        "eventsets": [{"events": {"FIXC0": "INSTR_RETIRED_ANY"}, "metrics": list(metrics)}],
        **more,
    }
    loaded = load(CollectorsSettings, {"likwid": document}, source="test").value.likwid
    assert loaded is not None
    return loaded


def two_readings(root: Path, chosen: LikwidOptions, calls: FakePerf) -> dict[tuple[str, str, str], float]:
    collector = LikwidCollector(chosen, root, calls)
    collector.open()
    collector.read(Tick(0, 100.0, 10.0))
    calls.advance(10.0)
    readings = collector.read(Tick(10, 110.0, 10.0))
    declared = {(description.name, description.scope, description.unit) for description in collector.metrics}
    assert declared == {(series.metric, series.tags["type"], series.meta["unit"]) for series, _ in readings}
    collector.close()
    assert not calls.events
    return {(series.metric, series.tags["type"], series.tags.get("type-id", "")): value for series, value in readings}


def test_metrics_are_known_by_name_and_keep_scope_and_unit(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake", cpus=2)
    chosen = options(
        metric("ipc", send_node_total_values=True),
        metric("flops_any", unit="MFlops/s"),
        metric("clock", "core", unit="GHz"),
        metric("dp_vec_ins", publish=False),
    )
    calls = FakePerf({**BUSY, (4, 0x0CC7): 0.0, (4, 0x30C7): 0.0, (4, 0xC0C7): 0.0})
    calls.timer = 2000.0
    assert likwid_warnings(chosen) == []
    assert two_readings(tmp_path, chosen, calls) == pytest.approx(
        {
            **{("ipc", "hwthread", cpu): 1.5 for cpu in "01"},
            ("ipc", "node", ""): 1.5,
            **{("flops_any", "hwthread", cpu): 300.0 for cpu in "01"},  # 2 x 1e8 + 1e8 scalar
            ("clock", "core", "0"): 2.0,
        }
    )


def test_power_comes_from_energy_counters(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake")
    add_energy(tmp_path)
    chosen = options(
        metric("pwr_pkg", "socket", unit="Watt"),
        metric("mem_power", "socket", unit="kW"),
        metric("core_power", "hwthread"),
    )
    assert likwid_warnings(chosen) == []
    assert two_readings(tmp_path, chosen, FakePerf(BUSY)) == pytest.approx(
        {
            ("pwr_pkg", "socket", "0"): 100.0,
            ("mem_power", "socket", "0"): 0.1,
            ("core_power", "hwthread", "0"): 5.0,
            ("core_power", "hwthread", "1"): 5.0,
        }
    )


def test_global_metrics_and_totals_are_taken_too(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake", cpus=2)
    write(tmp_path / "sys/bus/event_source/devices/uncore_imc_0/type", "20\n")
    for name, text in (("format/event", "config:0-7"), ("format/umask", "config:8-15"), ("cpumask", "0")):
        write(tmp_path / "sys/bus/event_source/devices/uncore_imc_0" / name, f"{text}\n")
    chosen = options(globalmetrics=[metric("mem_bw", "socket", unit="Gbyte/s", send_node_total_values=True)])
    assert two_readings(tmp_path, chosen, FakePerf(BUSY)) == pytest.approx(
        {("mem_bw", "socket", "0"): 9.6, ("mem_bw", "node", ""): 9.6}  # 64 B x 1.5e8
    )


def test_what_cannot_be_mapped_is_named() -> None:
    chosen = options(
        metric("l3_misses"),
        metric("mem_bw", "hwthread"),
        metric("cpu_power", "node"),
        metric("ipc", unit="Watt"),
        metric("runtime", publish=False),
    )
    texts = likwid_warnings(chosen)
    assert len(texts) == 4
    assert texts[0].startswith("l3_misses is not known and left out; known are branch_miss_ratio, cache_miss_ratio, ")
    assert texts[1:] == [
        "mem_bw is sent for type socket, as it is measured",
        "cpu_power is sent for type socket, as it is measured",
        "ipc is sent in IPC, which cannot be converted to 'Watt'",
    ]


def test_warnings_reach_the_operator(tmp_path: Path) -> None:
    file = tmp_path / "agent.json"
    file.write_text(
        '{"collectors": {"likwid": {"globalmetrics": [{"name": "cpi", "type": "core", "publish": true, "calc": "1"}]}}}'
    )
    warnings = load_configuration(AgentOptions(config=str(file)), {}).warnings
    assert [text for text in warnings if "collectors.likwid: cpi is not known" in text]


def test_nothing_to_publish_is_a_fault_with_advice(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake")
    with pytest.raises(NotAvailableError, match="no known metric is published") as caught:
        LikwidCollector(options(metric("cpi")), tmp_path, FakePerf()).open()
    assert "ipc" in caught.value.advice


def test_an_idle_hardware_thread_has_zeros_on_request(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake", cpus=2)
    calls = FakePerf({(0, 1): 1e3, (0, 0): 1e3})
    assert two_readings(tmp_path, options(metric("ipc"), invalid_to_zero=True), calls) == {
        ("ipc", "hwthread", "0"): 0.0,
        ("ipc", "hwthread", "1"): 0.0,
    }


def test_the_lock_file_is_honoured(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    make_processor(tmp_path, "ice lake")
    write(tmp_path / "run/other.lock", "")
    os.chown(tmp_path / "run/other.lock", 4711, -1)
    calls = FakePerf()
    collector = LikwidCollector(options(metric("ipc"), lockfile_path="/run/other.lock"), tmp_path, calls)
    collector.open()
    assert not calls.events
    assert collector.waiting_for.endswith("belongs to uid 4711")
    assert isinstance(collector, PausableCollector)


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"name": "ipc", "type": "thread"}, "type"),
        ({"type": "core"}, "name"),
        ({"name": "ipc", "publish": "yes"}, "publish"),
        ("ipc", "metrics"),
    ],
)
def test_wrong_settings_are_named(wrong: object, key: str) -> None:
    with pytest.raises(SettingsError, match=key):
        load(CollectorsSettings, {"likwid": {"eventsets": [{"metrics": [wrong]}]}}, source="test")


@pytest.mark.parametrize(("cluster", "count"), [("fritz", 9), ("alex", 6)])
def test_configurations_of_production_are_mapped_whole(cluster: str, count: int) -> None:
    folder = os.environ.get("CC_FIXTURES")
    if not folder:
        pytest.skip("CC_FIXTURES names no folder with configurations of sites")
    document = json.loads((Path(folder) / "collectors" / cluster / "collectors.json").read_text())
    loaded = load(CollectorsSettings, {"likwid": document["likwid"]}, source=cluster)
    assert loaded.value.likwid is not None
    mapping = map_metrics(loaded.value.likwid)
    assert mapping.warnings == []
    assert len(mapping.counters) + len(mapping.power) == count
