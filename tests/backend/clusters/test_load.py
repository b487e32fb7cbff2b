from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.clusters import parse_cluster
from cc_backend.clusters.faults import Faults
from cc_backend.clusters.load import is_cluster_name, read_cluster
from cc_backend.errors import InvalidInput
from cc_backend.model import MetricUnit, Scope

Document = dict[str, Any]


def test_a_sound_document_is_read_without_a_warning(tern: Document) -> None:
    cluster, warnings = parse_cluster(tern, source="cluster.json")
    assert warnings == []
    assert list(cluster.metrics) == ["cpu_load", "mem_used", "cpu_power"]
    assert list(cluster.sub_clusters) == ["std", "fat"]
    assert cluster.metrics["cpu_power"].scope is Scope.SOCKET
    assert cluster.metrics["cpu_power"].timestep_s == 30
    assert cluster.sub_clusters["std"].memory_bandwidth.value == 40.5


def test_an_entry_for_a_subcluster_replaces_the_limits_there(tern: Document) -> None:
    cluster, _ = parse_cluster(tern, source="cluster.json")
    fat = cluster.sub_clusters["fat"].metrics["mem_used"]
    assert (fat.peak, fat.alert, fat.footprint, fat.lower_is_better) == (512, 500.5, "max", True)
    assert cluster.sub_clusters["std"].metrics["mem_used"].peak == 64
    assert cluster.metrics["mem_used"].peak == 64


def test_a_removed_metric_is_gone_from_its_subcluster_only(tern: Document) -> None:
    cluster, _ = parse_cluster(tern, source="cluster.json")
    assert list(cluster.sub_clusters["fat"].metrics) == ["cpu_load", "mem_used"]
    assert cluster.sub_clusters["fat"].energy_metrics == ()
    assert cluster.sub_clusters["std"].energy_metrics == ("cpu_power",)


def test_remove_wins_over_everything_else_in_the_entry(tern: Document) -> None:
    tern["metricConfig"][1]["subClusters"][0]["remove"] = True
    cluster, warnings = parse_cluster(tern, source="cluster.json")
    assert "mem_used" not in cluster.sub_clusters["fat"].metrics
    assert warnings == []


def test_a_partial_entry_empties_what_it_leaves_out_and_is_warned_of(tern: Document) -> None:
    tern["metricConfig"][1]["subClusters"] = [{"name": "fat", "peak": 512}]
    cluster, warnings = parse_cluster(tern, source="cluster.json")
    fat = cluster.sub_clusters["fat"].metrics["mem_used"]
    assert (fat.peak, fat.normal, fat.caution, fat.alert) == (512, 0, 0, 0)
    assert (fat.footprint, fat.lower_is_better) == ("", False)
    assert len(warnings) == 1
    for word in ("'mem_used'", "'fat'", "normal, caution, alert, footprint, lowerIsBetter"):
        assert word in warnings[0]


def test_unit_scope_timestep_and_aggregation_cannot_be_replaced(tern: Document) -> None:
    tern["metricConfig"][1]["subClusters"][0] |= {"unit": {"base": "W"}, "scope": "core", "timestep": 1}
    cluster, _ = parse_cluster(tern, source="cluster.json")
    fat = cluster.sub_clusters["fat"].metrics["mem_used"]
    assert (fat.unit, fat.scope, fat.timestep_s, fat.aggregation) == (MetricUnit("B", "G"), Scope.NODE, 60, "sum")


def test_the_document_of_the_api_has_the_derived_lists_filled_in(tern: Document) -> None:
    cluster, _ = parse_cluster(tern, source="cluster.json")
    std, fat = cluster.document["subClusters"]
    assert [metric["name"] for metric in std["metricConfig"]] == ["cpu_load", "mem_used", "cpu_power"]
    assert std["footprint"] == ["cpu_load", "mem_used"]
    assert std["energyFootprint"] == ["cpu_power"]
    assert "energyFootprint" not in fat
    assert all("subClusters" not in metric for metric in std["metricConfig"])


def test_the_document_of_the_api_has_exactly_the_known_keys(tern: Document) -> None:
    tern["metricConfig"][0]["measurement"] = "data"
    cluster, _ = parse_cluster(tern, source="cluster.json")
    load, memory, _ = cluster.document["metricConfig"]
    assert set(cluster.document) == {"name", "metricConfig", "subClusters"}
    assert set(load) == {
        "name", "unit", "scope", "timestep", "aggregation", "peak", "normal", "caution", "alert", "footprint",
        "energy", "lowerIsBetter", "restrict",
    }  # fmt: skip
    assert memory["subClusters"] == [
        {
            "name": "fat", "unit": {"base": "B", "prefix": "G"}, "peak": 512, "normal": 256, "caution": 400,
            "alert": 500.5, "footprint": "max", "energy": "", "lowerIsBetter": True, "restrict": False,
            "remove": False,
        }
    ]  # fmt: skip
    assert cluster.document["subClusters"][0]["topology"] == tern["subClusters"][0]["topology"]


