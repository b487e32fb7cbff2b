"""Metric families about jobs and tokens."""

from collections.abc import Collection

from cc_backend.auth.token_expiry import expiring_tokens
from cc_backend.jobs.filters import JobFilter
from cc_backend.model import JobState, RowRule
from cc_backend.services import Services
from cc_backend.telemetry.exposition import MetricFamily, MetricSample, single_sample_family


def job_families(services: Services, rows: RowRule) -> list[MetricFamily]:
    """Numbers of visible running jobs per cluster, and of visible jobs that wait to be archived."""
    running = JobFilter(states=(JobState.RUNNING,))
    counts = services.job_queries.count_by_cluster(running, rows, now_s=services.now_s())
    samples = [
        MetricSample(counts.get(cluster, {}).get(JobState.RUNNING, 0), {"cluster": cluster})
        for cluster in services.clusters
        if rows.allows_cluster(cluster)
    ]
    return [
        MetricFamily("cc_backend_jobs_running", "gauge", "Running jobs.", samples),
        single_sample_family(
            "cc_backend_archive_queue_jobs",
            "gauge",
            "Finished jobs that wait to be archived.",
            services.archive_queue.count(rows),
        ),
    ]


def token_family(services: Services, clusters: Collection[str]) -> MetricFamily:
    """End of each token in use that expires within three weeks; with `clusters`, only of tokens limited to these."""
    soon = expiring_tokens(services.tokens, services.clock(), clusters)
    return MetricFamily(
        "cc_backend_token_end_time_seconds",
        "gauge",
        "When tokens end that are in use and end within three weeks, Unix time.",
        [MetricSample(record.expires_s or 0, {"account": record.user, "id": record.jti}) for record in soon],
    )
