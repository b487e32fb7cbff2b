"""A cluster.json from what the agents of many nodes have printed."""

import copy
from typing import Any

import pytest

from cc_backend.clusters import Proposal, check_cluster, parse_cluster, propose_cluster
from cc_backend.errors import InvalidInput
from cc_common.hostlist import expand

Document = dict[str, Any]


@pytest.fixture
def report(tern: Document) -> Document:
    """What the agent of tn01 prints."""
    document = copy.deepcopy(tern)
    for metric in document["metricConfig"]:
        metric.pop("subClusters", None)
    document["subClusters"] = [{**document["subClusters"][0], "name": "main", "nodes": "tn01"}]
    return document


def of_host(report: Document, host: str, *, peaks: dict[str, float] | None = None, **hardware: Any) -> Document:
    document = copy.deepcopy(report)
    document["subClusters"][0] |= {"nodes": host, **hardware}
    for metric in document["metricConfig"]:
        metric["peak"] = (peaks or {}).get(metric["name"], metric["peak"])
    return document


def propose(*documents: Document, name: str = "") -> Proposal:
    reports = [(f"{number}.json", parse_cluster(one, source="test")[0]) for number, one in enumerate(documents)]
    return propose_cluster(reports, name)


def test_nodes_of_the_same_hardware_are_one_subcluster_with_a_short_list(report: Document) -> None:
    hosts = [f"tn{number:03d}" for number in range(1, 41) if number != 7]
    document = propose(*(of_host(report, host) for host in reversed(hosts))).document
    (main,) = document["subClusters"]
    assert (document["name"], main["name"], main["nodes"]) == ("tern", "main", "tn[001-006,008-040]")
    assert expand(main["nodes"]) == hosts


def test_the_proposal_can_be_used_and_says_the_same_as_the_reports(report: Document) -> None:
    document = propose(report).document
    assert check_cluster(document) == []
    (proposed, _), (reported, _) = (parse_cluster(one, source="test") for one in (document, report))
    assert proposed.document == reported.document


def test_other_hardware_is_another_subcluster_with_entries_for_what_differs(report: Document) -> None:
    big = of_host(report, "tf1", peaks={"mem_used": 512}, processorType="Model B", coresPerSocket=4)
    big["metricConfig"][1] |= {"normal": 256, "caution": 400, "alert": 500}
    del big["metricConfig"][2]
    document = propose(of_host(report, "tn01"), of_host(report, "tn02"), big).document
    assert check_cluster(document)[0].severity == "warning"  # the topology has fewer cores than are counted
    assert [(part["name"], part["nodes"]) for part in document["subClusters"]] == [
        ("xx1-64g", "tn[01-02]"),
        ("xx1-512g", "tf1"),
    ]
    load, memory, power = document["metricConfig"]
    assert "subClusters" not in load
    assert memory["subClusters"] == [
        {
            "name": "xx1-512g",
            "peak": 512,
            "normal": 256,
            "caution": 400,
            "alert": 500,
            "footprint": "max",
            "energy": "",
            "lowerIsBetter": True,
            "restrict": False,
        }
    ]
    assert power["subClusters"] == [{"name": "xx1-512g", "remove": True}]
    cluster, _ = parse_cluster(document, source="test")
    assert "cpu_power" not in cluster.sub_clusters["xx1-512g"].metrics
    assert cluster.sub_clusters["xx1-512g"].metrics["mem_used"].alert == 500


def test_a_little_more_memory_is_the_same_hardware_and_much_more_is_not(report: Document) -> None:
    sizes = {"tn01": 62.9, "tn02": 64, "tn03": 63.5, "tn04": 128, "tn05": 127}
    document = propose(*(of_host(report, host, peaks={"mem_used": size}) for host, size in sizes.items())).document
    assert [part["nodes"] for part in document["subClusters"]] == ["tn[01-03]", "tn[04-05]"]
    assert [part["name"] for part in document["subClusters"]] == ["xx1-63g", "xx1-127g"]
    assert document["metricConfig"][1]["peak"] == 64


