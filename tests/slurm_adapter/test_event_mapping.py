import re
from typing import Any, List, Optional, Tuple

import pytest

from cc_common.errors import HostlistError
from cc_common.job_events import Resource, parse_job_start
from cc_slurm_adapter.event_mapping import (
    GpuRule,
    StartEventMapper,
    hwthreads_of_allocation,
    make_node_report,
    topology_mismatches,
)
from cc_slurm_adapter.slurm_model import JobDetails, NodeAllocation, SlurmJob, SlurmNode
from cc_slurm_adapter.sources.gres import gpu_indices
from cc_slurm_adapter.topology import ClusterTopology, SlurmNodeTopology, parse_cluster

TOPOLOGY = parse_cluster(
    {
        "subClusters": [
            {
                "name": "main",
                "nodes": "n[1-9],r[1-2]c[1-2].example.org",
                "topology": {
                    "socket": [[0, 1, 4, 5], [2, 3, 6, 7]],
                    "core": [[0, 4], [2, 6], [1, 5], [3, 7]],
                    "accelerators": [{"id": "gpu-a"}, {"id": "gpu-b"}],
                },
            }
        ]
    },
    source="test",
)
NODE = SlurmNode("n1", ("mixed",), sockets=2, cores_per_socket=2, threads_per_core=2)
KIND = TOPOLOGY.node_topology("n1")
assert KIND is not None


def mapper(**more: Any) -> StartEventMapper:
    return StartEventMapper("alpha", TOPOLOGY, {"n1": NODE}, **more)


def job(**more: Any) -> SlurmJob:
    return SlurmJob(**{"job_id": 7, "state": "RUNNING", "user": "alice", "nodes": "n1", "start_time": 900, **more})


def resources(slurm_job: SlurmJob, details: Optional[JobDetails] = None, **more: Any) -> Tuple[Resource, ...]:
    mapped = mapper(**more).map_start(slurm_job, details)
    assert mapped is not None
    return mapped.event.resources


@pytest.mark.parametrize(
    ("place", "threads"),
    [
        (NodeAllocation("n1", cpu_ids=(0, 1)), (0, 4)),
        (NodeAllocation("n1", cpu_ids=(2, 3)), (1, 5)),
        (NodeAllocation("n1", cpu_ids=(4, 5)), (2, 6)),
        (NodeAllocation("n1", cpu_ids=(6,)), (3,)),
        (NodeAllocation("n1", cpu_ids=tuple(range(8))), (0, 1, 2, 3, 4, 5, 6, 7)),
        (NodeAllocation("n1", cpu_ids=(8,)), ()),
        (NodeAllocation("n1", cores=((1, 0),)), (2, 6)),
        (NodeAllocation("n1", cores=((0, 1), (1, 1))), (1, 3, 5, 7)),
        (NodeAllocation("n1", cores=((0, 2),)), ()),
        (NodeAllocation("n1", cores=((2, 0),)), ()),
        (NodeAllocation("n1"), ()),
    ],
)
def test_slurms_numbers_become_those_of_the_operating_system(place: NodeAllocation, threads: Tuple[int, ...]) -> None:
    assert KIND is not None
    assert hwthreads_of_allocation(place, KIND, NODE) == threads
    assert hwthreads_of_allocation(place, KIND) == threads


def test_a_topology_that_contradicts_slurm_is_not_used() -> None:
    assert KIND is not None
    other = SlurmNode("n1", (), sockets=2, cores_per_socket=4, threads_per_core=2)
    assert hwthreads_of_allocation(NodeAllocation("n1", cpu_ids=(0,)), KIND, other) == ()
    assert hwthreads_of_allocation(NodeAllocation("n1", cpu_ids=(0,)), SlurmNodeTopology((), (), 0)) == ()


def test_cores_that_slurm_gives_whole_have_all_their_threads() -> None:
    assert KIND is not None
    single = SlurmNode("n1", (), sockets=2, cores_per_socket=2, threads_per_core=1)
    assert hwthreads_of_allocation(NodeAllocation("n1", cpu_ids=(1, 3)), KIND, single) == (1, 3, 5, 7)


