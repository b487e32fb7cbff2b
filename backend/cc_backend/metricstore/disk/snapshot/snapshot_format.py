"""Byte layout of snapshot files, as in docs/formats.md. Pure functions; all numbers little endian.

A file holds one window of one timestep, cut into chunks of rows. Each chunk can be read without the others: it repeats
the window, and has the keys of its rows and its own checksums.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cc_backend.metricstore.disk.wal.wal_format import Damage, UnknownVersionError
from cc_backend.metricstore.model import Int64Array

MAGIC = b"CCPYWIN\n"
VERSION = 1
HEADER_BYTES = 48
MARKER = b"\xc5\x0c\x57\x1e"
CHUNK_HEADER_BYTES = 72
DIGEST_BYTES = 16

_FILE_HEADER = struct.Struct("<8sIIqIIII")
_CHUNK_HEADER = struct.Struct("<4sIIIq16sIIIIII")
_CHECKSUM = struct.Struct("<I4x")
_ALIGNMENT = 8
_KEY_SEPARATOR = b"\n"
_COMPRESSION = 1  # more effort would make the keys a tenth smaller
_MAX_KEYS_BYTES = 64 << 20
_SEARCH_BYTES = 1 << 20

ReadAt = Callable[[int, int], bytes]
"""Reads a file: (offset, length) -> bytes, fewer at the end of the file."""


class DamagedChunkError(Exception):
    """A part of a chunk has a wrong checksum or content."""


@dataclass(frozen=True, slots=True)
class PackedKeys:
    """The compressed keys of a chunk, and a digest of the uncompressed ones: equal digests, equal series."""

    digest: bytes
    packed: bytes


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """The header of a chunk, and its offset in the file. Offsets and lengths are in bytes."""

    offset: int
    chunk: int
    rows: int
    timestep_s: int
    start_s: int
    digest: bytes
    keys_bytes: int
    times_bytes: int
    payload_bytes: int
    keys_crc: int
    times_crc: int
    payload_crc: int

    @property
    def keys_offset(self) -> int:
        """Offset of the keys."""
        return self.offset + CHUNK_HEADER_BYTES

    @property
    def times_offset(self) -> int:
        """Offset of the times of the newest samples."""
        return self.keys_offset + _padded_length(self.keys_bytes)

    @property
    def payload_offset(self) -> int:
        """Offset of the samples."""
        return self.times_offset + _padded_length(self.times_bytes)

    @property
    def end(self) -> int:
        """Offset of the first byte after the chunk."""
        return self.payload_offset + _padded_length(self.payload_bytes)


# Writing


def file_header(timestep_s: int, start_s: int, *, slots: int, chunk_rows: int, chunks: int) -> bytes:
    """The file header, 48 bytes."""
    header = _FILE_HEADER.pack(MAGIC, VERSION, timestep_s, start_s, slots, chunk_rows, chunks, 0)
    return header + _CHECKSUM.pack(zlib.crc32(header))


def encode_chunk(
    chunk: int, *, rows: int, timestep_s: int, start_s: int, keys: PackedKeys, times: bytes, payload: bytes
) -> bytes:
    """The bytes of a chunk, header included."""
    header = _CHUNK_HEADER.pack(
        MARKER, chunk, timestep_s, rows, start_s, keys.digest, len(keys.packed), len(times), len(payload),
        zlib.crc32(keys.packed), zlib.crc32(times), zlib.crc32(payload),
    )  # fmt: skip
    parts = [header, _CHECKSUM.pack(zlib.crc32(header))]
    for part in (keys.packed, times, payload):
        parts += [part, bytes(-len(part) % _ALIGNMENT)]
    return b"".join(parts)


def pack_keys(keys: Sequence[bytes]) -> PackedKeys:
    """The keys of a chunk's rows, in order and compressed; `keys` has an empty one for a row without a series."""
    text = _KEY_SEPARATOR.join(keys)
    digest = hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest()
    return PackedKeys(digest, zlib.compress(text, _COMPRESSION))


def pack_times(last_s: Int64Array, start_s: int) -> bytes:
    """The compressed times of the newest sample of each row; times before the window count as none."""
    after = np.where(last_s >= start_s, last_s - start_s + 1, 0)
    return zlib.compress(after.astype("<u4").tobytes(), _COMPRESSION)


# Reading


def scan_entries(read: ReadAt, size_bytes: int, damage: Damage) -> Iterator[ChunkEntry]:
    """The chunk headers of a file, in order; bytes that belong to no chunk are added to `damage`.

    After damage, reading continues at the next header with a right checksum.
    Raises UnknownVersionError for an undamaged file of another version.
    """
    position = _after_file_header(read(0, HEADER_BYTES), damage)
    while position < size_bytes:
        entry = parse_entry(read(position, CHUNK_HEADER_BYTES), position, size_bytes)
        if entry is not None:
            yield entry
            position = entry.end
            continue
        following = _next_entry(read, position + 1, size_bytes)
        damage.skip(position, following - position)
        position = following


