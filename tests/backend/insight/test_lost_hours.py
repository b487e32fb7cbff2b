from collections.abc import Callable, Mapping

import pytest

from cc_backend.clusters import SubCluster
from cc_backend.insight.lost_hours import ComputeHours, JobHours
from cc_backend.model import Job, Resource


@pytest.fixture
def hours(make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]) -> Callable[..., JobHours]:
    def make(**changes: object) -> JobHours:
        return JobHours(make_job(**changes), tarn["main"])

    return make


def test_lost_hours_are_cores_times_time_times_the_share_not_in_use(hours: Callable[..., JobHours]) -> None:
    assert hours().lost_hours(["tn0001"], 1800) == ComputeHours(core=48.0)
    assert hours().lost_hours(["tn0001", "tn0002"], 3600, in_use=0.75) == ComputeHours(core=48.0)


def test_the_whole_job_is_all_its_nodes_all_the_time(hours: Callable[..., JobHours]) -> None:
    assert hours(duration=7200).total_hours() == ComputeHours(core=384.0)


def test_jobs_with_gpus_lose_gpu_hours(hours: Callable[..., JobHours]) -> None:
    resources = (Resource("tn0001", (), ("a", "b", "c", "d")), Resource("tn0002", (), ("a", "b")))
    found = hours(num_acc=6, resources=resources)
    assert found.lost_hours(["tn0001"], 3600) == ComputeHours(gpu=4.0)
    assert found.total_hours() == ComputeHours(gpu=12.0)
    assert hours(num_acc=4).lost_hours(["tn0001"], 3600) == ComputeHours(
        gpu=2.0
    )  # resources that name none: an even share


def test_a_job_on_a_shared_node_has_its_own_threads_only(hours: Callable[..., JobHours]) -> None:
    shared = {"shared": "multi_user", "num_nodes": 1, "num_hwthreads": 24}
    assert hours(resources=(Resource("tn0001", tuple(range(24))),), **shared).cores("tn0001") == 24
    assert hours(hosts=("tn0001",), num_hwthreads=24, shared="multi_user").cores("tn0001") == 24


def test_values_beyond_the_peak_lose_nothing(hours: Callable[..., JobHours]) -> None:
    assert hours().lost_hours(["tn0001"], 3600, in_use=1.4) == ComputeHours()
    assert hours().lost_hours(["tn0001"], -5) == ComputeHours()