@pytest.mark.parametrize(
    ("written", "indices"),
    [
        ("gpu:a100:2(IDX:0-1)", (0, 1)),
        ("gpu:2(IDX:0,3)", (0, 3)),
        ("gpu(IDX:1)", (1,)),
        ("gpu:h100-80g.x:1(IDX:2)", (2,)),
        ("gpu:a100:1(IDX:0),gpu:v100:2(IDX:3-4)", (0, 3, 4)),
        ("lustre:1(IDX:5),gpu:a100:1(IDX:2)", (2,)),
        ("gpu:a100:0(IDX:N/A)", ()),
        ("shard:a100:4(IDX:0)", ()),
        ("mygpu:1(IDX:0)", ()),
        ("mps:100(IDX:0)", ()),
        ("gpu:a100:2(CNT:2)", ()),
        ("gpu:2(IDX:1-0)", ()),
        ("", ()),
    ],
)
def test_gpus_are_found_among_all_resources(written: str, indices: Tuple[int, ...]) -> None:
    assert gpu_indices(written) == indices


def test_gpus_have_the_ids_of_the_topology_or_of_the_first_rule_that_fits() -> None:
    place = JobDetails((NodeAllocation("n1", cpu_ids=(0, 1), gres="gpu:2(IDX:0-1)"),))
    assert resources(job(gpus=2), place)[0].accelerators == ("gpu-a", "gpu-b")
    rules = [GpuRule(re.compile("x"), ("0",)), GpuRule(re.compile("^n"), ("1", "2")), GpuRule(re.compile(""), ("3",))]
    assert resources(job(gpus=2), place, gpu_rules=rules)[0].accelerators == ("1", "2")


def test_the_text_of_slurm_is_used_if_it_names_the_same_hosts() -> None:
    shown = (NodeAllocation("n1", cores=((1, 1),)),)
    assert resources(job(allocations=shown), JobDetails((NodeAllocation("n1", cpu_ids=(0, 1)),)))[0].hwthreads == (0, 4)


@pytest.mark.parametrize(
    "forged",
    [
        (NodeAllocation("n2", cpu_ids=(0, 1)),),
        (NodeAllocation("n1", cpu_ids=(0, 1)), NodeAllocation("n2", cpu_ids=(0, 1))),
        (NodeAllocation("n1", cpu_ids=(0, 1)), NodeAllocation("n1", cpu_ids=(2, 3))),
        (),
    ],
)
def test_a_text_that_names_other_hosts_is_not_believed(forged: Tuple[NodeAllocation, ...]) -> None:
    shown = (NodeAllocation("n1", cores=((1, 1),)),)
    assert resources(job(allocations=shown), JobDetails(forged))[0].hwthreads == (3, 7)


def test_without_placements_the_hosts_are_reported() -> None:
    mapped = mapper().map_start(job(nodes="n[1-2],n5", cpus=6, gpus=1))
    assert mapped is not None
    assert [resource.hostname for resource in mapped.event.resources] == ["n1", "n2", "n5"]
    assert (mapped.event.num_nodes, mapped.event.num_hwthreads, mapped.event.num_acc) == (3, 6, 1)
    assert mapped.problems == (
        "Slurm no longer reports the cores",
        "1 GPUs are allocated, but only 0 ids are known",
    )


def test_several_brackets_and_full_names_are_hosts() -> None:
    names = [resource.hostname for resource in resources(job(nodes="r[1-2]c[1-2].example.org"))]
    assert names == ["r1c1.example.org", "r1c2.example.org", "r2c1.example.org", "r2c2.example.org"]


def test_a_host_without_topology_has_no_threads_and_that_is_said() -> None:
    mapped = StartEventMapper("alpha", ClusterTopology()).map_start(
        job(cpus=2), JobDetails((NodeAllocation("n1", cpu_ids=(0, 1)),))
    )
    assert mapped is not None
    assert mapped.event.resources == (Resource("n1"),)
    assert mapped.event.num_hwthreads == 2
    assert mapped.problems == ("no topology for host n1: hardware threads are left out",)


def test_a_job_is_left_out_only_if_all_its_hosts_are_ignored() -> None:
    ignored = re.compile("^n1$")
    assert mapper(ignored=ignored).map_start(job()) is None
    assert mapper(ignored=ignored).map_start(job(nodes="n[1-2]")) is not None


def test_a_node_list_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(HostlistError):
        mapper().map_start(job(nodes="n[1-"))


