"""Byte layout of the write-ahead log, as in docs/formats.md. Pure functions; all numbers little endian."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cc_backend.metricstore.model import HostPart, Identity, Int64Array
from cc_backend.model import Samples

MAGIC = b"CCPYWAL\n"
VERSION = 1
HEADER_BYTES = 32
MARKER = b"\xc5\x0c\xa9\x1e"
RECORD_HEADER_BYTES = 16

SERIES = 1
BATCH_ONE_TIME = 2
BATCH_TIMES = 3
_KINDS = frozenset({SERIES, BATCH_ONE_TIME, BATCH_TIMES})

_FILE_HEADER = struct.Struct("<8sIIqI4x")
_RECORD_HEADER = struct.Struct("<4sBxxxII")
_CHECKED_HEADER_BYTES = 12  # the record header without the checksum
_SERIES_HEADER = struct.Struct("<III4x")
# Names with control characters are rejected, so these can separate names and keys.
NAME_SEPARATOR = b"\0"
"""Separates the names in a key."""
_KEY_SEPARATOR = b"\n"
_NAMES_PER_KEY = 7
_BATCH_HEADER = struct.Struct("<qI4x")
_ALIGNMENT = 8


class UnknownVersionError(Exception):
    """The file is undamaged, but of a version that this program does not know."""


@dataclass(frozen=True, slots=True)
class SeriesRecord:
    """Defines series for the following batches of a file, numbered from `first_id`; `text` holds their keys."""

    first_id: int
    text: bytes

    @property
    def keys(self) -> list[bytes]:
        """The key of each series, in order."""
        return self.text.split(_KEY_SEPARATOR)


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """Samples with the numbers of their series in the file, and one time for all or a time for each."""

    ids: npt.NDArray[np.integer]
    values: Samples
    times_s: int | Int64Array


Record = SeriesRecord | BatchRecord


@dataclass(slots=True)
class Damage:
    """Number of bytes in a file that belong to no readable record, and the offset of the first one."""

    skipped_bytes: int = 0
    first_offset: int = 0

    def skip(self, offset: int, count: int) -> None:
        """Add unreadable bytes."""
        if not self.skipped_bytes:
            self.first_offset = offset
        self.skipped_bytes += count


def file_header(created_s: int) -> bytes:
    """The file header of a segment, 32 bytes."""
    unchecked = _FILE_HEADER.pack(MAGIC, VERSION, 0, created_s, 0)
    return _FILE_HEADER.pack(MAGIC, VERSION, 0, created_s, zlib.crc32(unchecked[:24]))


def _encode_record(kind: int, payload: bytes) -> bytes:
    payload += bytes(-len(payload) % _ALIGNMENT)
    header = _RECORD_HEADER.pack(MARKER, kind, len(payload), 0)[:_CHECKED_HEADER_BYTES]
    return b"".join((header, zlib.crc32(payload, zlib.crc32(header)).to_bytes(4, "little"), payload))


def encode_series(first_id: int, keys: Sequence[bytes]) -> bytes:
    """A record that gives consecutive numbers to series, from `first_id` on."""
    text = _KEY_SEPARATOR.join(keys)
    return _encode_record(SERIES, _SERIES_HEADER.pack(first_id, len(keys), len(text)) + text)


def encode_key(identity: Identity) -> bytes:
    """The key of a series, as it is written to the log and to snapshots."""
    cluster, host, metric, part = identity
    return "\0".join((cluster, host, metric, *part)).encode()


def decode_key(key: bytes) -> Identity | None:
    """The identity of a series by its key; None if this is not a key."""
    names = key.split(NAME_SEPARATOR)
    if len(names) != _NAMES_PER_KEY:
        return None
    try:
        cluster, host, metric, *part = (name.decode() for name in names)
    except UnicodeDecodeError:
        return None
    return Identity(cluster, host, metric, HostPart(*part))


def encode_batch(ids: Int64Array, values: Samples, times_s: int | Int64Array) -> bytes:
    """A record of samples: 8 bytes a sample if all have the same time, else 12."""
    one_time = isinstance(times_s, int)
    base_s = times_s if isinstance(times_s, int) else int(times_s.min())
    parts = [_BATCH_HEADER.pack(base_s, len(ids)), ids.astype("<u4").tobytes(), values.astype("<f4").tobytes()]
    if not isinstance(times_s, int):
        parts.append((times_s - base_s).astype("<u4").tobytes())
    return _encode_record(BATCH_ONE_TIME if one_time else BATCH_TIMES, b"".join(parts))


def read_records(data: bytes, damage: Damage) -> Iterator[Record]:
    """The readable records of a file, in order; all other bytes are added to `damage`.

    After damage, reading continues at the next marker that begins a record with a right checksum.
    Raises UnknownVersionError for an undamaged file of another version.
    """
    position = _after_file_header(data, damage)
    while position < len(data):
        end = _record_end(data, position)
        record = None if end is None else _parse(data, position, end)
        if end is not None and record is not None:
            yield record
            position = end
            continue
        following = _next_record(data, position + 1)
        damage.skip(position, following - position)
        position = following


def _after_file_header(data: bytes, damage: Damage) -> int:
    if len(data) >= HEADER_BYTES:
        magic, version, _, _, checksum = _FILE_HEADER.unpack_from(data)
        if magic == MAGIC and checksum == zlib.crc32(data[:24]):
            if version != VERSION:
                raise UnknownVersionError(f"version {version} of the log is not known, only {VERSION}")
            return HEADER_BYTES
    start = _next_record(data, 0)
    damage.skip(0, start)
    return start


def _next_record(data: bytes, position: int) -> int:
    while True:
        position = data.find(MARKER, position)
        if position < 0:
            return len(data)
        if _record_end(data, position) is not None:
            return position
        position += 1


def _record_end(data: bytes, position: int) -> int | None:
    """Offset of the end of the record that begins here; None if there is no undamaged record here."""
    if len(data) - position < RECORD_HEADER_BYTES:
        return None
    marker, kind, length, checksum = _RECORD_HEADER.unpack_from(data, position)
    end = position + RECORD_HEADER_BYTES + length
    if marker != MARKER or kind not in _KINDS or end > len(data):
        return None
    view = memoryview(data)
    payload_crc = zlib.crc32(
        view[position + RECORD_HEADER_BYTES : end], zlib.crc32(view[position : position + _CHECKED_HEADER_BYTES])
    )
    return end if checksum == payload_crc else None


def _parse(data: bytes, position: int, end: int) -> Record | None:
    """The record; None if its parts contradict each other although the checksum is right."""
    kind = data[position + len(MARKER)]
    begin = position + RECORD_HEADER_BYTES
    try:
        return _parse_series(data, begin, end) if kind == SERIES else _parse_batch(data, begin, end, kind)
    except (ValueError, struct.error):
        return None


def _parse_series(data: bytes, position: int, end: int) -> SeriesRecord:
    first_id, count, length = _SERIES_HEADER.unpack_from(data, position)
    position += _SERIES_HEADER.size
    if position + length > end:
        raise ValueError("the keys run over the end of their record")
    text = data[position : position + length]
    if text.count(_KEY_SEPARATOR) + 1 != count:
        raise ValueError("the number of keys is not the one promised")
    return SeriesRecord(first_id, text)


def _parse_batch(data: bytes, position: int, end: int, kind: int) -> BatchRecord:
    base_s, count = _BATCH_HEADER.unpack_from(data, position)
    position += _BATCH_HEADER.size
    columns = 2 if kind == BATCH_ONE_TIME else 3
    if position + 4 * columns * count > end:
        raise ValueError("the samples run over the end of their record")
    ids = np.frombuffer(data, "<u4", count, position)
    values = np.frombuffer(data, "<f4", count, position + 4 * count)
    if kind == BATCH_ONE_TIME:
        return BatchRecord(ids, values, base_s)
    offsets = np.frombuffer(data, "<u4", count, position + 8 * count).astype(np.int64)
    return BatchRecord(ids, values, base_s + offsets)
