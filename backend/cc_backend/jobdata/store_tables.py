"""The tables of metrics and hosts that the metric store accepts samples of, made from the clusters."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from cc_backend.clusters import DEFAULT_TIMESTEP_S, JOB_MARK_PREFIX, Cluster, ClusterRegistry, HostsInUse
from cc_backend.clusters.model import MetricConfig
from cc_backend.metricstore import ClusterHosts, HostTable, MetricSpec, MetricSpecs, MetricTable

_DEFAULT_KIND = ""
"""The kind of every host of a cluster that lists no hosts."""


def build_metric_table(clusters: ClusterRegistry) -> MetricTable:
    """The metrics of which the store accepts samples, by cluster."""
    return {
        name: {metric: _metric_spec(config) for metric, config in clusters[name].all_metrics.items()}
        for name in clusters
    }


def build_node_table(clusters: ClusterRegistry) -> HostTable:
    """The hosts of each cluster with their subclusters, and the metrics of subclusters that have others.

    A cluster whose subclusters list no host at all is left out: samples of every host are accepted.
    """
    found = {name: _cluster_nodes(clusters[name]) for name in clusters}
    return {name: nodes for name, nodes in found.items() if nodes.hosts or nodes.default_subcluster is not None}


def build_tables(clusters: ClusterRegistry, held_hosts: Iterable[HostsInUse] = ()) -> tuple[MetricTable, HostTable]:
    """Metrics and hosts of the clusters, and those that held jobs still need though they left the configuration.

    Samples of a metric, host or cluster that left are accepted until the last job that started with it is archived.
    """
    metrics = {name: dict(table) for name, table in build_metric_table(clusters).items()}
    nodes = dict(build_node_table(clusters))
    for cluster, hosts in _held_specs(clusters, held_hosts).items():
        kinds: dict[tuple[str, ...], str] = {}
        kind_of = {
            host: kinds.setdefault(tuple(sorted(specs)), f"earlier {len(kinds)}") for host, specs in hosts.items()
        }
        held_metrics = {kind_of[host]: specs for host, specs in hosts.items()}
        nodes[cluster] = _add_held_hosts(clusters, cluster, nodes.get(cluster), kind_of, held_metrics)
        for specs in hosts.values():
            metrics[cluster] = {**specs, **metrics.get(cluster, {})}
    return (
        {cluster: _SpecsWithMarks(specs) for cluster, specs in metrics.items()},
        {cluster: _with_marks(hosts) for cluster, hosts in nodes.items()},
    )


class _SpecsWithMarks(Mapping[str, MetricSpec]):
    """Specifications of metrics, and of marks of jobs under whatever names jobs give them."""

    def __init__(self, specs: MetricSpecs) -> None:
        self._specs = specs
        timesteps_s = [specs[name].timestep_s for name in ("job_mem_used", "mem_used") if name in specs]
        self._mark = MetricSpec(timesteps_s[0] if timesteps_s else DEFAULT_TIMESTEP_S)

    def __getitem__(self, name: str) -> MetricSpec:
        found = self._specs.get(name)
        if found is not None:
            return found
        if name.startswith(JOB_MARK_PREFIX):
            return self._mark
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


def _with_marks(hosts: ClusterHosts) -> ClusterHosts:
    own = {name: _SpecsWithMarks(specs) for name, specs in hosts.subcluster_metrics.items()}
    return replace(hosts, subcluster_metrics=own)


def _held_specs(clusters: ClusterRegistry, held: Iterable[HostsInUse]) -> dict[str, dict[str, MetricSpecs]]:
    """Cluster -> host -> metrics, of held hosts that the configuration lacks, or lacks some metrics of."""
    found: dict[str, dict[str, MetricSpecs]] = {}
    for group in held:
        started = clusters.sub_cluster_as_started(group.cluster, group.sub_cluster, group.generation)
        if started is None:
            continue
        for host in sorted(group.hosts):
            known = clusters[group.cluster].find_sub_cluster(host) if group.cluster in clusters else None
            present = {} if known is None else known.all_metrics
            if known is None or not started.metrics.keys() <= present.keys():
                before = found.setdefault(group.cluster, {}).get(host, {})
                specs = {name: _metric_spec(config) for name, config in {**started.all_metrics, **present}.items()}
                found[group.cluster][host] = {**before, **specs}
    return found


def _add_held_hosts(
    clusters: ClusterRegistry,
    cluster: str,
    known: ClusterHosts | None,
    kind_of: Mapping[str, str],
    held_metrics: Mapping[str, MetricSpecs],
) -> ClusterHosts:
    """The hosts of a cluster together with held hosts of earlier kinds; all other kinds keep their metrics."""
    if cluster not in clusters:
        return ClusterHosts(kind_of, subcluster_metrics=held_metrics)
    if known is None:
        known = ClusterHosts({}, default_subcluster=_DEFAULT_KIND)  # no host is listed, so every other one is taken
    kinds = {name: sub_cluster.all_metrics for name, sub_cluster in clusters[cluster].sub_clusters.items()}
    kinds.setdefault(_DEFAULT_KIND, clusters[cluster].all_metrics)
    own = {
        name: {metric: _metric_spec(config) for metric, config in configs.items()} for name, configs in kinds.items()
    }
    return ClusterHosts({**known.hosts, **kind_of}, known.default_subcluster, {**own, **held_metrics})


def _cluster_nodes(cluster: Cluster) -> ClusterHosts:
    hosts: dict[str, str] = {}
    rest: str | None = None
    metrics: dict[str, MetricSpecs] = {}
    whole = {name: _metric_spec(config) for name, config in cluster.all_metrics.items()}
    for name, sub_cluster in cluster.sub_clusters.items():
        if sub_cluster.is_catch_all:
            rest = rest or name
        else:
            for host in sub_cluster.hosts:
                hosts.setdefault(host, name)
        own = {metric: _metric_spec(config) for metric, config in sub_cluster.all_metrics.items()}
        if own != whole:
            metrics[name] = own
    return ClusterHosts(hosts, rest, metrics)


def _metric_spec(config: MetricConfig) -> MetricSpec:
    return MetricSpec(config.timestep_s, config.aggregation)
