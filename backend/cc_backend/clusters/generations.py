"""Earlier generations of cluster configurations: what holds for a job that started before cluster.json changed.

A generation is the content of a cluster.json; the same content is the same generation again. A job keeps the one with
which it started, so that a subcluster, metric or host that leaves the file takes no job with it.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

import orjson

from cc_backend.clusters.model import Cluster, MetricConfig, SubCluster


class GenerationStore(Protocol):
    """Where generations are kept; `jobs.cluster_generations.ClusterGenerations` is one."""

    def load(self, generation: int) -> Cluster | None:
        """The cluster as it was configured then, None for a number that is not known."""

    def newest_with_sub_cluster(self, cluster: str, sub_cluster: str) -> Cluster | None:
        """The cluster as it was configured last with this subcluster, None if it never was."""

    def ever_restricted_metrics(self, cluster: str) -> frozenset[str]:
        """The metrics of a cluster that any of its configurations wanted to be seen by staff only."""


class NoGenerations:
    """Knows of no earlier generation: for who only reads configurations."""

    def load(self, generation: int) -> Cluster | None:  # noqa: ARG002 as the protocol has it
        """None."""
        return None

    def newest_with_sub_cluster(self, cluster: str, sub_cluster: str) -> Cluster | None:  # noqa: ARG002 as the protocol has it
        """None."""
        return None

    def ever_restricted_metrics(self, cluster: str) -> frozenset[str]:  # noqa: ARG002 as the protocol has it
        """None."""
        return frozenset()


def restricted_metrics(cluster: Cluster) -> frozenset[str]:
    """The metrics that are to be seen by staff only, in the cluster or in one of its subclusters."""
    configs = [*cluster.metrics.values(), *(m for sub in cluster.sub_clusters.values() for m in sub.metrics.values())]
    return frozenset(config.name for config in configs if config.restrict)


def content_digest(cluster: Cluster) -> str:
    """What tells one content of a cluster.json from another, whatever its layout and the order of its keys."""
    return hashlib.sha256(orjson.dumps(cluster.document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def merge_started_with_current(started: SubCluster, current: SubCluster | None) -> SubCluster:
    """A subcluster for a job that started with an earlier generation.

    How things are measured (topology, units, scopes, timesteps, footprint, energy) is as it was at the start. What was
    said since about the values (limits, who may see them) holds at once, and metrics that came later are added.
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
    """Hosts of jobs that run or wait for the archiver, by the subcluster and generation with which these started."""

    cluster: str
    sub_cluster: str
    generation: int
    hosts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Removals:
    """What one configuration of a cluster has and the next has not; of subclusters that stay also metrics and hosts."""

    cluster: str
    sub_clusters: tuple[str, ...] = ()
    metrics: tuple[tuple[str, str], ...] = ()
    """Subcluster and metric."""
    hosts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sub_clusters or self.metrics or self.hosts)


def find_removals(before: Cluster, after: Cluster | None) -> Removals:
    """What leaves with the next configuration of a cluster; without one everything does."""
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
