"""What nodes did over time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_backend.clusters import ClusterRegistry
from cc_backend.db.database import Database
from cc_backend.jobs.node_history import NodeHistory, sum_times
from cc_backend.jobs.node_state_times import MAX_REPORT_GAP_S, recompute_state_times
from cc_backend.jobs.node_states import NodeFilter, NodeStates, SchedulerState
from cc_backend.jobs.tables import NodeRow, NodeStateRow
from cc_common.node_states import NodeState, NodeStateReport

T = 1_760_000_000
TERN = NodeFilter(clusters=("tern",))


@dataclass(frozen=True)
class Metrics:
    missing: Sequence[str] = ()
    degraded: Sequence[str] = ()
    healthy: Sequence[str] = ("cpu_load", "mem_used")


def all_well(cluster: str, host: str, metrics: Iterable[str]) -> Metrics:
    return Metrics()


class Reports:
    """Stores reports of nodes of the cluster tern."""

    def __init__(self, database: Database, clusters: ClusterRegistry) -> None:
        self.states = NodeStates(database, clusters)

    def __call__(self, time_s: int, **states: str) -> None:
        nodes = tuple(NodeState(host, (state,)) for host, state in states.items())
        self.states.store_report(NodeStateReport("tern", nodes), all_well, time_s)


@pytest.fixture
def report(database: Database, clusters: ClusterRegistry) -> Reports:
    return Reports(database, clusters)


@pytest.fixture
def history(database: Database) -> NodeHistory:
    return NodeHistory(database)


def seconds(history: NodeHistory, from_s: int, to_s: int, node_filter: NodeFilter = TERN) -> dict[str, int]:
    return {str(state): value for state, value in sum_times(history.times(node_filter, from_s, to_s)).items() if value}


def spans(history: NodeHistory, from_s: int, to_s: int, limit: int = 100) -> list[tuple[int, int, str]]:
    found, _ = history.spans("tern", "tn0001", from_s, to_s, limit=limit)
    return [(span.from_s, span.to_s, str(span.state)) for span in found]


@pytest.fixture
def day(report: Reports) -> None:
    """tn0001 is idle for 60 s, allocated for 120 s, down for 60 s, and was last reported then."""
    report(T, tn0001="IDLE")
    report(T + 60, tn0001="ALLOCATED")
    report(T + 120, tn0001="ALLOCATED")
    report(T + 180, tn0001="DOWN")
    report(T + 240, tn0001="DOWN")


@pytest.mark.parametrize(
    ("from_s", "to_s", "expected"),
    [
        (T, T + 240, {"idle": 60, "allocated": 120, "down": 60}),
        (T, T + 60, {"idle": 60}),
        (T, T + 61, {"idle": 60, "allocated": 1}),
        (T + 59, T + 61, {"idle": 1, "allocated": 1}),
        (T + 60, T + 180, {"allocated": 120}),
        (T + 61, T + 62, {"allocated": 1}),
        (T - 100, T + 10, {"unknown": 100, "idle": 10}),
        (T - 100, T, {"unknown": 100}),
        (T - 100, T - 50, {"unknown": 50}),
        (T + 180, T + 250, {"down": 70}),  # the next report may still come
        (T + 180, T + 240 + MAX_REPORT_GAP_S, {"down": 60 + MAX_REPORT_GAP_S}),
        (T + 180, T + 241 + MAX_REPORT_GAP_S, {"down": 60, "unknown": MAX_REPORT_GAP_S + 1}),
        (T + 5000, T + 5010, {"unknown": 10}),
    ],
)
@pytest.mark.usefixtures("day")
def test_times_are_exact_at_the_edges(history: NodeHistory, from_s: int, to_s: int, expected: dict[str, int]) -> None:
    assert seconds(history, from_s, to_s) == expected
    lasted: dict[str, int] = {}
    for begin_s, end_s, state in spans(history, from_s, to_s):
        lasted[state] = lasted.get(state, 0) + end_s - begin_s
    # spans begin with the first known state
    assert {**lasted, "unknown": 0} == {**expected, "unknown": 0}


@pytest.mark.usefixtures("day")
def test_spans_follow_each_other_and_are_cut_at_the_edges(history: NodeHistory) -> None:
    assert spans(history, T - 50, T + 200) == [
        (T, T + 60, "idle"),
        (T + 60, T + 180, "allocated"),
        (T + 180, T + 200, "down"),
    ]
    assert spans(history, T + 70, T + 80) == [(T + 70, T + 80, "allocated")]


@pytest.mark.usefixtures("day")
def test_too_many_spans_are_the_newest_and_it_is_said(history: NodeHistory) -> None:
    assert spans(history, T, T + 200, limit=2) == [(T + 60, T + 180, "allocated"), (T + 180, T + 200, "down")]
    assert history.spans("tern", "tn0001", T, T + 200, limit=2)[1]
    assert not history.spans("tern", "tn0001", T, T + 200, limit=3)[1]
    assert spans(history, T, T + 200, limit=1) == [(T + 180, T + 200, "down")]


@pytest.mark.parametrize(
    ("at_s", "state"), [(T - 1, "unknown"), (T, "idle"), (T + 59, "idle"), (T + 60, "allocated"), (T + 5000, "unknown")]
)
@pytest.mark.usefixtures("day")
def test_the_state_at_a_time(history: NodeHistory, at_s: int, state: str) -> None:
    found = history.state_at("tern", "tn0001", at_s)
    assert found is not None
    assert found.state == state


@pytest.mark.usefixtures("day")
def test_a_node_that_was_never_reported_has_no_state(history: NodeHistory) -> None:
    assert history.state_at("tern", "tn0002", T) is None
    assert history.state_at("skua", "tn0001", T) is None
    assert history.spans("tern", "tn0002", T, T + 10, limit=5) == ([], False)


def test_the_schedulers_words_and_the_allocation_are_kept(report: Reports, history: NodeHistory) -> None:
    node = NodeState("tn0001", ("MIXED", "DRAIN"), 16, 64000, 1, 2)
    report.states.store_report(
        NodeStateReport("tern", (node,)), lambda *_: Metrics(missing=("mem_used",), healthy=("cpu_load",)), T
    )
    found = history.state_at("tern", "tn0001", T + 1)
    assert found is not None
    assert (found.reported_states, found.health, found.missing_metrics) == (
        ("MIXED", "DRAIN"),
        "partial",
        ("mem_used",),
    )
    assert (found.cpus_allocated, found.memory_allocated, found.gpus_allocated, found.jobs_running) == (16, 64000, 1, 2)


def test_without_reports_the_state_is_unknown_also_afterwards(report: Reports, history: NodeHistory) -> None:
    report(T, tn0001="IDLE")
    report(T + 60, tn0001="IDLE")
    report(T + 5000, tn0001="IDLE")
    report(T + 5060, tn0001="IDLE")
    assert seconds(history, T, T + 5060) == {"idle": 120, "unknown": 4940}
    assert spans(history, T, T + 5060) == [
        (T, T + 60, "idle"),
        (T + 60, T + 5000, "unknown"),
        (T + 5000, T + 5060, "idle"),
    ]


def test_nodes_are_found_by_cluster_subcluster_and_name(report: Reports, history: NodeHistory) -> None:
    report(T, tn0001="IDLE", tn0002="DOWN", tf01="MIXED")
    for node_filter, expected in (
        (TERN, {"idle": 60, "down": 60, "mixed": 60}),
        (NodeFilter(clusters=("tern",), sub_clusters=("std",)), {"idle": 60, "down": 60}),
        (NodeFilter(clusters=("tern",), hostnames=("tn0002", "tf01")), {"down": 60, "mixed": 60}),
        (NodeFilter(clusters=("skua",)), {}),
        (NodeFilter(), {"idle": 60, "down": 60, "mixed": 60}),
    ):
        assert seconds(history, T, T + 60, node_filter) == expected


def test_what_was_removed_is_unknown_and_the_rest_stays_exact(report: Reports, history: NodeHistory) -> None:
    for minute, state in enumerate(("IDLE", "DOWN", "IDLE", "ALLOCATED", "ALLOCATED")):
        report(T + 60 * minute, tn0001=state)
    before = seconds(history, T + 130, T + 240)
    assert report.states.prune(T + 130) == 2
    assert seconds(history, T + 130, T + 240) == before
    assert seconds(history, T, T + 240) == {"unknown": 120, "idle": 60, "allocated": 60}


def test_the_state_that_a_node_was_in_is_not_removed_however_long_ago_it_began(
    report: Reports, history: NodeHistory
) -> None:
    report(T, tn0001="IDLE")
    for minute in range(1, 100):
        report(T + 60 * minute, tn0001="IDLE")
    report(T + 6000, tn0001="DOWN")
    assert report.states.prune(T + 5000) == 0
    assert seconds(history, T + 5000, T + 6000) == {"idle": 1000}


def test_damaged_rows_make_no_time_that_is_not_there(report: Reports, history: NodeHistory, database: Database) -> None:
    report(T, tn0001="IDLE")
    report(T + 60, tn0001="DOWN")
    with database.write():
        NodeStateRow.update(idle_s=10**12).where(NodeStateRow.time_s == T + 60).execute(database)
    assert sum(seconds(history, T, T + 100).values()) == 100
    with database.write():
        recompute_state_times(database)
    assert seconds(history, T, T + 100) == {"idle": 60, "down": 40}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL has whole numbers only
def test_a_text_in_place_of_a_number_is_an_unknown_time(
    report: Reports, history: NodeHistory, database: Database
) -> None:
    report(T, tn0001="IDLE", tn0002="IDLE")
    with database.write():
        database.run_sql("UPDATE node_state SET idle_s = 'much' WHERE node_id = 1")
    report(T + 60, tn0001="DOWN", tn0002="DOWN")
    assert seconds(history, T, T + 100) == {"idle": 60, "down": 40, "unknown": 100}


def test_times_of_a_database_of_before_are_computed_by_its_upgrade(
    report: Reports, history: NodeHistory, database: Database
) -> None:
    for minute, state in enumerate(("IDLE", "DOWN", "IDLE", "ALLOCATED")):
        report(T + 60 * minute, tn0001=state, tn0002="MIXED")
    before = seconds(history, T, T + 200)
    with database.write():
        NodeStateRow.update(idle_s=0, down_s=0, mixed_s=0, allocated_s=0).execute(database)
        assert seconds(history, T, T + 200) != before
        recompute_state_times(database)
    assert seconds(history, T, T + 200) == before


STEPS = st.lists(
    st.tuples(st.integers(1, 2000), st.sampled_from(["idle", "allocated", "down", "mixed", "reserved", "drain"])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(STEPS, st.integers(-100, 6000), st.integers(1, 6000))
def test_times_are_what_second_by_second_counting_gives(
    report: Reports, history: NodeHistory, steps: Any, begin: int, length: int
) -> None:
    database = report.states._database
    with database.write():
        for table in (NodeStateRow, NodeRow):
            table.delete().execute(database)
    known: dict[int, str] = {}  # second -> state
    time_s, state = T, ""
    for step_s, word in steps:
        if state and step_s <= MAX_REPORT_GAP_S:
            known.update(dict.fromkeys(range(time_s, time_s + step_s), state))
        time_s += step_s
        state = "unknown" if word == "drain" else word
        report(time_s, tn0001=word)
    from_s, to_s = T + begin, T + begin + length
    if state and to_s - time_s <= MAX_REPORT_GAP_S:
        known.update(dict.fromkeys(range(time_s, to_s), state))
    expected: dict[str, int] = {}
    for second in range(from_s, to_s):
        expected[known.get(second, "unknown")] = expected.get(known.get(second, "unknown"), 0) + 1
    assert seconds(history, from_s, to_s) == expected
    assert {str(state) for state in SchedulerState} >= expected.keys()
