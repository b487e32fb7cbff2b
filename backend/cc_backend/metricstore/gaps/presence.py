"""Presence: one flag per slot, whether a host sent any sample, or any of some series did; computed with few reads."""

from collections.abc import Callable

import numpy as np

from cc_backend.metricstore.blocks.grid import Grid
from cc_backend.metricstore.blocks.two_phase_read import PendingRead
from cc_backend.metricstore.blocks.windows import Lock
from cc_backend.metricstore.index.hosts import Host
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import BoolArray, Int64Array
from cc_backend.metricstore.query.series_reader import SlotRange

_FIRST_ROWS = 8
_NO_SERIES: Int64Array = np.empty(0, np.int64)


def host_presence(table: SeriesTable, lock: Lock, cluster: str, name: str, span: SlotRange) -> BoolArray:
    """One flag per slot of the span, whether any series of a host has a sample; `lock` guards the table.

    Series with a longer timestep than the span say little about single slots: they are used only if the host has no
    others.
    """

    def series() -> Int64Array:
        host = table.host(cluster, name)
        return _NO_SERIES if host is None else _cheapest_first(table, host, span.timestep_s)

    return series_presence(table, lock, SeriesLookup(table, series), span)


class SeriesLookup:
    """Caches the sids that `find` returns until sids may have been reused. Hold the lock of the table for each call."""

    def __init__(self, table: SeriesTable, find: Callable[[], Int64Array]) -> None:
        self._table = table
        self._find = find
        self._sids = _NO_SERIES
        self._removals = -1

    def sids(self) -> Int64Array:
        """The sids, in the order of `find`."""
        if self._removals != self._table.removals:
            self._sids, self._removals = self._find(), self._table.removals
        return self._sids


def series_presence(table: SeriesTable, lock: Lock, series: SeriesLookup, span: SlotRange) -> BoolArray:
    """One flag per slot of the span, whether any of the series has a sample; `lock` guards the table.

    The first few series are read; the others only in the slots in which the first have none.
    """
    flags: BoolArray = np.zeros(span.slots, np.bool_)
    for which in (slice(0, _FIRST_ROWS), slice(_FIRST_ROWS, None)):
        with lock:
            sids = series.sids()
            asked = sids[which]
            unknown = np.flatnonzero(~flags[: _count_slots_until_newest(table, sids, span)])
            if not len(unknown) or not len(asked):
                break
            begin, end = int(unknown[0]), int(unknown[-1]) + 1
            part = SlotRange(span.first_slot + begin, end - begin, span.timestep_s)
            readings = [
                _begin_presence_read(grid, table.columns.rows_of(asked[where]), part)
                for grid, where in table.columns.group_by_grid(asked)
            ]
        for own, reading in readings:
            flags[begin:end] |= _to_slots_of(part, own, reading.complete())
        if len(sids) <= _FIRST_ROWS:
            break
    return flags


def _count_slots_until_newest(table: SeriesTable, sids: Int64Array, span: SlotRange) -> int:
    """Number of slots of the span up to the newest sample."""
    ends_s = [
        (int(table.columns.last_s[sids[where]].max()) // grid.timestep_s + 1) * grid.timestep_s
        for grid, where in (table.columns.group_by_grid(sids) if len(sids) else ())
    ]
    return min(max(-(-(max(ends_s, default=0) - span.from_s) // span.timestep_s), 0), span.slots)


def _cheapest_first(table: SeriesTable, host: Host, step_s: int) -> Int64Array:
    """All series of a host, one of each metric first, metrics with few parts before others."""
    first: list[tuple[int, int]] = []
    rest: list[int] = []
    for parts in map(host.sids_by_part, host.metric_names()):
        sids = list(parts.values())
        first.append((len(sids), sids[0]))
        rest += sids[1:]
    order = np.array([sid for _, sid in sorted(first)] + rest, np.int64)
    steps = np.array([grid.timestep_s for grid in table.columns.grids], np.int64)
    often = order[steps[table.columns.grid_of[order]] <= step_s]
    return often if len(often) else order


def _begin_presence_read(grid: Grid, rows: Int64Array, span: SlotRange) -> tuple[SlotRange, PendingRead[BoolArray]]:
    """The slots of a grid that overlap the span, and a pending read of one flag for each of them."""
    begin = span.from_s // grid.timestep_s
    end = -(-(span.first_slot + span.slots) * span.timestep_s // grid.timestep_s)
    own = SlotRange(begin, end - begin, grid.timestep_s)
    return own, grid.start_presence(rows, own.first_slot, own.slots)


def _to_slots_of(span: SlotRange, own: SlotRange, present: BoolArray) -> BoolArray:
    """Flags of a grid's slots converted to the slots of the span."""
    own_s, step_s = own.timestep_s, span.timestep_s
    if own_s == step_s:
        return present
    flags: BoolArray = np.zeros(span.slots, np.bool_)
    if own_s > step_s:
        slots = np.arange(span.first_slot, span.first_slot + span.slots)
        flags[:] = present[slots * step_s // own_s - own.first_slot]
    else:
        slots = (np.flatnonzero(present) + own.first_slot) * own_s // step_s - span.first_slot
        flags[slots[(slots >= 0) & (slots < span.slots)]] = True
    return flags
