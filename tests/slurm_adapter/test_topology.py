import json
from pathlib import Path
from typing import Any, List

import pytest

from cc_slurm_adapter.errors import TopologyError
from cc_slurm_adapter.topology import ClusterTopology, LazyTopology, parse_cluster, read_topology


def cluster(name: str = "alpha", **topology: Any) -> Any:
    return {"name": name, "subClusters": [{"name": "main", "nodes": "n[1-2]", "topology": topology}]}


def test_cores_come_in_the_order_of_their_sockets() -> None:
    topology = parse_cluster(cluster(socket=[[0, 2], [1, 3]], core=[[0], [1], [2], [3]]), source="x").of("n1")
    assert topology is not None
    assert topology.cores == ((0,), (2,), (1,), (3,))


def test_a_host_that_is_not_named_is_not_known() -> None:
    assert parse_cluster(cluster(core=[[0]]), source="x").of("n3") is None


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"subClusters": [None]},
        {"subClusters": [{"nodes": "n1"}]},
        {"subClusters": [{"nodes": "n[", "topology": {}}]},
        cluster(core=[["a"]]),
        cluster(core=7),
        cluster(accelerators=[{}]),
    ],
)
def test_what_is_no_description_is_an_error_that_names_the_source(document: Any) -> None:
    with pytest.raises(TopologyError, match="^cluster.json: ".replace(".", r"\.")):
        parse_cluster(document, source="cluster.json")


def test_a_file_may_hold_one_cluster_or_several(tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    for document in (cluster(core=[[0]]), [cluster("beta"), cluster(core=[[0]])], {"clusters": [cluster(core=[[0]])]}):
        path.write_text(json.dumps(document))
        topology = read_topology(path, "alpha").of("n1")
        assert topology is not None
        assert topology.cores == ((0,),)


def test_a_file_that_is_missing_or_broken_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="cannot be read"):
        read_topology(tmp_path / "no", "alpha")
    (tmp_path / "bad").write_text("{")
    with pytest.raises(TopologyError, match="is not JSON"):
        read_topology(tmp_path / "bad", "alpha")


def test_every_recorded_description_can_be_read(shared_fixtures: Path) -> None:
    files = sorted((shared_fixtures / "clusters").glob("cluster-*.json"))
    assert files
    for path in files:
        assert len(read_topology(path, "any"))


def test_a_topology_that_failed_is_asked_for_again_after_a_pause() -> None:
    asked: List[int] = []

    def fetch() -> ClusterTopology:
        asked.append(1)
        if len(asked) < 2:
            raise TopologyError("away")
        return parse_cluster(cluster(core=[[0]]), source="x")

    lazy = LazyTopology(fetch, pause_s=300)
    assert (len(lazy.get(1000)), lazy.problem) == (0, "away")
    assert (len(lazy.get(1299)), len(asked)) == (0, 1)
    assert (len(lazy.get(1300)), lazy.problem) == (1, "")
    assert (len(lazy.get(9999)), len(asked)) == (1, 2)