def test_the_document_of_the_api_describes_the_same_cluster(tern: Document) -> None:
    first, _ = parse_cluster(tern, source="cluster.json")
    again, _ = parse_cluster(dict(first.document), source="api")
    assert again == first


def test_old_forms_are_read_with_a_warning_each(tern: Document) -> None:
    tern["metricConfig"][1]["unit"] = "GB"
    tern["metricConfig"][0]["aggregation"] = None
    part = tern["subClusters"][0]
    part |= {"flopRateScalar": 88, "memoryBandwidth": 80, "numberOfNodes": 560}
    cluster, warnings = parse_cluster(tern, source="cluster.json")
    assert cluster.metrics["mem_used"].unit == MetricUnit("B", "G")
    assert cluster.metrics["cpu_load"].aggregation == ""
    assert str(cluster.sub_clusters["std"].flop_rate_scalar.unit) == "GF/s"
    assert cluster.sub_clusters["std"].memory_bandwidth.value == 80
    assert len(warnings) == 3


def test_without_a_node_list_an_only_subcluster_takes_every_host(tern: Document) -> None:
    tern["subClusters"].pop()
    del tern["subClusters"][0]["nodes"]
    cluster, _ = parse_cluster(tern, source="cluster.json")
    assert cluster.find_sub_cluster("anything") is cluster.sub_clusters["std"]


def test_without_a_node_list_one_of_several_subclusters_takes_none(tern: Document) -> None:
    del tern["subClusters"][0]["nodes"]
    cluster, warnings = parse_cluster(tern, source="cluster.json")
    assert cluster.find_sub_cluster("tn01") is None
    assert any("subClusters[0].nodes" in warning for warning in warnings)


def test_a_host_in_two_lists_belongs_to_the_first_and_is_warned_of(tern: Document) -> None:
    tern["subClusters"][1]["nodes"] = "tf1,tn[03-04]"
    cluster, warnings = parse_cluster(tern, source="cluster.json")
    found = cluster.find_sub_cluster("tn03")
    assert found is not None
    assert found.name == "std"
    assert ["2 hosts" in warning and "'std'" in warning and "'fat'" in warning for warning in warnings] == [True]


@pytest.mark.parametrize("place", [0, 1])
def test_the_catch_all_takes_what_no_other_lists_wherever_it_stands(tern: Document, place: int) -> None:
    tern["subClusters"][place]["nodes"] = "*"
    cluster, _ = parse_cluster(tern, source="cluster.json")
    catch_all, other = ("std", "fat") if place == 0 else ("fat", "std")
    listed = {"std": "tn01", "fat": "tf1"}[other]
    assert cluster.find_sub_cluster("elsewhere") is cluster.sub_clusters[catch_all]
    assert cluster.find_sub_cluster(listed) is cluster.sub_clusters[other]


def test_missing_cores_without_smt_are_the_threads(tern: Document) -> None:
    del tern["subClusters"][1]["topology"]["core"]
    del tern["subClusters"][0]["topology"]["core"]
    cluster, _ = parse_cluster(tern, source="cluster.json")
    assert cluster.sub_clusters["fat"].topology.core == ((0,), (1,), (2,), (3,))
    assert cluster.sub_clusters["std"].topology.core == ()


def test_missing_sockets_and_domains_are_the_whole_node(tern: Document) -> None:
    for key in ("socket", "memoryDomain"):
        del tern["subClusters"][1]["topology"][key]
    cluster, warnings = parse_cluster(tern, source="cluster.json")
    topology = cluster.sub_clusters["fat"].topology
    assert topology.socket == topology.memory_domain == ((0, 1, 2, 3),)
    assert len(warnings) == 2


def test_of_equal_names_the_first_counts(tern: Document) -> None:
    tern["metricConfig"].append(tern["metricConfig"][0] | {"peak": 99})
    tern["subClusters"].append(tern["subClusters"][0] | {"nodes": "x1"})
    cluster, warnings = parse_cluster(tern, source="cluster.json")
    assert cluster.metrics["cpu_load"].peak == 8
    assert cluster.find_sub_cluster("x1") is None
    assert len(warnings) == 2


