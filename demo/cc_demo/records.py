"""Made-up jobs that have ended, as the archiver leaves them: into an archive, into the job table."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from cc_backend.archive.archived_scopes import archived_scopes
from cc_backend.archive.file_archive import FileArchive
from cc_backend.archive.statistics import finalize_job, with_statistics
from cc_backend.clusters import ClusterRegistry, MetricConfig, SubCluster
from cc_backend.db.database import Database
from cc_backend.jobs.job_json import job_from_start_event
from cc_backend.jobs.job_rows import insert_jobs
from cc_backend.model import Job, JobData, JobMetric, JobState, SampleSeries, Scope
from cc_demo.hashed_random import Values
from cc_demo.job_stream import GeneratedJob
from cc_demo.lines import grid_times
from cc_demo.samples import Parts, generate_samples, part_ids

JOBS_PER_TRANSACTION = 500


def make_ended_job(made: GeneratedJob, clusters: ClusterRegistry) -> Job:
    """The job as in the job table after the stop, before it is archived."""
    job = job_from_start_event(made.start_event(), clusters, now_s=made.stop_time)
    job.state, job.duration = JobState(made.state), made.duration
    return job


def make_job_data(made: GeneratedJob, job: Job, sub_cluster: SubCluster) -> JobData:
    """The samples of an ended job at the scopes that go into an archive."""
    data: JobData = {}
    for config in sub_cluster.metrics.values():
        times = np.asarray(grid_times(made.start_time, made.stop_time, config.timestep_s), np.int64)
        parts = part_ids(made.lane.node, config, made.lane.hwthreads)
        for host, rows in zip(made.lane.hosts, generate_samples(made, config, parts, times), strict=True):
            for scope in archived_scopes(job, config):
                series = list(_at_scope(rows, config, parts, host=host, scope=scope, sub_cluster=sub_cluster))
                if series:
                    new = JobMetric(config.unit, config.timestep_s)
                    data.setdefault(config.name, {}).setdefault(scope, new).series += series
    return with_statistics(data)


def make_archived_job(made: GeneratedJob, clusters: ClusterRegistry) -> tuple[Job, JobData]:
    """The job as it is archived, and its samples."""
    job = make_ended_job(made, clusters)
    sub_cluster = clusters.get(job.cluster).sub_cluster(job.sub_cluster)
    data = make_job_data(made, job, sub_cluster)
    return finalize_job(job, data, sub_cluster), data


def write_archive(archive: FileArchive, clusters: ClusterRegistry, made: Iterable[GeneratedJob]) -> Iterator[Job]:
    """Store one job after the other; yields each as it was archived."""
    for job_made in made:
        job, data = make_archived_job(job_made, clusters)
        archive.store(job, data)
        yield job


def load_database(database: Database, jobs: Iterable[Job], *, at_once: int = JOBS_PER_TRANSACTION) -> int:
    """Insert the jobs, `at_once` in a transaction; returns their number."""
    total = 0
    waiting = iter(jobs)
    while batch := list(islice(waiting, at_once)):
        with database.write():
            total += len(insert_jobs(database, batch))
    return total


def _at_scope(
    rows: Values, config: MetricConfig, parts: Parts, *, host: str, scope: Scope, sub_cluster: SubCluster
) -> Iterator[SampleSeries]:
    if scope is config.scope:
        groups: dict[str | None, list[int]] = {part: [row] for row, part in enumerate(parts)}
    elif scope is Scope.NODE:
        groups = {None: list(range(len(parts)))}
    else:  # hardware threads are kept by core
        cores = sub_cluster.topology.units(scope)
        core_of = {str(thread): str(i) for i, threads in enumerate(cores) for thread in threads}
        groups = {}
        for row, part in enumerate(parts):
            groups.setdefault(core_of[part or ""], []).append(row)
    for part, members in groups.items():
        if np.isfinite(rows[members]).any():
            whole = rows[members].sum(axis=0) if config.aggregation == "sum" else rows[members].mean(axis=0)
            yield SampleSeries(host, whole.astype(np.float32), part)
