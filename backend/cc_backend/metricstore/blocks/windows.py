"""The blocks of a grid, window by window: which there are, how they are compressed, saved, taken over and dropped."""

import contextlib
import logging
from typing import NamedTuple

import numpy as np

from cc_backend.metricstore.blocks.codec import Codec, decode_all
from cc_backend.metricstore.blocks.cold_block import ColdBlock, compress
from cc_backend.metricstore.blocks.file_slice import DamagedSliceError, FileSlice, UnreadableError
from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS, HotBlock
from cc_backend.metricstore.blocks.payload_format import CodecError
from cc_backend.metricstore.model import Int64Array
from cc_backend.model import Samples

logger = logging.getLogger(__name__)

CHUNK_SHIFT = 10  # row >> CHUNK_SHIFT is its chunk

_MIN_BLOCK_ROWS = 64
_BLOCK_OVERHEAD_BYTES = 250  # of the objects of a block

AnyBlock = HotBlock | ColdBlock
Blocks = list[AnyBlock | None]
Lock = contextlib.AbstractContextManager[object]


class BlockContent(NamedTuple):
    """What a block held at one moment: a copy of its samples if it was hot, else its payload."""

    version: int
    rows: int
    samples: Samples | None
    payload: bytes | FileSlice | None


class WindowState(NamedTuple):
    """What one window takes: bytes of hot and of cold blocks."""

    window: int
    end_s: int
    hot_bytes: int
    cold_bytes: int


