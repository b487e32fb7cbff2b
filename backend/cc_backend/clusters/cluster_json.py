"""A cluster as JSON object of the API: the configuration with all derived values filled in."""

from collections.abc import Mapping, Sequence
from typing import Any

from cc_backend.clusters.model import MetricConfig, MetricEntry, OverridableConfig, Override, Quantity, SubCluster
from cc_backend.clusters.topology import NodeTopology
from cc_backend.clusters.unit_json import unit_to_json


def cluster_to_json(name: str, entries: Sequence[MetricEntry], sub_clusters: Sequence[SubCluster]) -> dict[str, Any]:
    """The JSON object of a cluster; each subcluster has its effective metrics, footprint and energy lists."""
    return {
        "name": name,
        "metricConfig": [_entry(entry) for entry in entries],
        "subClusters": [_sub_cluster(sub_cluster) for sub_cluster in sub_clusters],
    }


def without_restricted_metrics(document: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of a cluster without the metrics that are restricted to staff."""
    entries = [entry for entry in document["metricConfig"] if not entry["restrict"]]
    return {
        **document,
        "metricConfig": [_without_restricted_overrides(entry) for entry in entries],
        "subClusters": [_without_restricted(sub_cluster) for sub_cluster in document["subClusters"]],
    }


def _without_restricted_overrides(entry: Mapping[str, Any]) -> dict[str, Any]:
    kept = [override for override in entry.get("subClusters", ()) if not override["restrict"]]
    plain = {key: value for key, value in entry.items() if key != "subClusters"}
    return {**plain, "subClusters": kept} if kept else plain


def _without_restricted(sub_cluster: Mapping[str, Any]) -> dict[str, Any]:
    restricted = {entry["name"] for entry in sub_cluster.get("metricConfig", ()) if entry["restrict"]}
    kept: dict[str, Any] = {
        "metricConfig": [entry for entry in sub_cluster.get("metricConfig", ()) if entry["name"] not in restricted],
        "footprint": [name for name in sub_cluster.get("footprint", ()) if name not in restricted],
        "energyFootprint": [name for name in sub_cluster.get("energyFootprint", ()) if name not in restricted],
    }
    plain = {key: value for key, value in sub_cluster.items() if key not in kept}
    return {**plain, **{key: values for key, values in kept.items() if values}}


def metric_to_json(metric: MetricConfig) -> dict[str, Any]:
    """The JSON object of a metric; an empty `footprint` is omitted."""
    return {
        "name": metric.name,
        "unit": unit_to_json(metric.unit),
        "scope": metric.scope.value,
        "timestep": metric.timestep_s,
        "aggregation": metric.aggregation,
        **_overridable(metric),
    }


def _overridable(config: OverridableConfig) -> dict[str, Any]:
    return {
        "peak": _number(config.peak),
        "normal": _number(config.normal),
        "caution": _number(config.caution),
        "alert": _number(config.alert),
        **({"footprint": config.footprint} if config.footprint else {}),
        "energy": config.energy,
        "lowerIsBetter": config.lower_is_better,
        "restrict": config.restrict,
    }


def _entry(entry: MetricEntry) -> dict[str, Any]:
    document = metric_to_json(entry.config)
    if entry.overrides:
        document["subClusters"] = [_override(override, entry.config) for override in entry.overrides]
    return document


def _override(override: Override, config: MetricConfig) -> dict[str, Any]:
    return {
        "name": override.sub_cluster,
        "unit": unit_to_json(config.unit),
        **_overridable(override),
        "remove": override.remove,
    }


def _sub_cluster(sub_cluster: SubCluster) -> dict[str, Any]:
    derived = {
        "metricConfig": [metric_to_json(metric) for metric in sub_cluster.metrics.values()],
        "footprint": list(sub_cluster.footprint_metrics),
        "energyFootprint": list(sub_cluster.energy_metrics),
    }
    return {**hardware_to_json(sub_cluster), **{key: values for key, values in derived.items() if values}}


def hardware_to_json(sub_cluster: SubCluster) -> dict[str, Any]:
    """The JSON object of a subcluster as a cluster.json has it, without what follows from the metrics."""
    return {
        "name": sub_cluster.name,
        "nodes": sub_cluster.nodes,
        "processorType": sub_cluster.processor_type,
        "socketsPerNode": sub_cluster.sockets_per_node,
        "coresPerSocket": sub_cluster.cores_per_socket,
        "threadsPerCore": sub_cluster.threads_per_core,
        "flopRateScalar": _quantity(sub_cluster.flop_rate_scalar),
        "flopRateSimd": _quantity(sub_cluster.flop_rate_simd),
        "memoryBandwidth": _quantity(sub_cluster.memory_bandwidth),
        "topology": _topology(sub_cluster.topology),
    }


def _topology(topology: NodeTopology) -> dict[str, Any]:
    document: dict[str, Any] = {
        "node": list(topology.node),
        "socket": [list(unit) for unit in topology.socket],
        "memoryDomain": [list(unit) for unit in topology.memory_domain],
        "core": [list(unit) for unit in topology.core],
    }
    if topology.die:
        document["die"] = [list(unit) for unit in topology.die]
    if topology.accelerators:
        document["accelerators"] = [
            {"id": accelerator.id, "type": accelerator.type, "model": accelerator.model}
            for accelerator in topology.accelerators
        ]
    return document


def _quantity(quantity: Quantity) -> dict[str, Any]:
    return {"unit": unit_to_json(quantity.unit), "value": _number(quantity.value)}


def _number(value: float) -> float | int:
    """The value as int if it has no fraction, as the files write it."""
    return int(value) if value.is_integer() else value