def test_the_event_carries_all_that_slurm_says_and_the_backend_can_read_it() -> None:
    mapped = mapper().map_start(
        job(
            account="prj",
            partition="main",
            name="work",
            array_job_id=5,
            submit_time=890,
            time_limit_min=30,
            requested_memory_mb=2000,
            threads_per_core=1,
            shared="single_user",
        ),
        JobDetails((NodeAllocation("n1", cpu_ids=(0, 1)),), "none"),
    )
    assert mapped is not None
    parsed = parse_job_start(mapped.event.to_document())
    event = parsed.value
    assert event == mapped.event
    assert (event.cluster, event.user, event.project, event.partition) == ("alpha", "alice", "prj", "main")
    assert (event.job_id, event.array_job_id, event.start_time, event.submit_time) == (7, 5, 900, 890)
    assert (event.walltime, event.requested_memory, event.smt, event.shared) == (1800, 2000, 1, "none")
    assert (event.num_nodes, event.num_hwthreads, event.meta_data) == (1, 2, {"jobName": "work"})


@pytest.mark.parametrize(
    ("shown", "by_text", "sent"),
    [
        (None, None, "multi_user"),
        ("none", None, "none"),
        (None, "single_user", "single_user"),
        ("none", "single_user", "single_user"),
    ],
)
def test_sharing_is_taken_from_the_text_then_from_json(shown: Optional[str], by_text: Optional[str], sent: str) -> None:
    mapped = mapper().map_start(job(shared=shown), JobDetails((), by_text))
    assert mapped is not None
    assert mapped.event.shared == sent


def test_node_states_count_the_jobs_of_each_node() -> None:
    nodes = [SlurmNode("n1", ("mixed",), 2, 2, 2, 4, 500, 1), SlurmNode("n2", ("idle",)), SlurmNode("x1", ("idle",))]
    jobs: List[SlurmJob] = [job(), job(nodes="n[1-2]"), job(state="PENDING"), job(nodes="n["), job(state="SUSPENDED")]
    report = make_node_report("alpha", nodes, jobs, re.compile("^x"))
    assert [(node.hostname, node.jobs_running) for node in report.nodes] == [("n1", 2), ("n2", 1)]
    assert report.nodes[0].to_document() == {
        "hostname": "n1",
        "states": ["mixed"],
        "cpusAllocated": 4,
        "memoryAllocated": 500,
        "gpusAllocated": 1,
        "jobsRunning": 2,
    }


@pytest.mark.parametrize(
    ("gpus", "gres", "counted", "problem"),
    [
        (2, "gpu:2(IDX:0-1)", 2, ""),
        (2, "gpu:a100:2(S:0-1)", 2, "2 GPUs are allocated, but only 0 ids are known"),
        (0, "gpu:a100:2(S:0-1)", 2, "2 GPUs are allocated, but only 0 ids are known"),
        (0, "gpu:2(IDX:0-1)", 2, ""),
        (0, "shard:a100:4(1/4,3/4)", 0, ""),
        (3, "", 3, "3 GPUs are allocated, but only 0 ids are known"),
    ],
)
def test_gpus_are_counted_from_what_says_most(gpus: int, gres: str, counted: int, problem: str) -> None:
    mapped = mapper().map_start(job(gpus=gpus), JobDetails((NodeAllocation("n1", cpu_ids=(0, 1), gres=gres),)))
    assert mapped is not None
    assert (mapped.event.num_acc, "; ".join(mapped.problems)) == (counted, problem)


@pytest.mark.parametrize("nodes", ["", " ", ","])
def test_a_job_without_hosts_is_no_event(nodes: str) -> None:
    assert mapper().map_start(job(nodes=nodes)) is None


def test_nodes_that_the_topology_lacks_or_contradicts_are_named_shortly() -> None:
    def node(number: int, cores: int) -> SlurmNode:
        return SlurmNode(f"n{number}", ("idle",), sockets=2, cores_per_socket=cores, threads_per_core=2)

    assert topology_mismatches(TOPOLOGY, [node(1, 2), node(2, 0)]) == []
    assert topology_mismatches(TOPOLOGY, [node(number, 4 if number < 3 else 2) for number in range(1, 13)]) == [
        "the description lacks n[10-12]: jobs there are rejected until cluster.json has them",
        "n[1-2]: 8 cores by Slurm, 4 by the description: jobs there come without hardware threads",
    ]
    assert len(topology_mismatches(TOPOLOGY, [node(7 * number, 2) for number in range(100, 2000)])[0]) < 400
