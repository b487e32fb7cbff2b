"""Arrays by series number: where the samples of each series lie, and when the newest came; and the grids."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cc_backend.metricstore.blocks.grid import Grid, group_positions
from cc_backend.metricstore.blocks.scatter import update_newest_times
from cc_backend.metricstore.model import Int64Array
from cc_backend.model import Samples

MISSING = -1
"""Stands for the number of something that is not there."""

NEW_SERIES_COLUMNS = 5
"""Numbers that are known of a series before it has a row: sid, host, metric, part, timestep in seconds."""

_MIN_ROOM = 1024
_SMALL_BATCH = 64
_Number = TypeVar("_Number", bound=np.generic)


class Columns:
    """The grids, and where in them series lie.

    By sid: `host_of`, `metric_of` and `part_of` (their numbers), `grid_of` and `row_of` (where its samples lie, -1 if
    there is no such series), `last_s` (time of its newest sample, 0 if none), `spacing_s` (seconds between the newest
    sample and the one before, 0 or less if unknown). By number of the host: `host_last_s`, `host_is_unknown` (the
    configuration does not have it). All arrays are contiguous; when they grow, others take their place.

    `migration_count` counts how often series went to another grid; `left_grids` are the positions of the grids that
    series left since everything was saved.
    """

    def __init__(self) -> None:
        self.grids: list[Grid] = []
        self.migration_count = 0
        self.left_grids: set[int] = set()
        self._random_state = 0
        self.host_of = np.full(_MIN_ROOM, MISSING, np.int32)
        self.metric_of = np.full(_MIN_ROOM, MISSING, np.int32)
        self.part_of = np.full(_MIN_ROOM, MISSING, np.int32)
        self.grid_of = np.full(_MIN_ROOM, MISSING, np.int16)
        self.row_of = np.full(_MIN_ROOM, MISSING, np.int32)
        self.last_s = np.zeros(_MIN_ROOM, np.int64)
        self.spacing_s = np.zeros(_MIN_ROOM, np.int32)
        self.host_last_s = np.zeros(_MIN_ROOM, np.int64)
        self.host_is_unknown = np.zeros(_MIN_ROOM, np.bool_)

    def grow_series(self) -> None:
        """Make room for more series."""
        self.host_of = _grown(self.host_of, MISSING)
        self.metric_of = _grown(self.metric_of, MISSING)
        self.part_of = _grown(self.part_of, MISSING)
        self.grid_of = _grown(self.grid_of, MISSING)
        self.row_of = _grown(self.row_of, MISSING)
        self.last_s = _grown(self.last_s, 0)
        self.spacing_s = _grown(self.spacing_s, 0)

    def grow_hosts(self) -> None:
        """Make room for more hosts."""
        self.host_last_s = _grown(self.host_last_s, 0)
        self.host_is_unknown = _grown(self.host_is_unknown, 0)

    @property
    def size_bytes(self) -> int:
        """Memory taken by the columns."""
        by_sid = self.host_of, self.metric_of, self.part_of, self.grid_of, self.row_of, self.last_s, self.spacing_s
        return sum(column.nbytes for column in (*by_sid, self.host_last_s, self.host_is_unknown))

    def grid_index(self, timestep_s: int) -> int:
        """The position of the grid of a timestep, made if need be."""
        for index, grid in enumerate(self.grids):
            if grid.timestep_s == timestep_s:
                return index
        self.grids.append(Grid(timestep_s))
        return len(self.grids) - 1

    def assign_row(self, sid: int, host: int, metric: int, part: int, timestep_s: int) -> None:
        """Write the columns of one new series and give it a row; faster than `assign_rows` for one."""
        self.host_of[sid], self.metric_of[sid], self.part_of[sid] = host, metric, part
        self.last_s[sid] = self.spacing_s[sid] = 0
        self.grid_of[sid] = index = self.grid_index(timestep_s)
        self.row_of[sid] = self.grids[index].allocate(host)

    def assign_rows(self, new: Int64Array, timestep_s: int = 0, wanted: Int64Array | None = None) -> None:
        """Write the columns of new series and give them rows, those of one host beside each other.

        `new` has a column per series, of `NEW_SERIES_COLUMNS` numbers: sid, host, metric, part, timestep in seconds. In
        the grid of `timestep_s` each series gets the row that is `wanted` (-1 for any), unless another one has it.
        """
        sids, owners, metrics, parts, timesteps = new
        self.host_of[sids], self.metric_of[sids], self.part_of[sids] = owners, metrics, parts
        self.last_s[sids] = self.spacing_s[sids] = 0
        for step_s in np.unique(timesteps).tolist():
            index = self.grid_index(step_s)
            here = timesteps == step_s
            members, hosts = sids[here], owners[here]
            self.grid_of[members] = index
            if wanted is not None and step_s == timestep_s:
                rows = wanted[here]
                first = np.zeros(len(rows), np.bool_)
                first[np.unique(rows, return_index=True)[1]] = True
                claimed = np.flatnonzero(first & (rows != MISSING))
                claimed = claimed[self.grids[index].claim_many(rows[claimed], hosts[claimed])]
                self.row_of[members[claimed]] = rows[claimed]
                members, hosts = (np.delete(column, claimed) for column in (members, hosts))
            for owner, where in group_positions(hosts) if len(hosts) else ():
                own = members[where]
                self.row_of[own] = self.grids[index].allocate_many(owner, len(own))

    def rows_of(self, sids: Int64Array) -> Int64Array:
        """The rows of series in their grids."""
        return self.row_of[sids].astype(np.int64)

    def group_by_grid(self, sids: Int64Array) -> list[tuple[Grid, Int64Array | slice]]:
        """The grids in which series lie, each with the positions of its series in `sids`."""
        indexes = self.grid_of[sids]
        first = int(indexes[0])
        if bool((indexes == first).all()):
            return [(self.grids[first], slice(0, len(sids)))]
        return [(self.grids[index], np.flatnonzero(indexes == index)) for index in np.unique(indexes).tolist()]

    def count_of_unknown_hosts(self, sids: Int64Array) -> int:
        """How many of these series (with repetition) are of hosts that the configuration does not have."""
        return int(np.count_nonzero(self.host_is_unknown[self.host_of[sids]]))

    def store_samples(self, sids: Int64Array, values: Samples, times_s: int | Int64Array) -> None:
        """Store one sample per sid given; in one slot the last write wins."""
        rows = self.rows_of(sids)
        for grid, where in self.group_by_grid(sids):
            times = times_s if isinstance(times_s, int) else times_s[where]
            grid.scatter(rows[where], grid.slots_of(times), values[where])
        if isinstance(times_s, int) and (len(sids) <= _SMALL_BATCH or self._is_spacing_due()):
            self.spacing_s[sids] = times_s - self.last_s[sids]
        self.update_newest(sids, times_s)

    def _is_spacing_due(self) -> bool:
        """Whether to look at the spacing of a large batch: at one of 16, so that it costs nothing to speak of.

        Which ones jumps about, so that no number of senders in turn hides any of them.
        """
        self._random_state = (self._random_state * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
        return not (self._random_state >> 16) & 15

    def fill_empty(self, sids: Int64Array, values: Samples, times_s: int | Int64Array) -> None:
        """Store one sample per sid given where its slot has none yet; what is there stays, since it is newer."""
        rows = self.rows_of(sids)
        for grid, where in self.group_by_grid(sids):
            times = times_s if isinstance(times_s, int) else times_s[where]
            grid.fill_empty(rows[where], grid.slots_of(times), values[where])
        self.update_newest(sids, times_s)

    def slot_offsets(self, sids: Int64Array, timestep_s: int) -> Int64Array:
        """How far into its slot the sample of each series lies, as the newest ones tell; -1 where that is not known.

        A sender keeps to its interval, so that all samples of a series lie alike. Where several fall into one slot the
        last one stays: the last that still falls into it at that spacing.
        """
        last_s, spacing_s = self.last_s[sids], self.spacing_s[sids].astype(np.int64)
        offsets = last_s % timestep_s
        several = np.flatnonzero((spacing_s > 0) & (spacing_s <= timestep_s // 2))
        left_s = timestep_s - 1 - offsets[several]
        offsets[several] += left_s // spacing_s[several] * spacing_s[several]
        return np.where(last_s > 0, offsets, -1)

    def update_newest(self, sids: Int64Array, times_s: int | Int64Array) -> None:
        """Keep the newest sample time of series and hosts."""
        update_newest_times(sids, times_s, self.last_s, self.host_of, self.host_last_s)


def _grown(column: npt.NDArray[_Number], fill: int) -> npt.NDArray[_Number]:
    """The column with a quarter more room."""
    more = np.full(max(len(column) // 4, _MIN_ROOM), fill, column.dtype)
    return np.concatenate([column, more])
