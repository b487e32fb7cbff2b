"""Node states as schedulers report them, together with the health of the nodes' metrics.

Only changes are stored, as `node_state_times` says; `node_history` reads the past.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import peewee

from cc_backend.clusters import ClusterRegistry, is_job_metric
from cc_backend.db.database import Database
from cc_backend.db.fields import stored_integer, stored_strings
from cc_backend.errors import InvalidInput
from cc_backend.jobs.node_state_times import STATE_COLUMNS, TIME_COLUMNS, KnownNode, changed_rows
from cc_backend.jobs.tables import NodeRow, NodeStateRow
from cc_common.error_codes import ErrorCode
from cc_common.nearest_name import did_you_mean
from cc_common.node_states import NodeState, NodeStateReport

logger = logging.getLogger(__name__)


_PRUNE_BATCH = 10_000
_NODE = "(SELECT id FROM node WHERE cluster = ? AND hostname = ?)"
_ADD_NODE = (
    "INSERT INTO node (cluster, hostname, sub_cluster, latest_id, seen_s) VALUES (?, ?, ?, 0, 0) ON CONFLICT DO NOTHING"
)
_MOVE_NODE = "UPDATE node SET sub_cluster = ? WHERE cluster = ? AND hostname = ?"
_ADD_STATE = (
    f"INSERT INTO node_state (time_s, {', '.join((*STATE_COLUMNS, *TIME_COLUMNS))}, node_id) "  # noqa: S608 constants
    f"VALUES ({'?, ' * (1 + len(STATE_COLUMNS) + len(TIME_COLUMNS))}{_NODE})"
)
_LINK_STATE = (
    "UPDATE node SET latest_id = (SELECT MAX(id) FROM node_state WHERE node_id = node.id) "
    "WHERE cluster = ? AND hostname = ?"
)
_HOSTS_PER_STATEMENT = 10_000  # SQLite allows 32766 variables


class SchedulerState(StrEnum):
    """State of a node, reduced to one word."""

    ALLOCATED = "allocated"
    RESERVED = "reserved"
    IDLE = "idle"
    MIXED = "mixed"
    DOWN = "down"
    UNKNOWN = "unknown"


class NodeHealth(StrEnum):
    """Whether all, some or none of a node's expected metrics arrive."""

    FULL = "full"
    PARTIAL = "partial"
    FAILED = "failed"


