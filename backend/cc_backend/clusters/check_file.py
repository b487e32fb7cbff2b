"""`cluster check`: all faults that loading a cluster.json reports, and probable mistakes."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from cc_backend.clusters.faults import Fault, Faults
from cc_backend.clusters.load import MAX_DOCUMENT_BYTES, read_cluster
from cc_backend.clusters.model import Cluster, MetricConfig, SubCluster
from cc_backend.clusters.topology import NodeTopology
from cc_common.errors import UnitError
from cc_common.units import PREFIX_FACTORS, prefix_factor

# Other programs derive file names, footprint keys and filters from metric names.
_METRIC_NAME = re.compile(r"[A-Za-z0-9_]+")
_MAX_THREADS_SHOWN = 5


def check_file(path: Path) -> list[Fault]:
    """The faults of a file; a single error if it cannot be read or is not JSON."""
    faults = Faults()
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_DOCUMENT_BYTES + 1)
        if len(raw) > MAX_DOCUMENT_BYTES:
            faults.error("", f"is larger than {MAX_DOCUMENT_BYTES >> 20} MiB")
            return faults.items
        document = orjson.loads(raw)
    except OSError as error:
        faults.error("", f"cannot be read: {error.strerror}")
        return faults.items
    except orjson.JSONDecodeError as error:
        faults.error("", f"is not JSON, line {error.lineno}, column {error.colno}: {error.msg}")
        return faults.items
    return check_cluster(document)


def check_cluster(document: Any) -> list[Fault]:
    """The faults of a document, errors first; without an error it can be used."""
    faults = Faults()
    cluster = read_cluster(document, faults)
    if cluster is not None:
        _check_metrics(cluster, faults)
        for sub_cluster in cluster.sub_clusters.values():
            _check_sub_cluster(sub_cluster, faults)
        _check_derived_keys(document, faults)
        _warn_of_unknown_keys(document, faults)
    return faults.errors + faults.warnings


def _check_metrics(cluster: Cluster, faults: Faults) -> None:
    for name, metric in cluster.metrics.items():
        path = f"metric {name}"
        if not _METRIC_NAME.fullmatch(name):
            faults.warn(path, "filters and histograms know only names of letters, digits and underscore")
        if not metric.aggregation and metric.scope != "node":
            faults.warn(path, f"has no aggregation: nothing coarser than {metric.scope} can be shown")
        _check_prefix(path, metric.unit.prefix, faults)
        _check_limits(path, metric, faults)
    for sub_cluster in cluster.sub_clusters.values():
        for name, metric in sub_cluster.metrics.items():
            if metric != cluster.metrics[name]:
                _check_limits(f"metric {name} in {sub_cluster.name}", metric, faults)


def _check_prefix(path: str, prefix: str, faults: Faults) -> None:
    try:
        prefix_factor(prefix)
    except UnitError:
        known = ", ".join(filter(None, PREFIX_FACTORS))
        faults.warn(path, f"unit prefix {prefix!r} is unknown, so values are not scaled; known are {known}")


def _check_limits(path: str, metric: MetricConfig, faults: Faults) -> None:
    for key in ("normal", "caution", "alert"):
        value = getattr(metric, key)
        if value > metric.peak:
            faults.warn(path, f"{key} {value:.15g} is above peak {metric.peak:.15g}")
    if not metric.footprint:
        return
    if metric.lower_is_better and metric.caution > metric.alert:
        faults.warn(path, "lower is better, so caution should be at most alert")
    if not metric.lower_is_better and metric.alert > metric.caution:
        faults.warn(path, "higher is better, so alert should be at most caution; or set lowerIsBetter")


def _check_sub_cluster(sub_cluster: SubCluster, faults: Faults) -> None:
    path = f"subcluster {sub_cluster.name}"
    if not sub_cluster.metrics:
        faults.warn(path, "has no metric left")
    for rate in (sub_cluster.flop_rate_scalar, sub_cluster.flop_rate_simd, sub_cluster.memory_bandwidth):
        _check_prefix(path, rate.unit.prefix, faults)
    topology = sub_cluster.topology
    _check_threads(path, topology, faults)
    cores = sub_cluster.sockets_per_node * sub_cluster.cores_per_socket
    for what, expected, found in (
        ("sockets", sub_cluster.sockets_per_node, len(topology.socket)),
        ("cores", cores, len(topology.core)),
        ("hardware threads", cores * sub_cluster.threads_per_core, len(topology.node)),
    ):
        if expected != found:
            faults.warn(path, f"should have {expected} {what} by its counts, its topology lists {found}")
    for accelerator_id, count in Counter(topology.accelerator_ids()).items():
        if count > 1:
            faults.warn(path, f"accelerator {accelerator_id!r} is there {count} times")
    for accelerator in topology.accelerators:
        if not accelerator.type:
            faults.warn(path, f"accelerator {accelerator.id!r} has no type")


def _check_threads(path: str, topology: NodeTopology, faults: Faults) -> None:
    node = set(topology.node)
    _warn_of_repetition(f"{path}: node", topology.node, faults)
    parts = {"socket": topology.socket, "memoryDomain": topology.memory_domain, "core": topology.core}
    for key, units in parts.items():
        threads = [thread for unit in units for thread in unit]
        _warn_of_repetition(f"{path}: {key}", threads, faults)
        for message, wrong in (
            ("has threads that the node does not list", set(threads) - node),
            ("lacks threads of the node", node - set(threads) if threads else set[int]()),
        ):
            if wrong:
                faults.warn(f"{path}: {key}", f"{message}: {_first_threads(wrong)}")


def _warn_of_repetition(path: str, threads: Sequence[int], faults: Faults) -> None:
    repeated = [thread for thread, count in Counter(threads).items() if count > 1]
    if repeated:
        faults.warn(path, f"lists threads more than once: {_first_threads(repeated)}")


def _check_derived_keys(document: Mapping[str, Any], faults: Faults) -> None:
    """Warn of lists that every reader derives: some readers append to those in the file."""
    for index, part in enumerate(document.get("subClusters") or []):
        for key in ("metricConfig", "footprint", "energyFootprint"):
            if isinstance(part, Mapping) and part.get(key):
                faults.warn(f"subClusters[{index}].{key}", "is derived from metricConfig; leave it out")


_KNOWN_KEYS: Mapping[str, frozenset[str]] = {
    "": frozenset({"name", "metricConfig", "subClusters"}),
    "metricConfig": frozenset(
        {
            "name",
            "unit",
            "scope",
            "timestep",
            "aggregation",
            "peak",
            "normal",
            "caution",
            "alert",
            "footprint",
            "energy",
        }
        | {"lowerIsBetter", "restrict", "subClusters"}
    ),
    "metricConfig.subClusters": frozenset(
        {"name", "peak", "normal", "caution", "alert", "footprint", "energy", "lowerIsBetter", "restrict", "remove"}
    ),
    "subClusters": frozenset(
        {"name", "nodes", "processorType", "socketsPerNode", "coresPerSocket", "threadsPerCore", "flopRateScalar"}
        | {"flopRateSimd", "memoryBandwidth", "topology"}
    ),
    "subClusters.topology": frozenset({"node", "socket", "memoryDomain", "core", "die", "accelerators"}),
    "subClusters.topology.accelerators": frozenset({"id", "type", "model"}),
}
"""Known keys of each kind of object."""

_IGNORED_KEYS: Mapping[str, frozenset[str]] = {
    "": frozenset({"metricDataRepository"}),
    "metricConfig": frozenset({"measurement"}),
    "metricConfig.subClusters": frozenset({"unit"}),
    "subClusters": frozenset({"numberOfNodes", "numberOfNode", "metricConfig", "footprint", "energyFootprint"}),
}
"""Keys that older or other programs write; they are ignored without a warning."""

_PLACE_NAMES: Mapping[str, str] = {
    "": "the cluster itself",
    "metricConfig": "an entry of metricConfig",
    "metricConfig.subClusters": "an entry of subClusters in metricConfig",
    "subClusters": "each entry of subClusters",
    "subClusters.topology": "the topology of each entry of subClusters",
    "subClusters.topology.accelerators": "an accelerator in the topology of an entry of subClusters",
}

_MIN_SIMILARITY = 0.75


def _warn_of_unknown_keys(document: Any, faults: Faults, *, kind: str = "", path: str = "") -> None:
    """Warn of unknown keys, with the key that was probably meant or the place where they belong."""
    if isinstance(document, list):
        for index, item in enumerate(document):
            _warn_of_unknown_keys(item, faults, kind=kind, path=f"{path}[{index}]")
    if not isinstance(document, Mapping) or kind not in _KNOWN_KEYS:
        return
    missing = {key.casefold(): key for key in _KNOWN_KEYS[kind] if key not in document}
    for key, value in document.items():
        place = f"{path}.{key}" if path else key
        if key in _KNOWN_KEYS[kind]:
            _warn_of_unknown_keys(value, faults, kind=f"{kind}.{key}" if kind else key, path=place)
        elif key not in _IGNORED_KEYS.get(kind, ()):
            faults.warn(place, f"is an unknown key and ignored{_hint(key, missing)}")


def _hint(key: str, missing: Mapping[str, str]) -> str:
    """A hint for an unknown key: which key was probably meant, or where it belongs; empty if neither is known."""
    near = difflib.get_close_matches(key.casefold(), missing, n=1, cutoff=_MIN_SIMILARITY)
    if near:
        return f"; did you mean {missing[near[0]]!r}?"
    places = [_PLACE_NAMES[kind] for kind, keys in _KNOWN_KEYS.items() if key.casefold() in map(str.casefold, keys)]
    return f"; it belongs into {' or '.join(places)}" if places else ""


def _first_threads(threads: Iterable[int]) -> str:
    ordered = sorted(threads)
    text = ", ".join(map(str, ordered[:_MAX_THREADS_SHOWN]))
    return f"{text}, ..." if len(ordered) > _MAX_THREADS_SHOWN else text
