"""A cluster description, `cluster.json`, generated for this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from cc_agent.accelerators import find_accelerators
from cc_agent.collectors.base import MetricDescription, RawSeries
from cc_agent.collectors.memstat import parse_meminfo
from cc_agent.collectors.registry import make_collectors, metric_intervals_s
from cc_agent.derived import derived_descriptions
from cc_agent.errors import NotAvailableError
from cc_agent.metric_defaults import MachineSizes, metric_entry
from cc_agent.settings import AgentConfiguration
from cc_agent.tick_schedule import reading_interval_s
from cc_agent.topology import CPU_FOLDER, CpuTopology, read_topology

_FINEST_FIRST = ("hwthread", "core", "die", "memoryDomain", "socket", "node", "accelerator")
_DEFAULT_LINK_MBIT_PER_S = 10_000
_DEFAULT_CLOCK_GHZ = 2.0
_BANDWIDTH_PER_SOCKET_GB_PER_S = 200.0
_BANDWIDTH_PER_CORE_GB_PER_S = 10.0
_SCALAR_FLOPS_PER_CYCLE = 4
_ADVERTISED = re.compile(r"@\s*([0-9.]+)\s*GHz")

# Single precision operations per core and cycle: two units, times lanes, times two for a fused multiply-add.
_SIMD_FLOPS_PER_CYCLE = (("avx512f", 64), ("avx2", 32), ("avx", 16), ("asimd", 16), ("sse2", 8))


class ClusterDescription(NamedTuple):
    """The document, and notes for the operator about its estimates."""

    document: Dict[str, Any]
    notes: List[str]


class CpuInfo(NamedTuple):
    """The processor according to /proc/cpuinfo."""

    model: str
    flags: frozenset[str]
    clock_ghz: Optional[float]


def describe_cluster(
    configuration: AgentConfiguration, *, processor: str = "", root: Path = Path("/")
) -> ClusterDescription:
    """The description of a cluster of this machine alone, with the metrics that the configuration sends.

    `processor` is the name of the processor if it is known from elsewhere than the kernel. Raises CpuTopologyError.
    """
    topology = read_topology(root)
    cpu = read_cpuinfo(root)
    accelerators = find_accelerators(root)
    clock_ghz, basis = cpu_clock(cpu, root)
    cores = len(topology.cores)
    simd = next((flops for flag, flops in _SIMD_FLOPS_PER_CYCLE if flag in cpu.flags), _SCALAR_FLOPS_PER_CYCLE)
    bandwidth = min(cores * _BANDWIDTH_PER_CORE_GB_PER_S, len(topology.sockets) * _BANDWIDTH_PER_SOCKET_GB_PER_S)
    machine = read_machine(topology, root)._replace(
        clock_hz=1e9 * clock_ghz, flops_per_s=1e9 * cores * clock_ghz * simd, memory_bytes_per_s=1e9 * bandwidth
    )
    sub_cluster = {
        "name": "main",
        "nodes": configuration.hostname,
        "processorType": processor or cpu.model,
        "socketsPerNode": len(topology.sockets),
        "coresPerSocket": topology.cores_per_socket,
        "threadsPerCore": topology.threads_per_core,
        "flopRateScalar": _quantity("F/s", cores * clock_ghz * _SCALAR_FLOPS_PER_CYCLE),
        "flopRateSimd": _quantity("F/s", cores * clock_ghz * simd),
        "memoryBandwidth": _quantity("B/s", bandwidth),
        "topology": {
            **topology_document(topology),
            **({"accelerators": [gpu._asdict() for gpu in accelerators]} if accelerators else {}),
        },
    }
    document = {
        "name": configuration.cluster,
        "metricConfig": metric_configuration(configuration, machine, root),
        "subClusters": [sub_cluster],
    }
    notes = [
        f"flopRateScalar is an estimate: {cores} cores x {clock_ghz:.3g} GHz ({basis}) x {_SCALAR_FLOPS_PER_CYCLE}",
        f"flopRateSimd is an estimate: {cores} cores x {clock_ghz:.3g} GHz x {simd} single precision operations",
        f"memoryBandwidth is an estimate: {bandwidth:.0f} GB/s by rule of thumb; measure it with a STREAM benchmark",
        "thresholds are a start: adapt them to your jobs; 'nodes' names this machine only",
    ]
    return ClusterDescription(document, notes)


def _quantity(base: str, value: float) -> Dict[str, Any]:
    return {"unit": {"base": base, "prefix": "G"}, "value": round(value, 1)}


def topology_document(topology: CpuTopology) -> Dict[str, Any]:
    """The `topology` object of a subcluster."""
    return {
        "node": list(topology.hwthreads),
        "socket": [list(unit) for unit in topology.sockets],
        "memoryDomain": [list(unit) for unit in topology.memory_domains],
        "die": [list(unit) for unit in topology.dies],
        "core": [list(unit) for unit in topology.cores],
    }


def metric_configuration(
    configuration: AgentConfiguration, machine: MachineSizes, root: Path = Path("/")
) -> List[Dict[str, Any]]:
    """The `metricConfig` of the metrics sent from here: each once, at its finest scope, as the router renames it.

    Those with a footprint come first, because pages show metrics in this order.
    """
    router = configuration.make_router()
    entries: Dict[str, Dict[str, Any]] = {}
    for description, interval_s in _available_metrics(configuration, root):
        series = RawSeries(description.name, {"type": description.scope}, {"unit": description.unit})
        sent = router.preview(series)
        if sent is None:
            continue
        entry = metric_entry(
            sent.name,
            sent.meta.get("unit", sent.tags.get("unit", "")),
            sent.tags.get("type", "node"),
            machine=machine,
            timestep_s=interval_s,
            oldname=sent.meta.get("oldname", ""),
        )
        known = entries.get(sent.name)
        if known is None or _scope_rank(entry["scope"]) < _scope_rank(known["scope"]):
            entries[sent.name] = entry
    return sorted(entries.values(), key=lambda entry: "footprint" not in entry)


def _scope_rank(scope: str) -> int:
    return _FINEST_FIRST.index(scope) if scope in _FINEST_FIRST else len(_FINEST_FIRST)


def _available_metrics(configuration: AgentConfiguration, root: Path) -> List[Tuple[MetricDescription, int]]:
    """The metrics of the collectors that work on this machine, each with the seconds between its samples.

    Those of single jobs are left out: a cluster description has no such scope.
    """
    found: List[Tuple[str, MetricDescription, int]] = []
    own_intervals_s = metric_intervals_s(configuration.settings.collectors)
    for collector in make_collectors(configuration.settings.collectors, root):
        try:
            collector.open()
        except (NotAvailableError, ValueError):
            continue
        finally:
            collector.close()
        interval_s = reading_interval_s(own_intervals_s.get(collector.name, 0.0), configuration.interval_s)
        found += [(collector.name, metric, int(interval_s)) for metric in collector.metrics if _has_place(metric)]
    available = [(metric, interval_s) for _, metric, interval_s in found]
    by_collector: Dict[str, Set[str]] = {}
    for name, metric, _ in found:
        by_collector.setdefault(name, set()).add(metric.name)
    intervals_s = {name: interval_s for name, _, interval_s in found}
    for metric, collectors in derived_descriptions(by_collector):
        available.append((metric, max(intervals_s[name] for name in collectors)))
    return available


def _has_place(metric: MetricDescription) -> bool:
    """Whether a cluster description can have it: not of single jobs, and with a name that is known beforehand."""
    return metric.scope != "job" and "*" not in metric.name


def read_machine(topology: CpuTopology, root: Path = Path("/")) -> MachineSizes:
    """Hardware threads, memory and network bandwidth of this machine."""
    memory_kib = parse_meminfo((root / "proc/meminfo").read_bytes()).get("MemTotal", 0)
    return MachineSizes(len(topology.hwthreads), memory_kib * 1024, _network_speed(root), sockets=len(topology.sockets))


def _network_speed(root: Path) -> float:
    """Bytes per second of all links whose speed is known; 10 Gbit/s if none is."""
    speeds = [_speed(file) for file in (root / "sys/class/net").glob("*/speed")]
    total = sum(speed for speed in speeds if speed > 0) or _DEFAULT_LINK_MBIT_PER_S
    return total * 1e6 / 8


def _speed(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # reading fails while a link is down
        return 0


def read_cpuinfo(root: Path = Path("/")) -> CpuInfo:
    """Model, flags and clock from /proc/cpuinfo, whose keys differ between architectures; missing ones stay empty."""
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    values: Dict[str, str] = {}
    for line in text.split("\n"):
        key, colon, value = line.partition(":")
        if colon:
            values.setdefault(key.strip().lower(), value.strip())
    model = values.get("model name") or values.get("cpu") or values.get("cpu part") or "unknown"
    flags = frozenset((values.get("flags") or values.get("features") or "").split())
    try:
        clock_ghz: Optional[float] = float(values["cpu mhz"]) / 1000
    except (KeyError, ValueError):
        clock_ghz = None
    return CpuInfo(model, flags, clock_ghz)


def cpu_clock(cpu: CpuInfo, root: Path = Path("/")) -> tuple[float, str]:
    """The base clock in GHz, and its source."""
    folder = root / CPU_FOLDER / "cpu0"
    for name, divisor, basis in (
        ("cpufreq/base_frequency", 1e6, "base frequency"),
        ("acpi_cppc/nominal_freq", 1e3, "nominal frequency"),
        ("cpufreq/cpuinfo_max_freq", 1e6, "maximum frequency"),
    ):
        try:
            value = int((folder / name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        if value > 0:
            return value / divisor, basis
    advertised = _ADVERTISED.search(cpu.model)
    if advertised:
        return float(advertised.group(1)), "name of the processor"
    if cpu.clock_ghz:
        return cpu.clock_ghz, "present clock"
    return _DEFAULT_CLOCK_GHZ, "a guess"
