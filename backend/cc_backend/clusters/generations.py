"""Generations of cluster configurations: what applies to a job that started before cluster.json changed.

A generation is a distinct content of a cluster.json. A job keeps the generation with which it started, so that
subclusters, metrics and hosts can be removed from the file without losing jobs.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

import orjson

from cc_backend.clusters.model import Cluster, MetricConfig, SubCluster


class GenerationStore(Protocol):
    """Storage of generations, implemented by `jobs.cluster_generations.ClusterGenerations`."""

    def load(self, generation: int) -> Cluster | None:
        """The cluster as configured in a generation, None if that is unknown."""

    def newest_with_sub_cluster(self, cluster: str, sub_cluster: str) -> Cluster | None:
        """The newest configuration of a cluster that has this subcluster, None if none has."""

    def ever_restricted_metrics(self, cluster: str) -> frozenset[str]:
        """The metrics of a cluster that any of its configurations restricts to staff."""


def restricted_metrics(cluster: Cluster) -> frozenset[str]:
    """The metrics that are restricted to staff in the cluster or in one of its subclusters."""
    configs = [*cluster.metrics.values(), *(m for sub in cluster.sub_clusters.values() for m in sub.metrics.values())]
    return frozenset(config.name for config in configs if config.restrict)


def content_digest(cluster: Cluster) -> str:
    """SHA-256 of the content of a cluster.json, independent of layout and order of keys."""
    return hashlib.sha256(orjson.dumps(cluster.document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def merge_started_with_current(started: SubCluster, current: SubCluster | None) -> SubCluster:
    """A subcluster for a job that started with an earlier generation.

    The way of measuring (topology, units, scopes, timesteps, footprint, energy) is that of the start. Thresholds and
    restrictions are the current ones, and metrics that were added since are included.
    """
    if current is None:
        return started
    metrics = {name: _merge_metric(config, current.metrics.get(name)) for name, config in started.metrics.items()}
    return replace(started, metrics={**current.metrics, **metrics})


def _merge_metric(started: MetricConfig, current: MetricConfig | None) -> MetricConfig:
    if current is None:
        return started
    return replace(
        current,
        unit=started.unit,
        scope=started.scope,
        timestep_s=started.timestep_s,
        aggregation=started.aggregation,
        footprint=started.footprint,
        energy=started.energy,
    )


@dataclass(frozen=True, slots=True)
class HostsInUse:
    """Hosts of running and unarchived jobs of one subcluster that started with one generation."""

    cluster: str
    sub_cluster: str
    generation: int
    hosts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Removals:
    """Parts of a cluster configuration that the next one lacks; metrics and hosts are of remaining subclusters."""

    cluster: str
    sub_clusters: tuple[str, ...] = ()
    metrics: tuple[tuple[str, str], ...] = ()
    """Pairs of subcluster and metric."""
    hosts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sub_clusters or self.metrics or self.hosts)


def find_removals(before: Cluster, after: Cluster | None) -> Removals:
    """The parts that the next configuration of a cluster removes; all if there is none."""
    staying = {} if after is None else after.sub_clusters
    return Removals(
        before.name,
        tuple(name for name in before.sub_clusters if name not in staying),
        tuple(
            (name, metric)
            for name, sub_cluster in before.sub_clusters.items()
            if name in staying
            for metric in sub_cluster.metrics
            if metric not in staying[name].metrics
        ),
        tuple(
            host
            for name, sub_cluster in before.sub_clusters.items()
            if name in staying
            for host in sub_cluster.hosts
            if after is not None and after.find_sub_cluster(host) is None
        ),
    )
