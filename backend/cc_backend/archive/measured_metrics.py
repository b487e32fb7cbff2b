"""Metrics and kind of node of an archived job as its own files tell them, where no configuration does any more.

Units, timesteps and scopes are those of the samples. Limits and topology are unknown: nothing is judged, and nothing is
divided among the parts of a node.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from cc_backend.clusters import MetricConfig, NodeTopology, Quantity, SubCluster
from cc_backend.model import Job, JobData, JobMetric, MetricUnit, Scope
from cc_common.hostlist import HostSet

_UNKNOWN = Quantity(MetricUnit(""), 0.0)


def measured_sub_cluster(job: Job) -> SubCluster:
    """The kind of node of a job of which no configuration is known, without metrics."""
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
    """The subcluster with those metrics of a job that left its configuration; some may be seen by staff only."""
    return with_metrics(sub_cluster, measured_metrics(data), restricted=restricted)


def with_metrics(
    sub_cluster: SubCluster, measured: Mapping[str, MetricConfig], *, restricted: Collection[str] = ()
) -> SubCluster:
    """The subcluster with those of some measured metrics that it lacks; some may be seen by staff only."""
    left = {
        name: replace(config, restrict=name in restricted)
        for name, config in measured.items()
        if name not in sub_cluster.metrics
    }
    return replace(sub_cluster, metrics={**sub_cluster.metrics, **left}) if left else sub_cluster


def measured_metrics(data: JobData) -> Mapping[str, MetricConfig]:
    """What the samples tell of each metric that has any."""
    return {name: _config(name, by_scope) for name, by_scope in sorted(data.items()) if by_scope}


def _config(name: str, by_scope: Mapping[Scope, JobMetric]) -> MetricConfig:
    native = min(by_scope, key=lambda scope: scope.rank)
    metric = by_scope[native]
    return MetricConfig(name=name, unit=metric.unit, scope=native, timestep_s=metric.timestep_s)
