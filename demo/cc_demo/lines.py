"""Samples of made-up jobs and idle nodes as batches of line protocol."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice

import numpy as np

from cc_backend.clusters import Cluster
from cc_backend.model import Scope
from cc_common.line_protocol import series_prefix
from cc_demo.cluster_shape import ClusterShape, SubClusterShape
from cc_demo.hashed_random import Values
from cc_demo.job_stream import GeneratedJob
from cc_demo.samples import Parts, Times, generate_idle_samples, generate_samples, part_ids

LINES_A_BATCH = 10_000
_DECIMALS = 3


def job_lines(job: GeneratedJob, cluster: Cluster, times_s: Sequence[int]) -> Iterator[str]:
    """The lines of a job at some times within its run, series after series; nothing for gaps."""
    times = _within(job, times_s)
    if not times.size:
        return
    for config in cluster.sub_cluster(job.lane.node.name).metrics.values():
        parts = part_ids(job.lane.node, config, job.lane.hwthreads)
        prefixes = _prefixes(cluster.name, config.name, config.scope, job.lane.hosts, parts)
        yield from _lines(prefixes, times, generate_samples(job, config, parts, times))


def idle_lines(
    cluster: Cluster, node: SubClusterShape, hosts: tuple[str, ...], times_s: Sequence[int]
) -> Iterator[str]:
    """The lines of nodes without a job."""
    times = np.asarray(times_s, np.int64)
    if not times.size or not hosts:
        return
    for config in cluster.sub_cluster(node.name).metrics.values():
        parts = part_ids(node, config)
        prefixes = _prefixes(cluster.name, config.name, config.scope, hosts, parts)
        yield from _lines(prefixes, times, generate_idle_samples(node, config, hosts, parts, times))


def cluster_lines(
    shape: ClusterShape, cluster: Cluster, running: Sequence[GeneratedJob], times_s: Sequence[int]
) -> Iterator[str]:
    """What all nodes of a cluster send at some times: idle values first, so that those of jobs count where both are."""
    busy = {host for job in running for host in job.lane.hosts if not job.lane.hwthreads}
    for node in shape.sub_clusters:
        yield from idle_lines(cluster, node, tuple(host for host in node.hosts() if host not in busy), times_s)
    for job in running:
        yield from job_lines(job, cluster, times_s)


def split_into_batches(lines: Iterable[str], size: int = LINES_A_BATCH) -> Iterator[bytes]:
    """The lines in bodies for `/api/write`."""
    waiting = iter(lines)
    while batch := list(islice(waiting, size)):
        yield ("\n".join(batch) + "\n").encode()


def grid_times(from_s: int, to_s: int, timestep_s: int) -> range:
    """The multiples of a timestep from the first at or after one time to the last at or before another."""
    return range(-(-from_s // timestep_s) * timestep_s, to_s + 1, timestep_s)


def _within(job: GeneratedJob, times_s: Sequence[int]) -> Times:
    times = np.asarray(times_s, np.int64)
    return times[(times >= job.start_time) & (times <= job.stop_time)]


@lru_cache(maxsize=1 << 14)
def _prefixes(cluster: str, metric: str, scope: Scope, hosts: tuple[str, ...], parts: Parts) -> tuple[str, ...]:
    """The beginnings of lines, in the order of the rows of samples."""
    found = []
    for host in hosts:
        tags = {"cluster": cluster, "hostname": host, "type": scope.value}
        found += [series_prefix(metric, tags if part is None else {**tags, "type-id": part}) for part in parts]
    return tuple(prefix.decode() for prefix in found)


def _lines(prefixes: Sequence[str], times: Times, values: Values) -> Iterator[str]:
    """The lines of all rows; NaN, which differs from itself, is left out."""
    rows = np.round(values, _DECIMALS).reshape(len(prefixes), len(times))
    if len(times) == 1:
        stamp = f" {times[0]}"
        pairs = zip(prefixes, rows[:, 0].tolist(), strict=True)
        yield from [f"{prefix}{value}{stamp}" for prefix, value in pairs if value == value]  # noqa: PLR0124
        return
    stamps = [f" {time_s}" for time_s in times.tolist()]
    for prefix, row in zip(prefixes, rows.tolist(), strict=True):
        yield from [f"{prefix}{value}{stamp}" for value, stamp in zip(row, stamps, strict=True) if value == value]  # noqa: PLR0124
