"""What the made-up clusters cost: jobs, job events and lines a second, memory, archive and database.

    python benchmarks/generator.py [--seconds 2]

The figures matter in comparison: a generator that is slower than the server measures itself. The server takes about
1.3 M lines a second over HTTP (`http_write.py`).
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from cc_backend.archive.file_archive import FileArchive
from cc_backend.clusters import ClusterRegistry, parse_cluster
from cc_backend.db.opening import open_database
from cc_backend.jobs.lifecycle import JobLifecycle
from cc_backend.migrations import migrate
from cc_demo.cluster_shape import ClusterShape, SubClusterShape
from cc_demo.job_stream import generate_jobs
from cc_demo.lines import cluster_lines, grid_times, job_lines, split_into_batches
from cc_demo.records import load_database, make_ended_job, write_archive

START_S = 1_790_000_040
SHAPE = ClusterShape(
    "spruce",
    (
        SubClusterShape("cpu", 96, "sn", cores_per_socket=36),
        SubClusterShape("gpu", 16, "sg", cores_per_socket=16, gpus=4),
    ),
)


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description="What the made-up clusters cost.")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each figure is measured")
    seconds = parser.parse_args().seconds
    cluster, _ = parse_cluster(SHAPE.document(), source="benchmark")
    clusters = ClusterRegistry({cluster.name: cluster})
    made = list(generate_jobs(SHAPE, 1, 60, first_start_s=START_S))
    running = [job for job in made if job.start_time <= START_S + 3600 < job.stop_time]
    print(f"{os.cpu_count()} cores; a cluster of 112 nodes and {len(running)} running jobs")
    print("| what | a second |")
    print("|---|---:|")
    report("jobs", rate(generate_jobs(SHAPE, 1, first_start_s=START_S), seconds))
    events = (job.start_event().to_document() for job in generate_jobs(SHAPE, 1, first_start_s=START_S))
    report("start events as JSON objects", rate(events, seconds))
    every = (line for job in made for line in job_lines(job, cluster, grid_times(job.start_time, job.stop_time, 60)))
    report("lines, whole jobs, in batches of 10 000", rate(split_into_batches(every), seconds, each=10_000))
    for words, ticks in (("one moment at a time", 1), ("ten moments at once", 10)):
        live = (line for _ in iter(int, 1) for line in cluster_lines(SHAPE, cluster, running, moments(ticks)))
        report(f"lines, all nodes, {words}", rate(split_into_batches(live), seconds, each=10_000))
    with tempfile.TemporaryDirectory() as folder:
        archive = FileArchive.create(Path(folder) / "archive")
        small = generate_jobs(SHAPE, 1, first_start_s=START_S, only="array")
        report("archived jobs of 18 minutes and 72 threads", rate(write_archive(archive, clusters, small), seconds))
        database(Path(folder), clusters, seconds)
    report("(memory of this process at most, MB)", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return 0


def moments(count: int) -> list[int]:
    """Some times an hour after the start."""
    return [START_S + 3600 + 60 * number for number in range(count)]


def database(folder: Path, clusters: ClusterRegistry, seconds: float) -> None:
    """Into the job table: many at once, and one start and stop after the other, as the server does it."""
    opened = open_database(folder / "bulk.db")
    migrate(opened)
    loading = (make_ended_job(job, clusters) for job in generate_jobs(SHAPE, 1, first_start_s=START_S))
    blocks = (load_database(opened, islice(loading, 500)) for _ in iter(int, 1))
    report("jobs into the job table, 500 at once", rate(blocks, seconds, each=500))
    opened.close_all()
    opened = open_database(folder / "single.db")
    migrate(opened)
    lifecycle = JobLifecycle(opened, clusters)

    def events() -> Iterator[None]:
        for job in generate_jobs(SHAPE, 1, first_start_s=START_S):
            lifecycle.start(job.start_event(), now_s=job.start_time)
            lifecycle.stop(job.stop_event(), now_s=job.stop_time)
            yield

    report("(the server's own part of a job: start and stop, one by one)", rate(events(), seconds))
    opened.close_all()


def rate(stream: Iterable[object], seconds: float, *, each: int = 1) -> float:
    """How many a second come out of a stream; the first does not count."""
    iterator = iter(stream)
    next(iterator)
    begun, count = time.perf_counter(), 0
    for _ in iterator:
        count += each
        if time.perf_counter() - begun > seconds:
            break
    return count / (time.perf_counter() - begun)


def report(what: str, figure: float) -> None:
    """One row."""
    print(f"| {what} | {figure:,.0f} |")


if __name__ == "__main__":
    raise SystemExit(main())
