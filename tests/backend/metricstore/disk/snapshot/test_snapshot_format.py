"""The bytes of snapshot files: what is written is read, and damage costs no more than what it hits."""

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.metricstore.disk.snapshot import snapshot_format as form
from cc_backend.metricstore.disk.snapshot.snapshot_format import ChunkEntry, DamagedChunkError, ReadAt
from cc_backend.metricstore.disk.wal.wal_format import Damage, UnknownVersionError

START_S = 1_790_000_640
KEYS = [b"demo\0n1\0load\0\0\0\0", b"", b"demo\0n2\0load\0socket\x001\0\0"]
TIMES = np.array([START_S + 5, 0, START_S])
PAYLOAD = bytes(range(251)) * 3


def record(chunk: int = 0, payload: bytes = PAYLOAD) -> bytes:
    return form.encode_chunk(
        chunk, rows=3, timestep_s=60, start_s=START_S, keys=form.pack_keys(KEYS),
        times=form.pack_times(TIMES, START_S), payload=payload,
    )  # fmt: skip


def file(*records: bytes) -> bytes:
    header = form.file_header(60, START_S, slots=128, chunk_rows=1024, chunks=len(records))
    return header + b"".join(records)


def reader(data: bytes) -> ReadAt:
    return lambda offset, length: data[offset : offset + length]


def entries(data: bytes) -> tuple[list[ChunkEntry], Damage]:
    damage = Damage()
    return list(form.scan_entries(reader(data), len(data), damage)), damage


