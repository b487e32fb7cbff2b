"""Clusters, subclusters, metrics and topologies, as cluster.json describes them."""

from cc_backend.clusters.check_file import check_cluster, check_file
from cc_backend.clusters.cluster_files import ClusterFiles
from cc_backend.clusters.differences import describe_differences
from cc_backend.clusters.faults import Severity
from cc_backend.clusters.generations import HostsInUse, Removals, find_removals
from cc_backend.clusters.job_metrics import (
    DEFAULT_TIMESTEP_S,
    JOB_MARK_PREFIX,
    is_job_metric,
    job_metric,
    metrics_beside,
    with_measured_job_metrics,
)
from cc_backend.clusters.load import parse_cluster
from cc_backend.clusters.model import Cluster, MetricConfig, Quantity, SubCluster
from cc_backend.clusters.proposal import Proposal, propose_cluster
from cc_backend.clusters.registry import ClusterRegistry, load_clusters
from cc_backend.clusters.topology import Accelerator, NodeTopology

__all__ = (
    "DEFAULT_TIMESTEP_S",
    "JOB_MARK_PREFIX",
    "Accelerator",
    "Cluster",
    "ClusterFiles",
    "ClusterRegistry",
    "HostsInUse",
    "MetricConfig",
    "NodeTopology",
    "Proposal",
    "Quantity",
    "Removals",
    "Severity",
    "SubCluster",
    "check_cluster",
    "check_file",
    "cluster_json",
    "describe_differences",
    "faults",
    "find_removals",
    "generations",
    "is_job_metric",
    "job_metric",
    "load",
    "load_clusters",
    "metrics_beside",
    "model",
    "parse_cluster",
    "propose_cluster",
    "unit_json",
    "with_measured_job_metrics",
)
