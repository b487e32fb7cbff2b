"""Series keys of snapshot chunks, packed once and cached until the series of a chunk change."""

import hashlib
from dataclasses import dataclass

import numpy as np

from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS
from cc_backend.metricstore.disk.snapshot.snapshot_format import PackedKeys, pack_keys
from cc_backend.metricstore.disk.wal.wal_format import encode_key
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import Int64Array

NO_SERIES = -1


@dataclass(frozen=True, slots=True)
class _CachedKeys:
    """Packed keys of a chunk, and a digest of the sids that they belong to."""

    sids: bytes
    keys: PackedKeys


class ChunkKeyCache:
    """Sids and packed keys of chunks.

    The caller holds the lock of the table for `row_sids` and `end_pass`. `packed_keys` takes long and runs without the
    lock; series may be added meanwhile, but not removed.
    """

    def __init__(self, table: SeriesTable) -> None:
        self._table = table
        self._cached: dict[tuple[int, int, int], _CachedKeys] = {}
        self._removals = -1
        self._changes = -1
        self._sids_by_grid: dict[int, Int64Array] = {}

    def row_sids(self, grid_index: int, chunk: int, rows: int) -> Int64Array:
        """The sids of the first `rows` rows of a chunk, `NO_SERIES` for a row without a series."""
        if self._changes != self._table.changes:
            self._changes = self._table.changes
            self._sids_by_grid.clear()
        by_row = self._sids_by_grid.get(grid_index)
        if by_row is None:
            by_row = self._sids_by_grid[grid_index] = self._find_row_sids(grid_index)
        found = np.full(rows, NO_SERIES, np.int64)
        piece = by_row[chunk * CHUNK_ROWS : chunk * CHUNK_ROWS + rows]
        found[: len(piece)] = piece
        return found

    def _find_row_sids(self, grid_index: int) -> Int64Array:
        table = self._table
        members = np.flatnonzero((table.columns.grid_of == grid_index) & (table.columns.row_of >= 0))
        by_row = np.full(table.columns.grids[grid_index].rows, NO_SERIES, np.int64)
        by_row[table.columns.row_of[members]] = members
        return by_row

    def packed_keys(self, grid_index: int, chunk: int, sids: Int64Array) -> PackedKeys:
        """The packed keys of the rows of a chunk, whose sids these are."""
        if self._removals != self._table.removals:  # a sid may belong to another series now
            self._removals = self._table.removals
            self._cached.clear()
        place = (grid_index, chunk, len(sids))
        digest = hashlib.blake2b(sids.tobytes(), digest_size=16).digest()
        known = self._cached.get(place)
        if known is None or known.sids != digest:
            identity = self._table.identity
            keys = pack_keys([b"" if sid == NO_SERIES else encode_key(identity(sid)) for sid in sids.tolist()])
            known = self._cached[place] = _CachedKeys(digest, keys)
        return known.keys

    def end_pass(self) -> None:
        """Free what is cached for one pass only."""
        self._sids_by_grid.clear()
        self._changes = -1

    @property
    def size_bytes(self) -> int:
        """Memory of the packed keys, bytes."""
        return sum(len(known.keys.packed) + 200 for known in self._cached.values())
