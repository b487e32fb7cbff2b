"""What the metric store is to know of the clusters: their metrics and their hosts."""

from collections.abc import Iterable, Mapping

from cc_backend.clusters import Cluster, Clusters, HeldHosts, metric_table
from cc_backend.clusters.model import MetricConfig
from cc_backend.metricstore import MetricSpec, MetricTable
from cc_backend.metricstore.ingest.host_config import ClusterNodes, NodeTable, Specs

_ANY = ""
"""The kind of all hosts of a cluster that lists none."""


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


def tables(clusters: Clusters, held: Iterable[HeldHosts] = ()) -> tuple[MetricTable, NodeTable]:
    """Metrics and hosts of the clusters, and of those that jobs hold though the configuration no longer has them.

    Samples of a metric, host or cluster that left are taken until the last job that started with it is archived.
    """
    metrics = {name: dict(table) for name, table in store_table(clusters).items()}
    nodes = dict(node_table(clusters))
    for cluster, hosts in _held_specs(clusters, held).items():
        kinds: dict[tuple[str, ...], str] = {}
        kind_of = {
            host: kinds.setdefault(tuple(sorted(specs)), f"earlier {len(kinds)}") for host, specs in hosts.items()
        }
        held_metrics = {kind_of[host]: specs for host, specs in hosts.items()}
        nodes[cluster] = _with_hosts(clusters, cluster, nodes.get(cluster), kind_of, held_metrics)
        for specs in hosts.values():
            metrics[cluster] = {**specs, **metrics.get(cluster, {})}
    return metrics, nodes


def _held_specs(clusters: Clusters, held: Iterable[HeldHosts]) -> dict[str, dict[str, Specs]]:
    """Cluster -> host -> metrics, of hosts that jobs hold and that the configuration does not have, or not with all."""
    found: dict[str, dict[str, Specs]] = {}
    for group in held:
        started = clusters.as_started(group.cluster, group.sub_cluster, group.generation)
        if started is None:
            continue
        for host in sorted(group.hosts):
            known = clusters[group.cluster].find_sub_cluster(host) if group.cluster in clusters else None
            present = {} if known is None else known.metrics
            if known is None or not started.metrics.keys() <= present.keys():
                before = found.setdefault(group.cluster, {}).get(host, {})
                specs = {name: _spec(config) for name, config in {**started.metrics, **present}.items()}
                found[group.cluster][host] = {**before, **specs}
    return found


def _with_hosts(
    clusters: Clusters,
    cluster: str,
    known: ClusterNodes | None,
    kind_of: Mapping[str, str],
    held_metrics: Mapping[str, Specs],
) -> ClusterNodes:
    """The hosts of a cluster, and some that are of an earlier kind; all other kinds keep the metrics that they have."""
    if cluster not in clusters:
        return ClusterNodes(kind_of, metrics=held_metrics)
    if known is None:
        known = ClusterNodes({}, rest=_ANY)  # no host is listed, so every other one is taken
    kinds = {name: sub_cluster.metrics for name, sub_cluster in clusters[cluster].sub_clusters.items()}
    kinds.setdefault(_ANY, clusters[cluster].metrics)
    own = {name: {metric: _spec(config) for metric, config in configs.items()} for name, configs in kinds.items()}
    return ClusterNodes({**known.hosts, **kind_of}, known.rest, {**own, **held_metrics})


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
