"""Rows of node_state: what changes from report to report, and the seconds in each state that every row carries.

Only changes are stored: a row holds until the next one of its node, the newest until the last report. After more than
`MAX_REPORT_GAP_S` without a report the state is unknown from the last report on, which is a row as well.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from cc_backend.db.database import Database
from cc_backend.db.fields import stored_integer
from cc_backend.jobs.tables import NodeRow, NodeStateRow

MAX_REPORT_GAP_S = 900
"""Maximum time between two reports of a node between which its state is taken as known."""

TIMED_STATES = ("allocated", "reserved", "idle", "mixed", "down")
"""The states that are timed; the rest of a range is time in an unknown state."""
TIME_COLUMNS = tuple(f"{state}_s" for state in TIMED_STATES)
"""Columns with the seconds in each state before a row, in the order of `TIMED_STATES`."""
STATE_COLUMNS = (
    *("state", "reported_states", "health", "missing_metrics", "degraded_metrics"),
    *("cpus_allocated", "memory_allocated", "gpus_allocated", "jobs_running"),
)
"""Columns of what is reported of a node."""

_UNKNOWN = "unknown"
_SET_TIMES = f"UPDATE node_state SET {', '.join(f'{column} = ?' for column in TIME_COLUMNS)} WHERE id = ?"  # noqa: S608 constants


class KnownNode(NamedTuple):
    """What is stored of a node: the last report, and time, state and times in each state of its newest row."""

    sub_cluster: str
    seen_s: int
    time_s: int
    state: tuple[Any, ...]
    times: tuple[int, ...]

    def was_unreported(self, now_s: int) -> bool:
        """Whether there was no report for so long that the state meanwhile is unknown."""
        return self.is_stored and now_s - self.seen_s > MAX_REPORT_GAP_S

    @property
    def is_stored(self) -> bool:
        """Whether it has a row."""
        return self.state[0] is not None

    @property
    def known_until_s(self) -> int:
        """Until when its newest state is known if no report follows."""
        return max(self.seen_s, self.time_s)

    def times_until(self, time_s: int) -> tuple[int, ...]:
        """The seconds in each state until a time; none are added for a time before the newest row."""
        return add_time(self.times, self.state[0], time_s - self.time_s)


def add_time(times: Sequence[int], state: str, duration_s: int) -> tuple[int, ...]:
    """The seconds in each of `TIMED_STATES` after so many more in one state."""
    return tuple(
        time_s + (max(0, duration_s) if state == timed else 0)
        for time_s, timed in zip(times, TIMED_STATES, strict=True)
    )


def changed_rows(known: KnownNode | None, state: tuple[Any, ...], now_s: int) -> list[tuple[Any, ...]]:
    """The rows (time, state, times in each state) that a report adds to a node: none if nothing has changed.

    A clock that was set back by less than `MAX_REPORT_GAP_S` puts no row before the newest one.
    """
    if known is None or not known.is_stored:
        return [(now_s, *state, *(0 for _ in TIME_COLUMNS))]
    if known.was_unreported(now_s):
        begin_s = known.known_until_s
        times = known.times_until(begin_s)
        _, _, health, missing, degraded, *_ = known.state
        gap = (begin_s, _UNKNOWN, "[]", health, missing, degraded, 0, 0, 0, 0, *times)
        return [gap, (now_s, *state, *times)]
    if known.state == state:
        return []
    begin_s = known.time_s if 0 < known.time_s - now_s <= MAX_REPORT_GAP_S else now_s
    return [(begin_s, *state, *known.times_until(begin_s))]


def recompute_state_times(database: Database, node_ids: Sequence[int] | None = None) -> None:
    """Compute the seconds in each state anew for all rows of these nodes, or of all; inside `database.write()`."""
    if node_ids is None:
        node_ids = [id_ for (id_,) in database.raw_rows(NodeRow.select(NodeRow.id))]
    for node_id in node_ids:
        query = NodeStateRow.select(NodeStateRow.id, NodeStateRow.time_s, NodeStateRow.state)
        ordered = query.where(NodeStateRow.node == node_id).order_by(NodeStateRow.time_s, NodeStateRow.id)
        rows = [(id_, stored_integer(time_s), state) for id_, time_s, state in database.raw_rows(ordered)]
        database.execute_many(_SET_TIMES, list(_rows_with_times(rows)))


def _rows_with_times(rows: Sequence[tuple[int, int, str]]) -> Iterator[tuple[int, ...]]:
    """The seconds in each state before each row of a node, and the id of the row."""
    times: tuple[int, ...] = tuple(0 for _ in TIMED_STATES)
    if rows:
        yield (*times, rows[0][0])
    for (_, time_s, state), (next_id, next_s, _) in pairwise(rows):
        times = add_time(times, state, next_s - time_s)
        yield (*times, next_id)
