"""Samples of all series with one timestep, on the wall clock: slot = floor(time / timestep).

A window is `WINDOW_SLOTS` slots long. In each window, row r of a series is row r % `CHUNK_ROWS` of block
r // `CHUNK_ROWS`; blocks are created when the first sample falls into them. A block is hot (4 bytes a slot) or cold
(compressed, in memory or on disk only); a late sample makes a cold one hot again. With 128 slots, 48 hours at 60 s are
22.5 windows; shorter ones would need more array operations per query and more headers of compressed rows, longer ones
waste more memory at the ends and stay hot for longer.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import numpy as np

from cc_backend.metricstore.blocks.codec import Codec, choose_codec
from cc_backend.metricstore.blocks.cold_block import ColdBlock
from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS, HotBlock
from cc_backend.metricstore.blocks.matrix import RowIndex, RowSummary
from cc_backend.metricstore.blocks.row_allocator import RowAllocator
from cc_backend.metricstore.blocks.scatter import chunks_of, scatter
from cc_backend.metricstore.blocks.two_phase_read import (
    BlockSlice,
    MatrixReducer,
    PendingRead,
    PresenceReducer,
    Reducer,
    SmallPresenceReducer,
    SummaryReducer,
    TimeExtent,
    TimeExtentReducer,
)
from cc_backend.metricstore.blocks.windows import CHUNK_SHIFT, Windows
from cc_backend.metricstore.model import BoolArray, Int64Array
from cc_backend.model import Samples

_FEW_ROWS = 8
_Result = TypeVar("_Result")


def group_positions(keys: Int64Array) -> Iterator[tuple[int, RowIndex]]:
    """Each different key with the positions where it stands, in order; a slice where they are neighbours."""
    first, last = int(keys[0]), int(keys[-1])
    if first == last and bool((keys == first).all()):
        yield first, slice(0, len(keys))
        return
    steps = np.diff(keys)
    order = None
    if bool((steps < 0).any()):
        # Small unsigned numbers are sorted by radix, which is far faster than comparing.
        base = keys - keys.min()
        order = np.argsort(base.astype(np.uint16) if int(base.max()) < 2**16 else base, kind="stable")
        keys = keys[order]
        steps = np.diff(keys)
    bounds = [0, *(np.flatnonzero(steps) + 1).tolist(), len(keys)]
    for begin, end in pairwise(bounds):
        yield int(keys[begin]), slice(begin, end) if order is None else order[begin:end]


class Grid:
    """All samples of one timestep: rows of series, and `windows` with their blocks.

    The caller holds a lock round each call, except where a lock is handed over.
    """

    def __init__(self, timestep_s: int, codec: Codec | None = None) -> None:
        self.timestep_s = timestep_s
        self.windows = Windows(timestep_s, codec or choose_codec())
        self._rows = RowAllocator()

    # Rows

    @property
    def rows(self) -> int:
        """How many rows there are, idle ones included."""
        return self._rows.count

    @property
    def size_bytes(self) -> int:
        """Bytes of samples in memory and of the bookkeeping."""
        return self.windows.size_bytes + self._rows.size_bytes

    def allocate(self, owner: int) -> int:
        """A row for a new series of this owner."""
        return self._rows.allocate(owner)

    def allocate_many(self, owner: int, count: int) -> Int64Array:
        """Rows for so many new series of this owner."""
        return self._rows.allocate_many(owner, count)

    def claim_many(self, rows: Int64Array, owners: Int64Array) -> BoolArray:
        """Take these very rows (each named once), each for its owner; says which of them nobody had."""
        return self._rows.claim_many(rows, owners)

    def release(self, owner: int, rows: Int64Array) -> None:
        """Take rows back, blank; the extents of an owner without rows are free for others."""
        for chunk, where in group_positions(rows >> CHUNK_SHIFT):
            local = rows[where] & (CHUNK_ROWS - 1)
            for window in self.windows.numbers():
                block = self.windows.block(window, chunk)
                if isinstance(block, ColdBlock):
                    known = local[local < block.rows]
                    block = self._hot_block(window, chunk) if len(known) and block.has_samples(known) else None
                if block is not None:
                    block.clear_rows(local)
        self._rows.release(owner, rows)

    # Writing

    def slots_of(self, times_s: int | Int64Array) -> int | Int64Array:
        """The slots of times."""
        return times_s // self.timestep_s

    def scatter(self, rows: Int64Array, slots: int | Int64Array, values: Samples) -> None:
        """Store one sample per row given; for one row and slot the last write wins."""
        values = np.ascontiguousarray(values, np.float32)
        if isinstance(slots, int):
            window, column = divmod(slots, WINDOW_SLOTS)
            self._scatter_window(window, rows, column, values)
            return
        windows, columns = np.divmod(slots, WINDOW_SLOTS)
        for window, where in group_positions(windows):
            self._scatter_window(window, rows[where], columns[where], values[where])

    def _scatter_window(self, window: int, rows: Int64Array, columns: int | Int64Array, values: Samples) -> None:
        chunks = chunks_of(rows, CHUNK_SHIFT)
        hot = {chunk: self._hot_block(window, chunk) for chunk in chunks}
        places = [hot[chunk].samples if chunk in hot else None for chunk in range(chunks[0], chunks[-1] + 1)]
        scatter(places, rows, columns, values, first_chunk=chunks[0], shift=CHUNK_SHIFT)
        for block in hot.values():
            block.mark_changed()

    def fill_empty(self, rows: Int64Array, slots: int | Int64Array, values: Samples) -> int:
        """Store samples where there is none yet, so that newer ones win; returns how many that were.

        For one row and slot the last write wins.
        """
        stored = 0
        windows, columns = np.divmod(np.broadcast_to(slots, rows.shape), WINDOW_SLOTS)
        for window, where in group_positions(windows):
            stored += self._fill_window(window, rows[where], columns[where], values[where])
        return stored

    def _fill_window(self, window: int, rows: Int64Array, columns: Int64Array, values: Samples) -> int:
        stored = 0
        for chunk, where in group_positions(rows >> CHUNK_SHIFT):
            local = rows[where] & (CHUNK_ROWS - 1)
            stored += self._hot_block(window, chunk).fill_empty(local, columns[where], values[where])
        return stored

    def fill_from_matrix(self, window: int, rows: Int64Array, samples: Samples) -> int:
        """Fill the slots of a window that are empty from a matrix with a row per row given; returns how many."""
        if not len(rows):
            return 0
        stored = 0
        for chunk, where in group_positions(rows >> CHUNK_SHIFT):
            stored += self._hot_block(window, chunk).fill_from_matrix(rows[where] & (CHUNK_ROWS - 1), samples[where])
        return stored

    def _hot_block(self, window: int, chunk: int) -> HotBlock:
        return self.windows.hot_block(window, chunk, self._rows.count)

    # Reading

    def read(self, rows: Int64Array, first_slot: int, count: int) -> Samples:
        """A matrix of one row per row given and `count` columns from `first_slot`, NaN where there is no sample."""
        return self.start_read(rows, first_slot, count).complete()

    def start_read(self, rows: Int64Array, first_slot: int, count: int) -> PendingRead[Samples]:
        """What `read` gives, in two steps, as with the methods below: `complete` of the result needs no lock."""
        return self._start(MatrixReducer(len(rows), count), rows, first_slot, count)

    def start_summary(self, rows: Int64Array, first_slot: int, count: int) -> PendingRead[RowSummary]:
        """The summary of each row over a range of slots."""
        return self._start(SummaryReducer(len(rows)), rows, first_slot, count)

    def start_presence(self, rows: Int64Array, first_slot: int, count: int) -> PendingRead[BoolArray]:
        """In which of the slots any of the rows has a sample."""
        few = len(rows) <= _FEW_ROWS
        gathering: Reducer[BoolArray] = SmallPresenceReducer(len(rows), count) if few else PresenceReducer(count)
        return self._start(gathering, rows, first_slot, count)

    def start_extent(self, row: int) -> PendingRead[TimeExtent | None]:
        """How far the samples of one row reach; None if it has none."""
        windows = self.windows.numbers() or [0]
        first_slot, end_slot = windows[0] * WINDOW_SLOTS, (windows[-1] + 1) * WINDOW_SLOTS
        return self._start(TimeExtentReducer(first_slot), np.array([row], np.int64), first_slot, end_slot - first_slot)

    def _start(
        self, gathering: Reducer[_Result], rows: Int64Array, first_slot: int, count: int
    ) -> PendingRead[_Result]:
        cold = []
        for piece in self._slices(rows, first_slot, count):
            if isinstance(piece.block, ColdBlock):
                cold.append(piece)
            else:
                gathering.add(piece)
        return PendingRead(gathering, cold)

    def _slices(self, rows: Int64Array, first_slot: int, count: int) -> Iterator[BlockSlice]:
        """What is read of each block that is touched."""
        if not len(rows) or count <= 0:
            return
        positions = np.arange(len(rows))
        parts = []
        for chunk, where in group_positions(rows >> CHUNK_SHIFT):
            local = rows[where] & (CHUNK_ROWS - 1)
            parts.append((chunk, positions[where], local, int(local.max())))
        end_slot = first_slot + count
        for window in self.windows.numbers_between(first_slot, end_slot):
            begin = window * WINDOW_SLOTS
            columns = slice(max(first_slot - begin, 0), min(end_slot - begin, WINDOW_SLOTS))
            at = begin + columns.start - first_slot
            for chunk, where, local, last_row in parts:
                block = self.windows.block(window, chunk)
                if block is None:
                    continue
                if last_row < block.rows:
                    yield BlockSlice(block, where, local, columns, at)
                    continue
                there = np.flatnonzero(local < block.rows)  # later rows came after the block's last sample
                if len(there):
                    yield BlockSlice(block, where[there], local[there], columns, at)

    def validate(self) -> None:
        """Raise AssertionError if the books do not agree with what is there; for tests."""
        self.windows.validate()
        self._rows.validate()

    def idle_rows(self) -> set[int]:
        """Rows that belong to no series; for tests."""
        return self._rows.idle_rows()
