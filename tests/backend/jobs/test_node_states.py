from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from cc_backend.clusters import ClusterRegistry
from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput
from cc_backend.jobs.node_states import NodeHealth, NodeStates, SchedulerState, reduce_states
from cc_common.node_states import NodeState, NodeStateReport

NOW_S = 1_760_000_000


@dataclass(frozen=True)
class Metrics:
    missing: Sequence[str] = ()
    degraded: Sequence[str] = ()
    healthy: Sequence[str] = ("cpu_load", "mem_used")


def all_well(cluster: str, host: str, metrics: Iterable[str]) -> Metrics:
    return Metrics()


@pytest.fixture
def nodes(database: Database, clusters: ClusterRegistry) -> NodeStates:
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
    nodes.store_report(NodeStateReport("tern", (NodeState("tn0001", ("IDLE",)),)), all_well, NOW_S)
    later = NodeState("tn0001", ("MIXED", "DRAIN"), 16, 64000, 1, 2)
    result = nodes.store_report(NodeStateReport("tern", (later,)), all_well, NOW_S + 60)
    (status,) = nodes.latest("tern")
    assert (result.accepted, result.rejected) == (1, ())
    assert (status.state, status.reported_states, status.last_report_s) == (
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
    result = nodes.store_report(report, all_well, NOW_S)
    assert (result.accepted, result.rejected) == (1, ("elsewhere", ""))
    assert [status.hostname for status in nodes.latest()] == ["tn0001"]


def test_a_subcluster_for_all_hosts_takes_every_node(nodes: NodeStates) -> None:
    result = nodes.store_report(NodeStateReport("skua", (NodeState("whatever"),)), all_well, NOW_S)
    assert result.accepted == 1


def test_an_unknown_cluster_is_refused(nodes: NodeStates) -> None:
    with pytest.raises(InvalidInput, match="cluster"):
        nodes.store_report(NodeStateReport("unknown", ()), all_well, NOW_S)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (Metrics(), NodeHealth.FULL),
        (Metrics(missing=("mem_used",), healthy=("cpu_load",)), NodeHealth.PARTIAL),
        (Metrics(degraded=("mem_used",), healthy=("cpu_load",)), NodeHealth.PARTIAL),
        (Metrics(missing=("cpu_load", "mem_used"), healthy=()), NodeHealth.FAILED),
    ],
)
def test_health_follows_from_the_metrics(nodes: NodeStates, metrics: Metrics, expected: NodeHealth) -> None:
    asked: list[tuple[str, str, tuple[str, ...]]] = []

    def health_of(cluster: str, host: str, expected_metrics: Iterable[str]) -> Metrics:
        asked.append((cluster, host, tuple(expected_metrics)))
        return metrics

    nodes.store_report(NodeStateReport("tern", (NodeState("tn0001", ("idle",)),)), health_of, NOW_S)
    (status,) = nodes.latest("tern")
    assert asked == [("tern", "tn0001", ("cpu_load", "mem_used"))]
    assert (status.health, status.missing_metrics, status.degraded_metrics) == (
        expected,
        tuple(metrics.missing),
        tuple(metrics.degraded),
    )


def test_nothing_is_expected_of_a_node_that_is_down(nodes: NodeStates) -> None:
    def fails(cluster: str, host: str, metrics: Iterable[str]) -> Metrics:
        raise AssertionError

    nodes.store_report(NodeStateReport("tern", (NodeState("tn0001", ("DOWN",)),)), fails, NOW_S)
    assert nodes.latest()[0].health is NodeHealth.FULL


def test_a_failure_in_the_middle_stores_nothing(nodes: NodeStates) -> None:
    report = NodeStateReport("tern", (NodeState("tn0001"), NodeState("tn0002", cpus_allocated=2**70)))
    with pytest.raises(InvalidInput):
        nodes.store_report(report, all_well, NOW_S)
    assert nodes.latest() == []


def report_of(nodes: NodeStates, time_s: int, **cpus: int) -> None:
    """A report with so many allocated hardware threads by host."""
    states = tuple(NodeState(host, ("allocated",), cpus_allocated=number) for host, number in cpus.items())
    nodes.store_report(NodeStateReport("tern", states), all_well, time_s)


