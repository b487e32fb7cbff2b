import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cc_backend.clusters import ClusterRegistry
from cc_backend.jobs.job_json import job_from_start_event, job_to_json, resource_from_json
from cc_backend.model import Job, JobState, MetricStatistic, MetricUnit, Resource, Tag
from cc_common.job_document import resource_document
from cc_common.job_events import parse_job_start

NOW_S = 1_760_000_000


def finished(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "job_id": 88412,
        "cluster": "tern",
        "sub_cluster": "std",
        "partition": "day",
        "user": "mlindqv",
        "project": "hydro7",
        "start_time": NOW_S,
        "duration": 3600,
        "walltime": 7200,
        "resources": (Resource("tn0412", (0, 1, 2, 3)),),
        "num_nodes": 1,
        "num_hwthreads": 16,
        "shared": "multi_user",
        "state": JobState.TIMEOUT,
        "id": 5177,
    }
    return Job(**(fields | changes))


def test_a_finished_job_looks_as_clients_of_the_reference_know_it() -> None:
    wire = job_to_json(finished())
    assert json.dumps(wire, separators=(",", ":")) == (
        '{"cluster":"tern","subCluster":"std","partition":"day","project":"hydro7","user":"mlindqv",'
        '"shared":"multi_user","jobState":"timeout","resources":[{"hostname":"tn0412","hwthreads":[0,1,2,3]}],'
        '"energyFootprint":null,"footprint":null,"metaData":null,"concurrentJobs":{"items":null,"count":0},'
        '"energy":0,"walltime":7200,"jobId":88412,"duration":3600,"monitoringStatus":1,"numHwthreads":16,'
        '"numNodes":1,"statistics":null,"id":5177,"startTime":1760000000}'
    )


def test_what_is_always_there_is_there_even_when_it_is_empty() -> None:
    wire = job_to_json(finished(project="", duration=0, partition="", walltime=0, num_hwthreads=0, monitoring_status=0))
    assert wire["project"] == ""
    assert wire["duration"] == 0
    left_out = {
        "partition",
        "tags",
        "arrayJobId",
        "walltime",
        "requestedMemory",
        "submitTime",
        "smt",
        "monitoringStatus",
        "numAcc",
        "numHwthreads",
    }
    assert not left_out & set(wire)


def test_optional_values_are_written_when_they_say_something() -> None:
    wire = job_to_json(
        finished(
            tags=(Tag("app", "gromacs", "global", 7),),
            array_job_id=88400,
            requested_memory=64000,
            submit_time=NOW_S - 60,
            smt=2,
            num_acc=1,
            energy=1.25,
            footprint={"mem_used_max": 2.5},
            energy_footprint={"cpu_power": 1.25},
            statistics={"mem_used": MetricStatistic(MetricUnit("B", "G"), 1.0, 2.0, 3.0)},
            resources=(Resource("tn0412", (), ("0000:17:00.0",), "gpu"),),
        )
    )
    assert wire["tags"] == [{"type": "app", "name": "gromacs", "scope": "global", "id": 7}]
    assert (wire["arrayJobId"], wire["requestedMemory"], wire["submitTime"]) == (88400, 64000, NOW_S - 60)
    assert (wire["smt"], wire["numAcc"], wire["energy"]) == (2, 1, 1.25)
    assert wire["footprint"] == {"mem_used_max": 2.5}
    assert wire["energyFootprint"] is None
    assert wire["statistics"] == {
        "mem_used": {"unit": {"base": "B", "prefix": "G"}, "avg": 2.0, "min": 1.0, "max": 3.0}
    }
    assert wire["resources"] == [{"hostname": "tn0412", "accelerators": ["0000:17:00.0"], "configuration": "gpu"}]


def test_meta_data_is_written_only_when_it_is_asked_for() -> None:
    job = finished(meta_data={"jobName": "relax"})
    assert job_to_json(job)["metaData"] is None
    assert job_to_json(job, with_meta_data=True)["metaData"] == {"jobName": "relax"}


def test_the_null_and_empty_keys_of_the_adapter_are_taken(clusters: ClusterRegistry) -> None:
    document = {
        "cluster": "tern",
        "subCluster": "",
        "jobState": "",
        "duration": 0,
        "energy": 0,
        "footprint": None,
        "energyFootprint": None,
        "statistics": None,
        "concurrentJobs": {"items": None, "count": 0},
        "jobId": 88412,
        "user": "mlindqv",
        "project": "hydro7",
        "numNodes": 1,
        "shared": "multi_user",
        "startTime": NOW_S,
        "resources": [{"hostname": "tf01"}],
        "metaData": {"jobName": "relax"},
    }
    job = job_from_start_event(parse_job_start(document).value, clusters, now_s=NOW_S + 10)
    assert (job.sub_cluster, job.state, job.duration, job.name) == ("fat", JobState.RUNNING, 10, "relax")


@given(
    hostname=st.text(min_size=1, max_size=20),
    hwthreads=st.lists(st.integers(0, 2**31 - 1), max_size=4),
    accelerators=st.lists(st.text(max_size=8), max_size=3),
    configuration=st.text(max_size=8),
)
def test_resources_come_back_from_the_wire(
    hostname: str, hwthreads: list[int], accelerators: list[str], configuration: str
) -> None:
    resource = Resource(hostname, tuple(hwthreads), tuple(accelerators), configuration)
    assert resource_from_json(json.loads(json.dumps(resource_document(resource)))) == resource
