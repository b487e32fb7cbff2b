"""The past of nodes: their states at a time and over a range, and how long they were in each.

The time in a state is a difference between two rows of `node_state`, so that a month costs no more than an hour. What
is not known is time in an unknown state: before the first kept row, and without reports.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import sub
from typing import Any, NamedTuple

import peewee

from cc_backend.db.database import Database
from cc_backend.jobs.node_state_times import MAX_REPORT_GAP_S, STATE_COLUMNS, TIME_COLUMNS, TIMED_STATES
from cc_backend.jobs.node_states import NodeFilter, NodeHealth, SchedulerState, state_values
from cc_backend.jobs.tables import NodeRow, NodeStateRow


@dataclass(frozen=True, slots=True)
class NodeStateSpan:
    """What was reported of a node from `from_s` until before `to_s`; fields as in `node_states.NodeStatus`."""

    from_s: int
    to_s: int
    state: SchedulerState
    reported_states: tuple[str, ...] = ()
    health: NodeHealth = NodeHealth.FAILED
    missing_metrics: tuple[str, ...] = ()
    degraded_metrics: tuple[str, ...] = ()
    cpus_allocated: int = 0
    memory_allocated: int = 0
    gpus_allocated: int = 0
    jobs_running: int = 0


STATES = (*map(SchedulerState, TIMED_STATES), SchedulerState.UNKNOWN)
"""All states, in the order of `NodeTimes.seconds`."""
_STATE_INDEX = {str(state): index for index, state in enumerate(STATES)}
_UNKNOWN = _STATE_INDEX[SchedulerState.UNKNOWN]


class NodeTimes(NamedTuple):
    """Seconds that a node was in each of `STATES` during a range; together they are the range."""

    cluster: str
    sub_cluster: str
    hostname: str
    seconds: Sequence[int]


class NodeHistory:
    """Reads what the database remembers of nodes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def state_at(self, cluster: str, hostname: str, at_s: int) -> NodeStateSpan | None:
        """The state of a node at a time, as a span of that second; None if the node was never reported."""
        spans, _ = self.spans(cluster, hostname, at_s, at_s + 1, limit=1)
        if spans or not self._knows(cluster, hostname):
            return spans[0] if spans else None
        return NodeStateSpan(at_s, at_s + 1, SchedulerState.UNKNOWN)

    def spans(
        self, cluster: str, hostname: str, from_s: int, to_s: int, *, limit: int
    ) -> tuple[list[NodeStateSpan], bool]:
        """The states of a node in a range, oldest first and cut at its edges, and whether older ones were left out.

        At most `limit` are returned, the newest. The spans follow each other without gaps from the first known state.
        """
        stored = (getattr(NodeStateRow, column) for column in ("id", "time_s", *STATE_COLUMNS))
        query = (
            NodeStateRow.select(*stored, NodeRow.latest_id, NodeRow.seen_s)
            .join(NodeRow, on=(NodeStateRow.node == NodeRow.id))
            .where(NodeRow.cluster == cluster, NodeRow.hostname == hostname)
            .order_by(NodeStateRow.time_s.desc(), NodeStateRow.id.desc())
        )
        inside = query.where(NodeStateRow.time_s > from_s, NodeStateRow.time_s < to_s).limit(limit + 1)
        before = query.where(NodeStateRow.time_s <= from_s).limit(1)
        rows = list(inside.dicts().execute(self._database))
        is_cut = len(rows) > limit
        rows += [] if is_cut else before.dicts().execute(self._database)
        spans: list[NodeStateSpan] = []
        end_s = to_s
        for row in rows:
            begin_s = max(from_s, row["time_s"])
            known_until_s = _known_until(row["id"] == row["latest_id"], row["time_s"], row["seen_s"], end_s)
            if known_until_s < end_s:
                spans.append(NodeStateSpan(max(begin_s, known_until_s), end_s, SchedulerState.UNKNOWN))
                end_s = max(begin_s, known_until_s)
            if begin_s < end_s:
                spans.append(NodeStateSpan(begin_s, end_s, **state_values(row)))
            end_s = begin_s
        return spans[:limit][::-1], is_cut or len(spans) > limit

    def times(self, node_filter: NodeFilter, from_s: int, to_s: int) -> list[NodeTimes]:
        """The times of the nodes that match in the range [from_s, to_s), sorted by cluster and host name.

        The subcluster of a node is its latest one; states of the filter are ignored.
        """
        begin, end = NodeStateRow.alias(), NodeStateRow.alias()
        query = (
            NodeRow.select(
                NodeRow.cluster,
                NodeRow.sub_cluster,
                NodeRow.hostname,
                NodeRow.latest_id,
                NodeRow.seen_s,
                *_time_columns(begin),
                *_time_columns(end),
            )
            .join(begin, peewee.JOIN.LEFT_OUTER, on=(begin.id == peewee.fn.COALESCE(_row_at(from_s), _first_row())))
            .join(end, peewee.JOIN.LEFT_OUTER, on=(end.id == _row_at(to_s)), src=NodeRow)
            .order_by(NodeRow.cluster, NodeRow.hostname)
        )
        query = replace(node_filter, states=()).limit(query)
        return [_node_times(row, from_s, to_s) for row in self._database.raw_rows(query)]

    def _knows(self, cluster: str, hostname: str) -> bool:
        query = NodeRow.select(NodeRow.id).where(NodeRow.cluster == cluster, NodeRow.hostname == hostname)
        return query.scalar(self._database) is not None