def test_estimates_of_the_same_hardware_are_their_median(report: Document) -> None:
    rates = [70, 80, 81]
    reports = [
        of_host(report, f"tn0{at}", flopRateSimd={"unit": {"base": "F/s", "prefix": "G"}, "value": rate})
        for at, rate in enumerate(rates)
    ]
    assert propose(*reports).document["subClusters"][0]["flopRateSimd"]["value"] == 80


@pytest.mark.parametrize(
    ("accelerators", "name"),
    [
        ([], "cpu4"),
        ([{"id": "1", "type": "Nvidia GPU", "model": "NVIDIA A100-SXM4-40GB"}], "a100x1"),
        ([{"id": str(at), "type": "AMD GPU", "model": "AMD Instinct MI250X"} for at in range(8)], "mi250xx8"),
        ([{"id": "1", "type": "Nvidia GPU", "model": "GPU"}], "gpux1"),
    ],
)
def test_subclusters_are_named_by_what_they_have(
    report: Document, accelerators: list[dict[str, str]], name: str
) -> None:
    other = of_host(report, "tx1", processorType="Other")
    mine = of_host(report, "ty1")
    mine["subClusters"][0]["topology"]["accelerators"] = accelerators
    names = {part["nodes"]: part["name"] for part in propose(mine, other).document["subClusters"]}
    assert names["ty1"] == name


def test_names_are_never_the_same(report: Document) -> None:
    reports = [of_host(report, f"tn0{at}", processorType=f"Model {at}") for at in range(3)]
    names = [part["name"] for part in propose(*reports).document["subClusters"]]
    assert names == ["xx1-64g", "xx1-64g-2", "xx1-64g-3"]


def test_what_a_node_lacks_is_said(report: Document) -> None:
    lacking = of_host(report, "tn09")
    del lacking["metricConfig"][0]
    proposal = propose(*(of_host(report, f"tn0{at}") for at in range(3)), lacking)
    assert [entry["name"] for entry in proposal.document["metricConfig"]] == ["cpu_load", "mem_used", "cpu_power"]
    assert "metric cpu_load: is missing on tn09, unlike on nodes of the same hardware" in proposal.notes


def test_what_cannot_differ_is_as_most_have_it_and_is_said(report: Document) -> None:
    slow = of_host(report, "tn09")
    slow["metricConfig"][0]["timestep"] = 300
    proposal = propose(slow, *(of_host(report, f"tn0{at}") for at in range(3)))
    assert proposal.document["metricConfig"][0]["timestep"] == 60
    assert any("tn09" in note and "timestep" in note for note in proposal.notes)
    other = of_host(slow, "tf1", processorType="Model B")
    notes = propose(other, *(of_host(report, f"tn0{at}") for at in range(3))).notes
    assert any("metric cpu_load: subcluster xx1-64g-2 has another unit" in note for note in notes)


def test_a_host_in_two_reports_is_as_the_last_says(report: Document) -> None:
    proposal = propose(of_host(report, "tn01", processorType="Old"), of_host(report, "tn01", processorType="New"))
    assert [part["processorType"] for part in proposal.document["subClusters"]] == ["New"]
    assert "tn01 is in 0.json and 1.json; 1.json counts" in proposal.notes


def test_reports_of_several_clusters_need_a_name(report: Document) -> None:
    other = {**of_host(report, "tn02"), "name": "skua"}
    with pytest.raises(InvalidInput, match="skua, tern; say which with --name"):
        propose(report, other)
    assert propose(report, other, name="both").document["name"] == "both"


def test_without_a_host_there_is_no_proposal(report: Document) -> None:
    with pytest.raises(InvalidInput, match="no report names a host"):
        propose()
    with pytest.raises(InvalidInput, match="no report names a host"):
        propose(of_host(report, "*"))


def test_a_thousand_nodes_are_quickly_sorted(report: Document) -> None:
    reports = [of_host(report, f"tn{number:04d}") for number in range(1000)]
    (main,) = propose(*reports).document["subClusters"]
    assert main["nodes"] == "tn[0000-0999]"
