"""Carries samples over to another timestep, when the configuration changed it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cc_backend.metricstore.blocks.grid import Grid, group_positions
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.index.columns import Columns
from cc_backend.metricstore.index.hosts import Host
from cc_backend.metricstore.index.layout import MetricNames
from cc_backend.metricstore.model import Int64Array

_PORTION_ROWS = 1024


def configured_timesteps(
    hosts: Sequence[Host | None], names: MetricNames, host_of: npt.NDArray[np.int32], metric_of: npt.NDArray[np.int32]
) -> Int64Array:
    """The timestep that each series has by the configuration, 0 if it is not kept any more."""
    tables: dict[int, int] = {}  # hosts of one subcluster share one object
    rows: list[list[int]] = []
    table_of = np.zeros(len(hosts), np.int64)
    for host in hosts:
        if host is None:
            continue
        table = tables.setdefault(id(host.specs), len(tables))
        if table == len(rows):
            specs = [host.specs.get(names[metric]) for metric in range(len(names))]
            rows.append([0 if spec is None else spec.timestep_s for spec in specs])
        table_of[host.id] = table
    if not rows:
        return np.zeros(len(host_of), np.int64)
    return np.array(rows, np.int64)[table_of[host_of], metric_of]


def migrate_timesteps(columns: Columns, sids: Int64Array, timesteps_s: Int64Array) -> int:
    """Carry series over to the grids of these timesteps; returns how many were not there already."""
    present_s = np.array([grid.timestep_s for grid in columns.grids], np.int64)[columns.grid_of[sids]]
    moving = present_s != timesteps_s
    pairs = np.unique(np.stack([present_s[moving], timesteps_s[moving]]), axis=1)
    for old_s, new_s in pairs.T.tolist():
        group = sids[(present_s == old_s) & (timesteps_s == new_s)]
        group = group[np.argsort(columns.host_of[group], kind="stable")]
        _migrate(columns, group, columns.grid_index(old_s), columns.grid_index(new_s))
    return int(np.count_nonzero(moving))


def _migrate(columns: Columns, sids: Int64Array, old_index: int, new_index: int) -> None:
    """Carry series, in the order of their hosts, from one grid to another."""
    columns.migration_count += 1
    columns.left_grids.add(old_index)
    old, new = columns.grids[old_index], columns.grids[new_index]
    owners = list(group_positions(columns.host_of[sids].astype(np.int64)))
    old_rows = columns.rows_of(sids)
    new_rows = np.concatenate([new.allocate_many(owner, len(sids[where])) for owner, where in owners])
    _copy_samples(old, old_rows, new, new_rows)
    columns.grid_of[sids], columns.row_of[sids] = new_index, new_rows
    for owner, where in owners:
        old.release(owner, old_rows[where])


def _copy_samples(old: Grid, old_rows: Int64Array, new: Grid, new_rows: Int64Array) -> None:
    """Copy the samples of rows to rows of another grid; of old slots in one new slot the last one wins."""
    for window in old.windows.numbers():
        for begin in range(0, len(old_rows), _PORTION_ROWS):
            there = slice(begin, begin + _PORTION_ROWS)
            samples = old.read(old_rows[there], window * WINDOW_SLOTS, WINDOW_SLOTS)
            at, columns = np.nonzero(~np.isnan(samples))
            if len(at):
                times_s = (columns + window * WINDOW_SLOTS) * old.timestep_s
                new.scatter(new_rows[there][at], new.slots_of(times_s), samples[at, columns])
