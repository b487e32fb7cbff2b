"""Job start, job stop and node state: what clients send, what is read from it, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_common.errors import PayloadError
from cc_common.job_events import (
    JobStart,
    JobStop,
    Resource,
    TagEvent,
    parse_job_start,
    parse_job_stop,
)
from cc_common.node_states import NodeState, NodeStateReport, parse_node_states

START = {
    "cluster": "tern",
    "subCluster": "std",
    "partition": "day",
    "project": "hydro7",
    "user": "mlindqv",
    "shared": "multi_user",
    "jobState": "",
    "tags": [{"type": "app", "name": "lulesh", "scope": "global", "id": 4}],
    "resources": [
        {"hostname": "tn0412", "hwthreads": [0, 1], "accelerators": ["00000000:17:00.0"], "configuration": "fast"},
        {"hostname": "tn0413"},
    ],
    "energyFootprint": None,
    "footprint": {"load_avg": 1},
    "metaData": {"jobName": "x", "jobScript": "#!/bin/sh\n"},
    "concurrentJobs": {"items": None, "count": 0},
    "energy": 0.5,
    "arrayJobId": 88400,
    "walltime": 7200,
    "requestedMemory": 4000,
    "submitTime": 1760000000,
    "jobId": 88412,
    "duration": 3,
    "smt": 1,
    "monitoringStatus": 0,
    "numAcc": 1,
    "numHwthreads": 16,
    "numNodes": 2,
    "statistics": None,
    "startTime": 1760000100,
}


def test_a_full_start_is_read() -> None:
    parsed = parse_job_start(START)
    assert parsed.ignored == ()
    assert parsed.value == JobStart(
        cluster="tern",
        sub_cluster="std",
        partition="day",
        project="hydro7",
        user="mlindqv",
        shared="multi_user",
        resources=(Resource("tn0412", (0, 1), ("00000000:17:00.0",), "fast"), Resource("tn0413")),
        num_nodes=2,
        num_hwthreads=16,
        num_acc=1,
        smt=1,
        walltime=7200,
        requested_memory=4000,
        submit_time=1760000000,
        job_id=88412,
        array_job_id=88400,
        start_time=1760000100,
        monitoring_status=0,
        meta_data={"jobName": "x", "jobScript": "#!/bin/sh\n"},
        tags=(TagEvent("app", "lulesh", "global"),),
        footprint={"load_avg": 1.0},
        energy=0.5,
        duration=3,
    )


def test_an_empty_start_has_the_defaults_of_the_wire() -> None:
    start = parse_job_start({}).value
    assert (start.shared, start.monitoring_status, start.resources, start.meta_data) == ("none", 1, (), None)


def test_a_start_is_written_as_existing_adapters_write_it() -> None:
    start = JobStart("tern", "mlindqv", 88412, 1760000100, 1, (Resource("tn0412", (0,)),), meta_data={"a": "b"})
    assert start.to_document() == {
        "cluster": "tern",
        "subCluster": "",
        "project": "",
        "user": "mlindqv",
        "shared": "none",
        "jobState": "",
        "resources": [{"hostname": "tn0412", "hwthreads": [0]}],
        "energyFootprint": None,
        "footprint": None,
        "metaData": {"a": "b"},
        "concurrentJobs": {"items": None, "count": 0},
        "energy": 0.0,
        "jobId": 88412,
        "duration": 0,
        "numNodes": 1,
        "statistics": None,
        "startTime": 1760000100,
    }


@pytest.mark.parametrize(("exclusive", "shared"), [(0, "multi_user"), (1, "none"), (2, "single_user")])
def test_the_older_key_exclusive_stands_for_shared(exclusive: Any, shared: Any) -> None:
    parsed = parse_job_start({"exclusive": exclusive})
    assert parsed.value.shared == shared
    assert parsed.ignored == ()


def test_shared_wins_over_the_older_key() -> None:
    assert parse_job_start({"exclusive": 0, "shared": "single_user"}).value.shared == "single_user"


def test_unknown_keys_are_ignored_and_named() -> None:
    document = {"flavour": 1, "resources": [{"hostname": "a", "color": 2}], "tags": [{"name": "n", "x": 1}]}
    assert parse_job_start(document).ignored == ("resources[0].color", "tags[0].x", "flavour")


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"cluster": 1}, "cluster"),
        ({"user": "a\x00"}, "user"),
        ({"shared": "yes"}, "shared"),
        ({"exclusive": 3}, "exclusive"),
        ({"jobId": "1"}, "jobId"),
        ({"jobId": 1.5}, "jobId"),
        ({"jobId": 2**63}, "jobId"),
        ({"duration": 2**31}, "duration"),
        ({"numNodes": True}, "numNodes"),
        ({"monitoringStatus": 4}, "monitoringStatus"),
        ({"energy": "1"}, "energy"),
        ({"energy": float("nan")}, "energy"),
        ({"metaData": {"a": 1}}, "metaData.a"),
        ({"metaData": []}, "metaData"),
        ({"footprint": {"x": "1"}}, "footprint.x"),
        ({"resources": {}}, "resources"),
        ({"resources": ["a"]}, "resources[0]"),
        ({"resources": [{}, {"hostname": 1}]}, "resources[1].hostname"),
        ({"resources": [{"hwthreads": [0, "1"]}]}, "resources[0].hwthreads[1]"),
        ({"resources": [{"accelerators": [0]}]}, "resources[0].accelerators[0]"),
        ({"tags": [{"scope": 5}]}, "tags[0].scope"),
        ([], ""),
    ],
)
def test_a_wrong_field_of_a_start_is_named_by_its_path(document: Any, field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_job_start(document)
    assert caught.value.field == field
    assert str(caught.value).startswith(field or "the payload")


def test_a_stop_as_existing_adapters_send_it_is_read() -> None:
    stop = parse_job_stop({"jobId": 5, "cluster": "tern", "jobState": "timeout", "stopTime": 17}).value
    assert stop == JobStop(5, 17, "timeout", "tern", None)


def test_a_stop_may_be_short_and_may_use_the_older_word_for_state() -> None:
    assert parse_job_stop({"jobId": 5}).value == JobStop(5, 0, "completed", None, None)
    parsed = parse_job_stop({"jobId": 5, "state": "failed"})
    assert (parsed.value.state, parsed.ignored) == ("failed", ())


def test_a_stop_without_job_id_is_rejected() -> None:
    with pytest.raises(PayloadError, match="jobId: is required"):
        parse_job_stop({"stopTime": 1})


def test_a_stop_is_written_with_its_start_time_where_known() -> None:
    assert JobStop(5, 17, "failed", "tern", 3).to_document() == {
        "jobId": 5,
        "cluster": "tern",
        "startTime": 3,
        "jobState": "failed",
        "stopTime": 17,
    }
    assert JobStop(5, 17).to_document() == {"jobId": 5, "jobState": "completed", "stopTime": 17}


def test_a_node_state_report_is_read_and_written_back() -> None:
    document = {
        "cluster": "tern",
        "nodes": [
            {
                "hostname": "tn1",
                "states": ["ALLOCATED", "DRAIN"],
                "cpusAllocated": 4,
                "memoryAllocated": 1000,
                "gpusAllocated": 1,
                "jobsRunning": 2,
            }
        ],
    }
    parsed = parse_node_states(document)
    assert parsed.value == NodeStateReport("tern", (NodeState("tn1", ("ALLOCATED", "DRAIN"), 4, 1000, 1, 2),))
    assert parsed.value.to_document() == document


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"nodes": [{"hostname": 1}]}, "nodes[0].hostname"),
        ({"nodes": [{"states": "IDLE"}]}, "nodes[0].states"),
        ({"nodes": [{"states": [1]}]}, "nodes[0].states[0]"),
        ({"nodes": [{"cpusAllocated": 0.5}]}, "nodes[0].cpusAllocated"),
        ({"nodes": 1}, "nodes"),
        (None, ""),
    ],
)
def test_a_wrong_field_of_a_node_state_report_is_named_by_its_path(document: Any, field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_node_states(document)
    assert caught.value.field == field


def test_node_state_reports_name_unknown_keys() -> None:
    assert parse_node_states({"nodes": [{"mood": 1}], "x": 1}).ignored == ("nodes[0].mood", "x")


NAME = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=10)
COUNT = st.integers(0, 2**31 - 1)
TIME = st.integers(0, 2**63 - 1)
STARTS = st.builds(
    JobStart,
    cluster=NAME,
    user=NAME,
    job_id=TIME,
    start_time=TIME,
    num_nodes=COUNT,
    resources=st.lists(
        st.builds(Resource, NAME, st.lists(COUNT, max_size=3).map(tuple), st.lists(NAME, max_size=2).map(tuple), NAME),
        max_size=3,
    ).map(tuple),
    sub_cluster=NAME,
    partition=NAME,
    project=NAME,
    shared=st.sampled_from(["none", "single_user", "multi_user"]),
    num_acc=COUNT,
    smt=COUNT,
    walltime=TIME,
    monitoring_status=st.integers(0, 3),
    meta_data=st.one_of(st.none(), st.dictionaries(st.text(), st.text(), max_size=3)),
    tags=st.lists(st.builds(TagEvent, NAME, NAME, NAME), max_size=2).map(tuple),
    footprint=st.one_of(st.none(), st.dictionaries(NAME, st.floats(allow_nan=False, allow_infinity=False), max_size=2)),
    energy=st.floats(0, 1e9),
)


@given(STARTS)
def test_a_start_that_was_written_is_read_back(start: Any) -> None:
    parsed = parse_job_start(start.to_document())
    assert parsed.value == start
    assert parsed.ignored == ()
