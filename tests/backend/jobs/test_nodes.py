from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pytest

from cc_backend.clusters import Clusters
from cc_backend.database import Database
from cc_backend.errors import InvalidInput
from cc_backend.jobs.nodes import Health, NodeStates, SchedulerState, reduce_states
from cc_common.nodestate import NodeState, NodeStateReport

NOW_S = 1_760_000_000


@dataclass(frozen=True)
class Metrics:
    missing: Sequence[str] = ()
    degraded: Sequence[str] = ()
    healthy: Sequence[str] = ("cpu_load", "mem_used")


def all_well(cluster: str, host: str, metrics: Iterable[str]) -> Metrics:
    return Metrics()


@pytest.fixture
def nodes(database: Database, clusters: Clusters) -> NodeStates:
    return NodeStates(database, clusters)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ALLOCATED"], "allocated"),
        (["allocated", "down"], "allocated"),
        (["reserved", "idle"], "reserved"),
        (["IDLE", "DOWN"], "down"),
        (["idle", "drain"], "idle"),
        (["down", "mixed"], "down"),
        (["mixed"], "mixed"),
        (["drain"], "unknown"),
        ([], "unknown"),
    ],
)
def test_scheduler_words_become_one_state(words: list[str], expected: str) -> None:
    assert reduce_states(words) == expected


def test_the_newest_report_counts_and_the_schedulers_words_are_kept(nodes: NodeStates) -> None:
    nodes.report(NodeStateReport("tern", (NodeState("tn0001", ("IDLE",)),)), all_well, NOW_S)
    later = NodeState("tn0001", ("MIXED", "DRAIN"), 16, 64000, 1, 2)
    result = nodes.report(NodeStateReport("tern", (later,)), all_well, NOW_S + 60)
    (status,) = nodes.states("tern")
    assert (result.accepted, result.rejected) == (1, ())
    assert (status.state, status.reported_states, status.time_s) == (
        SchedulerState.MIXED,
        ("MIXED", "DRAIN"),
        NOW_S + 60,
    )
    assert (status.cpus_allocated, status.memory_allocated, status.gpus_allocated, status.jobs_running) == (
        16,
        64000,
        1,
        2,
    )
    assert (status.cluster, status.sub_cluster, status.hostname) == ("tern", "std", "tn0001")


def test_hosts_of_no_subcluster_are_named_and_the_others_are_kept(nodes: NodeStates) -> None:
    report = NodeStateReport("tern", (NodeState("elsewhere"), NodeState("tn0001"), NodeState("")))
    result = nodes.report(report, all_well, NOW_S)
    assert (result.accepted, result.rejected) == (1, ("elsewhere", ""))
    assert [status.hostname for status in nodes.states()] == ["tn0001"]


def test_a_subcluster_for_all_hosts_takes_every_node(nodes: NodeStates) -> None:
    result = nodes.report(NodeStateReport("skua", (NodeState("whatever"),)), all_well, NOW_S)
    assert result.accepted == 1


def test_an_unknown_cluster_is_refused(nodes: NodeStates) -> None:
    with pytest.raises(InvalidInput, match="cluster"):
        nodes.report(NodeStateReport("unknown", ()), all_well, NOW_S)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (Metrics(), Health.FULL),
        (Metrics(missing=("mem_used",), healthy=("cpu_load",)), Health.PARTIAL),
        (Metrics(degraded=("mem_used",), healthy=("cpu_load",)), Health.PARTIAL),
        (Metrics(missing=("cpu_load", "mem_used"), healthy=()), Health.FAILED),
    ],
)
def test_health_follows_from_the_metrics(nodes: NodeStates, metrics: Metrics, expected: Health) -> None:
    asked: list[tuple[str, str, tuple[str, ...]]] = []

    def health_of(cluster: str, host: str, expected_metrics: Iterable[str]) -> Metrics:
        asked.append((cluster, host, tuple(expected_metrics)))
        return metrics

    nodes.report(NodeStateReport("tern", (NodeState("tn0001", ("idle",)),)), health_of, NOW_S)
    (status,) = nodes.states("tern")
    assert asked == [("tern", "tn0001", ("cpu_load", "mem_used"))]
    assert (status.health, status.missing_metrics, status.degraded_metrics) == (
        expected,
        tuple(metrics.missing),
        tuple(metrics.degraded),
    )


def test_nothing_is_expected_of_a_node_that_is_down(nodes: NodeStates) -> None:
    def fails(cluster: str, host: str, metrics: Iterable[str]) -> Metrics:
        raise AssertionError

    nodes.report(NodeStateReport("tern", (NodeState("tn0001", ("DOWN",)),)), fails, NOW_S)
    assert nodes.states()[0].health is Health.FULL


def test_a_failure_in_the_middle_stores_nothing(nodes: NodeStates) -> None:
    report = NodeStateReport("tern", (NodeState("tn0001"), NodeState("tn0002", cpus_allocated=2**70)))
    with pytest.raises(InvalidInput):
        nodes.report(report, all_well, NOW_S)
    assert nodes.states() == []


def test_pruning_keeps_the_newest_of_each_node(nodes: NodeStates) -> None:
    for time_s in (100, 200):
        nodes.report(NodeStateReport("tern", (NodeState("tn0001"), NodeState("tn0002"))), all_well, time_s)
    nodes.report(NodeStateReport("tern", (NodeState("tn0002"),)), all_well, 300)
    assert nodes.prune(1000) == 3
    assert [(status.hostname, status.time_s) for status in nodes.states()] == [("tn0001", 200), ("tn0002", 300)]