def count_rows(database: Database) -> int:
    row = database.first_row("SELECT COUNT(*) FROM node_state")
    assert row is not None
    return int(row[0])


def test_a_report_that_says_nothing_new_leaves_no_row_and_the_time_is_known_all_the_same(
    nodes: NodeStates, database: Database
) -> None:
    for minute in range(10):
        report_of(nodes, NOW_S + 60 * minute, tn0001=4, tn0002=8)
    assert count_rows(database) == 2
    assert [(status.last_report_s, status.since_s) for status in nodes.latest()] == [(NOW_S + 540, NOW_S)] * 2


@pytest.mark.parametrize(
    "changes",
    [
        {"states": ("drain", "allocated")},
        {"states": ("down",)},
        {"cpus_allocated": 5},
        {"memory_allocated": 5},
        {"gpus_allocated": 5},
        {"jobs_running": 5},
    ],
)
def test_whatever_changes_of_a_node_leaves_a_row_for_this_node_alone(
    nodes: NodeStates, database: Database, changes: dict[str, Any]
) -> None:
    both = (NodeState("tn0001", ("allocated",)), NodeState("tn0002", ("allocated",)))
    nodes.store_report(NodeStateReport("tern", both), all_well, NOW_S)
    changed = NodeState("tn0001", **{"states": ("allocated",), **changes})
    nodes.store_report(NodeStateReport("tern", (changed, both[1])), all_well, NOW_S + 60)
    assert count_rows(database) == 3
    assert [(status.since_s, status.last_report_s) for status in nodes.latest()] == [
        (NOW_S + 60, NOW_S + 60),
        (NOW_S, NOW_S + 60),
    ]


def test_so_do_metrics_that_come_no_more(nodes: NodeStates, database: Database) -> None:
    report = NodeStateReport("tern", (NodeState("tn0001", ("allocated",)),))
    for minute, missing in enumerate(((), ("mem_used",), ("mem_used",), ("cpu_load",))):
        nodes.store_report(report, lambda *_, missing=missing: Metrics(missing=missing), NOW_S + 60 * minute)
    assert count_rows(database) == 3
    assert nodes.latest()[0].missing_metrics == ("cpu_load",)


def test_a_node_that_is_not_reported_any_more_keeps_its_time(nodes: NodeStates) -> None:
    report_of(nodes, NOW_S, tn0001=1, tn0002=1)
    report_of(nodes, NOW_S + 60, tn0002=1)
    assert [status.last_report_s for status in nodes.latest()] == [NOW_S, NOW_S + 60]


def test_the_newest_report_counts_after_the_clock_was_set_back(nodes: NodeStates) -> None:
    report_of(nodes, NOW_S, tn0001=1)
    report_of(nodes, NOW_S - 3600, tn0001=2)
    (status,) = nodes.latest()
    assert (status.cpus_allocated, status.last_report_s) == (2, NOW_S - 3600)


def test_a_report_of_a_thousand_nodes_takes_few_statements(
    nodes: NodeStates, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = tuple(NodeState(f"node{number}", ("idle",)) for number in range(1000))
    run: list[str] = []
    for name in ("execute_many", "run_sql"):
        real = getattr(database, name)
        monkeypatch.setattr(database, name, lambda sql, *more, real=real: (run.append(sql), real(sql, *more))[1])
    nodes.store_report(NodeStateReport("skua", states), all_well, NOW_S)
    assert len(run) == 4
    run.clear()
    nodes.store_report(NodeStateReport("skua", states), all_well, NOW_S + 60)
    assert len(run) == 1


def test_pruning_keeps_the_newest_of_each_node(nodes: NodeStates) -> None:
    for time_s in (100, 200):
        report_of(nodes, time_s, tn0001=time_s, tn0002=time_s)
    report_of(nodes, 300, tn0002=300)
    assert nodes.prune(1000, stopping=lambda: True) == 0
    assert nodes.prune(1000) == 3
    assert [(status.hostname, status.last_report_s) for status in nodes.latest()] == [("tn0001", 200), ("tn0002", 300)]
