"""By which factor the thresholds of a whole node hold for a job on a part of it, or for a part of a node. Pure."""

from cc_backend.clusters.model import MetricConfig, SubCluster
from cc_backend.model import Job, Scope


def share_of_node(job: Job, node_threads: int) -> float:
    """The share of a node's threads that a job on shared nodes has, 0 to 1; 1 for a job with whole nodes."""
    if job.shared in ("", "none") or not node_threads or not job.num_hwthreads:
        return 1.0
    return min(1.0, job.num_hwthreads / max(job.num_nodes, 1) / node_threads)


def footprint_factor(job: Job, config: MetricConfig, node_threads: int) -> float:
    """The factor for the thresholds of a footprint value.

    On shared nodes those of minimum and maximum values are the job's share, and so are those of sums over its own
    hardware threads: a quarter of a node cannot do the work of four.
    """
    sums_threads = config.aggregation == "sum" and config.scope not in (Scope.NODE, Scope.ACCELERATOR)
    return share_of_node(job, node_threads) if config.footprint in ("min", "max") or sums_threads else 1.0


def scope_factor(job: Job, config: MetricConfig, scope: Scope, sub_cluster: SubCluster) -> float:
    """The factor for the thresholds of a metric at a scope.

    A summed metric spreads over the units of a finer scope; at node scope a job on shared nodes has only its share,
    unless the metric is measured for the whole node anyway.
    """
    if config.aggregation != "sum" or config.scope is Scope.NODE:
        return 1.0
    if scope is Scope.NODE:
        whole = config.scope is Scope.ACCELERATOR
        return 1.0 if whole else share_of_node(job, len(sub_cluster.topology.node))
    units = sub_cluster.topology.unit_count(scope)
    return 1.0 / units if units else 1.0
