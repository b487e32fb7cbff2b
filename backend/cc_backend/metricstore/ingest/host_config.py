"""Which hosts the configuration knows, and which metrics are kept of each: pure rules, no state that changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cc_backend.metricstore.model import MetricSpec, MetricTable

MetricSpecs = Mapping[str, MetricSpec]
"""Metric -> how it is kept, for all hosts of one subcluster."""

_NO_SPECS: MetricSpecs = {}


@dataclass(frozen=True, slots=True)
class ClusterHosts:
    """The hosts of one cluster.

    `hosts` says host -> subcluster; `default_subcluster` is that of all other hosts, None if the cluster has no others.
    `subcluster_metrics` says subcluster -> all its metrics; a subcluster that is not in it has those of the cluster.
    """

    hosts: Mapping[str, str]
    default_subcluster: str | None = None
    subcluster_metrics: Mapping[str, MetricSpecs] = field(default_factory=dict)


HostTable = Mapping[str, ClusterHosts]
"""Cluster -> its hosts. A cluster that is not in it takes every host, with the metrics of the cluster."""


class HostConfig:
    """Metrics by cluster and host, and which hosts are configured."""

    def __init__(self, metrics: MetricTable, host_table: HostTable | None = None) -> None:
        self._metrics = metrics
        self._host_table = host_table or {}

    def is_configured(self, cluster: str, host: str) -> bool:
        """Whether the configuration has this host: by name, in a subcluster for all others, or for want of a list."""
        known = self._host_table.get(cluster)
        return known is None or known.default_subcluster is not None or host in known.hosts

    def configured_hosts(self, cluster: str) -> Mapping[str, str]:
        """The hosts that the configuration names, with their subclusters; none where it does not say."""
        known = self._host_table.get(cluster)
        return {} if known is None else known.hosts

    def subcluster(self, cluster: str, host: str) -> str | None:
        """The subcluster of a host, None where the configuration does not say."""
        known = self._host_table.get(cluster)
        return None if known is None else known.hosts.get(host, known.default_subcluster)

    def metric_specs(self, cluster: str, host: str) -> MetricSpecs:
        """What is kept of a host; hosts of one subcluster get the same object.

        A host that the configuration does not have gets the metrics of its cluster; an unknown cluster has none.
        """
        known = self._host_table.get(cluster)
        table = self._metrics.get(cluster, _NO_SPECS)
        if known is None:
            return table
        sub_cluster = known.hosts.get(host, known.default_subcluster)
        return table if sub_cluster is None else known.subcluster_metrics.get(sub_cluster, table)

    def metric_spec(self, cluster: str, metric: str, host: str) -> MetricSpec | None:
        """How a metric of a host is kept, None if it is not."""
        return self.metric_specs(cluster, host).get(metric)
