"""Samples of all series with one timestep, on the wall clock: slot = floor(time / timestep).

A window is `WINDOW_SLOTS` slots long. In each window, row r of a series is row r % `CHUNK_ROWS` of block
r // `CHUNK_ROWS`; blocks are created when the first sample falls into them. One sample costs 4 bytes, the summary of
a full block 17/64 byte a sample. With 64 slots, 48 hours at 60 s are 45 windows and the two cut ones at the ends cost
on average one more (2 %); shorter windows would need more array operations per query, longer ones waste more memory.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from cc_backend.metricstore.block import CHUNK_ROWS, WINDOW_SLOTS, Block, Index, Summary, summarise
from cc_backend.metricstore.model import Ids
from cc_backend.model import Samples

_CHUNK_SHIFT = 10
_LEAST_BLOCK_ROWS = 64
_LEAST_EXTENT = 8
_EXTENT_SHARE = 8  # an extent is at most this share of what the owner has: at most 1/8 of the rows idle


def groups(keys: Ids) -> Iterator[tuple[int, Index]]:
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


def _compact(rows: Ids) -> Index:
    """A slice for neighbouring ascending rows: copying one is several times faster than gathering."""
    if int(rows[-1]) - int(rows[0]) + 1 == len(rows) and (len(rows) == 1 or bool((np.diff(rows) == 1).all())):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


class Grid:
    """All samples of one timestep. Rows are handed out in extents per owner, so that a host's series lie together."""

    def __init__(self, timestep_s: int) -> None:
        self.timestep_s = timestep_s
        self.rows = 0
        self.sample_bytes = 0
        self._windows: dict[int, list[Block | None]] = {}
        self._spare: dict[int, list[int]] = {}
        self._owned: dict[int, int] = {}
        self._free: list[int] = []  # descending, so that the lowest row is taken first

    # Rows

    def allocate(self, owner: int) -> int:
        """A row for a new series of this owner."""
        spare = self._spare.setdefault(owner, [])
        owned = self._owned.get(owner, 0)
        if not spare:
            spare.extend(self._extent(max(_LEAST_EXTENT, owned // _EXTENT_SHARE)))
        self._owned[owner] = owned + 1
        return spare.pop()

    def _extent(self, size: int) -> list[int]:
        reused = self._free[-size:]
        if reused:
            del self._free[-size:]
            return reused
        self.rows += size
        return list(range(self.rows - 1, self.rows - size - 1, -1))

    def release(self, owner: int, rows: Ids) -> None:
        """Take rows back, blank; the extents of an owner without rows are free for others."""
        chunks = rows >> _CHUNK_SHIFT
        for chunk, where in groups(chunks):
            local = rows[where] & (CHUNK_ROWS - 1)
            for blocks in self._windows.values():
                block = blocks[chunk] if chunk < len(blocks) else None
                if block is not None:
                    before = block.size_bytes
                    block.blank(local)
                    self.sample_bytes += block.size_bytes - before
        spare = self._spare.setdefault(owner, [])
        spare.extend(rows.tolist())
        spare.sort(reverse=True)
        self._owned[owner] -= len(rows)
        if not self._owned[owner]:
            self._free.extend(spare)
            self._free.sort(reverse=True)
            del self._owned[owner], self._spare[owner]

    # Writing

    def slots(self, times_s: int | Ids) -> int | Ids:
        """The slots of times."""
        return times_s // self.timestep_s

    def scatter(self, rows: Ids, slots: int | Ids, values: Samples) -> None:
        """Store one sample per row given; of several for one row and slot the last one counts."""
        if isinstance(slots, int):
            window, column = divmod(slots, WINDOW_SLOTS)
            self._scatter(window, rows, column, values)
            return
        windows, columns = np.divmod(slots, WINDOW_SLOTS)
        for window, where in groups(windows):
            self._scatter(window, rows[where], columns[where], values[where])

    def _scatter(self, window: int, rows: Ids, columns: int | Ids, values: Samples) -> None:
        blocks = self._windows.setdefault(window, [])
        for chunk, where in groups(rows >> _CHUNK_SHIFT):
            block = self._block(blocks, chunk)
            before = block.size_bytes
            within = columns if isinstance(columns, int) else columns[where]
            block.put(rows[where] & (CHUNK_ROWS - 1), within, values[where])
            self.sample_bytes += block.size_bytes - before

    def _block(self, blocks: list[Block | None], chunk: int) -> Block:
        """The block, as high as the rows that are handed out in its chunk need it (the last chunk is rarely full)."""
        if chunk >= len(blocks):
            blocks.extend([None] * (chunk + 1 - len(blocks)))
        used = self.rows - chunk * CHUNK_ROWS
        block = blocks[chunk]
        if block is None:
            block = blocks[chunk] = Block(_block_rows(used))
            self.sample_bytes += block.size_bytes
        elif len(block.samples) < min(used, CHUNK_ROWS):
            before = block.size_bytes
            block.grow(_block_rows(used))
            self.sample_bytes += block.size_bytes - before
        return block

    # Reading

    def read(self, rows: Ids, first_slot: int, count: int) -> Samples:
        """A matrix of one row per row given and `count` columns from `first_slot`, NaN where there is no sample."""
        matrix: Samples = np.full((len(rows), count), np.nan, np.float32)
        for block, where, local, columns, at in self._pieces(rows, first_slot, count):
            matrix[where, at : at + columns.stop - columns.start] = block.samples[local, columns]
        return matrix

    def summary(self, rows: Ids, first_slot: int, count: int) -> Summary:
        """The summary of each row over a range of slots; whole windows are not read sample by sample."""
        least, highest = (np.full(len(rows), np.nan, np.float32) for _ in range(2))
        total, number = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
        for block, where, local, columns, _ in self._pieces(rows, first_slot, count):
            if columns.stop - columns.start == WINDOW_SLOTS:
                before = block.size_bytes
                piece = block.summary().of(local)
                self.sample_bytes += block.size_bytes - before
            else:
                piece = summarise(block.samples[local, columns])
            least[where] = np.fmin(least[where], piece.min)
            highest[where] = np.fmax(highest[where], piece.max)
            total[where] += piece.sum
            number[where] += piece.number
        return Summary(least, highest, total, number)

    def samples_of(self, row: int) -> tuple[Ids, Samples]:
        """All samples of one row: their slots, ascending, and values."""
        chunk, local = row >> _CHUNK_SHIFT, row & (CHUNK_ROWS - 1)
        slots: list[Ids] = [np.empty(0, np.int64)]
        values: list[Samples] = [np.empty(0, np.float32)]
        for window in sorted(self._windows):
            blocks = self._windows[window]
            block = blocks[chunk] if chunk < len(blocks) else None
            if block is not None and local < len(block.samples):
                samples = block.samples[local]
                there = np.flatnonzero(~np.isnan(samples))
                slots.append(there + window * WINDOW_SLOTS)
                values.append(samples[there])
        return np.concatenate(slots), np.concatenate(values)

    def _pieces(self, rows: Ids, first_slot: int, count: int) -> Iterator[tuple[Block, Index, Index, slice, int]]:
        """Per block that is touched: positions in `rows`, rows and columns of the block, first column of the answer."""
        if not len(rows) or count <= 0:
            return
        chunks = [(chunk, where, rows[where] & (CHUNK_ROWS - 1)) for chunk, where in groups(rows >> _CHUNK_SHIFT)]
        parts = [(chunk, where, local, _compact(local), int(local.max())) for chunk, where, local in chunks]
        end_slot = first_slot + count
        for window in self._windows_between(first_slot, end_slot):
            begin = window * WINDOW_SLOTS
            columns = slice(max(first_slot - begin, 0), min(end_slot - begin, WINDOW_SLOTS))
            at = begin + columns.start - first_slot
            blocks = self._windows[window]
            for chunk, where, local, compact, highest in parts:
                block = blocks[chunk] if chunk < len(blocks) else None
                if block is None:
                    continue
                if highest < len(block.samples):
                    yield block, where, compact, columns, at
                    continue
                there = np.flatnonzero(local < len(block.samples))  # later rows came after the block's last sample
                if len(there):
                    yield block, _positions(where)[there], local[there], columns, at

    def _windows_between(self, first_slot: int, end_slot: int) -> list[int]:
        first, last = first_slot // WINDOW_SLOTS, (end_slot - 1) // WINDOW_SLOTS
        if last - first < len(self._windows):
            return [window for window in range(first, last + 1) if window in self._windows]
        return sorted(window for window in self._windows if first <= window <= last)

    # Freeing

    def free(self, before_s: int, protected_rows: Ids, keep_from_s: Ids) -> int:
        """Drop windows that end by `before_s`, except blocks with protected rows; returns the bytes freed.

        A block stays as long as its window ends after the `keep_from_s` of one of its protected rows.
        """
        keep_from = np.full((self.rows >> _CHUNK_SHIFT) + 1, np.iinfo(np.int64).max)
        np.minimum.at(keep_from, protected_rows >> _CHUNK_SHIFT, keep_from_s)
        freed = 0
        for window in [w for w in self._windows if self._end_s(w) <= before_s]:
            blocks = self._windows[window]
            for chunk, block in enumerate(blocks):
                if block is not None and int(keep_from[chunk]) >= self._end_s(window):
                    freed += block.size_bytes
                    blocks[chunk] = None
            if all(block is None for block in blocks):
                del self._windows[window]
        self.sample_bytes -= freed
        return freed

    def _end_s(self, window: int) -> int:
        return (window + 1) * WINDOW_SLOTS * self.timestep_s

    def validate(self) -> None:
        """Raise AssertionError if the books do not agree with what is there; for tests."""
        blocks = [block for window in self._windows.values() for block in window if block is not None]
        _check(self.sample_bytes == sum(block.size_bytes for block in blocks), "bytes do not add up")
        spare = [row for rows in self._spare.values() for row in rows]
        idle = spare + self._free
        _check(len(set(idle)) == len(idle), "a row is free twice")
        _check(len(idle) + sum(self._owned.values()) == self.rows, "rows do not add up")
        _check(set(self._spare) >= set(self._owned), "an owner has no extent")

    def idle_rows(self) -> set[int]:
        """Rows that belong to no series; for tests."""
        return {row for rows in (*self._spare.values(), self._free) for row in rows}


def _block_rows(used: int) -> int:
    if used >= CHUNK_ROWS:
        return CHUNK_ROWS
    return max(_LEAST_BLOCK_ROWS, 1 << (used - 1).bit_length())


def _positions(where: Index) -> Ids:
    return np.arange(where.start, where.stop) if isinstance(where, slice) else where


def _check(right: bool, text: str) -> None:  # noqa: FBT001 reads like assert, which is stripped with -O
    if not right:
        raise AssertionError(text)
