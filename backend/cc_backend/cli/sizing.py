"""Number of series of the configured clusters, to forecast what the metric store needs."""

from collections.abc import Iterable

from cc_backend.clusters import ClusterRegistry
from cc_backend.clusters.model import SubCluster
from cc_backend.metricstore import NodeKind


def node_groups(clusters: ClusterRegistry, *, catch_all_nodes: int = 0) -> list[NodeKind]:
    """The nodes of all subclusters, one entry per subcluster and timestep, with all their metrics at native scope.

    A subcluster with the node list `*` counts as `catch_all_nodes` nodes, since its size is unknown.
    """
    return [kind for name in clusters for kind in _node_groups(clusters[name].sub_clusters.values(), catch_all_nodes)]


def _node_groups(sub_clusters: Iterable[SubCluster], catch_all_nodes: int) -> list[NodeKind]:
    found: list[NodeKind] = []
    for sub_cluster in sub_clusters:
        nodes = len(sub_cluster.hosts) or (catch_all_nodes if sub_cluster.is_catch_all else 0)
        series: dict[int, int] = {}
        for metric in sub_cluster.metrics.values():
            series.setdefault(metric.timestep_s, 0)
            series[metric.timestep_s] += sub_cluster.topology.unit_count(metric.scope)
        found += [NodeKind(nodes, number, timestep_s=timestep_s) for timestep_s, number in series.items()]
    return found
