"""Builds the rows of a list, with their previews."""

import logging
from collections.abc import Collection, Sequence
from functools import cache
from typing import cast

from flask import current_app

from cc_backend.archive.measured_metrics import (
    measured_metrics,
    measured_sub_cluster,
    with_measured_metrics,
    with_metrics,
)
from cc_backend.auth.caller import Caller
from cc_backend.clusters import MetricConfig, SubCluster
from cc_backend.errors import ArchiveError, BackendError, NotFound
from cc_backend.insight.configured_units import convert_to_configured_units
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.jobdata.bounded_read import PREVIEW_LIMITS, VIEW_LIMITS
from cc_backend.jobdata.samples import comes_from_archive
from cc_backend.model import Job, JobKey, Scope
from cc_backend.services import Services
from cc_backend.web.job_list import ListHead, ListRow, build_list_heads, build_row
from cc_backend.web.previews import Preview, PreviewCache, choose_row_metrics, make_preview, most_common_metrics

logger = logging.getLogger(__name__)


def find_sub_cluster(services: Services, job: Job) -> SubCluster | None:
    """The subcluster of a job; None if its configuration is unknown."""
    try:
        return services.clusters.sub_cluster_of_job(job)
    except NotFound:
        return None


def sub_cluster_with_archived_metrics(services: Services, job: Job) -> SubCluster:
    """The subcluster of a job with every metric in its archive, also those that left the configuration."""
    known = find_sub_cluster(services, job)
    if not comes_from_archive(job):
        return known or measured_sub_cluster(job)
    try:
        recorded = services.archive.load_meta(JobKey(job.cluster, job.job_id, job.start_time)).statistics or {}
        if known is not None and recorded.keys() <= known.all_metrics.keys():
            return known
        data = services.metric_data.read_samples(
            job, None, list(Scope), now_s=services.now_s(), limits=VIEW_LIMITS
        ).data
    except ArchiveError:  # reported by whoever reads the samples
        return known or measured_sub_cluster(job)
    base = known or measured_sub_cluster(job)
    return with_measured_metrics(base, data, restricted=services.clusters.ever_restricted_metrics(job.cluster))


def find_sub_clusters(services: Services, jobs: Sequence[Job]) -> list[SubCluster | None]:
    """The subclusters of jobs; for an unknown configuration one with the metrics in the archive of the job."""
    restricted = cache(services.clusters.ever_restricted_metrics)  # once for each cluster: it queries the database
    found: list[SubCluster | None] = []
    for job in jobs:
        known = find_sub_cluster(services, job)
        if known is None and comes_from_archive(job) and not job.is_unusable:
            known = _archived_sub_cluster(services, job, restricted(job.cluster))
        found.append(known)
    return found


def _archived_sub_cluster(services: Services, job: Job, restricted: Collection[str]) -> SubCluster | None:
    kept = _preview_cache().get_metrics(job)
    if kept is None:
        try:
            data = services.metric_data.read_samples(job, None, now_s=services.now_s(), limits=PREVIEW_LIMITS).data
        except BackendError as error:
            logger.warning("preview failed job=%s cluster=%s error=%r", job.job_id, job.cluster, str(error))
            return None
        kept = measured_metrics(data)
        _preview_cache().put_metrics(job, kept)
    return with_metrics(measured_sub_cluster(job), kept, restricted=restricted)


def _preview_cache() -> PreviewCache:
    return cast("PreviewCache", current_app.extensions["cockpit-web"])


def visible_metrics(sub_cluster: SubCluster, caller: Caller) -> dict[str, MetricConfig]:
    """The metrics a caller may see: all for staff, those without restriction for everybody else."""
    staff = caller.sees_restricted_metrics
    return {name: config for name, config in sub_cluster.metrics.items() if staff or not config.restrict}


def build_list_rows(
    services: Services, jobs: Sequence[Job], *, caller: Caller, plots: bool
) -> tuple[list[ListRow], list[ListHead]]:
    """Rows and column heads of a list; with previews if it is a list of plots."""
    now_s = services.now_s()
    subs = find_sub_clusters(services, jobs) if plots else [find_sub_cluster(services, job) for job in jobs]
    chosen = [
        choose_row_metrics(job, sub, () if sub is None else visible_metrics(sub, caller))
        for job, sub in zip(jobs, subs, strict=True)
    ]
    heads = most_common_metrics(chosen)
    rows = [
        build_row(
            job,
            sub,
            load_previews(services, job, sub, metrics, now_s=now_s) if plots else None,
            metrics,
            heads=heads,
            now_s=now_s,
            zone=None,
        )
        for job, sub, metrics in zip(jobs, subs, chosen, strict=True)
    ]
    return rows, build_list_heads(heads, [sub for sub, metrics in zip(subs, chosen, strict=True) if metrics == heads])


def load_previews(
    services: Services, job: Job, sub: SubCluster | None, metrics: Sequence[str], *, now_s: int
) -> dict[str, Preview | None]:
    """The previews of one job; empty, and logged, if its samples cannot be read."""
    kept = _preview_cache().get(job, metrics)
    if kept is not None or sub is None:
        return kept or {}
    try:
        samples = services.metric_data.read_samples(job, metrics, now_s=now_s, limits=PREVIEW_LIMITS).data
        curves = JobCurveSet(convert_to_configured_units(samples, sub.metrics))
    except BackendError as error:
        logger.warning("preview failed job=%s cluster=%s error=%r", job.job_id, job.cluster, str(error))
        return {}
    made = {
        name: make_preview(curves, name, sub.metrics[name].footprint if name in sub.metrics else "avg")
        for name in metrics
    }
    _preview_cache().put(job, made)
    return made
