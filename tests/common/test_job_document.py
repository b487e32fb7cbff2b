"""The one writer of a job's keys."""

from __future__ import annotations

from typing import Any

import pytest

from cc_common.job_document import job_document, resource_document
from cc_common.job_events import JobStart, Resource, TagEvent

KEYS = (
    *("cluster", "subCluster", "project", "user", "shared", "resources", "energyFootprint", "footprint", "metaData"),
    *("concurrentJobs", "energy", "jobId", "duration", "numNodes", "statistics", "startTime"),
)


def start(**more: Any) -> JobStart:
    return JobStart(
        cluster="tern", user="mlindqv", job_id=7, start_time=900, num_nodes=1, resources=(Resource("n1"),), **more
    )


def test_what_a_job_lacks_is_left_out_and_the_other_keys_are_in_order() -> None:
    document = job_document(start(), {})
    assert tuple(document) == KEYS
    assert document["resources"] == [{"hostname": "n1"}]
    assert document["concurrentJobs"] == {"items": None, "count": 0}
    assert [document[key] for key in ("energyFootprint", "footprint", "metaData", "statistics")] == [None] * 4


@pytest.mark.parametrize(
    ("attribute", "key", "value"),
    [
        ("partition", "partition", "day"),
        ("array_job_id", "arrayJobId", 5),
        ("walltime", "walltime", 60),
        ("requested_memory", "requestedMemory", 4000),
        ("submit_time", "submitTime", 800),
        ("smt", "smt", 2),
        ("num_acc", "numAcc", 1),
        ("num_hwthreads", "numHwthreads", 16),
    ],
)
def test_optional_numbers_and_names_are_written_where_they_say_something(attribute: str, key: str, value: Any) -> None:
    assert job_document(start(**{attribute: value}), {})[key] == value
    assert key not in job_document(start(**{attribute: type(value)()}), {})


def test_a_writer_has_its_own_values_in_their_places_and_its_own_keys_at_the_end() -> None:
    document = job_document(
        start(), {"jobState": "running", "tags": [], "monitoringStatus": 0, "id": 3, "resources": [], "verdict": "good"}
    )
    assert [key for key in document if key not in KEYS] == ["jobState", "monitoringStatus", "id", "verdict"]
    assert list(document).index("jobState") == KEYS.index("resources")
    assert list(document)[-3:] == ["id", "startTime", "verdict"]
    assert document["resources"] == []


def test_a_start_says_its_monitoring_status_only_where_it_is_not_the_usual_one() -> None:
    assert "monitoringStatus" not in start().to_document()
    assert start(monitoring_status=0).to_document()["monitoringStatus"] == 0


def test_a_start_keeps_its_keys_tags_and_free_objects() -> None:
    document = start(
        tags=(TagEvent("app", "lulesh"),), meta_data={"jobName": "x"}, footprint={"load": 1.0}
    ).to_document()
    assert document["jobState"] == ""
    assert document["tags"] == [{"type": "app", "name": "lulesh", "scope": ""}]
    assert (document["metaData"], document["footprint"]) == ({"jobName": "x"}, {"load": 1.0})


def test_a_resource_has_only_what_it_holds() -> None:
    assert resource_document(Resource("n1", (0, 1), ("gpu0",), "fast")) == {
        "hostname": "n1",
        "hwthreads": [0, 1],
        "accelerators": ["gpu0"],
        "configuration": "fast",
    }