class Windows:
    """All blocks of one timestep. The caller holds a lock round each call, except where a lock is handed over."""

    def __init__(self, timestep_s: int, codec: Codec) -> None:
        self.timestep_s = timestep_s
        self.sample_bytes = 0
        self._codec = codec
        self._windows: dict[int, Blocks] = {}

    @property
    def size_bytes(self) -> int:
        """Bytes of samples in memory and of the bookkeeping."""
        return self.sample_bytes + _BLOCK_OVERHEAD_BYTES * sum(len(blocks) for blocks in self._windows.values())

    def block(self, window: int, chunk: int) -> AnyBlock | None:
        """The block of a chunk of rows in a window, None if there is none."""
        blocks = self._windows.get(window, ())
        return blocks[chunk] if chunk < len(blocks) else None

    def hot_block(self, window: int, chunk: int, row_count: int) -> HotBlock:
        """The block, hot, with as many rows as its chunk has of a grid with `row_count` rows; made if need be."""
        blocks = self._windows.setdefault(window, [])
        if chunk >= len(blocks):
            blocks.extend([None] * (chunk + 1 - len(blocks)))
        used = row_count - chunk * CHUNK_ROWS
        block = blocks[chunk]
        if isinstance(block, HotBlock) and block.rows >= min(used, CHUNK_ROWS):
            return block
        self.sample_bytes -= 0 if block is None else block.size_bytes
        if block is None:
            block = HotBlock(_block_rows(used), self._codec)
        elif isinstance(block, ColdBlock):
            block = block.decompress(_block_rows(used))
        else:
            block.grow(_block_rows(used))
        self.sample_bytes += block.size_bytes
        blocks[chunk] = block
        return block

    # Compressing

    def compress(self, before_slot: int, lock: Lock, *, mantissa_bits: int = 0) -> int:
        """Compress the hot blocks of windows that end by a slot; returns the bytes saved.

        The lock is taken for moments only, not while a block is compressed. A block that was written to meanwhile
        stays hot until the next time.
        """
        saved = 0
        with lock:
            ready = [window for window in sorted(self._windows) if (window + 1) * WINDOW_SLOTS <= before_slot]
            places = [(window, chunk) for window in ready for chunk in self.chunks(window)]
        for window, chunk in places:
            with lock:
                block = self.block(window, chunk)
                if not isinstance(block, HotBlock):
                    continue
                is_whole, version, samples = block.pending is None, block.version, block.samples
            if not is_whole:  # it may be compressed the next time
                with contextlib.suppress(UnreadableError):
                    self.merge_pending(window, chunk, lock)
                continue
            payload = compress(samples, mantissa_bits=mantissa_bits, codec=self._codec)
            with lock:
                if self.block(window, chunk) is not block or block.version != version or block.samples is not samples:
                    continue
                cold = ColdBlock(
                    payload,
                    rows=block.rows,
                    version=version,
                    saved_version=block.saved_version,
                    saved_part=block.saved_slice,
                    codec=self._codec,
                )
                self._windows[window][chunk] = cold
                saved += block.size_bytes - cold.size_bytes
                self.sample_bytes += cold.size_bytes - block.size_bytes
            del block, samples
        return saved

    def merge_pending(self, window: int, chunk: int, lock: Lock, *, give_up: bool = False) -> None:
        """Complete a hot block with what the disk did not give when it became hot.

        Raises UnreadableError if the disk does not give it now either, unless it is given up. The lock is not held
        while the disk is read.
        """
        with lock:
            block = self.block(window, chunk)
            pending = block.pending if isinstance(block, HotBlock) else None
        if not isinstance(block, HotBlock) or pending is None:
            return
        old = None
        try:
            old = decode_all(self._codec, pending.file_slice.read())
        except UnreadableError:
            if not give_up:
                raise
            logger.error("file=%s is given up: samples that only it has are lost", pending.file_slice.file.path)  # noqa: TRY400
        except (DamagedSliceError, CodecError) as error:
            logger.error("file=%s: samples that only it has are lost: %s", pending.file_slice.file.path, error)  # noqa: TRY400
        with lock:
            if block.pending is pending:
                block.merge_pending(old)

    # Saving and restoring

    def numbers(self) -> list[int]:
        """The windows that have blocks, ascending. Window w begins with slot w * `WINDOW_SLOTS`."""
        return sorted(self._windows)

    def numbers_between(self, first_slot: int, end_slot: int) -> list[int]:
        """The windows that have blocks and slots of [first_slot, end_slot), ascending."""
        first, last = first_slot // WINDOW_SLOTS, (end_slot - 1) // WINDOW_SLOTS
        if last - first < len(self._windows):
            return [window for window in range(first, last + 1) if window in self._windows]
        return sorted(window for window in self._windows if first <= window <= last)

    def held_slots(self) -> range:
        """From the first slot of the first window that has blocks to the last one of the last; empty without any."""
        if not self._windows:
            return range(0)
        return range(min(self._windows) * WINDOW_SLOTS, (max(self._windows) + 1) * WINDOW_SLOTS)

    def chunks(self, window: int) -> list[int]:
        """The chunks of a window that have a block, ascending. Chunk c begins with row c * `CHUNK_ROWS`."""
        return [chunk for chunk, block in enumerate(self._windows.get(window, ())) if block is not None]

    def unsaved_chunks(self, window: int) -> list[int]:
        """The chunks of a window whose block changed since it was saved, ascending."""
        blocks = enumerate(self._windows.get(window, ()))
        return [chunk for chunk, block in blocks if block is not None and block.version != block.saved_version]

    def block_content(self, window: int, chunk: int) -> BlockContent | None:
        """What a block holds now; None if there is no such block."""
        block = self.block(window, chunk)
        if block is None:
            return None
        if isinstance(block, ColdBlock):
            return BlockContent(block.version, block.rows, None, block.payload)
        return BlockContent(block.version, block.rows, block.samples.copy(), None)

    def mark_saved(self, window: int, chunk: int, version: int, part: FileSlice | None = None) -> None:
        """Tell that this version of a block is on disk, and where; a block on disk only is read from there now."""
        block = self.block(window, chunk)
        if block is None:
            return
        block.saved_version = version
        block.saved_slice = part
        if part is not None and isinstance(block, ColdBlock) and block.on_disk and block.version == version:
            block.payload = part

    def mark_moved(self, window: int, chunk: int, part: FileSlice) -> None:
        """Tell that what is saved of a block lies elsewhere on disk now."""
        block = self.block(window, chunk)
        if block is not None:
            block.saved_slice = part
            if isinstance(block, ColdBlock) and block.on_disk:
                block.payload = part

    def mark_lost(self, window: int, chunk: int) -> None:
        """Tell that what was saved of a block is no longer on disk, so that it is saved anew."""
        block = self.block(window, chunk)
        if block is not None:
            block.version += 1
            block.saved_slice = None

    def adopt(self, window: int, chunk: int, block: ColdBlock) -> bool:
        """Take over a block from disk, if there is none in its place; its rows must be claimed before."""
        blocks = self._windows.setdefault(window, [])
        if chunk < len(blocks) and blocks[chunk] is not None:
            return False
        if chunk >= len(blocks):
            blocks.extend([None] * (chunk + 1 - len(blocks)))
        blocks[chunk] = block
        self.sample_bytes += block.size_bytes
        return True

    # Freeing

    def window_states(self) -> list[WindowState]:
        """What each window takes, oldest first."""
        found = []
        for window in self.numbers():
            hot = cold = 0
            for block in self._windows[window]:
                if isinstance(block, ColdBlock):
                    cold += block.size_bytes
                elif block is not None:
                    hot += block.size_bytes
            found.append(WindowState(window, self.end_s(window), hot, cold))
        return found

    def evict(self, window: int) -> int:
        """Keep the saved cold blocks of a window on disk only; returns the bytes freed."""
        freed = sum(block.evict() for block in self._windows.get(window, ()) if isinstance(block, ColdBlock))
        self.sample_bytes -= freed
        return freed

    def free(self, before_s: int, protected_rows: Int64Array, keep_from_s: Int64Array) -> int:
        """Drop windows that end by `before_s`, except blocks with protected rows; returns the bytes freed.

        A block stays as long as its window ends after the `keep_from_s` of one of its protected rows.
        """
        keep_from = np.full(max(map(len, self._windows.values()), default=0), np.iinfo(np.int64).max)
        chunks = protected_rows >> CHUNK_SHIFT
        there = chunks < len(keep_from)
        np.minimum.at(keep_from, chunks[there], keep_from_s[there])
        freed = 0
        for window in [w for w in self._windows if self.end_s(w) <= before_s]:
            blocks = self._windows[window]
            for chunk, block in enumerate(blocks):
                if block is not None and int(keep_from[chunk]) >= self.end_s(window):
                    freed += block.size_bytes
                    blocks[chunk] = None
            if all(block is None for block in blocks):
                del self._windows[window]
        self.sample_bytes -= freed
        return freed

    def drop(self, window: int, protected_rows: Int64Array) -> int:
        """Drop the blocks of a window that take memory and hold no protected rows; returns the bytes freed."""
        blocks = self._windows.get(window, [])
        kept = set((protected_rows >> CHUNK_SHIFT).tolist())
        freed = 0
        for chunk, block in enumerate(blocks):
            if block is not None and block.size_bytes and chunk not in kept:
                freed += block.size_bytes
                blocks[chunk] = None
        if blocks and all(block is None for block in blocks):
            del self._windows[window]
        self.sample_bytes -= freed
        return freed

    def end_s(self, window: int) -> int:
        """When a window ends, Unix seconds."""
        return (window + 1) * WINDOW_SLOTS * self.timestep_s

    def validate(self) -> None:
        """Raise AssertionError if the books do not agree with what is there; for tests."""
        blocks = [block for window in self._windows.values() for block in window if block is not None]
        if self.sample_bytes != sum(block.size_bytes for block in blocks):
            raise AssertionError("bytes do not add up")


def _block_rows(used: int) -> int:
    """Rows of a block of which so many are used: a power of two, so that it seldom grows."""
    if used >= CHUNK_ROWS:
        return CHUNK_ROWS
    return max(_MIN_BLOCK_ROWS, 1 << (used - 1).bit_length())
