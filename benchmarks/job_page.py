"""The judgement and the page of a job from samples in memory: processor time, and how often a curve's grid is made.

    python benchmarks/job_page.py [--nodes 64] [--hours 24]

Ten metrics of the node at 60 s, one node without work. Reading the samples is not part of it. Promise: each grid is
made once: 10 for ten metrics, and an empty one for the metric that was not measured.
"""

import argparse
import time
from collections.abc import Callable
from datetime import UTC
from unittest.mock import patch

import numpy as np
from _bench import machine

from cc_backend.clusters import SubCluster, parse_cluster
from cc_backend.insight.assessment import assess_job, judged_metrics
from cc_backend.insight.curve_maths import matrix
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.model import Job, JobData, JobMetric, JobState, MonitoringStatus, Resource, SampleSeries, Scope
from cc_backend.web.job_page import PageOptions, build_job_page
from cc_demo.site_jobs import SITE

STEP_S = 60
START_S = 1_760_000_400
METRICS = 10
ROUNDS = 7


def made_up(nodes: int, hours: int) -> tuple[Job, JobData, SubCluster]:
    """A finished job with its samples and its kind of node."""
    sub_cluster = parse_cluster(SITE.document(), source="benchmark")[0].sub_clusters["gpu"]
    hosts = [f"tg{number:04d}" for number in range(nodes)]
    rng = np.random.default_rng(1)
    data: JobData = {}
    for name in list(sub_cluster.metrics)[:METRICS]:
        config = sub_cluster.metrics[name]
        rows = config.peak * 0.5 * (1 + 0.02 * rng.standard_normal((nodes, hours * 3600 // STEP_S)))
        rows[0] *= 0.001
        series = [SampleSeries(host, row.astype(np.float32)) for host, row in zip(hosts, rows, strict=True)]
        data[name] = {Scope.NODE: JobMetric(config.unit, STEP_S, series)}
    job = Job(
        job_id=1,
        cluster="tarn",
        user="bench",
        project="bench",
        start_time=START_S,
        resources=tuple(Resource(host) for host in hosts),
        num_nodes=nodes,
        sub_cluster="gpu",
        duration=hours * 3600,
        state=JobState.COMPLETED,
        monitoring_status=MonitoringStatus.ARCHIVED,
    )
    return job, data, sub_cluster


def cpu_ms(work: Callable[[], object]) -> float:
    """The least processor time of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best * 1e3


def main() -> None:
    """Print one line for the judgement, one for judgement and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--hours", type=int, default=24)
    options = parser.parse_args()
    job, data, sub_cluster = made_up(options.nodes, options.hours)
    metrics = judged_metrics(sub_cluster.metrics)

    def judged() -> object:
        return assess_job(job, JobCurveSet(data).select_nodes_and_gpus(metrics), sub_cluster, metrics)

    def page() -> object:
        curves = JobCurveSet(data)
        found = assess_job(job, curves.select_nodes_and_gpus(metrics), sub_cluster, metrics)
        options = PageOptions()
        return build_job_page(
            job, curves, found, sub_cluster, sub_cluster.metrics, options=options, zone=UTC, now_s=START_S
        )

    with patch("cc_backend.insight.job_curves.matrix", wraps=matrix) as make_grid:
        page()
    print(machine())
    print(f"{options.nodes} nodes x {METRICS} metrics x {options.hours} h")
    print(f"judgement           {cpu_ms(judged):7.1f} ms of a core")
    print(f"judgement and page  {cpu_ms(page):7.1f} ms of a core, {make_grid.call_count} grids made")


if __name__ == "__main__":
    main()
