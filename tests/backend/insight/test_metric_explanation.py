"""Where the settings of a metric come from, and its rating in words."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from cc_backend.clusters import parse_cluster
from cc_backend.insight.metric_explanation import explain_metric, rating_lines
from cc_backend.insight.rating import Thresholds


@pytest.fixture
def document(tarn_documents: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(orjson.dumps(tarn_documents))
    return found


@pytest.fixture
def tarn_documents() -> dict[str, Any]:
    topology = {
        "node": [0, 1, 2, 3],
        "socket": [[0, 1], [2, 3]],
        "memoryDomain": [[0, 1], [2, 3]],
        "core": [[0], [1], [2], [3]],
    }
    rate = {"unit": {"base": "F/s", "prefix": "G"}, "value": 10}
    part = {
        "processorType": "Invented 4",
        "socketsPerNode": 2,
        "coresPerSocket": 2,
        "threadsPerCore": 1,
        "flopRateScalar": rate,
        "flopRateSimd": rate,
        "memoryBandwidth": rate,
        "topology": topology,
    }
    bandwidth = {
        "name": "mem_bw",
        "unit": {"base": "B/s", "prefix": "G"},
        "scope": "socket",
        "timestep": 60,
        "aggregation": "sum",
        "peak": 200,
        "normal": 150,
        "caution": 50,
        "alert": 20,
        "footprint": "avg",
        "subClusters": [{"name": "fat", "peak": 400}, {"name": "gpu", "remove": True}],
    }
    memory = {
        "name": "mem_used",
        "unit": {"base": "B", "prefix": "G"},
        "scope": "node",
        "timestep": 60,
        "peak": 64,
        "normal": 32,
        "caution": 48,
        "alert": 60,
        "footprint": "max",
        "lowerIsBetter": True,
    }
    load = {
        "name": "cpu_load",
        "unit": {"base": ""},
        "scope": "node",
        "timestep": 60,
        "aggregation": "avg",
        "peak": 4,
        "normal": 4,
        "caution": 2,
        "alert": 1,
        "footprint": "avg",
    }
    names = ("std", "fat", "gpu")
    return {
        "name": "tarn",
        "metricConfig": [bandwidth, memory, load],
        "subClusters": [{**part, "name": name, "nodes": f"{name}[1-4]"} for name in names],
    }


def explained(document: dict[str, Any], sub_cluster: str, metric: str) -> list[str]:
    cluster, _ = parse_cluster(document, source="test")
    return list(explain_metric(document, cluster.sub_clusters[sub_cluster], metric))


def test_settings_of_the_metric_and_the_rating_where_higher_is_better(document: dict[str, Any]) -> None:
    assert explained(document, "std", "mem_bw") == [
        "unit GB/s  (the metric)",
        "scope socket  (the metric)",
        "timestep 60 s  (the metric)",
        "aggregation sum  (the metric)",
        "peak 200 GB/s  (the metric)",
        "normal 150 GB/s  (the metric)",
        "caution 50 GB/s  (the metric)",
        "alert 20 GB/s  (the metric)",
        "footprint avg  (the metric)",
        "energy none  (left out by the metric)",
        "lowerIsBetter no  (left out by the metric)",
        "restrict no  (left out by the metric)",
        "higher values are better",
        "rating alert: from 0 up to 20 GB/s",
        "rating caution: above 20 up to 50 GB/s",
        "rating ok: above 50 up to 150 GB/s",
        "rating high: above 150 up to 200 GB/s",
        "rating artefact: more than 2 % above the peak of 200 GB/s",
        "plots of parts divide these values: of a socket by 2",
    ]


def test_what_an_entry_for_a_subcluster_replaces_is_said(document: dict[str, Any]) -> None:
    lines = explained(document, "fat", "mem_bw")
    assert "peak 400 GB/s  (the metric's entry for fat)" in lines
    assert (
        "normal 0 GB/s  (left out by the metric's entry for fat; the metric has 150, which such an entry replaces)"
        in lines
    )
    assert (
        "footprint none  (left out by the metric's entry for fat; the metric has 'avg', which such an entry replaces)"
        in (lines)
    )
    assert "restrict no  (left out by the metric's entry for fat)" in lines
    assert "rating: none; jobs are rated by metrics with a footprint" in lines
    assert [line for line in lines if "cannot be rated" in line]


def test_a_metric_that_is_removed_is_said_so(document: dict[str, Any]) -> None:
    assert explained(document, "gpu", "mem_bw") == [
        "is not measured here: the entry of the metric for this subcluster says remove"
    ]
    assert explained(document, "gpu", "nothing") == ["is not measured here: the cluster has no such metric"]


def test_the_rating_where_lower_is_better(document: dict[str, Any]) -> None:
    lines = explained(document, "std", "mem_used")
    assert lines[lines.index("lower values are better") :] == [
        "lower values are better",
        "rating ok: from 0 to below 48 GB",
        "rating caution: from 48 to below 60 GB",
        "rating alert: from 60 up to 64 GB",
        "rating artefact: more than 2 % above the peak of 64 GB",
        "jobs that share a node are rated by these values times their part of its hardware threads",
    ]


def test_more_than_the_peak_of_a_queue_is_no_artefact(document: dict[str, Any]) -> None:
    assert "rating caution: more than 10 % above the peak of 4" in explained(document, "std", "cpu_load")


def test_the_words_are_what_the_rating_does(document: dict[str, Any]) -> None:
    """Each band of the words has the level that a value inside it gets."""
    cluster, _ = parse_cluster(document, source="test")
    for metric in ("mem_bw", "mem_used", "cpu_load"):
        config = cluster.sub_clusters["std"].metrics[metric]
        thresholds = Thresholds.from_config(config)
        text = "\n".join(rating_lines(config))
        for low, high, level in thresholds.zones:
            assert thresholds.level_of((low + high) / 2) == level
            assert f"rating {level.value}: " in text
            edge = low if thresholds.lower_is_better else high
            assert thresholds.level_of(edge) == level


def test_every_metric_of_real_descriptions_is_explained(shared_fixtures: Path) -> None:
    for path in sorted((shared_fixtures / "clusters").glob("*.json")):
        document = orjson.loads(path.read_bytes())
        cluster, _ = parse_cluster(document, source=path.name)
        for part in cluster.sub_clusters.values():
            for metric in cluster.metrics:
                assert list(explain_metric(document, part, metric))
