"""Writes snapshots: in one pass over the memory, each window that has changed since its file was written.

After a complete pass, the files hold all that is in the segments of the write-ahead log that were closed when it began.
Ingest goes on meanwhile: the lock of the memory is held only while one block is copied.
"""

import errno
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cc_backend.metricstore.blocks.codec import Codec, choose_codec
from cc_backend.metricstore.blocks.file_slice import DamagedSliceError, FileSlice, UnreadableError
from cc_backend.metricstore.blocks.grid import Grid
from cc_backend.metricstore.blocks.windows import BlockContent, Lock
from cc_backend.metricstore.disk.snapshot.chunk_keys import NO_SERIES, ChunkKeyCache
from cc_backend.metricstore.disk.snapshot.snapshot_folder import SnapshotFolder, window_end_s, window_name
from cc_backend.metricstore.disk.snapshot.snapshot_format import ChunkEntry, PackedKeys, pack_times
from cc_backend.metricstore.disk.snapshot.window_file import (
    ChangedChunk,
    CopiedChunk,
    WindowName,
    open_reader,
    read_window_entries,
)
from cc_backend.metricstore.index.series_table import SeriesTable

logger = logging.getLogger(__name__)


class SnapshotStoppedError(Exception):
    """The pass was stopped before it was complete."""


class _SeriesMovedError(Exception):
    """Series got another timestep while a file was written: samples that it lacks may be in no file yet."""


@dataclass(slots=True)
class SnapshotResult:
    """What a pass wrote: number of files, of changed and of copied chunks in them, bytes, seconds."""

    files: int = 0
    chunks: int = 0
    copied_chunks: int = 0
    size_bytes: int = 0
    seconds: float = 0.0