def sum_times(nodes: Iterable[NodeTimes]) -> dict[SchedulerState, int]:
    """The seconds of all these nodes together in each state."""
    total = [sum(column) for column in zip(*(node.seconds for node in nodes), strict=True)]
    return dict(zip(STATES, total or [0] * len(STATES), strict=True))


_NODE_COLUMNS = 5
_LAST_ROW = _NODE_COLUMNS + 3 + len(TIME_COLUMNS)
_NO_TIMES = [0] * len(STATES)


def _time_columns(row: Any) -> list[Any]:
    return [getattr(row, column) for column in ("id", "time_s", "state", *TIME_COLUMNS)]


def _row_at(time_s: int) -> Any:
    """The id of the row of a node that holds at a time; none before its first row."""
    row = NodeStateRow.alias()
    found = row.select(row.id).where(row.node == NodeRow.id, row.time_s <= time_s)
    return found.order_by(row.time_s.desc(), row.id.desc()).limit(1)


def _first_row() -> Any:
    row = NodeStateRow.alias()
    return row.select(row.id).where(row.node == NodeRow.id).order_by(row.time_s, row.id).limit(1)


def _node_times(row: Sequence[Any], from_s: int, to_s: int) -> NodeTimes:
    """The times before the row at the end less those before the row at the beginning, and the time within both."""
    cluster, sub_cluster, hostname, latest_id, seen_s = row[:_NODE_COLUMNS]
    first_id, first_s, first_state, *before = row[_NODE_COLUMNS:_LAST_ROW]
    last_id, last_s, last_state, *after = row[_LAST_ROW:]
    seconds = _NO_TIMES
    if last_id is not None:  # there was a report before the end
        try:
            seconds = [*map(sub, after, before), 0]
            seconds[_STATE_INDEX.get(last_state, _UNKNOWN)] += _known_s(last_id == latest_id, last_s, seen_s, to_s)
            if from_s > first_s:
                known_s = _known_s(first_id == latest_id, first_s, seen_s, from_s)
                seconds[_STATE_INDEX.get(first_state, _UNKNOWN)] -= known_s
            seconds[_UNKNOWN] = 0
        except TypeError:  # a damaged row
            seconds = _NO_TIMES
    unknown_s = to_s - from_s - sum(seconds)
    if unknown_s < 0 or min(seconds) < 0:  # damaged, or the clock was set back
        seconds, unknown_s = _NO_TIMES, to_s - from_s
    return NodeTimes(cluster, sub_cluster, hostname, [*seconds[:_UNKNOWN], unknown_s])


def _known_s(is_latest: bool, begin_s: int, seen_s: int, time_s: int) -> int:  # noqa: FBT001 a fact of the row
    """How long the state of a row is known, up to a time after its beginning."""
    return _known_until(is_latest, begin_s, seen_s, time_s) - begin_s


def _known_until(is_latest: bool, begin_s: int, seen_s: int, time_s: int) -> int:  # noqa: FBT001 a fact of the row
    """Until when the state of a row is known, up to a time: the newest until the last report, if that is long ago."""
    if is_latest and time_s - seen_s > MAX_REPORT_GAP_S:
        return max(begin_s, min(seen_s, time_s))
    return time_s
