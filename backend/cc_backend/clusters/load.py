"""Reads a cluster.json in the current and older forms, with warnings about assumed values.

Older forms have: a unit as one string, a peak rate as a bare number, `numberOfNodes` instead of a node list,
`aggregation: null`, and obsolete keys.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from cc_backend.clusters.cluster_json import cluster_to_json
from cc_backend.clusters.faults import DocumentReader, Faults, is_number, quoted_value
from cc_backend.clusters.job_metrics import built_in_job_metrics
from cc_backend.clusters.model import (
    CATCH_ALL,
    Aggregation,
    Cluster,
    EnergyKind,
    FootprintStatistic,
    MetricConfig,
    MetricEntry,
    Override,
    Quantity,
    SubCluster,
)
from cc_backend.clusters.topology import Accelerator, NodeTopology
from cc_backend.clusters.unit_json import unit_from_json
from cc_backend.errors import InvalidInput
from cc_backend.model import MetricUnit, Scope
from cc_common.errors import HostlistError
from cc_common.hostlist import HostSet

# Cluster names become folder names: no hidden folders, no path separators.
_CLUSTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LIMITS = ("peak", "normal", "caution", "alert")
_MAX_ERRORS_SHOWN = 5
MAX_DOCUMENT_BYTES = 16 << 20


def is_cluster_name(name: str) -> bool:
    """Whether a cluster may have this name; only valid names become part of a path."""
    return _CLUSTER_NAME.fullmatch(name) is not None


def parse_cluster(document: Mapping[str, Any], *, source: str) -> tuple[Cluster, list[str]]:
    """The cluster that a document describes, and warnings about values that were read leniently.

    Raises InvalidInput that names `source` and the first errors if the document cannot be used.
    """
    faults = Faults()
    cluster = read_cluster(document, faults)
    errors = faults.errors
    if cluster is None or errors:
        more = f"; and {len(errors) - _MAX_ERRORS_SHOWN} more" if len(errors) > _MAX_ERRORS_SHOWN else ""
        raise InvalidInput(f"{source}: {'; '.join(map(str, errors[:_MAX_ERRORS_SHOWN]))}{more}")
    return cluster, [f"{source}: {finding}" for finding in faults.warnings]


def read_cluster(document: object, faults: Faults) -> Cluster | None:
    """The cluster as far as it can be read, None without a name; all faults are added to `faults`."""
    if not isinstance(document, Mapping):
        faults.error("", f"must be an object, not {quoted_value(document)}")
        return None
    top = DocumentReader(document, "", faults)
    name = top.string("name", required=True)
    if name and not is_cluster_name(name):
        faults.error("name", f"must be letters, digits, dot, dash and underscore, not {quoted_value(name)}")
    parts = top.objects("subClusters")
    sub_cluster_names = [part.string("name") for part in parts]
    entries = _read_metrics(top, sub_cluster_names)
    metrics = {metric: entry.config for metric, entry in entries.items()}
    job_metrics = built_in_job_metrics(metrics)
    sub_clusters: dict[str, SubCluster] = {}
    for part in parts:
        sub_cluster = _read_sub_cluster(part, entries, job_metrics, only=len(parts) == 1)
        if sub_cluster.name in sub_clusters:
            faults.warn(part.path_of("name"), f"{sub_cluster.name!r} is there twice; the first one counts")
        elif sub_cluster.name:
            sub_clusters[sub_cluster.name] = sub_cluster
    for key, found in (("metricConfig", entries), ("subClusters", sub_clusters)):
        if not found:
            faults.error(key, "needs at least one entry")
    _warn_of_overlaps(list(sub_clusters.values()), faults)
    if not name:
        return None
    return Cluster(
        name=name,
        metrics=metrics,
        sub_clusters=sub_clusters,
        document=cluster_to_json(name, list(entries.values()), list(sub_clusters.values())),
        job_metrics=job_metrics,
    )


def _read_metrics(top: DocumentReader, sub_clusters: Sequence[str]) -> dict[str, MetricEntry]:
    entries: dict[str, MetricEntry] = {}
    for part in top.objects("metricConfig"):
        entry = _read_metric(part, sub_clusters)
        if entry.config.name in entries:
            top.faults.warn(part.path_of("name"), f"{entry.config.name!r} is there twice; the first one counts")
        elif entry.config.name:
            entries[entry.config.name] = entry
    return entries


def _read_metric(part: DocumentReader, sub_clusters: Sequence[str]) -> MetricEntry:
    part.warn_if_missing(*_LIMITS, taken_as=0)
    config = MetricConfig(
        name=part.string("name", required=True),
        unit=_read_unit(part, "unit"),
        scope=_read_scope(part),
        timestep_s=_read_timestep(part),
        aggregation=cast("Aggregation", part.choice("aggregation", ("sum", "avg"))),
        **_read_overridable(part),
    )
    overrides: dict[str, Override] = {}
    for entry in part.objects("subClusters"):
        override = _read_override(entry, config)
        if override.sub_cluster in overrides:
            part.faults.warn(entry.path_of("name"), f"{override.sub_cluster!r} is there twice; the first one counts")
            continue
        overrides[override.sub_cluster] = override
        if override.sub_cluster not in sub_clusters:
            part.faults.warn(entry.path_of("name"), f"there is no subcluster {override.sub_cluster!r}")
    return MetricEntry(config, tuple(overrides.values()))


def _read_overridable(part: DocumentReader) -> dict[str, Any]:
    """The values that both a metric and its entries for subclusters have."""
    return {
        **{key: part.number(key) for key in _LIMITS},
        "footprint": cast("FootprintStatistic", part.choice("footprint", ("avg", "min", "max"))),
        "energy": cast("EnergyKind", part.choice("energy", ("power", "energy"))),
        "lower_is_better": part.boolean("lowerIsBetter"),
        "restrict": part.boolean("restrict"),
    }


def _read_override(part: DocumentReader, config: MetricConfig) -> Override:
    name = part.string("name", required=True)
    if part.boolean("remove"):
        return Override(sub_cluster=name, remove=True)
    given = {
        "footprint": config.footprint,
        "energy": config.energy,
        "lowerIsBetter": config.lower_is_better,
        "restrict": config.restrict,
    }
    lost = [key for key in _LIMITS if not part.has(key)]
    lost += [key for key, value in given.items() if value and not part.has(key)]
    if lost:
        part.faults.warn(
            part.path,
            f"an entry replaces all settings of {config.name!r} in subcluster {name!r}; it leaves out "
            f"{', '.join(lost)}, which become 0, empty or false there. Write them all",
        )
    return Override(sub_cluster=name, **_read_overridable(part))


def _read_scope(part: DocumentReader) -> Scope:
    text = part.string("scope")
    try:
        return Scope(text or "node")
    except ValueError:
        part.faults.error(part.path_of("scope"), f"must be one of {', '.join(Scope)}, not {quoted_value(text)}")
        return Scope.NODE


def _read_timestep(part: DocumentReader) -> int:
    if not part.has("timestep"):
        part.faults.error(part.path_of("timestep"), "is missing; it is the time between two samples in seconds")
        return 60
    return part.integer("timestep", (1, None), 60)


def _read_unit(part: DocumentReader, key: str) -> MetricUnit:
    value = part.raw(key)
    unit = unit_from_json(value)
    if unit is None:
        message = "is missing, taken as a plain number" if value is None else f"is not a unit: {quoted_value(value)}"
        part.faults.warn(part.path_of(key), message)
        return MetricUnit("")
    if isinstance(value, str):
        part.faults.warn(
            part.path_of(key), f"is one word (old form), read as base {unit.base!r}, prefix {unit.prefix!r}"
        )
    return unit


def _read_sub_cluster(
    part: DocumentReader,
    entries: Mapping[str, MetricEntry],
    job_metrics: Mapping[str, MetricConfig],
    *,
    only: bool,
) -> SubCluster:
    name = part.string("name", required=True)
    nodes, hosts = _read_nodes(part, only=only)
    part.warn_if_missing("socketsPerNode", "coresPerSocket", "threadsPerCore", taken_as=1)
    threads_per_core = part.integer("threadsPerCore", (1, None), 1)
    effective = {metric: entry.effective_in(name) for metric, entry in entries.items()}
    return SubCluster(
        name=name,
        nodes=nodes,
        hosts=hosts,
        processor_type=part.string("processorType"),
        sockets_per_node=part.integer("socketsPerNode", (1, None), 1),
        cores_per_socket=part.integer("coresPerSocket", (1, None), 1),
        threads_per_core=threads_per_core,
        flop_rate_scalar=_read_quantity(part, "flopRateScalar", "F/s"),
        flop_rate_simd=_read_quantity(part, "flopRateSimd", "F/s"),
        memory_bandwidth=_read_quantity(part, "memoryBandwidth", "B/s"),
        topology=_read_topology(part, threads_per_core),
        metrics={metric: config for metric, config in effective.items() if config is not None},
        job_metrics=job_metrics,
    )


def _read_nodes(part: DocumentReader, *, only: bool) -> tuple[str, HostSet]:
    nodes = part.string("nodes").strip()
    if not nodes and only:
        part.faults.warn(part.path_of("nodes"), "is missing; as the only subcluster it takes every host")
        nodes = CATCH_ALL
    elif not nodes:
        part.faults.warn(part.path_of("nodes"), "is missing; no host belongs here unless a job names the subcluster")
    try:
        return nodes, HostSet(nodes)
    except HostlistError as error:
        part.faults.error(part.path_of("nodes"), str(error))
        return "", HostSet("")


def _read_quantity(part: DocumentReader, key: str, base: str) -> Quantity:
    """A peak rate; a bare number is the old form, in giga."""
    value = part.raw(key)
    giga = MetricUnit(base, "G")
    if is_number(value):
        part.faults.warn(part.path_of(key), f"is a bare number (old form), taken as {giga}")
        return Quantity(giga, float(value))
    if not isinstance(value, Mapping):
        message = (
            "is missing, taken as 0" if value is None else f"must be an object of unit and value: {quoted_value(value)}"
        )
        part.faults.warn(part.path_of(key), message)
        return Quantity(giga, 0.0)
    inner = DocumentReader(value, part.path_of(key), part.faults)
    return Quantity(_read_unit(inner, "unit"), inner.number("value"))


def _read_topology(part: DocumentReader, threads_per_core: int) -> NodeTopology:
    value = part.raw("topology")
    if not isinstance(value, Mapping):
        part.faults.error(part.path_of("topology"), "is missing" if value is None else "must be an object")
        return NodeTopology(())
    topology = DocumentReader(value, part.path_of("topology"), part.faults)
    node = topology.thread_ids("node")
    if not node:
        topology.faults.error(topology.path_of("node"), "is missing; it lists all hardware threads of a node")
    whole = {}
    for key in ("socket", "memoryDomain"):
        whole[key] = topology.thread_id_lists(key)
        if not whole[key]:
            topology.faults.warn(topology.path_of(key), "is missing, taken as one that has all threads")
            whole[key] = (node,)
    core = topology.thread_id_lists("core")
    if not core and threads_per_core == 1:
        core = tuple((thread,) for thread in node)
    accelerators = tuple(
        Accelerator(accelerator.string("id", required=True), accelerator.string("type"), accelerator.string("model"))
        for accelerator in topology.objects("accelerators")
    )
    return NodeTopology(
        node, whole["socket"], whole["memoryDomain"], core, topology.thread_id_lists("die"), accelerators
    )


def _warn_of_overlaps(sub_clusters: Sequence[SubCluster], faults: Faults) -> None:
    """Warn of hosts in two subclusters; they belong to the first."""
    owner: dict[str, str] = {}
    for sub_cluster in sub_clusters:
        if sub_cluster.is_catch_all:
            continue
        shared: dict[str, list[str]] = {}
        for host in sub_cluster.hosts:
            first = owner.setdefault(host, sub_cluster.name)
            if first != sub_cluster.name:
                shared.setdefault(first, []).append(host)
        for first, hosts in shared.items():
            faults.warn(
                "subClusters",
                f"{len(hosts)} hosts are in both {first!r} and {sub_cluster.name!r} (such as {hosts[0]}); "
                f"they belong to {first!r}, the first",
            )
    catch_alls = [sub_cluster.name for sub_cluster in sub_clusters if sub_cluster.is_catch_all]
    if len(catch_alls) > 1:
        faults.warn("subClusters", f"{', '.join(catch_alls)} all take every host; only {catch_alls[0]} will")
