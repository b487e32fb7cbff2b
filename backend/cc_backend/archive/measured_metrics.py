"""Metrics and node type of an archived job, derived from its own files, for jobs whose configuration is lost.

Units, timesteps and scopes are those of the samples. Thresholds and topology are unknown: nothing is judged, and
nothing is divided among the parts of a node.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from cc_backend.clusters import MetricConfig, NodeTopology, Quantity, SubCluster
from cc_backend.model import Job, JobData, JobMetric, MetricUnit, Scope
from cc_common.hostlist import HostSet

_UNKNOWN = Quantity(MetricUnit(""), 0.0)


def measured_sub_cluster(job: Job) -> SubCluster:
    """The subcluster of a job without a known configuration, without metrics."""
    threads = sorted({thread for resource in job.resources for thread in resource.hwthreads})
    if not threads:
        threads = list(range(job.num_hwthreads // max(job.num_nodes, 1)))
    return SubCluster(
        name=job.sub_cluster,
        nodes="",
        hosts=HostSet(""),
        processor_type="",
        sockets_per_node=1,
        cores_per_socket=max(1, len(threads)),
        threads_per_core=1,
        flop_rate_scalar=_UNKNOWN,
        flop_rate_simd=_UNKNOWN,
        memory_bandwidth=_UNKNOWN,
        topology=NodeTopology(tuple(threads)),
        metrics={},
    )


def with_measured_metrics(sub_cluster: SubCluster, data: JobData, *, restricted: Collection[str] = ()) -> SubCluster:
    """The subcluster with metrics of a job that its configuration lacks; `restricted` ones are for staff only."""
    return with_metrics(sub_cluster, measured_metrics(data), restricted=restricted)


def with_metrics(
    sub_cluster: SubCluster, measured: Mapping[str, MetricConfig], *, restricted: Collection[str] = ()
) -> SubCluster:
    """The subcluster, extended by the measured metrics that it lacks; `restricted` ones are for staff only."""
    left = {
        name: replace(config, restrict=name in restricted)
        for name, config in measured.items()
        if name not in sub_cluster.metrics
    }
    return replace(sub_cluster, metrics={**sub_cluster.metrics, **left}) if left else sub_cluster


def measured_metrics(data: JobData) -> Mapping[str, MetricConfig]:
    """A configuration for each metric that has samples, derived from them."""
    return {name: _config(name, by_scope) for name, by_scope in sorted(data.items()) if by_scope}


def _config(name: str, by_scope: Mapping[Scope, JobMetric]) -> MetricConfig:
    native = min(by_scope, key=lambda scope: scope.rank)
    metric = by_scope[native]
    return MetricConfig(name=name, unit=metric.unit, scope=native, timestep_s=metric.timestep_s)
