"""Default aggregation and thresholds of the agent's metrics, for the cluster description.

Thresholds follow from the machine: load from the hardware threads, memory from its size, traffic from the speed of the
devices. A site is expected to refine them.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional

from cc_common.errors import UnitError
from cc_common.units import Unit, parse_unit


class MachineSizes(NamedTuple):
    """The sizes that thresholds are computed from, in base units."""

    hwthreads: int
    memory_bytes: int
    network_bytes_per_s: float
    sockets: int = 1
    clock_hz: float = 2e9
    flops_per_s: float = 1e12
    memory_bytes_per_s: float = 200e9


class ThresholdShares(NamedTuple):
    """Thresholds as fractions of the peak."""

    normal: float
    caution: float
    alert: float
    lower_is_better: bool


class MetricDefaults(NamedTuple):
    """Aggregation, peak (in base units), thresholds and footprint of a metric."""

    aggregation: str
    peak: float
    shares: ThresholdShares
    footprint: str = ""
    energy: str = ""


_BUSY = ThresholdShares(1.0, 0.5, 0.2, lower_is_better=False)  # a job is meant to fill its hardware threads
_WATCH_SATURATION = ThresholdShares(0.5, 0.8, 0.95, lower_is_better=True)
_WATCH_EARLY = ThresholdShares(0.05, 0.2, 0.5, lower_is_better=True)
_FLOPS = ThresholdShares(0.18, 0.04, 0.01, lower_is_better=False)  # few programs come near the peak
_TRAFFIC = ThresholdShares(0.3, 0.15, 0.03, lower_is_better=False)
_POWER = ThresholdShares(0.5, 0.2, 0.1, lower_is_better=False)
_SOCKET_POWER_W, _MEMORY_POWER_W, _NODE_POWER_W = 350.0, 60.0, 500.0
_DISK_BYTES_PER_S = 2e9
_DISK_REQUESTS_PER_S = 100_000.0
_GPU_MEMORY_BYTES = 80e9
_GPU_POWER_W = 700.0
_PAGE_FAULTS_PER_S = 1e6
_MAJOR_FAULTS_PER_S = 10_000.0
_PRESSURE = ("psi_cpu_full", "psi_memory_some", "psi_memory_full", "psi_io_some", "psi_io_full")


def _defaults_by_name(machine: MachineSizes) -> Dict[str, MetricDefaults]:
    network = MetricDefaults("sum", machine.network_bytes_per_s, _WATCH_SATURATION)
    disk = MetricDefaults("sum", _DISK_BYTES_PER_S, _WATCH_SATURATION)
    requests = MetricDefaults("sum", _DISK_REQUESTS_PER_S, _WATCH_SATURATION)
    load = ThresholdShares(1.0, 0.5, 0.25, lower_is_better=False)
    flops = MetricDefaults("sum", machine.flops_per_s, _FLOPS)
    memory = MetricDefaults("sum", machine.memory_bytes_per_s, _TRAFFIC)
    return {
        "ipc": MetricDefaults("avg", 4.0, ThresholdShares(0.5, 0.25, 0.125, lower_is_better=False)),
        "clock": MetricDefaults("avg", machine.clock_hz, ThresholdShares(0.8, 0.6, 0.4, lower_is_better=False)),
        "flops_any": flops._replace(footprint="avg"),
        "flops_sp": flops,
        "flops_dp": flops._replace(peak=machine.flops_per_s / 2),
        "vectorization_ratio": MetricDefaults("avg", 100.0, ThresholdShares(0.6, 0.3, 0.1, lower_is_better=False)),
        "perf_multiplex_ratio": MetricDefaults("avg", 100.0, _BUSY),
        "mem_bw": memory._replace(footprint="avg"),
        "mem_read": memory,
        "mem_write": memory,
        "cpu_power": MetricDefaults("sum", machine.sockets * _SOCKET_POWER_W, _POWER, energy="power"),
        "core_power": MetricDefaults("sum", machine.sockets * _SOCKET_POWER_W, _POWER),
        "mem_power": MetricDefaults("sum", machine.sockets * _MEMORY_POWER_W, _POWER, energy="power"),
        "node_power": MetricDefaults("sum", machine.sockets * _NODE_POWER_W, _POWER),
        "cpu_load": MetricDefaults("avg", float(machine.hwthreads), load, "avg"),
        "cpu_user": MetricDefaults("avg", 100.0, _BUSY, "avg"),
        "cpu_used": MetricDefaults("avg", 100.0, _BUSY),
        "cpu_system": MetricDefaults("avg", 100.0, _WATCH_EARLY),
        "cpu_iowait": MetricDefaults("avg", 100.0, _WATCH_EARLY),
        "cpu_steal": MetricDefaults("avg", 100.0, _WATCH_EARLY),
        "cpu_idle": MetricDefaults("avg", 100.0, ThresholdShares(0.2, 0.5, 0.8, lower_is_better=True)),
        "cpu_load_core": MetricDefaults("avg", 1.0, load),
        "psi_cpu_some": MetricDefaults("avg", 100.0, _WATCH_SATURATION),
        **dict.fromkeys(_PRESSURE, MetricDefaults("avg", 100.0, _WATCH_EARLY)),
        "vm_page_faults": MetricDefaults("sum", _PAGE_FAULTS_PER_S, _WATCH_SATURATION),
        "vm_major_faults": MetricDefaults("sum", _MAJOR_FAULTS_PER_S, _WATCH_EARLY),
        "vm_oom_kills": MetricDefaults("sum", 1.0, ThresholdShares(0.0, 0.001, 0.01, lower_is_better=True)),
        "mem_used": MetricDefaults("sum", float(machine.memory_bytes), _WATCH_SATURATION, "max"),
        "acc_utilization": MetricDefaults("avg", 100.0, _BUSY, "avg"),
        "acc_mem_used": MetricDefaults("sum", _GPU_MEMORY_BYTES, _WATCH_SATURATION, "max"),
        "acc_power": MetricDefaults("sum", _GPU_POWER_W, _BUSY),
        "net_bw": network,
        "ic_read_bw": network,
        "ic_write_bw": network,
        "file_bw": MetricDefaults("sum", machine.network_bytes_per_s + _DISK_BYTES_PER_S, _WATCH_SATURATION),
        "agent_cpu": MetricDefaults("avg", 100.0, ThresholdShares(0.001, 0.005, 0.02, lower_is_better=True)),
        "cpufreq": MetricDefaults("avg", 4e9, ThresholdShares(0.75, 0.5, 0.25, lower_is_better=False)),
        "eth_read_bw": network,
        "eth_write_bw": network,
        "disk_read_bw": disk,
        "disk_write_bw": disk,
        "disk_read_iops": requests,
        "disk_write_iops": requests,
        "part_max_used": MetricDefaults("avg", 100.0, ThresholdShares(0.5, 0.8, 0.95, lower_is_better=True)),
    }


def _defaults_by_unit(unit: Unit, name: str, machine: MachineSizes) -> MetricDefaults:
    if unit.measure == "%":
        return MetricDefaults("avg", 100.0, _WATCH_SATURATION)
    if unit.base == "B" and name.startswith("mem"):
        return MetricDefaults("sum", float(machine.memory_bytes), _WATCH_SATURATION)
    if unit.base == "B/s":
        return MetricDefaults("sum", machine.network_bytes_per_s, _WATCH_SATURATION)
    return MetricDefaults(
        "sum" if unit.per or unit.measure in ("B", "W", "J") else "avg", 1e6 * unit.factor, _WATCH_SATURATION
    )


def metric_entry(
    name: str, unit_text: str, scope: str, *, machine: MachineSizes, timestep_s: int, oldname: str = ""
) -> Dict[str, Any]:
    """The `metricConfig` entry of a metric as it is sent; thresholds in its unit."""
    unit = _parse_unit_or_none(unit_text)
    known = _defaults_by_name(machine)
    reading = known.get(name) or known.get(oldname) or _defaults_by_unit(unit or Unit(), name, machine)
    peak = reading.peak / (unit.factor if unit else 1.0)
    entry: Dict[str, Any] = {
        "name": name,
        "unit": _unit_object(unit, unit_text),
        "scope": scope,
        "aggregation": reading.aggregation,
        "timestep": timestep_s,
        "peak": _rounded(peak),
        "normal": _rounded(peak * reading.shares.normal),
        "caution": _rounded(peak * reading.shares.caution),
        "alert": _rounded(peak * reading.shares.alert),
    }
    if reading.footprint:
        entry["footprint"] = reading.footprint
    if reading.energy:
        entry["energy"] = reading.energy
    if reading.shares.lower_is_better:
        entry["lowerIsBetter"] = True
    return entry


def _parse_unit_or_none(text: str) -> Optional[Unit]:
    try:
        return parse_unit(text)
    except UnitError:
        return None


def _unit_object(unit: Optional[Unit], text: str) -> Dict[str, str]:
    if unit is None:
        return {"base": "" if text == "load" else text}
    if unit.prefix:
        return {"base": unit.base, "prefix": unit.prefix}
    return {"base": unit.base}


def _rounded(value: float) -> float:
    """The value with three significant digits, as an int if it has no fraction."""
    short = float(f"{value:.3g}")
    return int(short) if short == int(short) else short
