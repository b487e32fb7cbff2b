import dataclasses
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.archive.meta_json import decode_meta_json, encode_meta_json, job_from_meta_json, job_to_meta_json
from cc_backend.errors import ArchiveError
from cc_backend.model import Job, JobState, MetricStatistic, MetricUnit, MonitoringStatus, Resource, Tag

LEAST: dict[str, Any] = {"jobId": 1, "cluster": "tern", "startTime": 100, "resources": [{"hostname": "tn01"}]}


def _read(**changes: Any) -> Job:
    return job_from_meta_json(LEAST | changes, source="meta.json")


def test_a_plain_job_has_all_required_keys_and_no_optional_zero(job: Job) -> None:
    assert job_to_meta_json(job) == {
        "cluster": "tern",
        "subCluster": "std",
        "project": "ocean7",
        "user": "maru",
        "shared": "none",
        "jobState": "completed",
        "resources": [{"hostname": "tn01"}, {"hostname": "tn02"}],
        "energyFootprint": None,
        "footprint": None,
        "metaData": None,
        "concurrentJobs": {"items": None, "count": 0},
        "energy": 0.0,
        "jobId": 7300412,
        "duration": 180,
        "monitoringStatus": 3,
        "numNodes": 2,
        "statistics": {},
        "startTime": 1760000000,
    }


def test_every_field_is_written_under_its_wire_key() -> None:
    job = Job(
        job_id=5,
        cluster="tern",
        user="u",
        project="p",
        start_time=10,
        resources=(Resource("tn01", (0, 2), ("0000:01:00.0",), "smt off"),),
        num_nodes=1,
        sub_cluster="std",
        partition="day",
        array_job_id=4,
        num_hwthreads=2,
        num_acc=1,
        shared="multi_user",
        smt=2,
        walltime=3600,
        requested_memory=512,
        submit_time=9,
        duration=7,
        state=JobState.OUT_OF_MEMORY,
        meta_data={"jobName": "wave"},
        tags=(Tag("app", "wave", "maru", 12),),
        footprint={"mem_used_max": 1.25},
        energy=0.001234,
        energy_footprint={"cpu_power": 0.001234},
        statistics={"mem_used": MetricStatistic(MetricUnit("B", "G"), 1, 2, 3)},
        id=99,
    )
    document = job_to_meta_json(job)
    assert document["resources"] == [
        {"hostname": "tn01", "hwthreads": [0, 2], "accelerators": ["0000:01:00.0"], "configuration": "smt off"}
    ]
    assert document["tags"] == [{"type": "app", "name": "wave", "scope": "maru", "id": 12}]
    assert document["statistics"] == {"mem_used": {"unit": {"base": "B", "prefix": "G"}, "avg": 2, "min": 1, "max": 3}}
    assert {key: document[key] for key in document if key not in ("resources", "tags", "statistics")} == {
        "cluster": "tern", "subCluster": "std", "partition": "day", "project": "p", "user": "u",
        "shared": "multi_user", "jobState": "out_of_memory", "energyFootprint": {"cpu_power": 0.001234},
        "footprint": {"mem_used_max": 1.25}, "metaData": {"jobName": "wave"},
        "concurrentJobs": {"items": None, "count": 0}, "energy": 0.001234, "arrayJobId": 4, "walltime": 3600,
        "requestedMemory": 512, "submitTime": 9, "jobId": 5, "duration": 7, "smt": 2, "monitoringStatus": 3,
        "numAcc": 1, "numHwthreads": 2, "numNodes": 1, "startTime": 10,
    }  # fmt: skip
    assert job_from_meta_json(document, source="meta.json") == dataclasses.replace(job, id=0, monitoring_status=3)


def test_maps_are_written_in_the_order_of_their_keys(job: Job) -> None:
    document = job_to_meta_json(
        dataclasses.replace(job, footprint={"b_avg": 1, "a_avg": 2}, meta_data={"z": "", "a": ""})
    )
    assert list(document["footprint"]) == ["a_avg", "b_avg"]
    assert list(document["metaData"]) == ["a", "z"]


def test_the_file_is_compact_and_ends_with_a_newline(job: Job) -> None:
    raw = encode_meta_json(job)
    assert raw.endswith(b"}\n")
    assert b": " not in raw


def test_no_number_that_json_does_not_know_is_written(job: Job) -> None:
    odd = dataclasses.replace(
        job,
        energy=math.nan,
        footprint={"a_avg": math.inf, "b_avg": 1.0},
        statistics={"m": MetricStatistic(MetricUnit(""), math.nan, math.inf, -math.inf)},
    )
    document = orjson.loads(encode_meta_json(odd))
    assert document["energy"] == 0
    assert document["footprint"] == {"b_avg": 1.0}
    assert document["statistics"]["m"] == {"unit": {"base": ""}, "avg": 0, "min": 0, "max": 0}


def test_a_job_script_with_half_a_surrogate_pair_is_still_written(job: Job) -> None:
    raw = encode_meta_json(dataclasses.replace(job, meta_data={"jobScript": "a\ud800b"}))
    assert decode_meta_json(raw, source="meta.json").meta_data == {"jobScript": "a?b"}


def test_the_least_document_is_read_with_defaults() -> None:
    job = _read()
    assert (job.num_nodes, job.shared, job.state, job.duration) == (1, "none", JobState.COMPLETED, 0)
    assert job.meta_data is None
    assert job.footprint is None
    assert job.statistics == {}


@pytest.mark.parametrize("status", [{}, {"monitoringStatus": 0}, {"monitoringStatus": 1}, {"monitoringStatus": 3}])
def test_what_is_in_the_archive_is_archived_whatever_its_writer_said(status: dict[str, int]) -> None:
    assert _read(**status).monitoring_status == MonitoringStatus.ARCHIVED


