from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.clusters import Severity, check_cluster, check_file

Document = dict[str, Any]


def _said(document: Document) -> str:
    return "\n".join(map(str, check_cluster(document)))


def test_a_sound_document_has_no_findings(tern: Document) -> None:
    assert check_cluster(tern) == []


def test_errors_come_before_warnings(tern: Document) -> None:
    tern["metricConfig"][0]["unit"] = "load"
    tern["metricConfig"][2]["timestep"] = 0
    assert [finding.severity for finding in check_cluster(tern)] == [Severity.ERROR, Severity.WARNING]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "cpu.load"}, "metric cpu.load: filters and histograms"),
        ({"scope": "core", "aggregation": ""}, "metric cpu_load: has no aggregation"),
        ({"normal": 9000000}, "metric cpu_load: normal 9000000 is above peak 8"),
        ({"alert": 7}, "higher is better, so alert should be at most caution"),
        ({"lowerIsBetter": True}, "lower is better, so caution should be at most alert"),
    ],
)
def test_odd_metrics_are_pointed_out(tern: Document, change: Document, said: str) -> None:
    tern["metricConfig"][0] |= change
    assert said in _said(tern)


def test_odd_limits_of_one_subcluster_are_pointed_out_with_its_name(tern: Document) -> None:
    tern["metricConfig"][1]["subClusters"][0]["alert"] = 600
    assert _said(tern) == "metric mem_used in fat: alert 600 is above peak 512"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"core": [[0], [1], [2]]}, "subcluster fat: core: lacks threads of the node: 3"),
        ({"core": [[0], [1], [2]]}, "should have 4 cores by its counts, its topology lists 3"),
        ({"socket": [[0, 1, 2, 3, 99]]}, "socket: has threads that the node does not list: 99"),
        ({"socket": [[0, 1, 2, 3], []]}, "should have 1 sockets by its counts, its topology lists 2"),
        ({"node": [0, 1, 2, 3, 3]}, "node: lists threads more than once: 3"),
        ({"accelerators": [{"id": "a"}]}, "accelerator 'a' has no type"),
        ({"accelerators": [{"id": "a", "type": "t"}] * 2}, "accelerator 'a' is there 2 times"),
    ],
)
def test_gaps_in_a_topology_are_pointed_out(tern: Document, change: Document, said: str) -> None:
    tern["subClusters"][1]["topology"] |= change
    findings = check_cluster(tern)
    assert said in "\n".join(map(str, findings))
    assert {finding.severity for finding in findings} == {Severity.WARNING}


def test_an_unknown_prefix_of_a_unit_is_pointed_out(tern: Document) -> None:
    tern["metricConfig"][0]["unit"] = {"base": "B", "prefix": "Q"}
    tern["subClusters"][0]["memoryBandwidth"]["unit"] = {"base": "B/s", "prefix": "k"}
    assert "unit prefix 'Q' is unknown" in _said(tern)
    assert "'k'" not in _said(tern)


def test_derived_lists_in_a_file_are_pointed_out(tern: Document) -> None:
    tern["subClusters"][0]["footprint"] = ["cpu_load"]
    assert "subClusters[0].footprint: is derived" in _said(tern)


def test_a_subcluster_without_metrics_is_pointed_out(tern: Document) -> None:
    for metric in tern["metricConfig"]:
        metric["subClusters"] = [{"name": "fat", "remove": True}]
    assert "subcluster fat: has no metric left" in _said(tern)


