"""The footprint of running jobs so far, so that lists can be judged and sorted before a job ends."""

import logging
from collections.abc import Callable

from cc_backend.archive.statistics import footprint, job_statistics
from cc_backend.clusters import Clusters, MetricConfig
from cc_backend.errors import NotFound, Unavailable
from cc_backend.jobs.search import JobSearch
from cc_backend.metricdata import MetricData
from cc_backend.model import Job, Scope

logger = logging.getLogger(__name__)


def update_footprints(
    search: JobSearch,
    metricdata: MetricData,
    clusters: Clusters,
    *,
    now_s: int,
    stopping: Callable[[], bool] = lambda: False,
) -> int:
    """Writes down the footprint of every running job that has samples, and returns how many these are."""
    updated = 0
    for job in search.running(now_s=now_s):
        if stopping():
            break
        try:
            found = footprint_so_far(job, metricdata, clusters, now_s=now_s)
        except Unavailable:  # the store of this job is away; those of others may not be
            continue
        if found:
            search.update_footprint(job.id, found)
            updated += 1
    return updated


def footprint_so_far(job: Job, metricdata: MetricData, clusters: Clusters, *, now_s: int) -> dict[str, float]:
    """`<metric>_<statistic>` -> value, from what the store holds of the job; empty for a job without samples."""
    try:
        sub_cluster = clusters.get(job.cluster).sub_cluster(job.sub_cluster)
    except NotFound:  # the configuration has changed since the job started
        return {}
    names = [config.name for config in sub_cluster.metrics.values() if config.footprint]

    def at_the_node(_: MetricConfig) -> tuple[Scope, ...]:
        return (Scope.NODE,)

    data = metricdata.stored_data(job, names, at_the_node, now_s=now_s)
    return footprint(job_statistics(job, data, sub_cluster), sub_cluster)
