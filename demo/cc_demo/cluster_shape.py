"""Clusters of any size and kind, described in a few numbers, as a cluster.json."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

CORES_A_DOMAIN = 8


@dataclass(frozen=True, slots=True)
class SubClusterShape:
    """Equal nodes: how many, and what is in one of them. Rates are those of a whole node."""

    name: str
    nodes: int
    stem: str = "n"
    sockets: int = 2
    cores_per_socket: int = 8
    threads_per_core: int = 1
    gpus: int = 0
    memory_gb: int = 256
    flop_rate_g: float = 1024.0
    bandwidth_gb_s: float = 320.0

    @property
    def hwthreads(self) -> int:
        """Hardware threads of a node."""
        return self.sockets * self.cores_per_socket * self.threads_per_core

    def hosts(self) -> list[str]:
        """The names of all nodes, in order."""
        return [f"{self.stem}{number:0{self._width}d}" for number in range(1, self.nodes + 1)]

    def gpu_ids(self) -> tuple[str, ...]:
        """The ids of the accelerators of a node: addresses on the bus, as collectors report them."""
        return tuple(f"00000000:{0x17 + 0x20 * slot:02X}:00.0" for slot in range(self.gpus))

    def document(self) -> dict[str, Any]:
        """The entry of cluster.json."""
        return {
            "name": self.name,
            "nodes": f"{self.stem}[{1:0{self._width}d}-{self.nodes:0{self._width}d}]",
            "processorType": f"Example {self.cores_per_socket}-Core",
            "socketsPerNode": self.sockets,
            "coresPerSocket": self.cores_per_socket,
            "threadsPerCore": self.threads_per_core,
            "flopRateScalar": {"unit": {"base": "F/s", "prefix": "G"}, "value": round(self.flop_rate_g / 8, 1)},
            "flopRateSimd": {"unit": {"base": "F/s", "prefix": "G"}, "value": self.flop_rate_g},
            "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": self.bandwidth_gb_s},
            "topology": make_topology(self),
        }

    @property
    def _width(self) -> int:
        return max(2, len(str(self.nodes)))


@dataclass(frozen=True, slots=True)
class ClusterShape:
    """A cluster: its name, its kinds of nodes, and how often they are sampled."""

    name: str
    sub_clusters: tuple[SubClusterShape, ...]
    timestep_s: int = 60

    def document(self) -> dict[str, Any]:
        """The cluster.json."""
        return {
            "name": self.name,
            "metricConfig": [self._metric(metric) for metric in METRICS if self._has(metric)],
            "subClusters": [sub_cluster.document() for sub_cluster in self.sub_clusters],
        }

    def _has(self, metric: "MetricShape") -> bool:
        return not metric.gpu or any(sub_cluster.gpus for sub_cluster in self.sub_clusters)

    def _metric(self, metric: "MetricShape") -> dict[str, Any]:
        first = next(sub_cluster for sub_cluster in self.sub_clusters if sub_cluster.gpus or not metric.gpu)
        unit = {"base": metric.unit, "prefix": metric.prefix} if metric.prefix else {"base": metric.unit}
        document = {
            "name": metric.name,
            "unit": unit,
            "scope": metric.scope,
            "aggregation": metric.aggregation,
            "timestep": self.timestep_s,
            **metric.limits(first),
        }
        others = [
            {"name": sub_cluster.name, **metric.limits(sub_cluster)}
            if sub_cluster.gpus or not metric.gpu
            else {"name": sub_cluster.name, "remove": True}
            for sub_cluster in self.sub_clusters
        ]
        changes = [entry for entry in others if entry != {"name": entry["name"], **metric.limits(first)}]
        return {**document, "subClusters": changes} if changes else document


@dataclass(frozen=True, slots=True)
class MetricShape:
    """A metric: `peak` of a node in the unit, or what of the node it follows; the other limits are parts of it.

    Jobs on GPU nodes are not judged by what the processors do, so limits of such metrics are left out there.
    """

    name: str
    unit: str
    scope: str
    aggregation: str
    peak: float | str
    normal: float = 1.0
    caution: float = 0.0
    alert: float = 0.0
    footprint: str = ""
    prefix: str = ""
    energy: str = ""
    lower_is_better: bool = False
    gpu: bool = False
    everywhere: bool = False

    def limits(self, node: SubClusterShape) -> dict[str, Any]:
        """Peak, limits and uses of the metric on this kind of node."""
        peak = round({
            "threads": float(node.hwthreads),
            "memory": float(node.memory_gb),
            "flops": node.flop_rate_g,
            "bandwidth": node.bandwidth_gb_s,
            "power": 180.0 * node.sockets,
            "gpus": 80.0 * node.gpus,
            "gpu power": 500.0 * node.gpus,
        }[self.peak] if isinstance(self.peak, str) else self.peak, 2)  # fmt: skip
        judged = self.gpu or self.everywhere or not node.gpus
        found: dict[str, Any] = {
            "peak": peak,
            "normal": peak if self.normal == 1 else _two_digits(peak * self.normal),
            "caution": _two_digits(peak * self.caution) if judged else 0,
            "alert": _two_digits(peak * self.alert) if judged else 0,
        }
        if self.footprint:
            found["footprint"] = self.footprint
        if self.energy:
            found["energy"] = self.energy
        if self.lower_is_better:
            found["lowerIsBetter"] = True
        return found


def _two_digits(limit: float) -> float:
    """A limit as somebody would put it down: two digits."""
    return float(f"{limit:.2g}")


METRICS = (
    MetricShape("cpu_load", "", "node", "avg", "threads", 1.0, 0.55, 0.25, "avg"),
    MetricShape("flops_any", "F/s", "hwthread", "sum", "flops", 0.45, 0.06, 0.018, "avg", prefix="G"),
    MetricShape("mem_bw", "B/s", "socket", "sum", "bandwidth", 0.78, 0.16, 0.06, "avg", prefix="G"),
    MetricShape(
        "mem_used", "B", "node", "sum", "memory", 0.5, 0.8, 0.92, "max", "G", lower_is_better=True, everywhere=True
    ),
    MetricShape("acc_utilization", "%", "accelerator", "avg", 100.0, 1.0, 0.4, 0.15, "avg", gpu=True),
    MetricShape("cpu_user", "%", "hwthread", "avg", 100.0, 1.0, 0.4, 0.15),
    MetricShape("cpu_power", "W", "socket", "sum", "power", 0.9, 0.3, 0.2, energy="power"),
    MetricShape("clock", "Hz", "node", "avg", 3600.0, 0.92, 0.5, 0.35, prefix="M"),
    MetricShape("net_bw", "B/s", "node", "sum", 12500.0, 1.0, prefix="M"),
    MetricShape(
        "acc_mem_used", "B", "accelerator", "sum", "gpus", 0.5, 0.9, 0.97, "max", "G", lower_is_better=True, gpu=True
    ),
    MetricShape("acc_power", "W", "accelerator", "sum", "gpu power", 0.95, 0.3, 0.15, energy="power", gpu=True),
)  # fmt: skip


@lru_cache(maxsize=256)
def make_topology(node: SubClusterShape) -> dict[str, Any]:
    """The topology of a node as cluster.json has it; hardware threads of a core are as far apart as there are cores."""
    cores = node.sockets * node.cores_per_socket
    core_threads = [[core + cores * way for way in range(node.threads_per_core)] for core in range(cores)]
    return {
        "node": list(range(node.hwthreads)),
        "socket": _grouped(core_threads, node.cores_per_socket),
        "memoryDomain": _grouped(core_threads, min(CORES_A_DOMAIN, node.cores_per_socket)),
        "core": core_threads,
        "accelerators": [{"id": gpu, "type": "Nvidia GPU", "model": "Example GPU"} for gpu in node.gpu_ids()],
    }


def _grouped(core_threads: list[list[int]], cores: int) -> list[list[int]]:
    """The threads of each group of `cores` cores."""
    return [
        sorted(thread for core in core_threads[at : at + cores] for thread in core)
        for at in range(0, len(core_threads), cores)
    ]
