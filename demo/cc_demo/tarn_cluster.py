"""The made-up cluster `tarn`: 320 nodes with 96 cores for CPU jobs, and a few with four GPUs each."""

from typing import Any

TIMESTEP_S = 120
CORES = 96
SOCKETS = 2
GPUS = tuple(f"00000000:{slot}:00.0" for slot in ("17", "65", "CA", "E3"))


def _metric(
    name: str, unit: str, scope: str, aggregation: str, limits: tuple[float, float, float, float], **more: Any
) -> dict[str, Any]:
    prefix, _, base = unit.rpartition("|")
    peak, normal, caution, alert = limits
    return {
        "name": name,
        "unit": {"base": base, "prefix": prefix} if prefix else {"base": base},
        "scope": scope,
        "aggregation": aggregation,
        "timestep": TIMESTEP_S,
        "peak": peak,
        "normal": normal,
        "caution": caution,
        "alert": alert,
        **more,
    }


def tarn_document() -> dict[str, Any]:
    """cluster.json of `tarn`."""
    only_gpu = [{"name": "main", "remove": True}]

    def quiet(limits: tuple[float, float, float, float]) -> list[dict[str, Any]]:
        """On GPU nodes the CPUs are not what a job is judged by."""
        peak, normal, _, _ = limits
        gpu = {"name": "gpu", "peak": peak, "normal": normal, "caution": 0, "alert": 0, "footprint": "avg"}
        return [gpu]

    load, flops, bandwidth, vector = (96, 96, 60, 30), (6144, 2400, 300, 80), (520, 430, 90, 25), (100, 60, 30, 10)
    return {
        "name": "tarn",
        "metricConfig": [
            _metric("cpu_load", "", "node", "avg", load, footprint="avg", subClusters=quiet(load)),
            _metric("flops_any", "G|F/s", "socket", "sum", flops, footprint="avg", subClusters=quiet(flops)),
            _metric("mem_bw", "G|B/s", "socket", "sum", bandwidth, footprint="avg", subClusters=quiet(bandwidth)),
            _metric("mem_used", "G|B", "node", "sum", (384, 200, 300, 350), footprint="max", lowerIsBetter=True),
            _metric("vectorization_ratio", "%", "socket", "avg", vector, footprint="avg", subClusters=quiet(vector)),
            _metric("cpu_power", "W", "socket", "sum", (700, 620, 220, 140), energy="power", footprint="avg"),
            _metric("ipc", "IPC", "socket", "avg", (4, 3, 1, 0.5)),
            _metric("clock", "M|Hz", "node", "avg", (3600, 3300, 2000, 1400)),
            _metric("cpu_user", "%", "hwthread", "avg", (100, 100, 40, 15)),
            _metric("net_bw", "B/s", "node", "sum", (25e9, 25e9, 0, 0)),
            _metric("file_bw", "M|B/s", "node", "sum", (1200, 1200, 0, 0)),
            _metric(
                "acc_utilization", "%", "accelerator", "avg", (100, 100, 40, 15), footprint="avg", subClusters=only_gpu
            ),
            _metric("acc_power", "W", "accelerator", "sum", (2800, 2600, 700, 360), subClusters=only_gpu),
        ],
        "subClusters": [_sub_cluster("main", "tn[0001-0320]", ()), _sub_cluster("gpu", "tg[001-016]", GPUS)],
    }


def _sub_cluster(name: str, nodes: str, gpus: tuple[str, ...]) -> dict[str, Any]:
    threads = list(range(CORES))
    half = CORES // SOCKETS
    domains = [threads[i : i + half // 2] for i in range(0, CORES, half // 2)]
    return {
        "name": name,
        "nodes": nodes,
        "processorType": "Example 48-Core",
        "socketsPerNode": SOCKETS,
        "coresPerSocket": half,
        "threadsPerCore": 1,
        "flopRateScalar": {"unit": {"base": "F/s", "prefix": "G"}, "value": 480},
        "flopRateSimd": {"unit": {"base": "F/s", "prefix": "G"}, "value": 6144},
        "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 520},
        "topology": {
            "node": threads,
            "socket": [threads[:half], threads[half:]],
            "memoryDomain": domains,
            "core": [[thread] for thread in threads],
            "accelerators": [{"id": gpu, "type": "Nvidia GPU", "model": "Example GPU"} for gpu in gpus],
        },
    }
