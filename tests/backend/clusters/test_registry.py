from pathlib import Path
from typing import Any

import orjson
import pytest

from cc_backend.clusters import ClusterRegistry, load_clusters, parse_cluster
from cc_backend.errors import ArchiveError, InvalidInput, NotFound

Document = dict[str, Any]


def _write(root: Path, folder: str, document: Any) -> Path:
    path = root / folder / "cluster.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(document if isinstance(document, bytes) else orjson.dumps(document))
    return path


@pytest.fixture
def clusters(tern: Document) -> ClusterRegistry:
    cluster, _ = parse_cluster(tern, source="cluster.json")
    return ClusterRegistry({"tern": cluster})


def test_clusters_are_asked_by_name(clusters: ClusterRegistry) -> None:
    assert clusters.names() == list(clusters) == ["tern"]
    assert "tern" in clusters
    assert len(clusters) == 1
    assert clusters.get("tern") is clusters["tern"]


def test_an_unknown_cluster_is_not_found(clusters: ClusterRegistry) -> None:
    with pytest.raises(NotFound, match="'gull'"):
        clusters.get("gull")


def test_the_subcluster_follows_from_the_host(clusters: ClusterRegistry) -> None:
    assert clusters.sub_cluster_for("tern", "tn02").name == "std"
    assert clusters.sub_cluster_for("tern", "tf1").name == "fat"


def test_a_given_subcluster_is_kept_whatever_the_host(clusters: ClusterRegistry) -> None:
    assert clusters.sub_cluster_for("tern", "tn02", "fat").name == "fat"


@pytest.mark.parametrize(
    ("cluster", "host", "given", "said"),
    [
        ("gull", "tn01", "", "no cluster 'gull'"),
        ("tern", "tn05", "", "no subcluster of 'tern' has the host 'tn05'"),
        ("tern", "", "", "has the host ''"),
        ("tern", "tn01", "thin", "'tern' has no subcluster 'thin'"),
    ],
)
def test_a_host_without_subcluster_is_invalid_input(
    clusters: ClusterRegistry, cluster: str, host: str, given: str, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        clusters.sub_cluster_for(cluster, host, given)


def test_clusters_are_found_in_the_folders_of_an_archive(tern: Document, tmp_path: Path) -> None:
    _write(tmp_path, "tern", tern)
    _write(tmp_path, "gull", tern | {"name": "gull"})
    (tmp_path / "version.txt").write_text("3\n")
    clusters, warnings = load_clusters(tmp_path)
    assert clusters.names() == ["gull", "tern"]
    assert warnings == []


def test_hidden_folders_are_no_clusters(tern: Document, tmp_path: Path) -> None:
    _write(tmp_path, "tern", tern)
    _write(tmp_path, ".git", b"no json")
    assert load_clusters(tmp_path)[0].names() == ["tern"]


def test_a_folder_without_description_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "gull").mkdir()
    clusters, warnings = load_clusters(tmp_path)
    assert len(clusters) == 0
    assert "gull: has no cluster.json" in warnings[0]


def test_a_name_unlike_its_folder_is_warned_of(tern: Document, tmp_path: Path) -> None:
    _write(tmp_path, "gull", tern)
    clusters, warnings = load_clusters(tmp_path)
    assert clusters.names() == ["tern"]
    assert "unlike its folder" in warnings[0]


def test_two_clusters_of_one_name_are_refused(tern: Document, tmp_path: Path) -> None:
    _write(tmp_path, "gull", tern)
    _write(tmp_path, "tern", tern)
    with pytest.raises(ArchiveError, match="another cluster 'tern'"):
        load_clusters(tmp_path)


def test_a_broken_description_is_refused_with_its_path(tmp_path: Path) -> None:
    path = _write(tmp_path, "tern", b'{"name":')
    with pytest.raises(ArchiveError, match=f"{path}: is not JSON, line 1"):
        load_clusters(tmp_path)


def test_a_useless_description_is_refused_with_its_path(tmp_path: Path) -> None:
    path = _write(tmp_path, "tern", {"name": "tern"})
    with pytest.raises(ArchiveError, match=f"{path}: metricConfig: needs at least one"):
        load_clusters(tmp_path)


def test_an_archive_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cannot be listed: No such file"):
        load_clusters(tmp_path / "none")


def test_real_archives_have_the_expected_numbers(shared_fixtures: Path) -> None:
    clusters, warnings = load_clusters(shared_fixtures / "job-archive")
    numbers = {
        (name, part.name): (len(part.hosts), len(part.metrics), len(part.footprint_metrics))
        for name in clusters
        for part in clusters[name].sub_clusters.values()
    }
    assert numbers["fritz", "main"] == (992, 19, 4)
    assert numbers["fritz", "spr1tb"] == (64, 15, 3)
    assert numbers["fritz", "spr2tb"] == (16, 14, 2)
    assert {part: numbers["alex", part][0] for part in ("a40", "a100", "a100m80")} == {
        "a40": 44,
        "a100": 20,
        "a100m80": 15,
    }
    assert [numbers["emmy", part][:2] for part in ("haswell", "skylake", "kabylake", "icelake")] == [
        (38, 9),
        (63, 12),
        (111, 13),
        (70, 13),
    ]
    assert {part.energy_metrics for part in clusters["fritz"].sub_clusters.values()} == {("cpu_power", "mem_power")}
    assert {part.energy_metrics for part in clusters["alex"].sub_clusters.values()} == {
        ("core_power", "acc_power", "cpu_power")
    }
    assert ["spr1tb" in warning and "spr2tb" in warning for warning in warnings] == [True]


@pytest.mark.parametrize(
    ("cluster", "hosts"),
    [("meggie", {"main": 696}), ("tinygpu", {"rtx3080": 7, "rtx2080": 12, "a100": 8, "v100": 4})],
)
def test_real_host_lists_have_the_expected_lengths(shared_fixtures: Path, cluster: str, hosts: dict[str, int]) -> None:
    path = shared_fixtures / "clusters" / f"cluster-{cluster}.json"
    parsed, _ = parse_cluster(orjson.loads(path.read_bytes()), source=path.name)
    assert {name: len(part.hosts) for name, part in parsed.sub_clusters.items()} == hosts


def test_a_rack_listed_twice_counts_once(shared_fixtures: Path) -> None:
    path = shared_fixtures / "importer" / "cluster-fritz.json"
    parsed, _ = parse_cluster(orjson.loads(path.read_bytes()), source=path.name)
    assert len(parsed.sub_clusters["main"].hosts) == 992
