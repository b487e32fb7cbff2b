import dataclasses

import pytest

from cc_backend.archive.archived_scopes import archived_scopes
from cc_backend.clusters import MetricConfig
from cc_backend.model import Job, MetricUnit, Resource, Scope

NODE, SOCKET, DOMAIN, CORE = Scope.NODE, Scope.SOCKET, Scope.MEMORY_DOMAIN, Scope.CORE
THREAD, ACCELERATOR = Scope.HWTHREAD, Scope.ACCELERATOR


def _metric(scope: Scope) -> MetricConfig:
    return MetricConfig(name="m", unit=MetricUnit(""), scope=scope, timestep_s=60)


@pytest.mark.parametrize(
    ("native", "small", "large"),
    [
        (NODE, [NODE], [NODE]),
        (SOCKET, [NODE, SOCKET], [NODE]),
        (DOMAIN, [NODE, DOMAIN], [NODE]),
        (CORE, [NODE, CORE], [NODE]),
        (THREAD, [NODE, CORE], [NODE]),
    ],
)
@pytest.mark.parametrize("accelerators", [0, 4])
def test_small_jobs_keep_cores_and_large_ones_nodes_with_or_without_accelerators(
    job: Job, native: Scope, small: list[Scope], large: list[Scope], accelerators: int
) -> None:
    of_eight = dataclasses.replace(job, num_nodes=8, num_acc=accelerators)
    of_nine = dataclasses.replace(job, num_nodes=9, num_acc=accelerators)
    assert archived_scopes(of_eight, _metric(native)) == small
    assert archived_scopes(of_nine, _metric(native)) == large


@pytest.mark.parametrize("nodes", [1, 100])
def test_accelerator_metrics_are_kept_for_each_accelerator_whatever_the_size(job: Job, nodes: int) -> None:
    sized = dataclasses.replace(job, num_nodes=nodes, num_acc=nodes)
    assert archived_scopes(sized, _metric(ACCELERATOR)) == [NODE, ACCELERATOR]


def test_accelerators_named_in_the_resources_count_as_accelerators(job: Job) -> None:
    named = dataclasses.replace(job, resources=(Resource("tn01", accelerators=("0000:01:00.0",)),))
    assert archived_scopes(named, _metric(ACCELERATOR)) == [NODE, ACCELERATOR]


def test_a_job_without_accelerators_has_no_accelerator_metric(job: Job) -> None:
    assert archived_scopes(job, _metric(ACCELERATOR)) == []


@pytest.mark.parametrize(("limit", "scopes"), [(0, [NODE]), (1, [NODE]), (2, [NODE, CORE])])
def test_the_limit_can_be_set(job: Job, limit: int, scopes: list[Scope]) -> None:
    assert archived_scopes(job, _metric(CORE), limit) == scopes
