from pathlib import Path
from typing import Any

import pytest

from cc_common.delivery import OutcomeKind
from cc_common.node_states import NodeState, NodeStateReport
from cc_slurm_adapter.backend_client import fetch_topology, make_senders, send_node_states
from cc_slurm_adapter.errors import TopologyError
from cc_slurm_adapter.options import AdapterOptions
from cc_slurm_adapter.service import make_topology
from cc_slurm_adapter.settings import BackendConnectionSettings, load_configuration

NOBODY = "http://127.0.0.1:9"
SETTINGS = BackendConnectionSettings(timeout_s=30.0)


def test_the_topology_from_the_backend_is_used_while_it_is_unavailable(backend: Any, tmp_path: Path) -> None:
    kept = tmp_path / "topology.json"
    assert fetch_topology(backend.url, SETTINGS, "alpha", kept).node_topology("n1") is not None
    assert fetch_topology(NOBODY, SETTINGS, "alpha", kept).node_topology("n1") is not None


def test_a_topology_that_is_corrected_in_the_backend_is_known_a_minute_later(backend: Any) -> None:
    topology = make_topology(load_configuration(AdapterOptions(url=backend.url), {}), "alpha")
    before = topology.get(1000.0).node_topology("n1")
    sub_cluster = {"name": "main", "nodes": "n[1-2]", "topology": {"core": [[7]]}}
    backend.describe = lambda: (200, {"clusters": [{"name": "alpha", "subClusters": [sub_cluster]}]})
    assert topology.get(1059.0).node_topology("n1") == before
    corrected = topology.get(1060.0).node_topology("n1")
    assert corrected is not None
    assert corrected.cores == ((7,),)


def test_without_response_and_without_a_saved_copy_there_is_no_topology(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="no response"):
        fetch_topology(NOBODY, SETTINGS, "alpha", tmp_path / "topology.json")


def test_a_cluster_that_the_backend_does_not_name_has_no_topology(backend: Any, tmp_path: Path) -> None:
    with pytest.raises(TopologyError):
        fetch_topology(backend.url, SETTINGS, "beta", tmp_path / "topology.json")
    assert not (tmp_path / "topology.json").exists()


def test_node_states_go_to_their_own_address(backend: Any) -> None:
    senders = make_senders(backend.url, SETTINGS)
    outcome = send_node_states(senders["nodes"], NodeStateReport("alpha", (NodeState("n1", ("idle",)),)))
    for sender in senders.values():
        sender.close()
    assert outcome.kind is OutcomeKind.DELIVERED
    assert backend.of("/api/nodestate/")[0]["nodes"][0]["hostname"] == "n1"
