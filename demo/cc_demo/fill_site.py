"""Fills a backend with the jobs of the site: running jobs into the metric store, finished ones into the archive."""

from collections.abc import Iterable

from cc_backend.services import Services
from cc_demo.job_stream import GeneratedJob
from cc_demo.lines import grid_times, job_lines, split_into_batches
from cc_demo.records import make_archived_job
from cc_demo.site_jobs import EVERYDAY_JOBS, SITE, SiteJob


def fill_site(services: Services, jobs: Iterable[SiteJob] = EVERYDAY_JOBS) -> None:
    """Add all jobs as of the services' clock; the cluster must be configured and the jobs unknown."""
    now_s = services.now_s()
    for job in sorted((job.generate(now_s) for job in jobs), key=lambda job: job.start_time):
        started = services.job_lifecycle.start(job.start_event(), now_s=now_s)
        if job.stop_time > now_s:
            _send_samples(services, job, now_s)
        else:
            services.job_lifecycle.stop(job.stop_event(), now_s=now_s)
            finished, data = make_archived_job(job, services.clusters)
            finished.id = started.id
            services.archive.store(finished, data)
            services.archive_queue.finish(finished)


def _send_samples(services: Services, job: GeneratedJob, now_s: int) -> None:
    times = grid_times(job.start_time, now_s, SITE.timestep_s)
    for batch in split_into_batches(job_lines(job, services.clusters.get(SITE.name), times)):
        services.store.ingest(batch, received_s=now_s)
