"""A small made-up cluster, its configuration, and one job of each character on it."""

from collections.abc import Callable

import pytest

from cc_backend.clusters import Cluster, ClusterRegistry, parse_cluster
from cc_demo.cluster_shape import ClusterShape, SubClusterShape
from cc_demo.job_stream import GeneratedJob, generate_jobs

FIRST_S = 1_760_000_417


@pytest.fixture(scope="session")
def shape() -> ClusterShape:
    nodes = (
        SubClusterShape("cpu", 12, "bn", threads_per_core=2, cores_per_socket=4),
        SubClusterShape("gpu", 4, "bg", cores_per_socket=4, gpus=2, memory_gb=512),
    )
    return ClusterShape("birch", nodes, timestep_s=60)


@pytest.fixture(scope="session")
def cluster(shape: ClusterShape) -> Cluster:
    parsed, warnings = parse_cluster(shape.document(), source="test")
    assert warnings == []
    return parsed


@pytest.fixture(scope="session")
def clusters(cluster: Cluster) -> ClusterRegistry:
    return ClusterRegistry({cluster.name: cluster})


@pytest.fixture(scope="session")
def job_of(shape: ClusterShape) -> Callable[..., GeneratedJob]:
    """The first job of a character."""

    def make(character: str, *, seed: int = 1) -> GeneratedJob:
        return next(generate_jobs(shape, seed, only=character, first_start_s=FIRST_S))

    return make