def _set(document: Any, path: str, value: Any) -> None:
    *keys, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in keys:
        document = document[key]
    document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("name", "", "name: is missing"),
        ("name", 7, "name: must be a string"),
        ("name", "../etc", "name: must be letters"),
        ("name", ".hidden", "name: must be letters"),
        ("metricConfig", [], "metricConfig: needs at least one"),
        ("metricConfig", {}, "metricConfig: must be a list"),
        ("metricConfig", [3], "metricConfig[0]: must be an object"),
        ("subClusters", None, "subClusters: needs at least one"),
        ("metricConfig.0.name", None, "metricConfig[0].name: is missing"),
        ("metricConfig.0.scope", "rack", "metricConfig[0].scope: must be one of node"),
        ("metricConfig.0.timestep", 0, "metricConfig[0].timestep: must be an integer of at least 1"),
        ("metricConfig.0.timestep", 1.5, "metricConfig[0].timestep: must be an integer"),
        ("metricConfig.0.timestep", True, "metricConfig[0].timestep: must be an integer"),
        ("metricConfig.0.timestep", None, "metricConfig[0].timestep: is missing"),
        ("metricConfig.0.peak", "8", "metricConfig[0].peak: must be a number"),
        ("metricConfig.0.peak", float("nan"), "metricConfig[0].peak: must be a finite number"),
        ("metricConfig.0.restrict", 1, "metricConfig[0].restrict: must be true or false"),
        ("metricConfig.1.subClusters.0.name", "", "metricConfig[1].subClusters[0].name: is missing"),
        ("subClusters.0.nodes", "tn[01-", "subClusters[0].nodes: "),
        ("subClusters.0.topology", None, "subClusters[0].topology: is missing"),
        ("subClusters.0.topology", [], "subClusters[0].topology: must be an object"),
        ("subClusters.0.topology.node", [], "subClusters[0].topology.node: is missing"),
        (
            "subClusters.0.topology.node",
            ["a"],
            "subClusters[0].topology.node: must be a list of non-negative integers",
        ),
        (
            "subClusters.0.topology.node",
            [-1],
            "subClusters[0].topology.node: must be a list of non-negative integers",
        ),
        ("subClusters.0.topology.core", [0, 1], "subClusters[0].topology.core[0]: must be a list"),
        ("subClusters.0.topology.core", 4, "subClusters[0].topology.core: must be a list"),
        ("subClusters.0.topology.accelerators", [{}], "accelerators[0].id: is missing"),
        ("subClusters.0.coresPerSocket", 0, "subClusters[0].coresPerSocket: must be an integer of at least 1"),
    ],
)
def test_a_document_that_cannot_be_used_is_refused_with_the_place(
    tern: Document, path: str, value: Any, said: str
) -> None:
    _set(tern, path, value)
    with pytest.raises(InvalidInput) as refused:
        parse_cluster(tern, source="some/cluster.json")
    assert said in str(refused.value)
    assert str(refused.value).startswith("some/cluster.json: ")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("metricConfig.0.unit", None, "metricConfig[0].unit: is missing"),
        ("metricConfig.0.unit", 3, "metricConfig[0].unit: is not a unit"),
        ("metricConfig.0.aggregation", "max", "metricConfig[0].aggregation: must be one of sum, avg"),
        ("metricConfig.0.footprint", "median", "metricConfig[0].footprint: must be one of avg, min, max"),
        ("metricConfig.0.energy", "joule", "metricConfig[0].energy: must be one of power, energy"),
        ("metricConfig.1.subClusters.0.name", "thin", "there is no subcluster 'thin'"),
        ("subClusters.0.memoryBandwidth", None, "subClusters[0].memoryBandwidth: is missing, taken as 0"),
        ("subClusters.0.threadsPerCore", None, "subClusters[0].threadsPerCore: is missing, taken as 1"),
    ],
)
def test_what_is_only_odd_is_a_warning_with_the_place(tern: Document, path: str, value: Any, said: str) -> None:
    _set(tern, path, value)
    _, warnings = parse_cluster(tern, source="cluster.json")
    assert any(said in warning for warning in warnings)


def test_many_errors_are_cut_short(tern: Document) -> None:
    tern["metricConfig"] = [{} for _ in range(20)]
    with pytest.raises(InvalidInput, match=r"and \d+ more"):
        parse_cluster(tern, source="cluster.json")


@pytest.mark.parametrize("name", ["tern", "Tern-2", "a.b_c", "0"])
def test_a_cluster_may_be_called_so(name: str) -> None:
    assert is_cluster_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\0", "a\n", "-x", ".git", "ä", "x" * 65])
def test_no_cluster_is_called_so(name: str) -> None:
    assert not is_cluster_name(name)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["name", "metricConfig", "subClusters", "unit", "topology", "node", "nodes", "core", "x"]),
        inner,
        max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


@given(_json)
def test_no_document_whatever_makes_the_reader_stumble(document: Any) -> None:
    read_cluster(document, Faults())
