"""When a host sent anything, and when some of its series did: one flag a slot, told as cheaply as it can be."""

from collections.abc import Callable

import numpy as np

from cc_backend.metricstore.blocks.grid import Grid, Lock
from cc_backend.metricstore.blocks.two_phase_read import Reading
from cc_backend.metricstore.index.hosts import Host
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import Flags, Ids
from cc_backend.metricstore.query.series_reader import Range

_QUICK_ROWS = 8
_NO_SERIES: Ids = np.empty(0, np.int64)


def host_presence(table: SeriesTable, lock: Lock, cluster: str, name: str, span: Range) -> Flags:
    """In which slots of the span any series of a host has a sample; `lock` guards the table.

    Series that come more seldom than the span's slots say little about single slots: they are looked at only where the
    host has no others.
    """

    def series() -> Ids:
        host = table.host(cluster, name)
        return _NO_SERIES if host is None else _in_quick_order(table, host, span.timestep_s)

    return series_presence(table, lock, Lookup(table, series), span)


class Lookup:
    """Series that `find` gives; asked again when a sid may stand for another one. The lock is held round each call."""

    def __init__(self, table: SeriesTable, find: Callable[[], Ids]) -> None:
        self._table = table
        self._find = find
        self._sids = _NO_SERIES
        self._removals = -1

    def sids(self) -> Ids:
        """The series, in the order of `find`."""
        if self._removals != self._table.removals:
            self._sids, self._removals = self._find(), self._table.removals
        return self._sids


def series_presence(table: SeriesTable, lock: Lock, series: Lookup, span: Range) -> Flags:
    """In which slots of the span any of the series has a sample; `lock` guards the table.

    The first few are read; of the others only slots in which the first have none.
    """
    flags: Flags = np.zeros(span.slots, np.bool_)
    for which in (slice(0, _QUICK_ROWS), slice(_QUICK_ROWS, None)):
        with lock:
            sids = series.sids()
            asked = sids[which]
            unknown = np.flatnonzero(~flags[: _slots_until_newest(table, sids, span)])
            if not len(unknown) or not len(asked):
                break
            begin, end = int(unknown[0]), int(unknown[-1]) + 1
            part = Range(span.first_slot + begin, end - begin, span.timestep_s)
            readings = [_begin(grid, table.rows(asked[where]), part) for grid, where in table.by_grid(asked)]
        for own, reading in readings:
            flags[begin:end] |= _in_slots_of(part, own, reading.finish())
        if len(sids) <= _QUICK_ROWS:
            break
    return flags


def _slots_until_newest(table: SeriesTable, sids: Ids, span: Range) -> int:
    """How many slots of the span can have samples at all: none lie after the newest sample."""
    ends_s = [
        (int(table.last_s[sids[where]].max()) // grid.timestep_s + 1) * grid.timestep_s
        for grid, where in (table.by_grid(sids) if len(sids) else ())
    ]
    return min(max(-(-(max(ends_s, default=0) - span.from_s) // span.timestep_s), 0), span.slots)


def _in_quick_order(table: SeriesTable, host: Host, step_s: int) -> Ids:
    """The series to look at, so that the first few are one of each metric, those of the whole host before others."""
    first: list[tuple[int, int]] = []
    rest: list[int] = []
    for parts in map(host.parts, host.metric_names()):
        sids = list(parts.values())
        first.append((len(sids), sids[0]))
        rest += sids[1:]
    order = np.array([sid for _, sid in sorted(first)] + rest, np.int64)
    steps = np.array([grid.timestep_s for grid in table.grids], np.int64)
    often = order[steps[table.grid_of[order]] <= step_s]
    return often if len(often) else order


def _begin(grid: Grid, rows: Ids, span: Range) -> tuple[Range, Reading[Flags]]:
    """The slots of a grid that the span touches, and in which of them any of the rows has a sample."""
    begin = span.from_s // grid.timestep_s
    end = -(-(span.first_slot + span.slots) * span.timestep_s // grid.timestep_s)
    own = Range(begin, end - begin, grid.timestep_s)
    return own, grid.presence(rows, own.first_slot, own.slots)


def _in_slots_of(span: Range, own: Range, present: Flags) -> Flags:
    """The flags of a grid's own slots as ones of the span's."""
    own_s, step_s = own.timestep_s, span.timestep_s
    if own_s == step_s:
        return present
    flags: Flags = np.zeros(span.slots, np.bool_)
    if own_s > step_s:
        slots = np.arange(span.first_slot, span.first_slot + span.slots)
        flags[:] = present[slots * step_s // own_s - own.first_slot]
    else:
        slots = (np.flatnonzero(present) + own.first_slot) * own_s // step_s - span.first_slot
        flags[slots[(slots >= 0) & (slots < span.slots)]] = True
    return flags
