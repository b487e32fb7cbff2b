"""Traffic of memory controllers: the event numbers of each platform, and bytes per socket computed by hand."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from perf_machine import FakePerf, add_pmu, make_processor

from cc_agent.collectors.base import Tick
from cc_agent.collectors.perf.collector import PerfCollector, PerfOptions
from cc_agent.errors import NotAvailableError, NotPresentError

CORE_FORMAT = {"event": "config:0-7", "umask": "config:8-15"}
FABRIC_FORMAT = {"event": "config:0-7,32-37", "umask": "config:8-15,24-27"}
CAS_SCALE = {"scale": "6.103515625e-5", "unit": "MiB"}

Values = dict[tuple[str, str], float]


def cas(name: str, terms: str) -> dict[str, str]:
    return {f"cas_count_{name}": terms, **{f"cas_count_{name}.{key}": text for key, text in CAS_SCALE.items()}}


def imc(root: Path, channels: int, events: dict[str, str]) -> None:
    """Memory controllers of a machine of two sockets, whose first hardware threads read them."""
    for channel in range(channels):
        add_pmu(root, f"uncore_imc_{channel}", 20 + channel, formats=CORE_FORMAT, events=events, cpumask="0,1")


def measure(root: Path, calls: FakePerf) -> Values:
    collector = PerfCollector(PerfOptions(include_metrics=("mem_bw", "mem_read", "mem_write")), root, calls)
    collector.open()
    assert collector.read(Tick(0, 0.0, 10.0)) == []
    calls.advance(10.0)
    readings = collector.read(Tick(10, 10.0, 10.0))
    assert {series.metric for series, _ in readings} == {metric.name for metric in collector.metrics}
    assert {series.tags["type"] for series, _ in readings} == {"socket"}
    collector.close()
    assert not calls.events
    return {(series.metric, series.tags["type-id"]): value for series, value in readings}


def per_channel(config: int, per_s: float, channels: int) -> dict[tuple[int, int], float]:
    return {(20 + channel, config): per_s for channel in range(channels)}


def both_sockets(read: float, write: float) -> Values:
    """GB/s of two sockets that do the same."""
    return {
        (metric, socket): value
        for socket in ("0", "1")
        for metric, value in (("mem_bw", read + write), ("mem_read", read), ("mem_write", write))
    }


@pytest.mark.parametrize(
    ("kind", "channels", "configs"),
    [
        ("skylake", 6, (0x0304, 0x0C04)),
        ("cascade lake", 6, (0x0304, 0x0C04)),
        ("ice lake", 8, (0x0F04, 0x3004)),
        ("sapphire rapids", 8, (0xCF05, 0xF005)),
        ("emerald rapids", 8, (0xCF05, 0xF005)),
    ],
)
@pytest.mark.parametrize("named", ["named by the kernel", "not named"])
def test_integrated_memory_controllers_of_intel(
    tmp_path: Path, kind: str, channels: int, configs: tuple[int, int], named: str
) -> None:
    make_processor(tmp_path, kind, sockets=2)
    read, write = (f"event={config & 0xFF:#x},umask={config >> 8:#x}" for config in configs)
    imc(tmp_path, channels, {**cas("read", read), **cas("write", write)} if named == "named by the kernel" else {})
    calls = FakePerf({**per_channel(configs[0], 1e8, channels), **per_channel(configs[1], 0.5e8, channels)})
    calls.only_listed = True
    # 64 bytes x 1e8 x 8 channels = 51.2 GB/s
    assert measure(tmp_path, calls) == pytest.approx(both_sockets(6.4 * channels, 3.2 * channels))


def test_granite_rapids_has_two_schedulers_a_channel(tmp_path: Path) -> None:
    make_processor(tmp_path, "granite rapids", sockets=2)
    imc(tmp_path, 12, {})
    rates = {0xCF05: 1e8, 0xCF06: 2e8, 0xF005: 0.5e8, 0xF006: 0.5e8}
    calls = FakePerf({(20 + channel, config): rate for channel in range(12) for config, rate in rates.items()})
    assert measure(tmp_path, calls) == pytest.approx(both_sockets(12 * 19.2, 12 * 6.4))


def test_an_unknown_processor_is_read_if_the_kernel_names_the_events(tmp_path: Path) -> None:
    make_processor(tmp_path, "unknown", sockets=2)
    imc(tmp_path, 2, {**cas("read", "event=0x77,umask=0x1"), **cas("write", "event=0x78,umask=0x1")})
    calls = FakePerf({**per_channel(0x0177, 1e8, 2), **per_channel(0x0178, 1e8, 2)})
    assert measure(tmp_path, calls) == pytest.approx(both_sockets(12.8, 12.8))


def test_an_unknown_processor_without_names_has_no_traffic(tmp_path: Path) -> None:
    make_processor(tmp_path, "unknown", sockets=2)
    imc(tmp_path, 2, {})
    with pytest.raises(NotPresentError, match="no counters of the memory controllers"):
        measure(tmp_path, FakePerf())


def free_running(root: Path) -> None:
    make_processor(root, "ice lake", sockets=2)
    scaled = {"read": "event=0xff,umask=0x20", "write": "event=0xff,umask=0x30"}
    units = {f"{name}.{key}": text for name in scaled for key, text in CAS_SCALE.items()}
    add_pmu(root, "uncore_imc_free_running_0", 30, formats=CORE_FORMAT, events={**scaled, **units}, cpumask="0,1")


def client(root: Path) -> None:
    make_processor(root, "unknown", sockets=2)
    scaled = {"data_reads": "event=0x01", "data_writes": "event=0x02"}
    units = {f"{name}.{key}": text for name in scaled for key, text in CAS_SCALE.items()}
    add_pmu(root, "uncore_imc", 30, formats=CORE_FORMAT, events={**scaled, **units}, cpumask="0,1")


def zen_controllers(root: Path) -> None:
    make_processor(root, "zen 5", sockets=2)
    formats = {"event": "config:0-7", "rdwrmask": "config:8-9"}
    add_pmu(root, "amd_umc_0", 30, formats=formats, cpumask="0")
    add_pmu(root, "amd_umc_1", 31, formats=formats, cpumask="1")


def grace(root: Path) -> None:
    make_processor(root, "grace", sockets=2)
    for socket in (0, 1):
        add_pmu(root, f"nvidia_scf_pmu_{socket}", 30, formats={"event": "config:0-15"}, cpumask=f"{socket}")


@pytest.mark.parametrize(
    ("make", "per_s", "read", "write"),
    [
        (free_running, {(30, 0x20FF): 1e8, (30, 0x30FF): 2e8}, 6.4, 12.8),
        (client, {(30, 1): 1e8, (30, 2): 2e8}, 6.4, 12.8),
        (zen_controllers, {(30, 0x10A): 1e8, (30, 0x20A): 2e8, (31, 0x10A): 1e8, (31, 0x20A): 2e8}, 6.4, 12.8),
        (grace, {(30, 0x1A5): 1e9, (30, 0x1DB): 64e9}, 32.0, 64.0),
    ],
)
def test_other_controllers(
    tmp_path: Path, make: Callable[[Path], None], per_s: dict[tuple[int, int], float], read: float, write: float
) -> None:
    make(tmp_path)
    calls = FakePerf(per_s)
    calls.only_listed = True
    assert measure(tmp_path, calls) == pytest.approx(both_sockets(read, write))


@pytest.mark.parametrize("kind", ["zen 2", "zen 3"])
def test_the_data_fabric_counts_both_directions_as_one(tmp_path: Path, kind: str) -> None:
    make_processor(tmp_path, kind, sockets=2)
    add_pmu(tmp_path, "amd_df", 30, formats=FABRIC_FORMAT, cpumask="0,1")
    # channels 0 to 7: 0x07, 0x47, 0x87, 0xC7, and above 8 bits in 32 and up
    configs = [0x3807, 0x3847, 0x3887, 0x38C7, *(1 << 32 | low for low in (0x3807, 0x3847, 0x3887, 0x38C7))]
    calls = FakePerf({(30, config): 1e8 for config in configs})
    calls.only_listed = True
    calls.group_limit = 4
    assert measure(tmp_path, calls) == pytest.approx({("mem_bw", "0"): 51.2, ("mem_bw", "1"): 51.2})


def test_the_data_fabric_of_zen_4_serves_where_the_kernel_has_no_umc(tmp_path: Path) -> None:
    make_processor(tmp_path, "zen 4", sockets=2)
    add_pmu(tmp_path, "amd_df", 30, formats=FABRIC_FORMAT, cpumask="0,1")
    rates = {0xF << 24 | 0xFE << 8 | 0x1F: 1e8, 0xF << 24 | 0xFF << 8 | 0x1F: 2e8}
    last = {0xF << 24 | 2 << 32 | 0xFE << 8 | 0xDF: 3e8}  # channel 11: 0x2DF
    calls = FakePerf({(30, config): rate for config, rate in {**rates, **last}.items()})
    assert measure(tmp_path, calls) == pytest.approx(both_sockets(4 * 6.4, 12.8))


def test_counters_that_take_turns_are_scaled(tmp_path: Path) -> None:
    make_processor(tmp_path, "zen 3", sockets=2)
    add_pmu(tmp_path, "amd_df", 30, formats=FABRIC_FORMAT, cpumask="0,1")
    calls = FakePerf({(30, 0x3807): 1e8})
    calls.share = {0: 0.5, 1: 0.25}
    assert measure(tmp_path, calls) == pytest.approx({("mem_bw", "0"): 6.4, ("mem_bw", "1"): 6.4})


def test_a_socket_with_a_silent_controller_has_no_traffic(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake", sockets=2)
    imc(tmp_path, 2, {})
    calls = FakePerf(per_channel(0x0F04, 1e8, 2))
    calls.silent = {1}
    assert set(measure(tmp_path, calls)) == {("mem_bw", "0"), ("mem_read", "0"), ("mem_write", "0")}


def test_a_lost_controller_is_opened_anew(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake", sockets=2)
    imc(tmp_path, 2, {})
    calls = FakePerf(per_channel(0x0F04, 1e8, 2))
    collector = PerfCollector(PerfOptions(include_metrics=("mem_bw",)), tmp_path, calls)
    collector.open()
    opened = calls.opened
    seen = []
    for step in range(10):
        calls.offline = {1} if step == 2 else set()
        readings = collector.read(Tick(10 * step, 10.0 * step, 10.0))
        seen.append({series.tags["type-id"] for series, _ in readings})
        calls.advance(10.0)
    assert seen[1] == {"0", "1"}
    assert seen[2] == {"0"}
    assert calls.opened > opened, "at the next look at the hardware threads"
    assert seen[-1] == {"0", "1"}


def test_the_node_has_a_value_if_all_sockets_have(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake", sockets=2)
    imc(tmp_path, 2, {})
    calls = FakePerf(per_channel(0x0F04, 1e8, 2))
    options = PerfOptions(include_metrics=("mem_bw",), send_node_total_values=True)
    collector = PerfCollector(options, tmp_path, calls)
    collector.open()
    values = []
    for step in range(4):
        readings = collector.read(Tick(10 * step, 10.0 * step, 10.0))
        values.append([value for series, value in readings if series.tags == {"type": "node"}])
        calls.silent = {1} if step == 1 else set()
        calls.advance(10.0)
    assert values[:3] == [[], [pytest.approx(25.6)], []]


def test_a_missing_right_is_a_fault(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake", sockets=2)
    imc(tmp_path, 1, {})
    calls = FakePerf()
    calls.refuse = {(20, 0x0F04): errno.EACCES}
    with pytest.raises(NotAvailableError, match=r"perf_event") as caught:
        measure(tmp_path, calls)
    assert not isinstance(caught.value, NotPresentError)
    assert not calls.events


def test_a_format_that_is_not_understood_costs_only_the_traffic(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake", sockets=2)
    add_pmu(tmp_path, "uncore_imc_0", 20, formats={"event": "config:0-1"}, cpumask="0")
    collector = PerfCollector(PerfOptions(), tmp_path, FakePerf())
    collector.open()
    assert not {metric.name for metric in collector.metrics} & {"mem_bw", "mem_read", "mem_write"}
