"""Explains the settings of a metric in a subcluster: each value with its origin, and the rating in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from cc_backend.clusters import MetricConfig, NodeTopology, SubCluster
from cc_backend.insight.rating import Thresholds
from cc_backend.model import Level, Scope

_OF_METRIC_ONLY = ("unit", "scope", "timestep", "aggregation")
_OVERRIDABLE = ("peak", "normal", "caution", "alert", "footprint", "energy", "lowerIsBetter", "restrict")
_ATTRIBUTES = {"timestep": "timestep_s", "lowerIsBetter": "lower_is_better"}
_PARTS = {
    Scope.SOCKET: "socket",
    Scope.MEMORY_DOMAIN: "memory domain",
    Scope.CORE: "core",
    Scope.HWTHREAD: "hardware thread",
    Scope.ACCELERATOR: "accelerator",
}


def explain_metric(document: Mapping[str, Any], sub_cluster: SubCluster, metric: str) -> Iterator[str]:
    """Lines about a metric of a subcluster, from its cluster.json as it was written: `key value  (where from)`."""
    entry = _named(document.get("metricConfig"), metric) or {}
    override = _named(entry.get("subClusters"), sub_cluster.name)
    config = sub_cluster.metrics.get(metric)
    if config is None:
        yield "is not measured here: " + (
            "the entry of the metric for this subcluster says remove" if override else "the cluster has no such metric"
        )
        return
    for key in (*_OF_METRIC_ONLY, *_OVERRIDABLE):
        yield f"{key} {_text(config, key)}  ({_origin(key, entry, override, sub_cluster.name)})"
    yield from rating_lines(config)
    yield from _scaling_lines(config, sub_cluster.topology)


def rating_lines(config: MetricConfig) -> Iterator[str]:
    """How values are rated by the thresholds of a metric: a line for each band."""
    thresholds = Thresholds.from_config(config)
    unit = str(config.unit)
    if not config.footprint:
        yield "rating: none; jobs are rated by metrics with a footprint"
    if not thresholds.can_judge:
        order = (
            "0 < caution <= alert <= peak"
            if thresholds.lower_is_better
            else "0 <= alert <= caution <= normal <= peak, and 0 < caution"
        )
        yield f"rating: values cannot be rated, as the thresholds are not in the order {order}"
        return
    lower = thresholds.lower_is_better
    yield f"{'lower' if lower else 'higher'} values are better" + (
        "" if config.lower_is_better == lower else ", since alert lies above caution"
    )
    for low, high, level in thresholds.zones:
        begin = f"above {low:.15g}" if low and not lower else f"from {low:.15g}"
        bounds = f"{begin} {'to below' if lower and high < thresholds.peak else 'up to'} {high:.15g}"
        yield f"rating {level.value}: {bounds} {unit}".rstrip()
    beyond = "10" if thresholds.can_exceed_peak else "2"
    level = Level.CAUTION if thresholds.can_exceed_peak else Level.ARTEFACT
    yield f"rating {level.value}: more than {beyond} % above the peak of {thresholds.peak:.15g} {unit}".rstrip()


def _scaling_lines(config: MetricConfig, topology: NodeTopology) -> Iterator[str]:
    if config.footprint in {"min", "max"}:
        yield "jobs that share a node are rated by these values times their part of its hardware threads"
    if config.aggregation != "sum":
        return
    of_gpus = config.scope is Scope.ACCELERATOR
    shown = [scope for scope in _PARTS if scope.rank >= config.scope.rank and (scope is Scope.ACCELERATOR) == of_gpus]
    finer = [scope for scope in shown if topology.unit_count(scope) > 1]
    parts = [f"{_PARTS[scope]} by {topology.unit_count(scope)}" for scope in finer]
    if parts:
        yield f"plots of parts divide these values: of a {', of a '.join(parts)}"


def _named(entries: Any, name: str) -> Mapping[str, Any] | None:
    """The first object of a list that has this name."""
    found = entries if isinstance(entries, list) else []
    return next((entry for entry in found if isinstance(entry, Mapping) and entry.get("name") == name), None)


def _origin(key: str, entry: Mapping[str, Any], override: Mapping[str, Any] | None, sub_cluster: str) -> str:
    if override is not None and key in _OVERRIDABLE:
        if override.get(key) is not None:
            return f"the metric's entry for {sub_cluster}"
        given = entry.get(key)
        lost = f"; the metric has {given!r}, which such an entry replaces" if given else ""
        return f"left out by the metric's entry for {sub_cluster}{lost}"
    return "the metric" if entry.get(key) is not None else "left out by the metric"


def _text(config: MetricConfig, key: str) -> str:
    value = getattr(config, _ATTRIBUTES.get(key, key))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key in {"peak", "normal", "caution", "alert"}:
        return f"{value:.15g} {config.unit}".rstrip()
    return f"{value} s" if key == "timestep" else str(value) or "none"
