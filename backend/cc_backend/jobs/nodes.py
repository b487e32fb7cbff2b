"""What schedulers report about nodes, together with how well their metrics come in."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import peewee

from cc_backend.clusters import Clusters
from cc_backend.database import Database
from cc_backend.errors import InvalidInput
from cc_backend.jobs.tables import NodeRow, NodeStateRow
from cc_common.errorcodes import ErrorCode
from cc_common.nodestate import NodeState, NodeStateReport

logger = logging.getLogger(__name__)


class SchedulerState(StrEnum):
    """What a node does, in one word of the wire."""

    ALLOCATED = "allocated"
    RESERVED = "reserved"
    IDLE = "idle"
    MIXED = "mixed"
    DOWN = "down"
    UNKNOWN = "unknown"


class Health(StrEnum):
    """How well the metrics of a node come in."""

    FULL = "full"
    PARTIAL = "partial"
    FAILED = "failed"


class MetricHealth(Protocol):
    """Which metrics of a host never came, come no more, or come: `metricstore.HostHealth` is one."""

    @property
    def missing(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def degraded(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def healthy(self) -> Sequence[str]: ...  # noqa: D102


HealthOf = Callable[[str, str, Iterable[str]], MetricHealth]
"""Asked with cluster, host and the metrics that are expected of it."""


@dataclass(frozen=True, slots=True)
class ReportResult:
    """How many nodes of a report were taken, and the hosts that no subcluster has."""

    accepted: int
    rejected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The newest that is known of a node; `reported_states` are the scheduler's own words, memory is MB."""

    cluster: str
    sub_cluster: str
    hostname: str
    time_s: int
    state: SchedulerState
    reported_states: tuple[str, ...]
    health: Health
    missing_metrics: tuple[str, ...]
    degraded_metrics: tuple[str, ...]
    cpus_allocated: int
    memory_allocated: int
    gpus_allocated: int
    jobs_running: int


class NodeStates:
    """The reports about nodes in the database."""

    def __init__(self, database: Database, clusters: Clusters) -> None:
        self._database = database
        self._clusters = clusters

    def report(self, report: NodeStateReport, health_of: HealthOf, now_s: int) -> ReportResult:
        """Stores a report, all of it or nothing.

        Raises:
            InvalidInput: there is no such cluster.
        """
        if report.cluster not in self._clusters:
            text = f"cluster: there is no cluster {report.cluster[:80]!r}"
            raise InvalidInput(text, code=ErrorCode.UNKNOWN_CLUSTER)
        rejected: list[str] = []
        rows: list[tuple[str, dict[str, Any]]] = []
        for node in {node.hostname: node for node in report.nodes}.values():
            try:
                sub_cluster = self._clusters.sub_cluster_for(report.cluster, node.hostname)
            except InvalidInput:
                rejected.append(node.hostname)
                continue
            columns = _columns(node, report.cluster, sub_cluster.metrics, health_of, now_s)
            rows.append((sub_cluster.name, columns))
        with self._database.write():
            for sub_cluster_name, columns in rows:
                self._store(report.cluster, sub_cluster_name, columns)
        if rejected:
            logger.warning(
                "rejected nodes cluster=%s count=%d first=%r reason=in_no_subcluster",
                report.cluster,
                len(rejected),
                rejected[0][:80],
            )
        return ReportResult(len(rows), tuple(rejected))

    def states(self, cluster: str | None = None) -> list[NodeStatus]:
        """The newest of each node that was ever reported, of one cluster or of all, by cluster and host name."""
        query = (
            NodeStateRow.select(NodeStateRow, NodeRow.cluster, NodeRow.sub_cluster, NodeRow.hostname)
            .join(NodeRow, on=(NodeRow.latest_id == NodeStateRow.id))
            .order_by(NodeRow.cluster, NodeRow.hostname)
        )
        if cluster is not None:
            query = query.where(NodeRow.cluster == cluster)
        return [_status(columns) for columns in query.dicts().execute(self._database)]

    def count_by_state(self) -> dict[str, dict[str, int]]:
        """Cluster -> scheduler's state -> how many nodes are in it by their newest report."""
        query = (
            NodeStateRow.select(NodeRow.cluster, NodeStateRow.state, peewee.fn.COUNT(NodeRow.id))
            .join(NodeRow, on=(NodeRow.latest_id == NodeStateRow.id))
            .group_by(NodeRow.cluster, NodeStateRow.state)
        )
        found: dict[str, dict[str, int]] = {}
        for cluster, state, number in query.tuples().execute(self._database):
            found.setdefault(cluster, {})[state] = number
        return found

    def prune(self, before_s: int) -> int:
        """Removes reports from before a time, but never the newest of a node, and says how many."""
        newest = NodeRow.select(NodeRow.latest_id)
        with self._database.write():
            old = NodeStateRow.delete().where(NodeStateRow.time_s < before_s, NodeStateRow.id.not_in(newest))
            return int(old.execute(self._database))

    def _store(self, cluster: str, sub_cluster: str, columns: dict[str, Any]) -> None:
        hostname = columns.pop("hostname")
        same = (NodeRow.cluster == cluster) & (NodeRow.hostname == hostname)
        node = NodeRow.select(NodeRow.id).where(same).scalar(self._database)
        if node is None:
            new = NodeRow.insert(cluster=cluster, hostname=hostname, sub_cluster=sub_cluster)
            node = new.execute(self._database)
        latest = NodeStateRow.insert(node=node, **columns).execute(self._database)
        NodeRow.update(sub_cluster=sub_cluster, latest_id=latest).where(NodeRow.id == node).execute(self._database)


def reduce_states(states: Iterable[str]) -> SchedulerState:
    """One state for the words of a scheduler, whatever their case; the first rule that fits counts."""
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


def reduce_health(health: MetricHealth) -> Health:
    """Full when every expected metric comes, failed when none does, partial between."""
    if not health.missing and not health.degraded:
        return Health.FULL
    return Health.PARTIAL if health.healthy else Health.FAILED


def _columns(node: NodeState, cluster: str, metrics: Iterable[str], health_of: HealthOf, now_s: int) -> dict[str, Any]:
    state = reduce_states(node.states)
    health, missing, degraded = Health.FULL, [], []
    if state is not SchedulerState.DOWN:  # nothing is expected of a node that is down
        metric_health = health_of(cluster, node.hostname, metrics)
        health = reduce_health(metric_health)
        missing, degraded = list(metric_health.missing), list(metric_health.degraded)
    return {
        "hostname": node.hostname,
        "time_s": now_s,
        "state": str(state),
        "reported_states": list(node.states),
        "health": str(health),
        "missing_metrics": missing,
        "degraded_metrics": degraded,
        "cpus_allocated": node.cpus_allocated,
        "memory_allocated": node.memory_allocated,
        "gpus_allocated": node.gpus_allocated,
        "jobs_running": node.jobs_running,
    }


def _status(columns: dict[str, Any]) -> NodeStatus:
    return NodeStatus(
        cluster=columns["cluster"],
        sub_cluster=columns["sub_cluster"],
        hostname=columns["hostname"],
        time_s=columns["time_s"],
        state=SchedulerState(columns["state"]),
        reported_states=tuple(columns["reported_states"]),
        health=Health(columns["health"]),
        missing_metrics=tuple(columns["missing_metrics"]),
        degraded_metrics=tuple(columns["degraded_metrics"]),
        cpus_allocated=columns["cpus_allocated"],
        memory_allocated=columns["memory_allocated"],
        gpus_allocated=columns["gpus_allocated"],
        jobs_running=columns["jobs_running"],
    )
