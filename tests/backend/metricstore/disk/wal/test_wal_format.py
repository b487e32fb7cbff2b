import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_backend.metricstore.disk.wal.wal_format import (
    HEADER_BYTES,
    BatchRecord,
    Damage,
    Record,
    SeriesRecord,
    UnknownVersionError,
    decode_key,
    encode_batch,
    encode_key,
    encode_series,
    file_header,
    read_records,
)
from cc_backend.metricstore.model import HostPart, Identity

SERIES = [Identity("demo", "n1", "load"), Identity("demo", "n2", "größe", HostPart("core", "7", "mig", "0"))]
KEYS = [encode_key(identity) for identity in SERIES]


def batch(number: int, count: int = 3) -> bytes:
    return encode_batch(np.arange(count), np.full(count, number, np.float32), 1_790_000_000 + number)


def read(data: bytes) -> tuple[list[Record], Damage]:
    damage = Damage()
    return list(read_records(data, damage)), damage


def numbers(records: list[Record]) -> list[int]:
    return [int(record.values[0]) for record in records if isinstance(record, BatchRecord)]


def test_the_bytes_of_a_file_are_those_of_the_description() -> None:
    data = (
        file_header(1_790_000_000)
        + encode_series(5, KEYS[:1])
        + encode_batch(np.array([5, 6]), np.array([1.5, -2], np.float32), 1_790_000_040)
    )
    head = b"CCPYWAL\n" + bytes.fromhex("01000000 00000000 803bb16a00000000")
    series = bytes.fromhex("05000000 01000000 10000000 00000000") + b"demo\0n1\0load\0\0\0\0"
    assert len(series) == 32
    samples = bytes.fromhex("a83bb16a00000000 02000000 00000000 05000000 06000000 0000c03f 000000c0")
    expected = head + zlib.crc32(head).to_bytes(4, "little") + bytes(4)
    for kind, payload in ((1, series), (2, samples)):
        record = bytes.fromhex("c50ca91e") + bytes([kind, 0, 0, 0]) + len(payload).to_bytes(4, "little")
        expected += record + zlib.crc32(record + payload).to_bytes(4, "little") + payload
    assert data.hex(" ", 4) == expected.hex(" ", 4)


def test_records_come_back_as_written() -> None:
    times = np.array([1_790_000_000, 1_789_990_000, 1_790_000_600])
    values = np.array([1, np.float32(0.1), -np.float32(3e38)], np.float32)
    records, damage = read(
        file_header(7) + encode_series(0, KEYS) + batch(1) + encode_batch(np.array([2, 0, 1]), values, times)
    )
    assert isinstance(records[0], SeriesRecord)
    assert [decode_key(key) for key in records[0].keys] == SERIES
    assert numbers(records[1:2]) == [1]
    last = records[2]
    assert isinstance(last, BatchRecord)
    assert last.ids.tolist() == [2, 0, 1]
    assert last.values.tolist() == values.tolist()
    assert isinstance(last.times_s, np.ndarray)
    assert last.times_s.tolist() == times.tolist()
    assert damage.skipped_bytes == 0


@pytest.mark.parametrize(("times", "most"), [(1_790_000_000, 8.1), (np.full(1000, 1_790_000_000), 12.1)])
def test_a_sample_costs_8_bytes_and_12_with_a_time_of_its_own(times: int | np.ndarray, most: float) -> None:
    assert len(encode_batch(np.arange(1000), np.ones(1000, np.float32), times)) <= most * 1000


WHOLE = file_header(7) + b"".join(batch(number) for number in range(4))
ONE = len(batch(0))


@pytest.mark.parametrize("cut", range(1, ONE))
def test_a_torn_tail_costs_only_the_torn_record(cut: int) -> None:
    records, damage = read(WHOLE[:-cut])
    assert numbers(records) == [0, 1, 2]
    assert damage.skipped_bytes == ONE - cut
    assert damage.first_offset == len(WHOLE) - ONE


@pytest.mark.parametrize("place", range(ONE))
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_costs_only_its_record(place: int, bit: int) -> None:
    data = bytearray(WHOLE)
    data[HEADER_BYTES + ONE + place] ^= 1 << bit
    records, damage = read(bytes(data))
    assert numbers(records) == [0, 2, 3]
    assert damage.skipped_bytes == ONE


@pytest.mark.parametrize("place", range(28))
def test_a_damaged_file_header_costs_no_record(place: int) -> None:
    data = bytearray(WHOLE)
    data[place] ^= 4
    records, damage = read(bytes(data))
    assert numbers(records) == [0, 1, 2, 3]
    assert damage.skipped_bytes == HEADER_BYTES


def test_a_file_of_zeros_or_noise_gives_nothing_and_is_counted() -> None:
    for data in (bytes(1000), b"\xc5\x0c\xa9\x1e" * 250, b"x"):
        records, damage = read(data)
        assert records == []
        assert damage.skipped_bytes == len(data)


@pytest.mark.parametrize("key", [b"", b"a\0b\0c", b"a\0b\0c\0d\0e\0f\0g\0h", b"\xff\0\0\0\0\0\0"])
def test_a_key_that_is_none_has_no_identity(key: bytes) -> None:
    assert decode_key(key) is None


def test_an_empty_file_is_no_damage() -> None:
    assert read(b"") == ([], Damage())


def test_a_whole_file_of_another_version_is_left_alone() -> None:
    data = bytearray(WHOLE)
    data[8] = 9
    data[24:28] = zlib.crc32(bytes(data[:24])).to_bytes(4, "little")
    with pytest.raises(UnknownVersionError, match="version 9"):
        read(bytes(data))


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, len(WHOLE)))
def test_bytes_thrown_in_anywhere_cost_at_most_the_record_they_hit(noise: bytes, at: int) -> None:
    records, damage = read(WHOLE[:at] + noise + WHOLE[at:])
    found = numbers(records)
    assert found == sorted(set(found))
    assert len(found) >= 3
    assert damage.skipped_bytes >= len(noise)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**32 - 1), st.floats(width=32, allow_nan=False), st.integers(0, 2**31)), min_size=1
    ),
    st.booleans(),
)
def test_any_samples_survive_the_round_trip(samples: list[tuple[int, float, int]], one_time: bool) -> None:  # noqa: FBT001 a parameter
    ids, values, offsets = (np.array(column) for column in zip(*samples, strict=True))
    times = 5 if one_time else offsets - 1000
    records, damage = read(file_header(0) + encode_batch(ids, values.astype(np.float32), times))
    (record,) = records
    assert isinstance(record, BatchRecord)
    assert record.ids.tolist() == ids.tolist()
    assert record.values.tolist() == values.tolist()
    assert np.array_equal(record.times_s, times)
    assert damage.skipped_bytes == 0
