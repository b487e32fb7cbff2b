"""What the Slurm adapter makes of odd answers of Slurm, held against what the backend takes."""

from typing import Any

import pytest

from cc_backend.jobs.event_checks import validate_start
from cc_backend.services import Services
from cc_common.job_events import JobStart, parse_job_start
from cc_slurm_adapter.event_mapping import StartEventMapper
from cc_slurm_adapter.slurm_model import NodeAllocation, SlurmJob
from cc_slurm_adapter.topology import ClusterTopology, parse_cluster

NOW_S = 1_760_000_400


def told(topology: ClusterTopology, **fields: Any) -> JobStart:
    """The start event of a job, as the backend reads it."""
    plain = {"job_id": 7, "state": "RUNNING", "user": "alice", "account": "prj", "nodes": "tn01", "start_time": NOW_S}
    mapped = StartEventMapper("tern", topology).map_start(SlurmJob(**{**plain, **fields}))
    assert mapped is not None
    return parse_job_start(mapped.event.to_document()).value


@pytest.fixture(params=["described", "not described"])
def topology(request: pytest.FixtureRequest, tern: dict[str, Any]) -> ClusterTopology:
    return parse_cluster(tern, source="test") if request.param == "described" else ClusterTopology()


MANY_GPUS = "gpu=999999999999999,gres/gpu:a=999999999999999"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account", "p" * 300),
        ("account", "a\nb"),
        ("partition", ",".join(["main"] * 100)),
        ("partition", "a\nb"),
        ("user", "u" * 300),
        ("user", " alice\n"),
        ("name", "x" * 5000),
        ("cpus", 1 << 40),
        ("gpus", 1 << 40),
        ("requested_memory_mb", 1 << 70),
        ("time_limit_min", (1 << 31) - 1),
        ("submit_time", NOW_S + 40 * 365 * 86_400),
        ("array_job_id", (1 << 53) - 1),
        (
            "allocations",
            (NodeAllocation("tn01", cores=((0, 0),), gres=MANY_GPUS),),
        ),
        ("allocations", (NodeAllocation("tn01", cores=((1 << 50, 1 << 50),), gres="gpu:4096(IDX:0-4095)"),)),
        ("allocations", (NodeAllocation("tn01", cpu_ids=(0, 1 << 50)),)),
    ],
)
def test_a_field_that_cannot_be_costs_itself_and_not_the_job(
    field: str, value: Any, topology: ClusterTopology, services: Services
) -> None:
    event = told(topology, **{field: value})
    assert validate_start(event, services.clusters, now_s=NOW_S) == "std"
    assert (event.job_id, event.start_time, event.num_nodes) == (7, NOW_S, 1)


def test_what_can_be_is_told_as_it_is(topology: ClusterTopology) -> None:
    event = told(topology, account="p" * 256, partition="main", time_limit_min=60 * 24 * 365, submit_time=NOW_S)
    assert (event.project, event.partition) == ("p" * 256, "main")
    assert (event.walltime, event.submit_time) == (365 * 86_400, NOW_S)
