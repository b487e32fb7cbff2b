import json
from pathlib import Path
from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_slurm_adapter.errors import TopologyError
from cc_slurm_adapter.options import AdapterOptions
from cc_slurm_adapter.service import make_topology
from cc_slurm_adapter.settings import load_configuration
from cc_slurm_adapter.topology import ClusterTopology, TopologyCache, parse_cluster, read_topology


def cluster(name: str = "alpha", **topology: Any) -> Any:
    return {"name": name, "subClusters": [{"name": "main", "nodes": "n[1-2]", "topology": topology}]}


def test_cores_come_in_the_order_of_their_sockets() -> None:
    topology = parse_cluster(cluster(socket=[[0, 2], [1, 3]], core=[[0], [1], [2], [3]]), source="x").node_topology(
        "n1"
    )
    assert topology is not None
    assert topology.cores == ((0,), (2,), (1,), (3,))


def in_order(**topology: Any) -> Any:
    kind = parse_cluster(cluster(**topology), source="x").node_topology("n1")
    assert kind is not None
    return kind.cores


def singles(numbers: Any) -> Any:
    return tuple((number,) for number in numbers)


EVEN_ODD = [[cpu for cpu in range(16) if cpu % 2 == socket] for socket in (0, 1)]
FOURTHS = [[cpu for cpu in range(16) if cpu % 4 == domain] for domain in (0, 2, 1, 3)]
CORES = [[cpu] for cpu in range(16)]


def test_cores_come_by_memory_domain_within_their_socket() -> None:
    order = in_order(socket=EVEN_ODD, memoryDomain=FOURTHS, core=CORES)
    assert order == singles([0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15])


@pytest.mark.parametrize("shuffled", [list(reversed(FOURTHS)), [FOURTHS[number] for number in (2, 0, 3, 1)]])
def test_the_order_in_which_groups_are_written_says_nothing(shuffled: Any) -> None:
    expected = in_order(socket=EVEN_ODD, memoryDomain=FOURTHS, core=CORES)
    turned = [list(reversed(group)) for group in shuffled]
    written = {"socket": list(reversed(EVEN_ODD)), "memoryDomain": turned, "core": list(reversed(CORES))}
    assert in_order(**written) == expected


def test_dies_and_memory_domains_nest_the_larger_outside() -> None:
    socket, halves = [list(range(8))], [[0, 2, 4, 6], [1, 3, 5, 7]]
    pairs = [[0, 4], [2, 6], [1, 5], [3, 7]]
    expected = singles([0, 4, 2, 6, 1, 5, 3, 7])
    cores = [[cpu] for cpu in range(8)]
    assert in_order(socket=socket, die=halves, memoryDomain=pairs, core=cores) == expected
    assert in_order(socket=socket, die=pairs, memoryDomain=halves, core=cores) == expected


def test_a_memory_domain_of_several_sockets_leaves_the_order_of_the_sockets() -> None:
    order = in_order(socket=EVEN_ODD, memoryDomain=[list(range(16))], core=CORES)
    assert order == singles([*range(0, 16, 2), *range(1, 16, 2)])


def test_threads_of_a_core_count_upwards_and_cores_by_their_first() -> None:
    order = in_order(
        socket=[[0, 1, 2, 3, 4, 5, 6, 7]],
        memoryDomain=[[0, 2, 4, 6], [1, 3, 5, 7]],
        core=[[7, 3], [6, 2], [5, 1], [4, 0]],
    )
    assert order == ((0, 4), (2, 6), (1, 5), (3, 7))


@given(st.permutations(range(16)), st.permutations(range(16)))
def test_the_order_is_that_of_the_tree_whatever_the_numbers_are(numbers: Any, written: Any) -> None:
    """A tree of two sockets of two domains of four cores, numbered at will; siblings are ordered by least number."""
    sockets = [numbers[:8], numbers[8:]]
    domains = [numbers[begin : begin + 4] for begin in (0, 4, 8, 12)]
    tree = [
        sorted(sorted(domain) for domain in domains if set(domain) <= set(socket))
        for socket in sorted(sockets, key=min)
    ]
    expected = [cpu for socket in tree for domain in socket for cpu in domain]
    order = in_order(socket=sockets, memoryDomain=domains, core=[[cpu] for cpu in written])
    assert order == singles(expected)


def test_a_host_that_is_not_named_is_not_known() -> None:
    assert parse_cluster(cluster(core=[[0]]), source="x").node_topology("n3") is None


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
        topology = read_topology(path, "alpha").node_topology("n1")
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