def _after_file_header(header: bytes, damage: Damage) -> int:
    if len(header) == HEADER_BYTES:
        magic, version, *_ = _FILE_HEADER.unpack_from(header)
        (checksum,) = _CHECKSUM.unpack_from(header, _FILE_HEADER.size)
        if magic == MAGIC and checksum == zlib.crc32(header[: _FILE_HEADER.size]):
            if version != VERSION:
                raise UnknownVersionError(f"version {version} of snapshots is not known, only {VERSION}")
            return HEADER_BYTES
    # The headers of the chunks repeat all that is needed.
    damage.skip(0, min(len(header), HEADER_BYTES))
    return len(header)


def _next_entry(read: ReadAt, position: int, size_bytes: int) -> int:
    while position < size_bytes:
        piece = read(position, _SEARCH_BYTES)
        at = piece.find(MARKER)
        while at >= 0:
            if parse_entry(read(position + at, CHUNK_HEADER_BYTES), position + at, size_bytes) is not None:
                return position + at
            at = piece.find(MARKER, at + 1)
        position += max(len(piece) - len(MARKER) + 1, 1)
    return size_bytes


def parse_entry(header: bytes, offset: int, size_bytes: int) -> ChunkEntry | None:
    """The chunk with this header, at an offset of a file of this size; None if the header is not valid."""
    if len(header) < CHUNK_HEADER_BYTES or header[: len(MARKER)] != MARKER:
        return None
    (checksum,) = _CHECKSUM.unpack_from(header, _CHUNK_HEADER.size)
    if checksum != zlib.crc32(header[: _CHUNK_HEADER.size]):
        return None
    _, chunk, timestep_s, rows, start_s, digest, *lengths_and_checksums = _CHUNK_HEADER.unpack_from(header)
    entry = ChunkEntry(offset, chunk, rows, timestep_s, start_s, digest, *lengths_and_checksums)
    return entry if entry.end <= size_bytes and timestep_s else None


def read_keys(read: ReadAt, entry: ChunkEntry) -> list[bytes]:
    """The keys of a chunk's rows; raises DamagedChunkError."""
    packed = _verify_part(read(entry.keys_offset, entry.keys_bytes), entry.keys_bytes, entry.keys_crc, "keys")
    keys = _decompress(packed, _MAX_KEYS_BYTES).split(_KEY_SEPARATOR)
    if len(keys) != entry.rows:
        raise DamagedChunkError("the number of keys is not the number of rows")
    return keys


def read_times(read: ReadAt, entry: ChunkEntry) -> Int64Array:
    """The time of the newest sample of each row, 0 for a row without; raises DamagedChunkError."""
    packed = _verify_part(read(entry.times_offset, entry.times_bytes), entry.times_bytes, entry.times_crc, "times")
    times = _decompress(packed, 4 * entry.rows)
    if len(times) != 4 * entry.rows:
        raise DamagedChunkError("the number of times is not the number of rows")
    after = np.frombuffer(times, "<u4").astype(np.int64)
    return np.where(after > 0, after + (entry.start_s - 1), 0)


def read_payload(read: ReadAt, entry: ChunkEntry) -> bytes:
    """The compressed samples of a chunk; raises DamagedChunkError."""
    return _verify_part(
        read(entry.payload_offset, entry.payload_bytes), entry.payload_bytes, entry.payload_crc, "samples"
    )


def read_record(read: ReadAt, entry: ChunkEntry) -> bytes:
    """All bytes of a chunk, to be copied to another file; raises DamagedChunkError."""
    read_payload_of = read(entry.offset, entry.end - entry.offset)

    def part(offset: int, length: int) -> bytes:
        return read_payload_of[offset - entry.offset : offset - entry.offset + length]

    if parse_entry(part(entry.offset, CHUNK_HEADER_BYTES), entry.offset, entry.end) != entry:
        raise DamagedChunkError("the header has changed since it was read")
    for offset, length, checksum, what in (
        (entry.keys_offset, entry.keys_bytes, entry.keys_crc, "keys"),
        (entry.times_offset, entry.times_bytes, entry.times_crc, "times"),
        (entry.payload_offset, entry.payload_bytes, entry.payload_crc, "samples"),
    ):
        _verify_part(part(offset, length), length, checksum, what)
    return read_payload_of


def _verify_part(part: bytes, length: int, checksum: int, what: str) -> bytes:
    if len(part) != length or zlib.crc32(part) != checksum:
        raise DamagedChunkError(f"the checksum of the {what} is wrong")
    return part


def _decompress(packed: bytes, longest: int) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(packed, longest + 1)
    except zlib.error as error:
        raise DamagedChunkError(str(error)) from error
    if len(text) > longest or not unpacking.eof:
        raise DamagedChunkError("a part is longer than the limit")
    return text


def _padded_length(length: int) -> int:
    return length + -length % _ALIGNMENT