def test_a_file_is_checked(tern: Document, tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    path.write_bytes(orjson.dumps(tern))
    assert check_file(path) == []


def test_a_file_that_is_no_json_is_one_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    path.write_text('{"name":\n oops}')
    (finding,) = check_file(path)
    assert finding.severity is Severity.ERROR
    assert "line 2, column 2" in finding.message


def test_a_file_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    (finding,) = check_file(tmp_path / "cluster.json")
    assert "No such file" in finding.message


@given(st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
def test_a_value_that_is_no_object_is_an_error(document: Any) -> None:
    (finding,) = check_cluster(document)
    assert finding.severity is Severity.ERROR


@pytest.mark.parametrize("name", ["alex", "emmy", "fritz", "meggie", "tinyfat", "tinygpu", "woody"])
def test_real_descriptions_have_no_errors(shared_fixtures: Path, name: str) -> None:
    findings = check_file(shared_fixtures / "clusters" / f"cluster-{name}.json")
    assert [finding for finding in findings if finding.severity is Severity.ERROR] == []


class TestSpelling:
    @pytest.mark.parametrize(
        ("place", "wrong", "right"),
        [
            (("subClusters", 0), "corePerSocket", "coresPerSocket"),
            (("subClusters", 0), "threadspercore", "threadsPerCore"),
            (("subClusters", 0), "node", "nodes"),
            (("subClusters", 0, "topology"), "memoryDomains", "memoryDomain"),
            (("subClusters", 0, "topology", "accelerators", 0), "typ", "type"),
            (("metricConfig", 0), "foot-print", "footprint"),
            (("metricConfig", 0), "timeStep", "timestep"),
            (("metricConfig", 1, "subClusters", 0), "lowerIsBeter", "lowerIsBetter"),
        ],
    )
    def test_a_key_that_is_nearly_one_is_named_with_the_right_one(
        self, tern: dict[str, Any], place: tuple[Any, ...], wrong: str, right: str
    ) -> None:
        part: Any = tern
        for key in place:
            part = part[key]
        part[wrong] = part.pop(right)
        assert any(
            finding.path.endswith(f".{wrong}") and f"did you mean {right!r}?" in finding.message
            for finding in check_cluster(tern)
        )

    def test_a_misspelt_list_is_named_even_where_it_makes_the_file_useless(self, tern: dict[str, Any]) -> None:
        tern["subCluster"] = tern.pop("subClusters")
        assert "subCluster: is an unknown key and ignored; did you mean 'subClusters'?" in map(str, check_cluster(tern))

    def test_what_older_programs_left_is_no_mistake(self, tern: dict[str, Any]) -> None:
        before = check_cluster(tern)
        tern["metricDataRepository"] = {"kind": "test"}
        tern["metricConfig"][0]["measurement"] = "x"
        tern["subClusters"][0]["numberOfNodes"] = 4
        assert check_cluster(tern) == before

    @pytest.mark.parametrize(
        ("place", "key", "said"),
        [
            (
                (),
                "processorType",
                "processorType: is an unknown key and ignored; it belongs into each entry of subClusters",
            ),
            ((), "topology", "topology: is an unknown key and ignored; it belongs into each entry of subClusters"),
            (
                (),
                "ThreadsPerCore",
                "ThreadsPerCore: is an unknown key and ignored; it belongs into each entry of subClusters",
            ),
            ((), "unit", "unit: is an unknown key and ignored; it belongs into an entry of metricConfig"),
            (
                ("subClusters", 0),
                "core",
                "subClusters[0].core: is an unknown key and ignored; it belongs into the topology of each entry of",
            ),
            (
                ("subClusters", 0),
                "timestep",
                "subClusters[0].timestep: is an unknown key and ignored; it belongs into an entry of metricConfig",
            ),
            (
                ("metricConfig", 0),
                "nodes",
                "metricConfig[0].nodes: is an unknown key and ignored; it belongs into each entry of",
            ),
            ((), "colour", "colour: is an unknown key and ignored"),
            (("subClusters", 0), "corePerSocket", "subClusters[0].corePerSocket: is an unknown key and ignored"),
        ],
    )
    def test_a_key_in_the_wrong_place_is_named_with_the_place_where_it_belongs(
        self, tern: dict[str, Any], place: tuple[Any, ...], key: str, said: str
    ) -> None:
        part: Any = tern
        for step in place:
            part = part[step]
        part[key] = 2
        (finding,) = check_cluster(tern)
        assert finding.severity is Severity.WARNING
        assert str(finding).startswith(said)
