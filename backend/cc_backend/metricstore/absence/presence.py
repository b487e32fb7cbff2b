"""When a host sent anything, and when some of its series did: one flag a slot, told as cheaply as it can be."""

import numpy as np

from cc_backend.metricstore.answers.query import Range
from cc_backend.metricstore.memory.grid import Grid
from cc_backend.metricstore.memory.hosts import Host
from cc_backend.metricstore.memory.series import SeriesTable
from cc_backend.metricstore.model import Flags, Ids

_QUICK_ROWS = 8


def host_presence(table: SeriesTable, host: Host, span: Range) -> Flags:
    """In which slots of the span any series of the host has a sample.

    Series that come more seldom than the span's slots say little about single slots: they are looked at only where the
    host has no others.
    """
    return series_presence(table, _in_quick_order(table, host, span.timestep_s), span)


def series_presence(table: SeriesTable, sids: Ids, span: Range) -> Flags:
    """In which slots of the span any of the series has a sample.

    The first few are read; of the others only those that have samples where the first have none.
    """
    flags: Flags = np.zeros(span.slots, np.bool_)
    flags_seen = flags[: _slots_until_newest(table, sids, span)]
    for portion in (sids[:_QUICK_ROWS], sids[_QUICK_ROWS:]):
        unknown = np.flatnonzero(~flags_seen)
        if not len(unknown) or not len(portion):
            break
        begin, end = int(unknown[0]), int(unknown[-1]) + 1
        part = Range(span.first_slot + begin, end - begin, span.timestep_s)
        for grid, where in table.by_grid(portion):
            flags[begin:end] |= _of_rows(grid, table.rows(portion[where]), part)
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


def _of_rows(grid: Grid, rows: Ids, span: Range) -> Flags:
    own_s, step_s = grid.timestep_s, span.timestep_s
    begin = span.from_s // own_s
    end = -(-(span.first_slot + span.slots) * step_s // own_s)
    if len(rows) > _QUICK_ROWS:
        rows = rows[grid.summary(rows, begin, end - begin).number > 0]
        if not len(rows):
            return np.zeros(span.slots, np.bool_)
    present: Flags = np.any(~np.isnan(grid.read(rows, begin, end - begin)), axis=0)
    if own_s == step_s:
        return present
    flags: Flags = np.zeros(span.slots, np.bool_)
    if own_s > step_s:
        slots = np.arange(span.first_slot, span.first_slot + span.slots)
        flags[:] = present[slots * step_s // own_s - begin]
    else:
        slots = (np.flatnonzero(present) + begin) * own_s // step_s - span.first_slot
        flags[slots[(slots >= 0) & (slots < span.slots)]] = True
    return flags
