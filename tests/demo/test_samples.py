"""Samples as a function: any of them without the others."""

from collections.abc import Callable

import numpy as np
import pytest

from cc_backend.clusters import Cluster
from cc_backend.metricstore import MetricSpec, MetricStore
from cc_common.line_protocol import decode
from cc_demo.characters import CHARACTERS
from cc_demo.cluster_shape import ClusterShape
from cc_demo.job_stream import GeneratedJob, generate_jobs
from cc_demo.lines import cluster_lines, grid_times, job_lines, split_into_batches
from cc_demo.samples import generate_samples, part_ids

JobOf = Callable[..., GeneratedJob]


def times_of(job: GeneratedJob) -> list[int]:
    return list(grid_times(job.start_time, job.stop_time, 60))


def test_the_same_job_gives_the_same_bytes(job_of: JobOf, cluster: Cluster) -> None:
    job = job_of("array")
    first = b"".join(split_into_batches(job_lines(job, cluster, times_of(job))))
    assert first == b"".join(split_into_batches(job_lines(job_of("array"), cluster, times_of(job))))
    assert first != b"".join(split_into_batches(job_lines(job_of("array", seed=2), cluster, times_of(job))))


@pytest.mark.parametrize("character", sorted(CHARACTERS))
def test_a_sample_asked_for_alone_is_the_one_among_all_others(character: str, job_of: JobOf, cluster: Cluster) -> None:
    job = job_of(character)
    times = np.asarray(times_of(job))
    for config in cluster.sub_cluster(job.lane.node.name).metrics.values():
        parts = part_ids(job.lane.node, config, job.lane.hwthreads)
        every = generate_samples(job, config, parts, times)
        assert every.shape == (len(job.lane.hosts), len(parts), len(times))
        alone = generate_samples(job, config, parts[-1:], times[-1:])
        np.testing.assert_array_equal(alone[:, 0, 0], every[:, -1, -1])


@pytest.mark.parametrize("character", sorted(CHARACTERS))
def test_no_value_lies_below_zero_or_above_what_the_node_can(character: str, job_of: JobOf, cluster: Cluster) -> None:
    job = job_of(character)
    for config in cluster.sub_cluster(job.lane.node.name).metrics.values():
        parts = part_ids(job.lane.node, config, job.lane.hwthreads)
        values = generate_samples(job, config, parts, np.asarray(times_of(job)))
        node = values.sum(axis=1) if config.aggregation == "sum" else values
        assert np.nanmin(values) >= 0
        assert np.nanmax(node) <= config.peak * 1.0001


def test_jobs_that_share_a_node_say_the_same_of_the_node(cluster: Cluster, shape: ClusterShape) -> None:
    pair = list(generate_jobs(shape, 1, 2, first_start_s=1_760_000_417, only="shared"))
    assert len({job.lane.number for job in pair}) == 2
    config = cluster.sub_cluster("cpu").metrics["cpu_load"]
    first, second = (generate_samples(job, config, (None,), np.array([1_760_010_000])) for job in pair)
    np.testing.assert_array_equal(first, second)


def test_every_line_is_line_protocol_and_the_store_takes_it(
    job_of: JobOf, cluster: Cluster, shape: ClusterShape
) -> None:
    job = job_of("gpu_works")
    time_s = times_of(job)[10]
    batch = b"".join(split_into_batches(cluster_lines(shape, cluster, [job, job_of("shared")], [time_s]), size=100))
    points, errors = decode(batch, received_s=time_s)
    assert errors == []
    hosts = {host for node in shape.sub_clusters for host in node.hosts()}
    assert {point.tags["hostname"] for point in points} == hosts
    assert {point.time_s for point in points} == {time_s}
    specs = {name: MetricSpec(config.timestep_s, config.aggregation) for name, config in cluster.metrics.items()}
    store = MetricStore.open(None, {cluster.name: specs}, now_s=time_s)
    result = store.ingest(batch, received_s=time_s)
    store.close()
    assert (result.accepted, dict(result.rejected)) == (len(points), {})


def test_a_silent_node_sends_nothing_any_more(job_of: JobOf, cluster: Cluster) -> None:
    job = job_of("silent")
    late = times_of(job)[-5]
    lines = list(job_lines(job, cluster, [late]))
    assert lines
    assert [line for line in lines if f"hostname={job.lane.hosts[-1]}," in line] == []