@pytest.mark.parametrize(
    ("changes", "attribute", "value"),
    [
        ({"exclusive": 0}, "shared", "multi_user"),
        ({"exclusive": 1}, "shared", "none"),
        ({"exclusive": 2}, "shared", "single_user"),
        ({"exclusive": 0, "shared": "none"}, "shared", "none"),
        ({"shared": ""}, "shared", "none"),
        ({"stopTime": 160}, "duration", 60),
        ({"stopTime": 160, "duration": 70}, "duration", 70),
        ({"stopTime": 40}, "duration", 0),
        ({"jobState": "out-of-memory"}, "state", JobState.OUT_OF_MEMORY),
        ({"numNodes": 1.0}, "num_nodes", 1),
        ({"smt": None}, "smt", 0),
        ({"tags": None}, "tags", ()),
        ({"tags": [{"type": "a", "name": "b"}]}, "tags", (Tag("a", "b", "global", 0),)),
        ({"metaData": {"a": 1, "b": None}}, "meta_data", {"a": "1"}),
        ({"footprint": {"a_avg": None, "b_avg": 1}}, "footprint", {"b_avg": 1.0}),
        ({"energyFootprint": None}, "energy_footprint", None),
        ({"statistics": {"filesystems": []}}, "statistics", {}),
        ({"statistics": None}, "statistics", {}),
        ({"statistics": {"m": {"avg": 2}}}, "statistics", {"m": MetricStatistic(MetricUnit(""), 0.0, 2.0, 0.0)}),
        ({"unheard": {"of": []}, "flops_any_avg": 1}, "footprint", None),
    ],
)
def test_old_and_odd_forms_are_read(changes: dict[str, Any], attribute: str, value: Any) -> None:
    assert getattr(_read(**changes), attribute) == value


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"jobId": None}, "jobId: is missing"),
        ({"jobId": "1"}, "jobId: must be an integer"),
        ({"jobId": -1}, "jobId: must be an integer of at least 0"),
        ({"jobId": 1.5}, "jobId: must be an integer"),
        ({"jobId": True}, "jobId: must be an integer"),
        ({"startTime": None}, "startTime: is missing"),
        ({"cluster": ""}, "cluster: is missing"),
        ({"user": 3}, "user: must be a string"),
        ({"shared": "maybe"}, "shared: must be one of"),
        ({"jobState": "asleep"}, "jobState: is unknown: 'asleep'"),
        ({"resources": {}}, "resources: must be a list"),
        ({"resources": [{}]}, "resources[0].hostname: is missing"),
        ({"resources": [{"hostname": "a", "hwthreads": ["x"]}]}, "resources[0].hwthreads: must be a list"),
        ({"resources": [{"hostname": "a", "accelerators": 1}]}, "resources[0].accelerators: must be a list"),
        ({"tags": [{"type": "a"}]}, "tags[0].name: is missing"),
        ({"metaData": []}, "metaData: must be an object"),
        ({"energy": "1"}, "energy: must be a number"),
        ({"statistics": {"m": {"avg": "x"}}}, "statistics.m.avg: must be a number"),
    ],
)
def test_a_document_that_cannot_be_read_is_refused_with_the_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ArchiveError) as refused:
        _read(**changes)
    assert str(refused.value).startswith(f"meta.json: {said}")


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"[]", b'"x"', b"{\xff}", b'{"jobId":NaN}', b"[" * 5000])
def test_bytes_that_are_no_object_are_refused(raw: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"^meta\.json: "):
        decode_meta_json(raw, source="meta.json")


_text = st.text(st.characters(codec="utf-8"), max_size=8)
_name = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
_count = st.integers(0, 2**31 - 1)
_number = st.floats(allow_nan=False, allow_infinity=False)
_statistic = st.builds(MetricStatistic, st.builds(MetricUnit, _text, _text), _number, _number, _number)
_resource = st.builds(
    Resource, _name, st.lists(_count, max_size=3).map(tuple), st.lists(_text, max_size=2).map(tuple), _text
)
_jobs = st.builds(
    Job,
    job_id=st.integers(0, 2**63 - 1),
    cluster=_name,
    user=_text,
    project=_text,
    start_time=st.integers(0, 2**53),
    resources=st.lists(_resource, max_size=3).map(tuple),
    num_nodes=_count,
    sub_cluster=_text,
    partition=_text,
    array_job_id=_count,
    num_hwthreads=_count,
    num_acc=_count,
    shared=st.sampled_from(["none", "single_user", "multi_user"]),
    smt=_count,
    walltime=_count,
    requested_memory=_count,
    submit_time=_count,
    duration=_count,
    state=st.sampled_from(JobState),
    monitoring_status=st.just(MonitoringStatus.ARCHIVED),
    meta_data=st.none() | st.dictionaries(_text, _text, max_size=3),
    tags=st.lists(st.builds(Tag, _name, _name, _name, _count), max_size=2).map(tuple),
    footprint=st.none() | st.dictionaries(_text, _number, max_size=3),
    energy=_number,
    energy_footprint=st.none() | st.dictionaries(_text, _number, max_size=3),
    statistics=st.dictionaries(_text, _statistic, max_size=3),
)


@given(_jobs)
def test_a_job_survives_writing_and_reading(job: Job) -> None:
    assert decode_meta_json(encode_meta_json(job), source="meta.json") == job


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(job_to_meta_json(_read()) | {"tags": [], "exclusive": 0})), _json))
def test_whatever_the_fields_hold_the_reader_answers_or_refuses(changes: dict[str, Any]) -> None:
    try:
        _read(**changes)
    except ArchiveError as error:
        assert str(error).startswith("meta.json: ")  # noqa: PT017  both outcomes are right, another error is not