def test_a_topology_that_failed_is_fetched_again_after_a_pause() -> None:
    asked: List[int] = []

    def fetch() -> ClusterTopology:
        asked.append(1)
        if len(asked) < 2:
            raise TopologyError("away")
        return parse_cluster(cluster(core=[[0]]), source="x")

    lazy = TopologyCache(fetch, pause_s=300)
    assert (len(lazy.get(1000)), lazy.problem) == (0, "away")
    assert (len(lazy.get(1299)), len(asked)) == (0, 1)
    assert (len(lazy.get(1300)), lazy.problem) == (1, "")
    assert (len(lazy.get(9999)), len(asked)) == (1, 2)
    assert (len(lazy.get(9999, ["n1", "n[1-2]"])), len(asked)) == (1, 2)


def test_a_host_that_the_topology_lacks_makes_it_be_fetched_again_after_a_pause() -> None:
    described = ["n1", "n1", "n[1-3]"]
    asked: List[int] = []

    def fetch() -> ClusterTopology:
        nodes = described[len(asked)]
        asked.append(1)
        sub_cluster = {"name": "main", "nodes": nodes, "topology": {"core": [[0]]}}
        return parse_cluster({"subClusters": [sub_cluster]}, source="x")

    lazy = TopologyCache(fetch, pause_s=300)
    assert lazy.get(1000, ["n3"]).node_topology("n3") is None
    assert lazy.get(1299, ["n[1-3]"]).node_topology("n3") is None
    assert len(asked) == 1
    assert lazy.get(1300, ["n[1-3]"]).node_topology("n3") is None
    assert lazy.get(1600, ["n[1-3]", "n["]).node_topology("n3") is not None
    assert lazy.get(9999, ["n[1-3]"]).node_topology("n3") is not None
    assert len(asked) == 3


def test_a_corrected_file_is_read_at_the_next_poll(tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"

    def write(cores: List[List[int]], name: Path = path) -> None:
        name.write_text(json.dumps(cluster(core=cores)), "utf-8")

    lazy = make_topology(load_configuration(AdapterOptions(topology_file=str(path)), {}), "alpha")

    def cores() -> Any:
        kind = lazy.get(1000.0).node_topology("n1")
        assert kind is not None
        return kind.cores

    write([[0, 1], [2, 3]])
    assert cores() == ((0, 1), (2, 3))
    write([[0, 2], [1, 3]], path.with_name("new"))
    path.with_name("new").replace(path)
    assert cores() == ((0, 2), (1, 3))
    path.write_text("{", "utf-8")
    assert cores() == ((0, 2), (1, 3)), "half a file is no reason to know nothing"
    assert "is not JSON" in lazy.problem
    write([[0], [1], [2], [3]])
    assert (cores(), lazy.problem) == (((0,), (1,), (2,), (3,)), "")


def test_what_may_have_changed_unseen_is_fetched_again_after_a_while() -> None:
    answers = [[[0, 1]], [[0], [1]]]
    lazy = TopologyCache(lambda: parse_cluster(cluster(core=answers.pop(0)), source="x"), pause_s=300, refresh_s=60)
    found = [lazy.get(now_s).node_topology("n1") for now_s in (1000, 1059, 1060)]
    assert [kind.cores for kind in found if kind] == [((0, 1),), ((0, 1),), ((0,), (1,))]


def test_what_is_known_stays_known_when_asking_again_fails() -> None:
    answers: List[Any] = [parse_cluster(cluster(core=[[0]]), source="x"), TopologyError("away")]

    def fetch() -> ClusterTopology:
        answer = answers.pop(0)
        if isinstance(answer, TopologyError):
            raise answer
        return answer

    lazy = TopologyCache(fetch, pause_s=300)
    assert lazy.get(1000).node_topology("n1") is not None
    assert lazy.get(1400, ["n9"]).node_topology("n1") is not None
    assert lazy.problem == "away"


def test_cores_of_which_threads_are_offline_keep_their_place() -> None:
    written = {"socket": [[0, 1, 2, 3, 5, 6]], "core": [[3], [2, 6], [1, 5], [0]]}
    kind = parse_cluster(
        {"subClusters": [{"name": "a", "nodes": "n1", "topology": written}]}, source="x"
    ).node_topology("n1")
    assert kind is not None
    assert kind.cores == ((0,), (1, 5), (2, 6), (3,))
