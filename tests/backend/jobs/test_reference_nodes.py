"""States of nodes from a job database of ClusterCockpit 1.5."""

from pathlib import Path
from typing import Any

import pytest

from cc_backend.clusters import ClusterRegistry
from cc_backend.db.database import Database
from cc_backend.jobs.node_history import STATES, NodeHistory
from cc_backend.jobs.node_states import NodeFilter, NodeStates
from cc_backend.jobs.reference_database import open_reference_database
from cc_backend.jobs.reference_import import DatabaseImportReport
from cc_backend.jobs.reference_nodes import import_node_states
from cc_common.node_states import NodeState, NodeStateReport

T = 1_760_000_000


class Old:
    """An old file with one node, and its import."""

    def __init__(self, file: Any, database: Database) -> None:
        self.file = file
        self.node = file.add("node", hostname="tn0001", cluster="tern", subcluster="std")
        self._database = database

    def report(self, time_s: int, state: str, **columns: Any) -> None:
        values = {"time_stamp": time_s, "node_state": state, "health_state": "full", "node_id": self.node}
        self.file.add("node_state", **{**values, **columns})

    def take(self, from_s: int = 0) -> DatabaseImportReport:
        report = DatabaseImportReport()
        with open_reference_database(self.file.path) as reference:
            import_node_states(self._database, reference, report, from_s, lambda *_: None)
        return report


@pytest.fixture
def old(reference_files: Any, tmp_path: Path, database: Database) -> Old:
    return Old(reference_files.ReferenceFile(tmp_path / "old.db"), database)


def rows(database: Database) -> list[tuple[int, str]]:
    found = database.execute_sql("SELECT time_s, state FROM node_state ORDER BY time_s, id")
    return [(time_s, state) for time_s, state in found]


def seconds(database: Database, from_s: int, to_s: int) -> dict[str, int]:
    (node,) = NodeHistory(database).times(NodeFilter(clusters=("tern",)), from_s, to_s)
    return {str(state): value for state, value in zip(STATES, node.seconds, strict=True) if value}


def test_only_changes_become_rows_and_the_newest_is_the_latest(
    old: Old, database: Database, clusters: ClusterRegistry
) -> None:
    for minute, state in enumerate(("idle", "idle", "allocated", "allocated", "down", "down")):
        old.report(T + 60 * minute, state)
    assert old.take().counts == {"nodes": {"new": 1}, "node states": {"new": 3}}
    assert rows(database) == [(T, "idle"), (T + 120, "allocated"), (T + 240, "down")]
    (status,) = NodeStates(database, clusters).latest("tern")
    assert (status.hostname, status.sub_cluster, status.state) == ("tn0001", "std", "down")
    assert (status.since_s, status.last_report_s, status.reported_states) == (T + 240, T + 300, ())
    assert seconds(database, T, T + 300) == {"idle": 120, "allocated": 120, "down": 60}


def test_allocations_and_health_come_along(old: Old, database: Database, clusters: ClusterRegistry) -> None:
    old.report(
        T,
        "mixed",
        health_state="partial",
        health_metrics={"missing": ["mem_bw"], "degraded": ["cpu_load"]},
        cpus_allocated=16,
        memory_allocated=64_000,
        gpus_allocated=2,
        jobs_running=3,
    )
    old.take()
    (status,) = NodeStates(database, clusters).latest("tern")
    assert (status.health, status.missing_metrics, status.degraded_metrics) == ("partial", ("mem_bw",), ("cpu_load",))
    assert (status.cpus_allocated, status.memory_allocated, status.gpus_allocated) == (16, 64_000, 2)
    assert status.jobs_running == 3


def test_the_older_schema_has_no_names_of_metrics(
    reference_files: Any, tmp_path: Path, database: Database, clusters: ClusterRegistry
) -> None:
    old = Old(reference_files.ReferenceFile(tmp_path / "ten.db", 10), database)
    old.report(T, "idle", health_state="failed")
    old.take()
    (status,) = NodeStates(database, clusters).latest("tern")
    assert (status.health, status.missing_metrics) == ("failed", ())


