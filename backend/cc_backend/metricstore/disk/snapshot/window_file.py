"""Writes and reads one snapshot file; `snapshot_format` has its byte layout."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cc_backend.metricstore.blocks.file_slice import UnreadableError
from cc_backend.metricstore.disk.snapshot.snapshot_format import (
    HEADER_BYTES,
    ChunkEntry,
    DamagedChunkError,
    PackedKeys,
    ReadAt,
    encode_chunk,
    file_header,
    parse_entry,
    read_record,
    scan_entries,
)
from cc_backend.metricstore.disk.wal.wal_format import Damage, UnknownVersionError
from cc_backend.metricstore.disk.wal.write_ahead_log import write_all

logger = logging.getLogger(__name__)

_SYNC_EVERY_BYTES = 32 << 20  # one large fsync at the end would delay those of the write-ahead log


class WindowName(NamedTuple):
    """The window of a file: its timestep in seconds, and its begin in Unix seconds."""

    timestep_s: int
    start_s: int


class ChangedChunk(NamedTuple):
    """A chunk to be written from memory: number, rows, keys, packed times and compressed samples."""

    chunk: int
    rows: int
    keys: PackedKeys
    times: bytes
    payload: bytes


class CopiedChunk(NamedTuple):
    """A chunk to be copied from the old file."""

    entry: ChunkEntry
    read: ReadAt


class WrittenFile(NamedTuple):
    """A file that was written: its chunks, its size, and the number of damaged chunks that were dropped."""

    entries: list[ChunkEntry]
    size_bytes: int
    damaged: int


def write_window_file(
    path: Path,
    name: WindowName,
    chunks: Iterable[ChangedChunk | CopiedChunk],
    *,
    slots: int,
    chunk_rows: int,
    drop_unreadable: bool = False,
) -> WrittenFile:
    """Write a file and sync it.

    The header is written last, so that an unfinished file is not taken for whole. Raises OSError; UnreadableError if an
    old chunk cannot be read and `drop_unreadable` is False. After an error the file may be there, unfinished.
    """
    entries: list[ChunkEntry] = []
    damaged = 0
    position = HEADER_BYTES
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        synced = 0
        for chunk in chunks:
            try:
                record = _record(chunk, name)
            except (DamagedChunkError, OSError) as error:
                if isinstance(chunk, ChangedChunk):
                    raise
                if isinstance(error, OSError) and not drop_unreadable:
                    raise UnreadableError(error.errno, error.strerror) from error
                damaged += 1
                logger.warning("chunk=%d of the window of %d s at %d is dropped: %s", chunk.entry.chunk, *name, error)
                continue
            write_all(descriptor, record, position)
            entry = parse_entry(record, position, position + len(record))
            if entry is not None:
                entries.append(entry)
            position += len(record)
            if position - synced >= _SYNC_EVERY_BYTES:
                os.fdatasync(descriptor)
                synced = position
        header = file_header(*name, slots=slots, chunk_rows=chunk_rows, chunks=len(entries))
        write_all(descriptor, header, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return WrittenFile(entries, position, damaged)


def _record(chunk: ChangedChunk | CopiedChunk, name: WindowName) -> bytes:
    if isinstance(chunk, CopiedChunk):
        return read_record(chunk.read, chunk.entry)
    return encode_chunk(
        chunk.chunk,
        rows=chunk.rows,
        timestep_s=name.timestep_s,
        start_s=name.start_s,
        keys=chunk.keys,
        times=chunk.times,
        payload=chunk.payload,
    )


@contextmanager
def open_reader(path: Path) -> Iterator[tuple[ReadAt, int]]:
    """A function that reads the file at any offset, and the size of the file; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(offset: int, length: int) -> bytes:
        pieces = []
        while length > 0 and (piece := os.pread(descriptor, length, offset)):
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    try:
        yield read, os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def read_window_entries(read: ReadAt, size_bytes: int, name: WindowName) -> tuple[list[ChunkEntry], Damage]:
    """The chunks of a file that belong to its window, and its unreadable bytes."""
    damage = Damage()
    try:
        entries = [
            entry
            for entry in scan_entries(read, size_bytes, damage)
            if (entry.timestep_s, entry.start_s) == (name.timestep_s, name.start_s)
        ]
    except UnknownVersionError as error:
        logger.error("the window of %d s at %d cannot be read: %s", *name, error)  # noqa: TRY400 - expected
        return [], damage
    return entries, damage
