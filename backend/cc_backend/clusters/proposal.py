"""Proposes the cluster.json of a cluster from the descriptions that the agents of its nodes have printed.

Nodes of the same hardware become one subcluster; metrics that differ between subclusters get entries for these.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from cc_backend.clusters.cluster_json import hardware_to_json, metric_to_json
from cc_backend.clusters.model import Cluster, MetricConfig, Quantity, SubCluster
from cc_backend.errors import InvalidInput
from cc_common.hostlist import HostSet, fold

_SAME_MEMORY = 1.1
"""Nodes whose sizes of memory differ by less are of the same hardware: firmware reserves different amounts."""
_MAX_HOSTS_SHOWN = 5
_OVERRIDABLE = ("peak", "normal", "caution", "alert", "footprint", "energy", "lowerIsBetter", "restrict")
_FIXED = ("unit", "scope", "timestep_s", "aggregation")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_VENDORS = frozenset({"nvidia", "amd", "intel", "tesla", "instinct", "gpu"})


@dataclass(frozen=True, slots=True)
class Proposal:
    """A cluster.json, and notes about what was decided or needs a person."""

    document: dict[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _ReportedNode:
    """A host as one report describes it."""

    hostname: str
    source: str
    described: SubCluster


@dataclass(slots=True)
class _HardwareGroup:
    """Hosts of the same hardware, and the subcluster that describes them."""

    nodes: list[_ReportedNode]
    metrics: dict[str, MetricConfig] = field(default_factory=dict)
    name: str = "main"


def propose_cluster(reports: Iterable[tuple[str, Cluster]], name: str = "") -> Proposal:
    """The proposed description of the cluster with these nodes; reports are a source and what it describes.

    Without a name it is the one that all reports have. A host in several reports is as the last one says.

    Raises:
        InvalidInput: no report names a host, or the reports name several clusters.
    """
    notes: list[str] = []
    nodes: dict[str, _ReportedNode] = {}
    names: set[str] = set()
    for source, cluster in reports:
        names.add(cluster.name)
        for sub_cluster in cluster.sub_clusters.values():
            for host in sub_cluster.hosts:
                if host in nodes:
                    notes.append(f"{host} is in {nodes[host].source} and {source}; {source} counts")
                nodes[host] = _ReportedNode(host, source, sub_cluster)
    if not nodes:
        raise InvalidInput("no report names a host; each is what `cc-agent topology` prints on a node")
    if not name and len(names) > 1:
        raise InvalidInput(f"the reports are of several clusters, {', '.join(sorted(names))}; say which with --name")
    groups = sorted(_groups(nodes.values()), key=lambda group: (-len(group.nodes), group.nodes[0].hostname))
    for group in groups:
        group.metrics = _merged_metrics(group, notes)
    _set_names(groups)
    document = {
        "name": name or names.pop(),
        "metricConfig": list(_metric_entries(groups, notes)),
        "subClusters": [hardware_to_json(_sub_cluster(group)) for group in groups],
    }
    notes += [f"subcluster {group.name}: {len(group.nodes)} hosts, {_describe(group)}" for group in groups]
    notes.append("peak rates, peaks and thresholds are the agents' estimates: correct them by benchmarks and your jobs")
    return Proposal(document, tuple(notes))


def _groups(nodes: Iterable[_ReportedNode]) -> Iterator[_HardwareGroup]:
    by_hardware: dict[tuple[Any, ...], list[_ReportedNode]] = {}
    for node in nodes:
        sub_cluster = node.described
        key = (
            sub_cluster.processor_type,
            sub_cluster.sockets_per_node,
            sub_cluster.cores_per_socket,
            sub_cluster.threads_per_core,
            sub_cluster.topology,
        )
        by_hardware.setdefault(key, []).append(node)
    for alike in by_hardware.values():
        alike.sort(key=lambda node: (_memory(node.described), node.hostname))
        begin = 0
        for at, node in enumerate(alike):
            if _memory(node.described) > _SAME_MEMORY * _memory(alike[begin].described):
                yield _HardwareGroup(alike[begin:at])
                begin = at
        yield _HardwareGroup(alike[begin:])


def _memory(sub_cluster: SubCluster) -> float:
    """Size of the memory in the unit of its metric, 0 if unknown."""
    metric = sub_cluster.metrics.get("mem_used")
    return 0.0 if metric is None else metric.peak


def _merged_metrics(group: _HardwareGroup, notes: list[str]) -> dict[str, MetricConfig]:
    """The metrics of the nodes: each as most nodes have it, with the maximum of the peaks."""
    found: dict[str, list[tuple[_ReportedNode, MetricConfig]]] = {}
    for node in group.nodes:
        for name, metric in node.described.metrics.items():
            found.setdefault(name, []).append((node, metric))
    merged = {}
    for name, entries in found.items():
        if len(entries) < len(group.nodes):
            lacking = {node.hostname for node in group.nodes} - {node.hostname for node, _ in entries}
            notes.append(f"metric {name}: is missing on {_first(lacking)}, unlike on nodes of the same hardware")
        ((usual, count),) = Counter(_fixed(metric) for _, metric in entries).most_common(1)
        if count < len(entries):
            others = {node.hostname for node, metric in entries if _fixed(metric) != usual}
            text = "has another unit, scope, timestep or aggregation on"
            notes.append(f"metric {name}: {text} {_first(others)}; what most nodes have counts")
        merged[name] = max((metric for _, metric in entries if _fixed(metric) == usual), key=lambda metric: metric.peak)
    return merged


def _fixed(metric: MetricConfig) -> tuple[Any, ...]:
    """What an entry for a subcluster cannot change."""
    return tuple(getattr(metric, attribute) for attribute in _FIXED)


def _metric_entries(groups: Sequence[_HardwareGroup], notes: list[str]) -> Iterator[dict[str, Any]]:
    """The entries of metricConfig: as in the largest subcluster that has the metric, and what differs in others."""
    for name in dict.fromkeys(name for group in groups for name in group.metrics):
        config = next(group.metrics[name] for group in groups if name in group.metrics)
        entry = _without_empty(metric_to_json(config))
        overrides = []
        for group in groups:
            here = group.metrics.get(name)
            if here is None:
                overrides.append({"name": group.name, "remove": True})
            elif _fixed(here) != _fixed(config):
                notes.append(
                    f"metric {name}: subcluster {group.name} has another unit, scope, timestep or aggregation, which "
                    "cannot differ within a cluster; configure its agents alike"
                )
            elif here != config:
                whole = metric_to_json(here)
                overrides.append({"name": group.name, **{key: whole[key] for key in _OVERRIDABLE if key in whole}})
        yield {**entry, **({"subClusters": overrides} if overrides else {})}


def _without_empty(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value not in ("", False) or isinstance(value, float | int)}


def _sub_cluster(group: _HardwareGroup) -> SubCluster:
    described = [node.described for node in group.nodes]
    hosts = fold(node.hostname for node in group.nodes)
    return replace(
        described[0],
        name=group.name,
        nodes=hosts,
        hosts=HostSet(hosts),
        flop_rate_scalar=_median([entry.flop_rate_scalar for entry in described]),
        flop_rate_simd=_median([entry.flop_rate_simd for entry in described]),
        memory_bandwidth=_median([entry.memory_bandwidth for entry in described]),
    )


def _median(quantities: Sequence[Quantity]) -> Quantity:
    return Quantity(quantities[0].unit, round(median(quantity.value for quantity in quantities), 1))


def _set_names(groups: Sequence[_HardwareGroup]) -> None:
    """Name the subclusters by what tells them apart: accelerator or number of cores, then memory, then a number."""
    if len(groups) == 1:
        return
    names = [_hardware_name(group) for group in groups]
    names = [
        f"{name}-{_memory(group.nodes[0].described):.0f}g" if names.count(name) > 1 else name
        for name, group in zip(names, groups, strict=True)
    ]
    for at, group in enumerate(groups):
        earlier = names[:at].count(names[at])
        group.name = f"{names[at]}-{earlier + 1}" if earlier else names[at]


def _hardware_name(group: _HardwareGroup) -> str:
    """`a100` for nodes with such accelerators, else `cpu64` by the number of cores."""
    topology = group.nodes[0].described.topology
    if topology.accelerators:
        words = _NOT_IN_NAMES.split(topology.accelerators[0].model.lower())
        model = next((word for word in words if word and word not in _VENDORS), "gpu")
        return f"{model}x{len(topology.accelerators)}"
    return f"cpu{len(topology.core) or len(topology.node)}"


def _describe(group: _HardwareGroup) -> str:
    described = group.nodes[0].described
    accelerators = Counter(accelerator.model for accelerator in described.topology.accelerators)
    gpus = "".join(f", {count} {model}" for model, count in accelerators.items())
    return f"{described.processor_type}, {len(described.topology.core)} cores{gpus}"


def _first(hosts: Iterable[str]) -> str:
    names = sorted(hosts)
    more = len(names) - _MAX_HOSTS_SHOWN
    return ", ".join(names[:_MAX_HOSTS_SHOWN]) + (f" and {more} more" if more > 0 else "")