def test_a_file_is_what_the_documentation_says() -> None:
    data = file(record(7))
    assert data[:8] == b"CCPYWIN\n"
    assert struct.unpack_from("<IIqIII", data, 8) == (1, 60, START_S, 128, 1024, 1)
    assert struct.unpack_from("<I", data, 40) == (zlib.crc32(data[:40]),)
    chunk = data[48:]
    assert chunk[:4] == bytes.fromhex("c50c571e")
    assert struct.unpack_from("<IIIq", chunk, 4) == (7, 60, 3, START_S)
    keys_bytes, times_bytes, payload_bytes, keys_crc, times_crc, payload_crc, crc = struct.unpack_from("<7I", chunk, 40)
    assert crc == zlib.crc32(chunk[:64])
    keys = chunk[72 : 72 + keys_bytes]
    assert (zlib.decompress(keys), zlib.crc32(keys)) == (b"\n".join(KEYS), keys_crc)
    at = 72 + -(-keys_bytes // 8) * 8
    times = chunk[at : at + times_bytes]
    assert (zlib.decompress(times), zlib.crc32(times)) == (struct.pack("<3I", 6, 0, 1), times_crc)
    at += -(-times_bytes // 8) * 8
    assert (chunk[at : at + payload_bytes], zlib.crc32(PAYLOAD)) == (PAYLOAD, payload_crc)
    assert len(chunk) == at + -(-payload_bytes // 8) * 8


@given(
    st.lists(
        st.tuples(
            st.lists(st.binary(max_size=40).map(lambda key: key.replace(b"\n", b"")), min_size=1, max_size=30),
            st.binary(max_size=300),
        ),
        max_size=5,
    )
)
def test_what_is_written_is_read(chunks: list[tuple[list[bytes], bytes]]) -> None:
    data = file(*(
        form.encode_chunk(
            number, rows=len(keys), timestep_s=60, start_s=START_S, keys=form.pack_keys(keys),
            times=form.pack_times(np.arange(len(keys)) + START_S, START_S), payload=payload,
        )
        for number, (keys, payload) in enumerate(chunks)
    ))  # fmt: skip
    found, damage = entries(data)
    assert damage.skipped_bytes == 0
    assert [entry.chunk for entry in found] == list(range(len(chunks)))
    read = reader(data)
    for entry, (keys, payload) in zip(found, chunks, strict=True):
        assert form.read_keys(read, entry) == keys
        assert form.read_times(read, entry).tolist() == list(range(START_S, START_S + len(keys)))
        assert form.read_payload(read, entry) == payload
        assert form.read_record(read, entry) == data[entry.offset : entry.end]


def test_times_before_the_window_are_no_times() -> None:
    assert form.read_times(*alone(record())).tolist() == TIMES.tolist()
    packed = form.pack_times(np.array([START_S - 1]), START_S)
    assert zlib.decompress(packed) == bytes(4)


def alone(chunk: bytes) -> tuple[ReadAt, ChunkEntry]:
    data = file(chunk)
    (entry,) = entries(data)[0]
    return reader(data), entry


def test_equal_keys_have_equal_digests_and_others_have_not() -> None:
    assert form.pack_keys(KEYS) == form.pack_keys(list(KEYS))
    assert form.pack_keys(KEYS).digest != form.pack_keys(KEYS[::-1]).digest


def test_a_file_of_another_version_is_not_read() -> None:
    data = bytearray(file(record()))
    data[8] = 2
    data[40:44] = struct.pack("<I", zlib.crc32(data[:40]))
    with pytest.raises(UnknownVersionError, match="version 2"):
        entries(bytes(data))


def test_a_damaged_header_of_the_file_costs_nothing() -> None:
    data = bytearray(file(record(), record(1)))
    data[3] ^= 1
    found, damage = entries(bytes(data))
    assert [entry.chunk for entry in found] == [0, 1]
    assert (damage.skipped_bytes, damage.first_offset) == (form.HEADER_BYTES, 0)


def test_a_damaged_header_of_a_chunk_costs_that_chunk() -> None:
    one = record()
    data = bytearray(file(one, record(1), record(2)))
    data[form.HEADER_BYTES + len(one) + 5] ^= 1
    found, damage = entries(bytes(data))
    assert [entry.chunk for entry in found] == [0, 2]
    assert damage.skipped_bytes == len(one)


def test_a_marker_within_samples_is_not_taken_for_a_chunk() -> None:
    nested = record(5)
    data = bytearray(file(record(payload=form.MARKER * 20), record(1, payload=nested)))
    found, _ = entries(bytes(data))
    assert [entry.chunk for entry in found] == [0, 1]


@pytest.mark.parametrize(
    ("read", "offset"),
    [
        (form.read_keys, lambda entry: entry.keys_offset),
        (form.read_times, lambda entry: entry.times_offset),
        (form.read_payload, lambda entry: entry.payload_offset),
    ],
)
def test_a_damaged_part_is_noticed(
    read: Callable[[ReadAt, ChunkEntry], object], offset: Callable[[ChunkEntry], int]
) -> None:
    at, entry = alone(record())
    read(at, entry)
    data = bytearray(file(record()))
    data[offset(entry) + 2] ^= 4
    with pytest.raises(DamagedChunkError, match="checksum"):
        read(reader(bytes(data)), entry)
    with pytest.raises(DamagedChunkError, match="checksum"):
        form.read_record(reader(bytes(data)), entry)
    with pytest.raises(DamagedChunkError):
        read(reader(bytes(data[: offset(entry) + 1])), entry)


def test_parts_with_right_checksums_that_make_no_sense_are_noticed() -> None:
    four_rows = form.encode_chunk(
        0, rows=4, timestep_s=60, start_s=START_S, keys=form.pack_keys(KEYS), times=form.pack_times(TIMES, START_S),
        payload=b"",
    )  # fmt: skip
    read, entry = alone(four_rows)
    with pytest.raises(DamagedChunkError, match="number of keys"):
        form.read_keys(read, entry)
    with pytest.raises(DamagedChunkError, match="number of times"):
        form.read_times(read, entry)
    bomb = form.encode_chunk(
        0, rows=3, timestep_s=60, start_s=START_S, keys=form.PackedKeys(bytes(16), b"no zlib"),
        times=zlib.compress(bytes(1000)), payload=b"",
    )  # fmt: skip
    read, entry = alone(bomb)
    with pytest.raises(DamagedChunkError):
        form.read_keys(read, entry)
    with pytest.raises(DamagedChunkError, match="longer"):
        form.read_times(read, entry)


WHOLE = file(record(), record(1), record(2))


@given(st.integers(0, 8 * len(WHOLE) - 1))
def test_one_flipped_bit_costs_at_most_one_chunk(bit: int) -> None:
    data = bytearray(WHOLE)
    data[bit // 8] ^= 1 << bit % 8
    good = []
    read = reader(bytes(data))
    for entry in entries(bytes(data))[0]:
        try:
            form.read_record(read, entry)
        except DamagedChunkError:
            continue
        assert form.read_keys(read, entry) == KEYS
        assert form.read_times(read, entry).tolist() == TIMES.tolist()
        assert form.read_payload(read, entry) == PAYLOAD
        good.append(entry.chunk)
    assert len(good) >= 2
    assert good == sorted(set(good))


@given(st.integers(0, len(WHOLE)))
def test_a_torn_end_costs_only_what_is_beyond_it(length: int) -> None:
    size = (len(WHOLE) - form.HEADER_BYTES) // 3
    found, _ = entries(WHOLE[:length])
    assert len(found) == max(0, (length - form.HEADER_BYTES) // size)


@given(st.binary(max_size=500))
def test_any_bytes_are_read_without_a_fault(data: bytes) -> None:
    found, damage = entries(data)
    assert found == []
    assert damage.skipped_bytes == len(data)
