"""Clusters, subclusters, metrics and topologies, as cluster.json describes them."""

from cc_backend.clusters.check_file import check_cluster, check_file
from cc_backend.clusters.cluster_files import ClusterFiles
from cc_backend.clusters.faults import Finding, Level
from cc_backend.clusters.generations import Departures, HeldHosts, departures
from cc_backend.clusters.load import is_cluster_name, parse_cluster
from cc_backend.clusters.model import Cluster, MetricConfig, Quantity, SubCluster
from cc_backend.clusters.registry import Clusters, load_clusters, metric_table
from cc_backend.clusters.topology import Accelerator, Topology

__all__ = (
    "Accelerator",
    "Cluster",
    "ClusterFiles",
    "Clusters",
    "Departures",
    "Finding",
    "HeldHosts",
    "Level",
    "MetricConfig",
    "Quantity",
    "SubCluster",
    "Topology",
    "check_cluster",
    "check_file",
    "cluster_json",
    "departures",
    "faults",
    "generations",
    "is_cluster_name",
    "load",
    "load_clusters",
    "metric_table",
    "model",
    "parse_cluster",
    "unit_json",
)