def test_time_without_reports_is_unknown(old: Old, database: Database) -> None:
    for time_s in (T, T + 60, T + 5000, T + 5060):
        old.report(time_s, "idle")
    old.take()
    assert rows(database) == [(T, "idle"), (T + 60, "unknown"), (T + 5000, "idle")]
    assert seconds(database, T, T + 5060) == {"idle": 120, "unknown": 4940}


def test_what_is_older_than_kept_is_left_out_except_the_state_that_held_then(old: Old, database: Database) -> None:
    for minute, state in enumerate(("idle", "allocated", "down", "mixed")):
        old.report(T + 60 * minute, state)
    old.take(from_s=T + 150)
    assert rows(database) == [(T + 120, "down"), (T + 180, "mixed")]


def test_a_node_that_reports_here_gets_what_was_before(old: Old, database: Database, clusters: ClusterRegistry) -> None:
    for minute, state in enumerate(("idle", "allocated", "down")):
        old.report(T + 60 * minute, state)
    states = NodeStates(database, clusters)
    report = NodeStateReport("tern", (NodeState("tn0001", ("MIXED",)),))
    states.store_report(report, lambda *_: _Well(), T + 100)
    assert old.take().counts == {"nodes": {"known already": 1}, "node states": {"new": 2}}
    assert rows(database) == [(T, "idle"), (T + 60, "allocated"), (T + 100, "mixed")]
    assert seconds(database, T, T + 130) == {"idle": 60, "allocated": 40, "mixed": 30}
    assert old.take().counts["node states"] == {"new": 0}
    assert states.latest("tern")[0].state == "mixed"
    states.store_report(NodeStateReport("tern", (NodeState("tn0001", ("IDLE",)),)), lambda *_: _Well(), T + 160)
    assert seconds(database, T, T + 170) == {"idle": 70, "allocated": 40, "mixed": 60}


def test_time_between_the_old_server_and_this_one_is_unknown(
    old: Old, database: Database, clusters: ClusterRegistry
) -> None:
    old.report(T, "idle")
    old.report(T + 60, "idle")
    report = NodeStateReport("tern", (NodeState("tn0001", ("MIXED",)),))
    NodeStates(database, clusters).store_report(report, lambda *_: _Well(), T + 10_000)
    old.take()
    assert seconds(database, T, T + 10_060) == {"idle": 60, "unknown": 9940, "mixed": 60}


@pytest.mark.parametrize(
    "columns",
    [
        {"node_state": "asleep"},
        {"health_state": "fine"},
        {"time_stamp": "yesterday"},
        {"time_stamp": 0},
        {"time_stamp": 2**61},
        {"cpus_allocated": -1},
        {"memory_allocated": "much"},
        {"jobs_running": 2**60},
    ],
)
def test_a_bad_state_costs_no_other(old: Old, database: Database, columns: dict[str, Any]) -> None:
    old.report(T, "idle")
    old.report(T + 30, "allocated", **columns)
    old.report(T + 60, "down")
    report = old.take()
    assert (report.refused, report.counts["node states"]) == (1, {"refused": 1, "new": 2})
    assert rows(database) == [(T, "idle"), (T + 60, "down")]


@pytest.mark.parametrize("metrics", ["{", "[1]", '{"missing": 5}', '{"missing": [1], "degraded": {}}', b"\xff"])
def test_unreadable_names_of_metrics_are_none(old: Old, clusters: ClusterRegistry, metrics: Any) -> None:
    old.report(T, "idle", health_metrics=metrics)
    assert old.take().refused == 0
    (status,) = NodeStates(old._database, clusters).latest("tern")
    assert (status.missing_metrics, status.degraded_metrics) == ((), ())


@pytest.mark.parametrize(
    "columns", [{"hostname": ""}, {"hostname": "a\nb"}, {"cluster": "x" * 300}, {"subcluster": b"x"}]
)
def test_a_bad_node_is_refused_and_named(old: Old, database: Database, columns: dict[str, Any]) -> None:
    old.file.add("node", **{"hostname": "tn0002", "cluster": "tern", "subcluster": "std", **columns})
    old.report(T, "idle")
    report = old.take()
    assert (report.refused, report.faults[0].startswith("node 2: ")) == (1, True)
    assert rows(database) == [(T, "idle")]


class _Well:
    missing = ()
    degraded = ()
    healthy = ("cpu_load",)
