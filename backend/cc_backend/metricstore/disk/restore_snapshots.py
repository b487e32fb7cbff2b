"""Restores snapshot files: compressed blocks go into memory as they are wherever their rows are free.

Each series gets its former row, so that blocks fit. What is in memory already is newer and stays.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cc_backend.metricstore.blocks.codec import Codec, CodecError, choose_codec, decode_all
from cc_backend.metricstore.blocks.cold_block import ColdBlock
from cc_backend.metricstore.blocks.file_slice import FileSlice, SliceFile
from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS
from cc_backend.metricstore.disk.key_reader import KeyReader
from cc_backend.metricstore.disk.snapshot.chunk_keys import NO_SERIES
from cc_backend.metricstore.disk.snapshot.snapshot_folder import SnapshotFolder, payload_slice
from cc_backend.metricstore.disk.snapshot.snapshot_format import (
    ChunkEntry,
    DamagedChunkError,
    ReadAt,
    read_keys,
    read_payload,
    read_times,
)
from cc_backend.metricstore.disk.snapshot.window_file import WindowName, open_reader, read_window_entries
from cc_backend.metricstore.index.bulk_keys import NO_KEY, BulkKeys
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import BoolArray, Int64Array, RestoreState

logger = logging.getLogger(__name__)

_NOT_KEPT = -2
_ROWS_MISMATCH = "samples and keys have different numbers of rows"

_CHUNKS_AT_ONCE = 16  # the lock is released after so many, so that queries get a turn

_ChunkId = tuple[bytes, int, int]


@dataclass(frozen=True, slots=True)
class _LoadedChunk:
    """A chunk in memory: sids and newest times by row, compressed samples, and where these lie on disk."""

    entry: ChunkEntry
    sids: Int64Array
    times_s: Int64Array
    payload: bytes
    part: FileSlice

    @property
    def window(self) -> int:
        return self.entry.start_s // (WINDOW_SLOTS * self.entry.timestep_s)


class SnapshotRestorer:
    """Stores snapshot files in the grids of a table; `lock` guards the table and is released between chunks.

    Once all samples take `memory_budget_bytes` (0: no limit), older ones stay on disk only.
    """

    def __init__(
        self,
        table: SeriesTable,
        lock: "threading.RLock",
        folder: SnapshotFolder,
        state: RestoreState,
        *,
        memory_budget_bytes: int = 0,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._table = table
        self._lock = lock
        self._folder = folder
        self._state = state
        self.keys = KeyReader()
        self._stopping = stopping
        self._memory_budget_bytes = memory_budget_bytes
        self._codec: Codec = choose_codec()
        self._sids: dict[_ChunkId, Int64Array] = {}

    def reserve_rows(self) -> None:
        """Give the series of each chunk the rows that they had last, before new series get them."""
        seen: set[tuple[int, int]] = set()
        for name in self._folder.windows():
            if self._stopping():
                return
            try:
                with open_reader(self._folder.path(name)) as (read, size_bytes):
                    entries, _ = read_window_entries(read, size_bytes, name)
                    self._reserve_rows_of(read, entries, seen)
            except OSError as error:
                logger.debug("file=%s: %s", self._folder.path(name), error)  # logged when its samples are read

    def _reserve_rows_of(self, read: ReadAt, entries: Sequence[ChunkEntry], seen: set[tuple[int, int]]) -> None:
        """Reserve the rows of the chunks of one file that are not in `seen` yet; damaged chunks are not added to it."""
        portion: list[tuple[ChunkEntry, BulkKeys]] = []
        try:
            for entry in entries:
                if (entry.timestep_s, entry.chunk) in seen:
                    continue
                try:
                    portion.append((entry, self.keys.read(read_keys(read, entry))))
                except DamagedChunkError:
                    continue
                seen.add((entry.timestep_s, entry.chunk))
                if len(portion) >= _CHUNKS_AT_ONCE:
                    self._register(portion)
                    portion = []
        finally:  # chunks that were read before a disk fault count
            if portion:
                self._register(portion)

    def restore(self, name: WindowName) -> None:
        """Store one file in the grids; damaged chunks are logged and skipped.

        A file that cannot be read completely is logged, and stays in `SnapshotFolder.unread` until it can.
        """
        path = self._folder.path(name)
        before = self._state.damaged_chunks
        fault: OSError | None = None
        try:
            file = SliceFile(path)
            with open_reader(path) as (read, size_bytes):
                entries, damage = read_window_entries(read, size_bytes, name)
                for entry in entries:
                    if self._stopping():
                        return
                    try:
                        self._restore_chunk(read, entry, file)
                    except OSError as error:  # the other chunks may be readable
                        fault = error
                    self._state.restored_bytes += entry.end - entry.offset
        except OSError as error:
            self._state.damaged_files += 1
            logger.error("file=%s cannot be restored: %s", path, error)  # noqa: TRY400 - expected
            return
        if fault is not None:
            self._state.damaged_files += 1
            logger.error("file=%s cannot be restored completely: %s", path, fault)
            return
        self._folder.set_chunks(name, (entry.chunk for entry in entries))
        self._state.windows += 1
        damaged = self._state.damaged_chunks - before
        if damage.skipped_bytes or damaged:
            self._state.damaged_files += 1
            self._state.damaged_bytes += damage.skipped_bytes
            logger.warning(
                "file=%s is damaged: damaged_chunks=%d skipped_bytes=%d of size_bytes=%d; all other chunks were read",
                path, damaged, damage.skipped_bytes, size_bytes,
            )  # fmt: skip

    def _restore_chunk(self, read: ReadAt, entry: ChunkEntry, file: SliceFile) -> None:
        try:
            chunk = _LoadedChunk(
                entry,
                self._find_sids(read, entry),
                read_times(read, entry),
                read_payload(read, entry),
                payload_slice(file, entry),
            )
            with self._lock:
                is_adopted = self._adopt_compressed(chunk)
            if not is_adopted:
                self._fill_empty_slots(chunk)
        except (DamagedChunkError, CodecError) as error:
            self._state.damaged_chunks += 1
            logger.warning("chunk=%d of file=%s is skipped: %s", entry.chunk, file.path, error)
            return
        except OSError:  # the file is read again before it is replaced
            raise
        except Exception:  # a bug that one chunk triggers must not cost the others
            self._state.damaged_chunks += 1
            logger.exception("chunk=%d of file=%s is skipped because of a bug", entry.chunk, file.path)
            return
        self._state.chunks += 1
        self._state.chunks_adopted += is_adopted

    def _find_sids(self, read: ReadAt, entry: ChunkEntry) -> Int64Array:
        """The sids of a chunk's rows, cached by the digest of its keys."""
        place = _chunk_id(entry)
        known = self._sids.get(place)
        if known is not None and len(known) == entry.rows:
            return known
        self._register([(entry, self.keys.read(read_keys(read, entry)))])
        return self._sids[place]

    def _register(self, chunks: Sequence[tuple[ChunkEntry, BulkKeys]]) -> None:
        """Find the sids of chunks of one file; new series get their former rows, if these are free."""
        keys = BulkKeys.concatenate([keys for _, keys in chunks])
        rows = np.concatenate([entry.chunk * CHUNK_ROWS + np.arange(entry.rows) for entry, _ in chunks])
        with self._lock:
            sids = self._table.register_keys(keys, chunks[0][0].timestep_s, rows)
        sids = np.where(sids >= 0, sids, np.where(keys.kinds == NO_KEY, NO_SERIES, _NOT_KEPT))
        begin = 0
        for entry, _ in chunks:
            self._sids[_chunk_id(entry)] = sids[begin : begin + entry.rows]
            begin += entry.rows

    def _adopt_compressed(self, chunk: _LoadedChunk) -> bool:
        """Store the block without decompressing it; False if a series has another row now or the place is taken."""
        index = self._table.columns.grid_index(chunk.entry.timestep_s)
        kept = chunk.sids >= 0
        if not self._are_rows_unchanged(index, chunk, kept):
            return False
        unconfigured = chunk.sids == _NOT_KEPT
        skipped = 0
        if not kept.any():  # it stays on disk, for a configuration that has these series
            self._state.skipped_samples += int(np.count_nonzero(~np.isnan(decode_all(self._codec, chunk.payload))))
            return True
        if unconfigured.any():  # other series may get these rows
            samples = decode_all(self._codec, chunk.payload)
            skipped = int(np.count_nonzero(~np.isnan(samples[unconfigured])))
            samples[unconfigured] = np.nan
            block = ColdBlock(self._codec.encode(samples), version=1)
        else:
            block = ColdBlock(chunk.payload, saved_part=chunk.part)
            if (
                self._memory_budget_bytes
                and sum(grid.windows.sample_bytes for grid in self._table.columns.grids) >= self._memory_budget_bytes
            ):
                block.evict()
        if block.rows != chunk.entry.rows:
            raise DamagedChunkError(_ROWS_MISMATCH)
        if not self._table.columns.grids[index].windows.adopt(chunk.window, chunk.entry.chunk, block):
            return False
        self._state.skipped_samples += skipped
        self._record_newest(chunk, kept)
        return True

    def _are_rows_unchanged(self, grid_index: int, chunk: _LoadedChunk, kept: BoolArray) -> bool:
        sids = chunk.sids[kept]
        rows = chunk.entry.chunk * CHUNK_ROWS + np.flatnonzero(kept)
        return bool(
            (self._table.columns.grid_of[sids] == grid_index).all() and (self._table.columns.row_of[sids] == rows).all()
        )

    def _fill_empty_slots(self, chunk: _LoadedChunk) -> None:
        """Fill empty slots: with one matrix if all series have their former rows, else sample by sample."""
        samples = decode_all(self._codec, chunk.payload)
        if samples.shape != (chunk.entry.rows, WINDOW_SLOTS):
            raise DamagedChunkError(_ROWS_MISMATCH)
        kept = chunk.sids >= 0
        unconfigured = chunk.sids == _NOT_KEPT
        if unconfigured.any():
            self._state.skipped_samples += int(np.count_nonzero(~np.isnan(samples[unconfigured])))
        with self._lock:
            index = self._table.columns.grid_index(chunk.entry.timestep_s)
            if self._are_rows_unchanged(index, chunk, kept):
                rows = chunk.entry.chunk * CHUNK_ROWS + np.flatnonzero(kept)
                self._table.columns.grids[index].fill_from_matrix(chunk.window, rows, samples[kept])
                self._record_newest(chunk, kept)
                return
        rows, columns = np.nonzero(~np.isnan(samples) & kept[:, np.newaxis])
        with self._lock:
            index = self._table.columns.grid_index(chunk.entry.timestep_s)
            if bool((self._table.columns.grid_of[chunk.sids[kept]] != index).any()):
                # their new file must be written before this one is written without them
                self._table.columns.left_grids.add(index)
            if len(rows):
                times_s = chunk.entry.start_s + columns * chunk.entry.timestep_s
                self._table.columns.fill_empty(chunk.sids[rows], samples[rows, columns], times_s)
            self._record_newest(chunk, kept)

    def _record_newest(self, chunk: _LoadedChunk, kept: BoolArray) -> None:
        there = np.flatnonzero(kept & (chunk.times_s > 0))
        if len(there):
            self._table.columns.update_newest(chunk.sids[there], chunk.times_s[there])


def _chunk_id(entry: ChunkEntry) -> _ChunkId:
    return entry.digest, entry.timestep_s, entry.chunk