class SnapshotWriter:
    """Writes changed windows of a table to a folder; `lock` guards the table.

    No series may be removed during a pass. While a part of a window is unreadable, its file is not replaced, since the
    disk may recover; after `give_up_after_s` seconds the unreadable part is dropped.
    """

    def __init__(
        self,
        table: SeriesTable,
        lock: Lock,
        folder: SnapshotFolder,
        *,
        mantissa_bits: int = 0,
        codec: Codec | None = None,
        give_up_after_s: float = 3600.0,
    ) -> None:
        self._table = table
        self._lock = lock
        self._folder = folder
        self._mantissa_bits = mantissa_bits
        self._codec = codec or choose_codec()
        self._keys = ChunkKeyCache(table)
        self._give_up_after_s = give_up_after_s
        self._unreadable_since: dict[WindowName, float] = {}

    @property
    def size_bytes(self) -> int:
        """Memory between passes, bytes."""
        return self._keys.size_bytes

    def run(self, *, stopping: Callable[[], bool] = lambda: False) -> SnapshotResult:
        """Write all windows with changes.

        Raises OSError, and SnapshotStoppedError once `stopping` gives True; the files that were written are valid, the
        rest is left to the next pass. UnreadableError for single windows is raised after all others were written.
        """
        result = SnapshotResult()
        began_s = time.monotonic()
        try:
            while not self._save_all(stopping, result):
                logger.info("snapshot begins anew: series got another timestep")
        finally:
            with self._lock:
                self._keys.end_pass()
        result.seconds = time.monotonic() - began_s
        return result

    def _save_all(self, stopping: Callable[[], bool], result: SnapshotResult) -> bool:
        """Save all windows with changes; False if series got another grid meanwhile.

        Grids that series have left come last: until then only their files have the samples of these series.
        """
        with self._lock:
            migrations, left = self._table.columns.migration_count, frozenset(self._table.columns.left_grids)
            grids = sorted(enumerate(self._table.columns.grids), key=lambda item: item[0] in left)
        fault: UnreadableError | None = None
        for index, grid in grids:
            with self._lock:
                windows = grid.windows.numbers()
            for window in windows:
                with self._lock:
                    unsaved = frozenset(grid.windows.unsaved_chunks(window))
                if not unsaved:
                    continue
                try:
                    self._save_window(_GridWindow(index, grid, window, migrations), unsaved, stopping, result)
                except UnreadableError as error:
                    fault = error
                except _SeriesMovedError:
                    return False
        if fault is not None:
            raise fault
        with self._lock:
            if self._table.columns.migration_count != migrations:
                return False
            self._table.columns.left_grids.clear()
        return True

    def _save_window(
        self, place: "_GridWindow", unsaved: frozenset[int], stopping: Callable[[], bool], result: SnapshotResult
    ) -> None:
        versions: dict[int, int] = {}
        was_unreadable, lose = place.name in self._unreadable_since, self._is_given_up(place.name)

        def chunks(old: dict[int, CopiedChunk]) -> Iterator[ChangedChunk | CopiedChunk]:
            with self._lock:
                present = place.grid.windows.chunks(place.window)
            # Chunks that only the old file has are of series that are not configured now; they may be again.
            for chunk in sorted({*present, *old}):
                if stopping():
                    raise SnapshotStoppedError
                if chunk in old and chunk not in unsaved and not (was_unreadable and chunk in present):
                    yield old[chunk]
                elif (copy := self._copy_block(place, chunk, drop_unreadable=lose)) is not None:
                    versions[chunk] = copy.version
                    if copy.payload:
                        yield copy.to_chunk(chunk)
            with self._lock:
                if self._table.columns.migration_count != place.migrations:
                    raise _SeriesMovedError

        try:
            with ExitStack() as files:
                old = self._old_chunks(place, files, drop_unreadable=lose)
                temporary, written = self._folder.write_temporary(place.name, chunks(old), drop_unreadable=lose)
        except UnreadableError:
            self._unreadable_since.setdefault(place.name, time.monotonic())
            raise
        self._unreadable_since.pop(place.name, None)
        self._folder.publish(place.name, temporary, written)
        self._mark_saved(place, written.entries, versions)
        result.files += 1
        result.chunks += len(versions)
        result.copied_chunks += len(written.entries) - sum(entry.chunk in versions for entry in written.entries)
        result.size_bytes += written.size_bytes

    def _is_given_up(self, name: WindowName) -> bool:
        """Whether a part of a window has been unreadable for `give_up_after_s`."""
        since_s = self._unreadable_since.get(name)
        return since_s is not None and time.monotonic() - since_s >= self._give_up_after_s

    def _old_chunks(self, place: "_GridWindow", files: ExitStack, *, drop_unreadable: bool) -> dict[int, CopiedChunk]:
        name = place.name
        if name not in self._folder:
            return {}
        if not drop_unreadable and name in self._folder.unread():  # its samples are not in memory
            raise UnreadableError(
                errno.EIO, f"{self._folder.path(name)} could not be read since the start, so it is not replaced"
            )
        try:
            read, size_bytes = files.enter_context(open_reader(self._folder.path(name)))
            return {entry.chunk: CopiedChunk(entry, read) for entry in read_window_entries(read, size_bytes, name)[0]}
        except OSError as error:
            if not (drop_unreadable or isinstance(error, FileNotFoundError) or self._is_all_in_memory(place)):
                raise UnreadableError(error.errno, error.strerror) from error
            logger.warning(
                "file=%s cannot be read, it is written again from memory: %s", self._folder.path(name), error.strerror
            )
            return {}

    def _is_all_in_memory(self, place: "_GridWindow") -> bool:
        """Whether the grid has a block for each chunk in the file of a window."""
        try:
            chunks = self._folder.chunks(place.name)
        except OSError:
            return False
        with self._lock:
            return chunks <= {*place.grid.windows.chunks(place.window)}

    def _copy_block(self, place: "_GridWindow", chunk: int, *, drop_unreadable: bool) -> "_BlockCopy | None":
        """A copy of a block, ready to be written; the payload is empty if it has no samples. None without a block."""
        place.grid.windows.merge_pending(place.window, chunk, self._lock, give_up=drop_unreadable)
        with self._lock:
            content = place.grid.windows.block_content(place.window, chunk)
            if content is None:
                return None
            sids = self._keys.row_sids(place.grid_index, chunk, content.rows)
            last_s = np.where(sids == NO_SERIES, 0, self._table.columns.last_s[sids])
        keys = self._keys.packed_keys(place.grid_index, chunk, sids)
        start_s = place.name.start_s
        times = pack_times(np.minimum(last_s, window_end_s(place.name) - 1), start_s)
        return _BlockCopy(
            content.version, content.rows, keys, times, self._payload(content, drop_unreadable=drop_unreadable)
        )

    def _payload(self, content: BlockContent, *, drop_unreadable: bool) -> bytes:
        if content.samples is not None:
            is_empty = bool(np.isnan(content.samples).all())
            return b"" if is_empty else self._codec.encode(content.samples, self._mantissa_bits)
        if not isinstance(content.payload, FileSlice):
            return content.payload or b""
        try:
            return content.payload.read()
        except DamagedSliceError:
            return b""
        except UnreadableError:
            if not drop_unreadable:
                raise
            return b""

    def _mark_saved(self, place: "_GridWindow", entries: list[ChunkEntry], versions: dict[int, int]) -> None:
        """Mark blocks in the grid as saved, with their place on disk."""
        parts = self._folder.payload_slices(place.name, entries) if entries else {}
        with self._lock:
            for chunk, version in versions.items():
                place.grid.windows.mark_saved(place.window, chunk, version, parts.get(chunk))
            relocate_saved(
                place.grid,
                place.window,
                [c for c in place.grid.windows.chunks(place.window) if c not in versions],
                entries,
                parts,
            )


def relocate_saved(
    grid: Grid, window: int, chunks: Iterable[int], entries: Iterable[ChunkEntry], parts: Mapping[int, FileSlice]
) -> None:
    """Give blocks of a grid their new place on disk after their file was rewritten; damaged chunks are marked lost."""
    written = {entry.chunk for entry in entries}
    for chunk in chunks:
        if chunk not in written:
            grid.windows.mark_lost(window, chunk)
        elif chunk in parts:
            grid.windows.mark_moved(window, chunk, parts[chunk])


class _GridWindow(NamedTuple):
    """A window of a grid, the position of the grid in the table, and its migration count when the pass began."""

    grid_index: int
    grid: Grid
    window: int
    migrations: int

    @property
    def name(self) -> WindowName:
        return window_name(self.grid.timestep_s, self.window)


class _BlockCopy(NamedTuple):
    """A copy of a block at one moment."""

    version: int
    rows: int
    keys: PackedKeys
    times: bytes
    payload: bytes

    def to_chunk(self, number: int) -> ChangedChunk:
        return ChangedChunk(number, self.rows, self.keys, self.times, self.payload)
