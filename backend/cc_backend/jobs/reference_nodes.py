"""States of nodes from a job database of ClusterCockpit 1.5, one row for each change."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import orjson
import peewee

from cc_backend.db.database import Database
from cc_backend.db.fields import stored_strings
from cc_backend.jobs.limits import MAX_COUNT, MAX_NAME, MAX_START_S
from cc_backend.jobs.node_state_times import MAX_REPORT_GAP_S, STATE_COLUMNS, recompute_state_times
from cc_backend.jobs.node_states import NodeHealth, SchedulerState
from cc_backend.jobs.reference_database import ReferenceDatabase, Row
from cc_backend.jobs.tables import NodeRow, NodeStateRow

if TYPE_CHECKING:
    from cc_backend.jobs.reference_import import DatabaseImportReport

_STATES = frozenset(map(str, SchedulerState))
_HEALTHS = frozenset(map(str, NodeHealth))
_ALLOCATIONS = ("cpus_allocated", "memory_allocated", "gpus_allocated", "jobs_running")
_ROWS_PER_STATEMENT = 1000


def import_node_states(
    database: Database,
    reference: ReferenceDatabase,
    report: "DatabaseImportReport",
    from_s: int,
    progress: Callable[[str, int, int], None],
) -> None:
    """Import the states of all nodes from `from_s` on, each node in a transaction.

    Of a node that is known here, only what lies before its first state is taken over.
    """
    total = reference.count("node")
    for done, (id_, cluster, hostname, sub_cluster) in enumerate(list(reference.nodes()), start=1):
        names = (cluster, hostname, sub_cluster)
        if not all(isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable() for name in names):
            report.refuse(
                "nodes",
                f"node {id_}: cluster, host name or subcluster is empty, too long or cannot be shown; leave it out",
            )
            continue
        with database.write():
            node_id, is_new, first_s = _known_node(database, cluster, hostname, sub_cluster)
            reports = _reports(reference.node_states(id_, from_s=from_s), first_s, report)
            rows, seen_s = _changes(reports, first_s)
            for at in range(0, len(rows), _ROWS_PER_STATEMENT):
                some = [{**row, "node": node_id} for row in rows[at : at + _ROWS_PER_STATEMENT]]
                NodeStateRow.insert_many(some).execute(database)
            if rows:
                recompute_state_times(database, [node_id])
            if rows and first_s is None:
                newest = NodeStateRow.select(peewee.fn.MAX(NodeStateRow.id)).where(NodeStateRow.node == node_id)
                latest_id = newest.scalar(database)
                NodeRow.update(latest_id=latest_id, seen_s=seen_s).where(NodeRow.id == node_id).execute(database)
        report.count("nodes", "new" if is_new else "known already")
        report.count("node states", "new", len(rows))
        progress("nodes", done, total)


def _known_node(database: Database, cluster: str, hostname: str, sub_cluster: str) -> tuple[int, bool, int | None]:
    """Id of a node here, whether it is new, and the time of its first state."""
    same = (NodeRow.cluster == cluster) & (NodeRow.hostname == hostname)
    id_ = NodeRow.select(NodeRow.id).where(same).scalar(database)
    if id_ is None:
        new = NodeRow.insert(cluster=cluster, hostname=hostname, sub_cluster=sub_cluster)
        return int(new.execute(database)), True, None
    first_s = NodeStateRow.select(peewee.fn.MIN(NodeStateRow.time_s)).where(NodeStateRow.node == id_).scalar(database)
    return int(id_), False, None if first_s is None else int(first_s)


def _reports(rows: Iterator[Row], before_s: int | None, report: "DatabaseImportReport") -> Iterator[dict[str, Any]]:
    """The columns of each report before a time."""
    for row in rows:
        columns = _columns(row)
        if columns is None:
            text = f"a state of a node at {row[0]!r:.40} has values that no report has; leave it out"
            report.refuse("node states", text)
        elif before_s is None or columns["time_s"] < before_s:
            yield columns


def _changes(reports: Iterator[dict[str, Any]], before_s: int | None) -> tuple[list[dict[str, Any]], int]:
    """The reports that say something new with rows for times without reports, and the time of the last report."""
    rows: list[dict[str, Any]] = []
    seen_s = 0
    for columns in reports:
        if rows and columns["time_s"] - seen_s > MAX_REPORT_GAP_S:
            rows.append(_gap(rows[-1], seen_s))
        seen_s = columns["time_s"]
        if not rows or any(columns[name] != rows[-1][name] for name in STATE_COLUMNS):
            rows.append(columns)
    if rows and before_s is not None and before_s - seen_s > MAX_REPORT_GAP_S:
        rows.append(_gap(rows[-1], seen_s))
    return rows, seen_s


def _gap(last: dict[str, Any], seen_s: int) -> dict[str, Any]:
    """The row for a time without reports."""
    return {**last, **dict.fromkeys(_ALLOCATIONS, 0), "state": str(SchedulerState.UNKNOWN), "time_s": seen_s}


def _columns(row: Row) -> dict[str, Any] | None:
    """The columns of a report, None if it has values that no report has."""
    time_s, state, health, metrics, *allocations = row
    if type(time_s) is not int or not 0 < time_s <= MAX_START_S or state not in _STATES or health not in _HEALTHS:
        return None
    if not all(type(number) is int and 0 <= number <= MAX_COUNT for number in allocations):
        return None
    try:
        found = orjson.loads(metrics) if metrics else {}
    except (ValueError, TypeError):
        found = {}
    named = found if isinstance(found, dict) else {}
    return {
        "time_s": time_s,
        "state": state,
        "reported_states": [],  # the old server kept the reduced state only
        "health": health,
        "missing_metrics": list(stored_strings(named.get("missing"))),
        "degraded_metrics": list(stored_strings(named.get("degraded"))),
        **dict(zip(_ALLOCATIONS, allocations, strict=True)),
    }
