"""A small made-up cluster, its configuration, and one job of each character on it."""

from collections.abc import Callable

import pytest

from cc_backend.clusters import Cluster, Clusters, parse_cluster
from cc_demo.cluster_shape import ClusterShape, SubClusterShape
from cc_demo.job_stream import MadeJob, jobs

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
def clusters(cluster: Cluster) -> Clusters:
    return Clusters({cluster.name: cluster})


@pytest.fixture(scope="session")
def job_of(shape: ClusterShape) -> Callable[..., MadeJob]:
    """The first job of a character."""

    def make(character: str, *, seed: int = 1) -> MadeJob:
        return next(jobs(shape, seed, only=character, first_start_s=FIRST_S))

    return make
