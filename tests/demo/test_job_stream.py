"""Jobs by the million: the same for the same seed, without overlap, and none kept."""

import subprocess
import sys
import tracemalloc
from collections import Counter, defaultdict
from typing import Any

import pytest

from cc_backend.clusters import check_cluster
from cc_common.job_events import parse_job_start, parse_job_stop
from cc_demo.characters import CHARACTERS
from cc_demo.cluster_shape import ClusterShape, SubClusterShape
from cc_demo.hashed_random import uniform_at
from cc_demo.job_stream import generate_jobs
from cc_demo.lanes import make_lanes

FIRST_S = 1_760_000_417


def some(shape: ClusterShape, seed: int = 1, count: int = 400) -> Any:
    return generate_jobs(shape, seed, count, first_start_s=FIRST_S)


def test_the_same_seed_gives_the_same_jobs_and_another_seed_others(shape: ClusterShape) -> None:
    first = [job.start_event().to_document() for job in some(shape)]
    assert first == [job.start_event().to_document() for job in some(shape)]
    assert first != [job.start_event().to_document() for job in some(shape, seed=2)]


def test_another_process_makes_the_same_jobs() -> None:
    program = "from cc_demo.hashed_random import uniform_at; print(uniform_at(7, 'lane', 3))"
    seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(seen.stdout) == uniform_at(7, "lane", 3)


def test_jobs_come_in_the_order_of_their_starts_and_each_has_a_number_of_its_own(shape: ClusterShape) -> None:
    found = list(some(shape, count=3000))
    assert [job.start_time for job in found] == sorted(job.start_time for job in found)
    assert len({job.job_id for job in found}) == len(found)


def test_no_two_jobs_have_the_same_thread_at_the_same_time(shape: ClusterShape) -> None:
    ends: defaultdict[tuple[str, int], int] = defaultdict(int)
    for job in some(shape, count=1000):
        for host in job.lane.hosts:
            for thread in job.lane.hwthreads or range(job.lane.node.hwthreads):
                assert ends[host, thread] < job.start_time
                ends[host, thread] = job.stop_time


def test_every_node_is_in_use_and_every_character_occurs(shape: ClusterShape) -> None:
    found = list(some(shape, count=2000))
    hosts = {host for job in found for host in job.lane.hosts}
    assert hosts == {host for node in shape.sub_clusters for host in node.hosts()}
    assert Counter(job.character.name for job in found).keys() == CHARACTERS.keys()


def test_a_hundred_thousand_jobs_take_no_more_memory_than_a_thousand(shape: ClusterShape) -> None:
    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        assert sum(1 for _ in some(shape, count=count)) == count
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(1000)
    assert peak_bytes(20_000) < peak_bytes(1000) + 100_000


def test_what_goes_over_the_wire_is_what_readers_of_the_wire_take(shape: ClusterShape) -> None:
    for job in some(shape, count=50):
        event, stop = job.start_event(), job.stop_event()
        parsed = parse_job_start(event.to_document())
        assert parsed.value == event
        assert parse_job_stop(stop.to_document()).value == stop


@pytest.mark.parametrize(
    "nodes",
    [
        (SubClusterShape("one", 1, sockets=1, cores_per_socket=1),),
        (SubClusterShape("many", 1200, cores_per_socket=64, threads_per_core=2),),
        (SubClusterShape("gpu", 3, gpus=8), SubClusterShape("cpu", 5, "c")),
    ],
)
def test_a_cluster_of_any_shape_is_one_the_backend_takes_and_gets_jobs(nodes: tuple[SubClusterShape, ...]) -> None:
    shape = ClusterShape("any", nodes)
    assert [finding for finding in check_cluster(shape.document()) if finding.severity == "error"] == []
    assert sum(len(lane.hosts) for lane in make_lanes(shape)) >= sum(node.nodes for node in nodes)
    assert len(list(some(shape, count=100))) == 100