class MetricHealth(Protocol):
    """Metrics of a host that never arrived, no longer arrive, or arrive: implemented by `metricstore.HostHealth`."""

    @property
    def missing(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def degraded(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def healthy(self) -> Sequence[str]: ...  # noqa: D102


_STATES = frozenset(map(str, SchedulerState))
_HEALTHS = frozenset(map(str, NodeHealth))

HealthLookup = Callable[[str, str, Iterable[str]], MetricHealth]
"""(cluster, host, expected metrics) -> health of these metrics."""


@dataclass(frozen=True, slots=True)
class NodeReportResult:
    """Number of stored nodes of a report, and its hosts that no subcluster has."""

    accepted: int
    rejected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """Latest status of a node; `reported_states` are the scheduler's own words, memory is MB.

    `last_report_s` is the time of the newest report, `since_s` that of the first in a row with this content.
    """

    cluster: str
    sub_cluster: str
    hostname: str
    last_report_s: int
    state: SchedulerState
    reported_states: tuple[str, ...]
    health: NodeHealth
    missing_metrics: tuple[str, ...]
    degraded_metrics: tuple[str, ...]
    cpus_allocated: int
    memory_allocated: int
    gpus_allocated: int
    jobs_running: int
    since_s: int = 0


@dataclass(frozen=True, slots=True)
class NodeFilter:
    """Conditions on nodes, all of which must hold; empty sets none, entries of one tuple are alternatives."""

    clusters: tuple[str, ...] = ()
    sub_clusters: tuple[str, ...] = ()
    hostnames: tuple[str, ...] = ()
    states: tuple[SchedulerState, ...] = ()

    def limit(self, query: Any) -> Any:
        """A query of nodes and their newest rows, limited to those that match."""
        lists: tuple[tuple[Any, tuple[str, ...]], ...] = (
            (NodeRow.cluster, self.clusters),
            (NodeRow.sub_cluster, self.sub_clusters),
            (NodeRow.hostname, self.hostnames),
            (NodeStateRow.state, self.states),
        )
        conditions = [column.in_(values) for column, values in lists if values]
        return query.where(*conditions) if conditions else query


class _NodeRecord(NamedTuple):
    """One node of a report; `state` are the values of the columns."""

    hostname: str
    sub_cluster: str
    state: tuple[Any, ...]


class NodeStates:
    """Stores and reads the reports about nodes."""

    def __init__(self, database: Database, clusters: ClusterRegistry) -> None:
        self._database = database
        self._clusters = clusters

    def store_report(self, report: NodeStateReport, health_of: HealthLookup, now_s: int) -> NodeReportResult:
        """Store a report in one transaction.

        Raises:
            InvalidInput: there is no such cluster.
        """
        if report.cluster not in self._clusters:
            hint = did_you_mean(report.cluster, self._clusters.names())
            text = f"cluster: there is no cluster {report.cluster[:80]!r}{hint}"
            raise InvalidInput(text, code=ErrorCode.UNKNOWN_CLUSTER)
        rejected: list[str] = []
        rows: list[_NodeRecord] = []
        for node in {node.hostname: node for node in report.nodes}.values():
            try:
                sub_cluster = self._clusters.sub_cluster_for(report.cluster, node.hostname)
            except InvalidInput:
                rejected.append(node.hostname)
                continue
            # nodes without jobs send no metrics of jobs
            expected = [name for name, config in sub_cluster.metrics.items() if not is_job_metric(config)]
            state = _state_columns(node, report.cluster, expected, health_of)
            rows.append(_NodeRecord(node.hostname, sub_cluster.name, state))
        self._store(report.cluster, rows, now_s)
        if rejected:
            logger.warning(
                "rejected nodes cluster=%s count=%d first=%r reason=in_no_subcluster",
                report.cluster,
                len(rejected),
                rejected[0][:80],
            )
        return NodeReportResult(len(rows), tuple(rejected))

    def latest(self, cluster: str | None = None) -> list[NodeStatus]:
        """The latest status of each reported node of one cluster or all, sorted by cluster and host name."""
        return self.find(NodeFilter() if cluster is None else NodeFilter(clusters=(cluster,)))

    def find(self, node_filter: NodeFilter, *, limit: int | None = None, offset: int = 0) -> list[NodeStatus]:
        """The latest status of the reported nodes that match, sorted by cluster and host name."""
        stored = (getattr(NodeStateRow, column) for column in ("time_s", *STATE_COLUMNS))
        query = (
            NodeStateRow.select(*stored, NodeRow.cluster, NodeRow.sub_cluster, NodeRow.hostname, NodeRow.seen_s)
            .join(NodeRow, on=(NodeRow.latest_id == NodeStateRow.id))
            .order_by(NodeRow.cluster, NodeRow.hostname)
        )
        query = node_filter.limit(query)
        if limit is not None:
            query = query.limit(limit).offset(offset)
        return [_node_status(columns) for columns in query.dicts().execute(self._database)]

    def count_by_state(self, node_filter: NodeFilter | None = None) -> dict[str, dict[str, int]]:
        """Cluster -> scheduler's state -> number of the nodes that match, by their newest report."""
        query = (
            NodeStateRow.select(NodeRow.cluster, NodeStateRow.state, peewee.fn.COUNT(NodeRow.id))
            .join(NodeRow, on=(NodeRow.latest_id == NodeStateRow.id))
            .group_by(NodeRow.cluster, NodeStateRow.state)
        )
        found: dict[str, dict[str, int]] = {}
        for cluster, state, number in (node_filter or NodeFilter()).limit(query).tuples().execute(self._database):
            found.setdefault(cluster, {})[state] = number
        return found

    def prune(self, before_s: int, *, stopping: Callable[[], bool] = lambda: False) -> int:
        """Remove the states that ended before a time, 10,000 at a time; returns their number.

        The newest row of each node stays, and so does the row of the state that it was in at that time.
        """
        removed = 0
        newest = NodeRow.select(NodeRow.latest_id)
        next_row = NodeStateRow.alias()
        follows = (next_row.time_s > NodeStateRow.time_s) | (next_row.id > NodeStateRow.id)
        ended = next_row.select(peewee.SQL("1")).where(
            next_row.node == NodeStateRow.node, next_row.time_s.between(NodeStateRow.time_s, before_s), follows
        )
        old = (
            NodeStateRow.select(NodeStateRow.id)
            .where(NodeStateRow.time_s < before_s, NodeStateRow.id.not_in(newest), peewee.fn.EXISTS(ended))
            .limit(_PRUNE_BATCH)
        )
        while not stopping():
            with self._database.write():
                count = int(NodeStateRow.delete().where(NodeStateRow.id.in_(old)).execute(self._database))
            removed += count
            if count < _PRUNE_BATCH:
                break
        return removed

    def _store(self, cluster: str, rows: Sequence[_NodeRecord], now_s: int) -> None:
        """Insert rows for changed nodes, and update the time of all; compares outside the write lock."""
        known = self._read_known(cluster)
        new = [row for row in rows if row.hostname not in known]
        moved = [row for row in rows if row.hostname in known and known[row.hostname].sub_cluster != row.sub_cluster]
        changes = [
            (*columns, cluster, row.hostname)
            for row in rows
            for columns in changed_rows(known.get(row.hostname), row.state, now_s)
        ]
        with self._database.write():
            many = self._database.execute_many
            if new:
                many(_ADD_NODE, [(cluster, row.hostname, row.sub_cluster) for row in new])
            if moved:
                many(_MOVE_NODE, [(row.sub_cluster, cluster, row.hostname) for row in moved])
            if changes:
                many(_ADD_STATE, changes)
                many(_LINK_STATE, list({columns[-2:] for columns in changes}))
            for at in range(0, len(rows), _HOSTS_PER_STATEMENT):
                hosts = [row.hostname for row in rows[at : at + _HOSTS_PER_STATEMENT]]
                self._database.run_sql(_see_nodes(len(hosts)), now_s, cluster, *hosts)

    def _read_known(self, cluster: str) -> dict[str, KnownNode]:
        """Host -> what is stored of it."""
        stored = [getattr(NodeStateRow, column) for column in (*STATE_COLUMNS, *TIME_COLUMNS)]
        query = (
            NodeRow.select(NodeRow.hostname, NodeRow.sub_cluster, NodeRow.seen_s, NodeStateRow.time_s, *stored)
            .join(NodeStateRow, peewee.JOIN.LEFT_OUTER, on=(NodeRow.latest_id == NodeStateRow.id))
            .where(NodeRow.cluster == cluster)
        )
        width = len(STATE_COLUMNS)
        return {
            host: KnownNode(
                sub_cluster,
                stored_integer(seen_s),
                stored_integer(time_s),
                tuple(columns[:width]),
                tuple(map(stored_integer, columns[width:])),
            )
            for host, sub_cluster, seen_s, time_s, *columns in self._database.raw_rows(query)
        }


def _see_nodes(count: int) -> str:
    return f"UPDATE node SET seen_s = ? WHERE cluster = ? AND hostname IN ({', '.join('?' * count)})"  # noqa: S608


def reduce_states(states: Iterable[str]) -> SchedulerState:
    """The reduced state for a scheduler's words in any case; the first matching rule wins."""
    words = {state.lower() for state in states}
    if "allocated" in words:
        return SchedulerState.ALLOCATED
    if "reserved" in words:
        return SchedulerState.RESERVED
    if "down" in words:
        return SchedulerState.DOWN
    if "idle" in words:
        return SchedulerState.IDLE
    return SchedulerState.MIXED if "mixed" in words else SchedulerState.UNKNOWN


def reduce_health(health: MetricHealth) -> NodeHealth:
    """Full if every expected metric arrives, failed if none does, otherwise partial."""
    if not health.missing and not health.degraded:
        return NodeHealth.FULL
    return NodeHealth.PARTIAL if health.healthy else NodeHealth.FAILED


def _state_columns(node: NodeState, cluster: str, metrics: Iterable[str], health_of: HealthLookup) -> tuple[Any, ...]:
    """The values of `STATE_COLUMNS` as stored."""
    state = reduce_states(node.states)
    health, missing, degraded = NodeHealth.FULL, [], []
    if state is not SchedulerState.DOWN:  # no metrics are expected from a node that is down
        metric_health = health_of(cluster, node.hostname, metrics)
        health = reduce_health(metric_health)
        missing, degraded = list(metric_health.missing), list(metric_health.degraded)
    return (
        str(state),
        NodeStateRow.reported_states.db_value(list(node.states)),
        str(health),
        NodeStateRow.missing_metrics.db_value(missing),
        NodeStateRow.degraded_metrics.db_value(degraded),
        node.cpus_allocated,
        node.memory_allocated,
        node.gpus_allocated,
        node.jobs_running,
    )


def state_values(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a state that `NodeStatus` and `node_history.NodeStateSpan` share, from the columns of its row."""
    return {
        "state": SchedulerState(columns["state"]) if columns["state"] in _STATES else SchedulerState.UNKNOWN,
        "reported_states": stored_strings(columns["reported_states"]),
        "health": NodeHealth(columns["health"]) if columns["health"] in _HEALTHS else NodeHealth.FAILED,
        "missing_metrics": stored_strings(columns["missing_metrics"]),
        "degraded_metrics": stored_strings(columns["degraded_metrics"]),
        "cpus_allocated": columns["cpus_allocated"],
        "memory_allocated": columns["memory_allocated"],
        "gpus_allocated": columns["gpus_allocated"],
        "jobs_running": columns["jobs_running"],
    }


def _node_status(columns: Mapping[str, Any]) -> NodeStatus:
    return NodeStatus(
        cluster=columns["cluster"],
        sub_cluster=columns["sub_cluster"],
        hostname=columns["hostname"],
        last_report_s=columns["seen_s"],
        since_s=columns["time_s"],
        **state_values(columns),
    )
