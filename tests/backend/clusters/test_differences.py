"""What differs between two configurations of a cluster."""

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest

from cc_backend.clusters import describe_differences, parse_cluster

Document = dict[str, Any]


def differences(before: Document, after: Document) -> list[str]:
    first, second = (parse_cluster(document, source="test")[0] for document in (before, after))
    return describe_differences(first, second)


@pytest.fixture
def changed(tern: Document) -> Document:
    return copy.deepcopy(tern)


def test_layout_and_order_and_what_follows_are_no_difference(tern: Document, changed: Document) -> None:
    changed = dict(reversed(changed.items()))
    changed["metricConfig"][0] = dict(reversed(changed["metricConfig"][0].items()))
    changed["subClusters"][0]["nodes"] = "tn04,tn[01-03]"
    changed["metricConfig"][1]["subClusters"][0]["restrict"] = False
    assert differences(tern, changed) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"peak": 16}, "metric cpu_load: peak 8 -> 16"),
        ({"peak": 16, "normal": 12.5}, "metric cpu_load: peak 8 -> 16, normal 8 -> 12.5"),
        ({"timestep": 30}, "metric cpu_load: timestep 60 s -> 30 s"),
        (
            {"scope": "hwthread", "aggregation": "sum"},
            "metric cpu_load: scope node -> hwthread, aggregation avg -> sum",
        ),
        ({"footprint": None}, "metric cpu_load: footprint avg -> none"),
        ({"restrict": True}, "metric cpu_load: restrict no -> yes"),
        ({"lowerIsBetter": True}, "metric cpu_load: lowerIsBetter no -> yes"),
        ({"energy": "power"}, "metric cpu_load: energy none -> power"),
    ],
)
def test_a_changed_setting_is_named_with_both_values(
    tern: Document, changed: Document, changes: Document, line: str
) -> None:
    changed["metricConfig"][0] |= changes
    assert differences(tern, changed) == [line]


def test_another_unit_shows_all_thresholds_with_theirs(tern: Document, changed: Document) -> None:
    del changed["metricConfig"][1]["subClusters"], tern["metricConfig"][1]["subClusters"]
    changed["metricConfig"][1] |= {"unit": {"base": "B", "prefix": "M"}, "peak": 64_000}
    (line,) = differences(tern, changed)
    assert line == (
        "metric mem_used: unit GB -> MB, peak 64 GB -> 64000 MB, normal 32 GB -> 32 MB, caution 48 GB -> 48 MB, "
        "alert 60 GB -> 60 MB"
    )


def test_what_holds_in_some_subclusters_names_them(tern: Document, changed: Document) -> None:
    changed["metricConfig"][1]["peak"] = 128  # the subcluster fat has a peak of its own
    assert differences(tern, changed) == ["metric mem_used in std: peak 64 GB -> 128 GB"]


def test_metrics_that_come_and_go(tern: Document, changed: Document) -> None:
    changed["metricConfig"][2]["name"] = "node_power"
    assert differences(tern, changed) == [
        "metric cpu_power in std: removed",
        "metric node_power in std: added (socket, every 30 s, peak 300 W)",
    ]


def test_a_metric_that_a_subcluster_gets_back(tern: Document, changed: Document) -> None:
    del changed["metricConfig"][2]["subClusters"]
    assert differences(tern, changed) == ["metric cpu_power in fat: added (socket, every 30 s, peak 300 W)"]


def test_hosts_that_come_and_go(tern: Document, changed: Document) -> None:
    changed["subClusters"][0]["nodes"] = "tn[02-06]"
    assert differences(tern, changed) == [
        "subcluster std: 2 hosts added: tn[05-06]",
        "subcluster std: 1 hosts removed: tn01",
    ]


def test_subclusters_that_come_and_go(tern: Document, changed: Document) -> None:
    changed["subClusters"][1]["name"] = "huge"
    for metric in changed["metricConfig"]:
        for entry in metric.get("subClusters", ()):
            entry["name"] = "huge"
    assert differences(tern, changed) == [
        "subcluster fat: removed, with 1 hosts tf1",
        "subcluster huge: added, with 1 hosts tf1",
    ]


def test_a_subcluster_for_all_other_hosts(tern: Document, changed: Document) -> None:
    changed["subClusters"][1]["nodes"] = "*"
    assert differences(tern, changed) == [
        "subcluster fat: takes all other hosts: no -> yes",
        "subcluster fat: 1 hosts removed: tf1",
    ]


def test_hardware_that_changes(tern: Document, changed: Document) -> None:
    std = changed["subClusters"][0]
    std |= {"processorType": "Model C", "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 80}}
    std["topology"]["core"] = std["topology"]["core"][:3]
    std["topology"]["socket"] = [[0, 1, 2, 3], [4, 5, 6, 7]]
    std["topology"]["accelerators"] = [
        {"id": "0000:01:00.0", "type": "Nvidia GPU", "model": "Y"},
        {"id": "0000:02:00.0", "type": "Nvidia GPU", "model": "X"},
    ]
    assert differences(tern, changed) == [
        "subcluster std: processorType Model A -> Model C",
        "subcluster std: memoryBandwidth 40.5 GB/s -> 80 GB/s",
        "subcluster std: topology: 4 cores -> 3",
        "subcluster std: topology: other numbering of the 2 sockets",
        "subcluster std: accelerator 0000:01:00.0: Nvidia GPU X -> Nvidia GPU Y",
        "subcluster std: accelerator 0000:02:00.0: added (Nvidia GPU X)",
    ]
    assert "subcluster std: accelerator 0000:02:00.0: removed" in differences(changed, tern)


def test_another_name_is_a_difference(tern: Document, changed: Document) -> None:
    changed["name"] = "skua"
    assert differences(tern, changed) == ["name: tern -> skua"]


def test_every_pair_of_real_descriptions_can_be_compared(shared_fixtures: Path) -> None:
    files = sorted((shared_fixtures / "clusters").glob("*.json"))
    found = [parse_cluster(orjson.loads(path.read_bytes()), source=path.name)[0] for path in files]
    assert len(found) == 7
    for before in found:
        for after in found:
            assert bool(describe_differences(before, after)) == (before is not after)
