import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.archive.validate import validate_data, validate_meta
from cc_backend.clusters import Severity

Document = dict[str, Any]
STATISTIC = {"unit": {"base": ""}, "min": 1, "avg": 2, "max": 3}
META: Document = {
    "jobId": 1,
    "user": "maru",
    "project": "",
    "cluster": "tern",
    "subCluster": "std",
    "numNodes": 1,
    "shared": "none",
    "startTime": 100,
    "duration": 60,
    "jobState": "completed",
    "resources": [{"hostname": "tn01"}],
    "statistics": dict.fromkeys(("cpu_user", "cpu_load", "mem_used", "flops_any", "mem_bw"), STATISTIC),
}
METRIC: Document = {
    "unit": {"base": "W"},
    "timestep": 60,
    "series": [{"hostname": "tn01", "statistics": {"min": 1, "avg": 1, "max": 1}, "data": [1, None]}],
}
DATA: Document = {
    name: {"node": METRIC} for name in ("cpu_user", "cpu_load", "mem_used", "flops_any", "mem_bw", "net_bw")
}


def _metric(**changes: Any) -> Document:
    return DATA | {"cpu_user": {"core": copy.deepcopy(METRIC) | changes}}


def test_sound_documents_have_no_findings_even_strictly() -> None:
    assert validate_meta(META, strict=True) == []
    assert validate_data(DATA, strict=True) == []


@pytest.mark.parametrize("key", [key for key in META if key != "project"] + ["project"])
def test_every_required_key_is_missed(key: str) -> None:
    document = {name: value for name, value in META.items() if name != key}
    assert key in "\n".join(finding.path for finding in validate_meta(document))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"jobId": "1"}, "jobId"),
        ({"startTime": 0}, "startTime"),
        ({"duration": -1}, "duration"),
        ({"shared": "yes"}, "shared"),
        ({"jobState": ["completed"]}, "jobState"),
        ({"numNodes": 2}, "resources"),
        ({"monitoringStatus": 4}, "monitoringStatus"),
        ({"walltime": "1h"}, "walltime"),
        ({"metaData": {"a": 1}}, "metaData.a"),
        ({"metaData": []}, "metaData"),
        ({"footprint": {"a_avg": "1"}}, "footprint.a_avg"),
        ({"tags": [{"type": "a"}]}, "tags[0].name"),
        ({"statistics": {"m": {}}}, "statistics.m.min"),
        ({"statistics": {"m": 1}}, "statistics.m"),
        ({"statistics": {"m": STATISTIC | {"unit": "W"}}}, "statistics.m.unit"),
        ({"energy": None, "resources": []}, "resources"),
    ],
)
def test_what_another_reader_cannot_use_is_an_error(changes: Document, path: str) -> None:
    findings = validate_meta(META | changes)
    assert path in [finding.path for finding in findings]
    assert {finding.severity for finding in findings} == {Severity.ERROR}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"duration": 0}, "duration"),
        ({"numAcc": 0}, "numAcc"),
        ({"metaData": None}, "metaData"),
        ({"footprint": None}, "footprint"),
        ({"concurrentJobs": {"items": None, "count": 0}}, "concurrentJobs.items"),
        ({"tags": [{"type": "a", "name": "b"}] * 2}, "tags"),
        ({"statistics": META["statistics"] | {"ipc": STATISTIC | {"min": 9}}}, "statistics.ipc"),
        ({"statistics": META["statistics"] | {"x": STATISTIC | {"min": -1}}}, "statistics.x.min"),
        ({"statistics": META["statistics"] | {"x": STATISTIC | {"unit": {"base": "load"}}}}, "statistics.x.unit"),
        ({"statistics": {}}, "statistics.mem_bw"),
    ],
)
def test_what_only_the_schema_forbids_is_reported_strictly_only(changes: Document, path: str) -> None:
    document = META | changes
    assert validate_meta(document) == []
    findings = validate_meta(document, strict=True)
    assert path in [finding.path for finding in findings]
    assert {finding.severity for finding in findings} == {Severity.WARNING}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"m": 1}, "m"),
        ({"m": {"rack": METRIC}}, "m.rack"),
        ({"m": {"node": 1}}, "m.node"),
        (_metric(unit=None), "cpu_user.core.unit"),
        (_metric(timestep=None), "cpu_user.core.timestep"),
        (_metric(timestep=0), "cpu_user.core.timestep"),
        (_metric(series=None), "cpu_user.core.series"),
        (_metric(series=[{"data": []}]), "cpu_user.core.series[0].hostname"),
        (_metric(series=[{"hostname": "a"}]), "cpu_user.core.series[0].data"),
        (_metric(series=[{"hostname": "a", "data": ["x"]}]), "cpu_user.core.series[0].data"),
        (
            _metric(series=[{"hostname": "a", "data": [], "statistics": {"min": 1}}]),
            "cpu_user.core.series[0].statistics",
        ),
        (_metric(statisticsSeries={"min": 1}), "cpu_user.core.statisticsSeries.min"),
        (_metric(statisticsSeries={"min": ["x"]}), "cpu_user.core.statisticsSeries.min"),
    ],
)
def test_samples_that_another_reader_cannot_use_are_an_error(document: Document, path: str) -> None:
    assert (path, Severity.ERROR) in [(finding.path, finding.severity) for finding in validate_data(document)]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (DATA | {"mem_used": {"socket": METRIC}}, "mem_used.socket"),
        ({}, "net_bw"),
        (_metric(unit={"base": "furlong"}), "cpu_user.core.unit"),
        (_metric(series=[{"hostname": "a", "data": [1]}]), "cpu_user.core.series[0].statistics"),
        (_metric(series=[METRIC["series"][0] | {"data": [None]}]), "cpu_user.core.series[0].data"),
        (_metric(statisticsSeries={"min": [1, 2, None]}), "cpu_user.core.statisticsSeries.min"),
    ],
)
def test_samples_that_only_the_schema_forbids_are_reported_strictly_only(document: Document, path: str) -> None:
    assert validate_data(document) == []
    assert path in [finding.path for finding in validate_data(document, strict=True)]


def test_two_series_of_one_id_on_one_host_are_pointed_out() -> None:
    series = METRIC["series"][0] | {"id": "0"}
    (finding,) = validate_data(_metric(series=[series, series]))
    assert finding.path == "cpu_user.core.series[1]"
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize("document", [None, [], 3, "x"])
def test_what_is_no_object_is_an_error(document: object) -> None:
    assert [finding.severity for finding in validate_meta(document)] == [Severity.ERROR]
    assert [finding.severity for finding in validate_data(document)] == [Severity.ERROR]


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*META, "tags", "metaData", "footprint", "concurrentJobs"]), _json))
def test_no_metadata_whatever_makes_the_check_stumble(changes: Document) -> None:
    validate_meta(META | changes, strict=True)


@given(st.dictionaries(st.sampled_from(["unit", "timestep", "series", "statisticsSeries", "x"]), _json))
def test_no_samples_whatever_make_the_check_stumble(changes: Document) -> None:
    validate_data(_metric(**changes), strict=True)
