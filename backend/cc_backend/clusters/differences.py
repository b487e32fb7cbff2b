"""What differs between two configurations of a cluster, by its meaning: layout and order of a file do not count."""

from collections.abc import Iterator
from typing import Any

from cc_backend.clusters.model import Cluster, MetricConfig, Quantity, SubCluster
from cc_backend.clusters.topology import NodeTopology
from cc_backend.model import Scope
from cc_common.hostlist import fold

_LIMITS = ("peak", "normal", "caution", "alert")
_SETTINGS = {
    "aggregation": "aggregation",
    "footprint": "footprint",
    "energy": "energy",
    "lower_is_better": "lowerIsBetter",
    "restrict": "restrict",
}
"""Attribute of a metric -> its key in cluster.json; those without a unit."""
_NODE_SETTINGS = {
    "processor_type": "processorType",
    "sockets_per_node": "socketsPerNode",
    "cores_per_socket": "coresPerSocket",
    "threads_per_core": "threadsPerCore",
    "flop_rate_scalar": "flopRateScalar",
    "flop_rate_simd": "flopRateSimd",
    "memory_bandwidth": "memoryBandwidth",
}
_UNITS_OF_TOPOLOGY = (
    (Scope.HWTHREAD, "hardware threads"),
    (Scope.CORE, "cores"),
    (Scope.SOCKET, "sockets"),
    (Scope.MEMORY_DOMAIN, "memory domains"),
)


def describe_differences(before: Cluster, after: Cluster) -> list[str]:
    """A line for each difference: subclusters, their nodes and hardware, then metrics by their effective values."""
    return [*_name(before, after), *_sub_clusters(before, after), *_metrics(before, after)]


def _name(before: Cluster, after: Cluster) -> Iterator[str]:
    if before.name != after.name:
        yield f"name: {before.name} -> {after.name}"


def _sub_clusters(before: Cluster, after: Cluster) -> Iterator[str]:
    for name, sub_cluster in before.sub_clusters.items():
        if name not in after.sub_clusters:
            yield f"subcluster {name}: removed, with {_hosts(sub_cluster)}"
    for name, sub_cluster in after.sub_clusters.items():
        if name not in before.sub_clusters:
            yield f"subcluster {name}: added, with {_hosts(sub_cluster)}"
        else:
            for line in _nodes(before.sub_clusters[name], sub_cluster):
                yield f"subcluster {name}: {line}"


def _hosts(sub_cluster: SubCluster) -> str:
    if sub_cluster.is_catch_all:
        return "all other hosts"
    return f"{len(sub_cluster.hosts)} hosts {fold(sub_cluster.hosts)}" if len(sub_cluster.hosts) else "no hosts"


def _nodes(before: SubCluster, after: SubCluster) -> Iterator[str]:
    if before.is_catch_all != after.is_catch_all:
        yield f"takes all other hosts: {_value(before.is_catch_all)} -> {_value(after.is_catch_all)}"
    for what, hosts in (
        ("added", set(after.hosts) - set(before.hosts)),
        ("removed", set(before.hosts) - set(after.hosts)),
    ):
        if hosts:
            yield f"{len(hosts)} hosts {what}: {fold(hosts)}"
    for attribute, key in _NODE_SETTINGS.items():
        old, new = getattr(before, attribute), getattr(after, attribute)
        if old != new:
            yield f"{key} {_value(old)} -> {_value(new)}"
    yield from _topology(before.topology, after.topology)


def _topology(before: NodeTopology, after: NodeTopology) -> Iterator[str]:
    for scope, words in _UNITS_OF_TOPOLOGY:
        old, new = before.units(scope), after.units(scope)
        if len(old) != len(new):
            yield f"topology: {len(old)} {words} -> {len(new)}"
        elif old != new:
            yield f"topology: other numbering of the {len(new)} {words}"
    if before.die != after.die:
        yield f"topology: {len(before.die)} dies -> {len(after.die)}"
    old_accelerators = {entry.id: entry for entry in before.accelerators}
    new_accelerators = {entry.id: entry for entry in after.accelerators}
    for id_ in old_accelerators.keys() - new_accelerators.keys():
        yield f"accelerator {id_}: removed"
    for id_, entry in new_accelerators.items():
        old_entry = old_accelerators.get(id_)
        if old_entry is None:
            yield f"accelerator {id_}: added ({entry.type} {entry.model})"
        elif old_entry != entry:
            yield f"accelerator {id_}: {old_entry.type} {old_entry.model} -> {entry.type} {entry.model}"


def _metrics(before: Cluster, after: Cluster) -> Iterator[str]:
    common = [name for name in after.sub_clusters if name in before.sub_clusters]
    for metric in dict.fromkeys([*before.metrics, *after.metrics]):
        places: dict[str, list[str]] = {}
        for name in common:
            old, new = (side.sub_clusters[name].metrics.get(metric) for side in (before, after))
            if text := _metric(old, new):
                places.setdefault(text, []).append(name)
        for text, names in places.items():
            where = "" if names == common else f" in {', '.join(names)}"
            yield f"metric {metric}{where}: {text}"


def _metric(before: MetricConfig | None, after: MetricConfig | None) -> str:
    """How a metric of a subcluster changes, empty if it does not."""
    if before is None or after is None:
        return "" if before is after else "removed" if after is None else f"added ({_summary(after)})"
    changes = []
    if before.unit != after.unit:
        changes.append(f"unit {_value(str(before.unit))} -> {_value(str(after.unit))}")
    if before.scope != after.scope:
        changes.append(f"scope {before.scope} -> {after.scope}")
    if before.timestep_s != after.timestep_s:
        changes.append(f"timestep {before.timestep_s} s -> {after.timestep_s} s")
    for key in _LIMITS:
        old, new = getattr(before, key), getattr(after, key)
        if old != new or before.unit != after.unit:
            changes.append(f"{key} {_value(Quantity(before.unit, old))} -> {_value(Quantity(after.unit, new))}")
    for attribute, key in _SETTINGS.items():
        old, new = getattr(before, attribute), getattr(after, attribute)
        if old != new:
            changes.append(f"{key} {_value(old)} -> {_value(new)}")
    return ", ".join(changes)


def _summary(metric: MetricConfig) -> str:
    footprint = f", footprint {metric.footprint}" if metric.footprint else ""
    return f"{metric.scope}, every {metric.timestep_s} s, peak {_value(Quantity(metric.unit, metric.peak))}{footprint}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Quantity):
        return f"{value.value:.15g} {value.unit}".rstrip()
    return str(value) or "none"
