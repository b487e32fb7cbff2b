"""What the metric store is to know of the clusters: their metrics and their hosts."""

from cc_backend.clusters import Cluster, Clusters, metric_table
from cc_backend.clusters.model import MetricConfig
from cc_backend.metricstore import MetricSpec, MetricTable
from cc_backend.metricstore.lines.nodes import ClusterNodes, NodeTable, Specs


def store_table(clusters: Clusters) -> MetricTable:
    """Which metrics the store takes, by cluster."""
    return {
        cluster: {metric: MetricSpec(timestep_s, aggregation) for metric, (timestep_s, aggregation) in metrics.items()}
        for cluster, metrics in metric_table(clusters).items()
    }


def node_table(clusters: Clusters) -> NodeTable:
    """The hosts of each cluster with their subclusters, and the metrics of subclusters that have others.

    A cluster whose subclusters name no host at all is left out: it takes every host.
    """
    found = {name: _nodes(clusters[name]) for name in clusters}
    return {name: nodes for name, nodes in found.items() if nodes.hosts or nodes.rest is not None}


def _nodes(cluster: Cluster) -> ClusterNodes:
    hosts: dict[str, str] = {}
    rest: str | None = None
    metrics: dict[str, Specs] = {}
    whole = {name: _spec(config) for name, config in cluster.metrics.items()}
    for name, sub_cluster in cluster.sub_clusters.items():
        if sub_cluster.catches_all:
            rest = rest or name
        else:
            for host in sub_cluster.hosts:
                hosts.setdefault(host, name)
        own = {metric: _spec(config) for metric, config in sub_cluster.metrics.items()}
        if own != whole:
            metrics[name] = own
    return ClusterNodes(hosts, rest, metrics)


def _spec(config: MetricConfig) -> MetricSpec:
    return MetricSpec(config.timestep_s, config.aggregation)
