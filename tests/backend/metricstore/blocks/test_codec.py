"""Both codecs on the same cases: samples come back bit for bit, both write the same bytes and refuse the same ones."""

import gzip
import json
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_backend.metricstore.blocks import codec as codec_module
from cc_backend.metricstore.blocks.codec import Codec, CodecError, choose_codec, decode_all
from cc_backend.metricstore.blocks.codec_numpy import read_header
from cc_backend.metricstore.blocks.matrix import MatrixTarget

NAN = float("nan")
NUMPY = choose_codec(native=False)


def native() -> Codec:
    try:
        return choose_codec(native=True)
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["numpy", "native"])
def codec(request: pytest.FixtureRequest) -> Codec:
    return NUMPY if request.param == "numpy" else native()


def matrix(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    """Bit for bit; of NaN only that it is one."""
    missing = np.isnan(wanted)
    np.testing.assert_array_equal(np.isnan(found), missing)
    np.testing.assert_array_equal(found.view(np.uint32)[~missing], wanted.view(np.uint32)[~missing])


def bytes_a_sample(codec: Codec, samples: np.ndarray) -> float:
    return len(codec.encode(samples)) / samples.size


random = np.random.default_rng(3)
CASES = {
    "no rows": np.empty((0, 128), np.float32),
    "no slots": np.empty((3, 0), np.float32),
    "no samples": np.full((3, 128), NAN, np.float32),
    "one sample": matrix([NAN] * 5 + [7.25] + [NAN] * 10),
    "a constant": np.full((2, 128), 0.1, np.float32),
    "zeros of both signs": matrix([0.0, -0.0, 0.0, -0.0], [-0.0] * 4, [0.0] * 4),
    "infinities": matrix([float("inf"), float("-inf"), 1.0, NAN], [float("inf")] * 4),
    "the smallest and the largest": matrix([1e-45, -1e-45, 3.4028235e38, -3.4028235e38], [1e-45] * 4),
    "whole numbers": random.integers(-1000, 1000, (4, 128)).astype(np.float32),
    "large whole numbers": (random.integers(0, 2**20, (4, 128)) * 4096.0).astype(np.float32),
    "decimals": np.round(random.normal(0, 50, (4, 128)), 2).astype(np.float32),
    "decimals and one that is none": matrix([0.5, 0.25, 0.1, 1 / 3]),
    "the limits of decimals": matrix([2147483520.0, -2147483520.0], [2147483648.0, 1.0], [-2147483648.0, 0.0]),
    "the first beyond the limits of decimals": matrix([-2147483648.0] * 2, [2147483648.0] * 2, [2147483520.0] * 2),
    "noise": random.normal(100, 10, (4, 128)).astype(np.float32),
    "noise round zero": random.normal(0, 1, (4, 128)).astype(np.float32),
    "few values": (random.integers(1, 20, (4, 128)) / 3).astype(np.float32),
    "two values": np.where(random.random((4, 128)) < 0.5, 1 / 3, 2 / 3).astype(np.float32),
    "holes": np.where(random.random((4, 100)) < 0.3, NAN, random.random((4, 100))).astype(np.float32),
    "a beginning and an end": np.pad(random.random((3, 20)), ((0, 0), (7, 9)), constant_values=NAN).astype(np.float32),
    "as wide as can be": random.random((4, 256)).astype(np.float32),
    "as high as can be": random.random((1024, 4)).astype(np.float32),
}


@pytest.mark.parametrize("samples", CASES.values(), ids=CASES)
def test_samples_come_back_bit_for_bit(codec: Codec, samples: np.ndarray) -> None:
    payload = codec.encode(samples)
    assert_same(decode_all(codec, payload), samples)
    assert_same(decode_all(NUMPY, payload), samples)


@pytest.mark.parametrize("bits", [0, 1, 10, 22])
@pytest.mark.parametrize("samples", CASES.values(), ids=CASES)
def test_both_codecs_write_the_same_bytes(samples: np.ndarray, bits: int) -> None:
    assert native().encode(samples, bits) == NUMPY.encode(samples, bits)


def test_a_payload_is_these_bytes(codec: Codec) -> None:
    header = b"CCPB\x01\x00" + struct.pack("<HHHHH", 4, 6, 1, 4, 0)
    samples = matrix(
        [NAN, 1.5, 1.5, 1.5, 1.5, NAN],  # a constant: scale 1, base 15
        [NAN, 0.25, NAN, 0.51, 1.0, NAN],  # holes: scale 2, base 25, offsets 0, 26 and 75 of 7 bits
        [NAN] * 6,
        [NAN, 1 / 3, 1 / 3, 1 / 3, float(np.nextafter(np.float32(1 / 3), np.float32(1))), NAN],  # ordered bits
    )
    third = struct.unpack("<I", struct.pack("<f", 1 / 3))[0] | 0x8000_0000
    rows = [
        struct.pack("<Hi", 1 << 11, 15),
        struct.pack("<Hi", 7 | 2 << 11 | 1 << 14, 25) + bytes([0b1101]) + (26 << 7 | 75 << 14).to_bytes(3, "little"),
        b"",
        struct.pack("<HI", 1 | 7 << 11, third) + bytes([0b1000]),
    ]
    lengths = struct.pack("<4H", *map(len, rows))
    assert codec.encode(samples) == header + lengths + b"".join(rows)


def test_a_dictionary_is_these_bytes(codec: Codec) -> None:
    low, high = (np.frombuffer(struct.pack("<I", bits), "<f4")[0] for bits in (0x3EAAAAAB, 0x3F2AAAAB))
    samples = matrix([low, high] * 4)
    payload = codec.encode(samples)
    row = payload[16 + 2 :]
    assert row[:6] == struct.pack("<HI", 1 | 23 << 6 | 7 << 11, 0xBEAAAAAB)  # one step of 2^23: the shift takes it all
    between = matrix([low, high, low, high, low, np.float32(0.5)] * 8)
    row = codec.encode(between)[16 + 2 :]
    descriptor, base, size = struct.unpack_from("<HIB", row)
    assert (descriptor >> 15, base, size) == (1, 0xBEAAAAAB, 3 - 1)
    assert len(row) == 7 + -(-3 * (descriptor & 63) // 8) + 48 * 2 // 8


def test_what_comes_as_short_decimals_takes_little(codec: Codec) -> None:
    decimals = np.round(random.normal(100, 10, (64, 128)), 1).astype(np.float32)
    assert bytes_a_sample(codec, decimals) < 1.4
    assert bytes_a_sample(codec, np.full((1024, 128), 42.5, np.float32)) < 0.07
    assert bytes_a_sample(codec, np.full((1024, 128), NAN, np.float32)) < 0.02


def test_full_precision_takes_three_bytes(codec: Codec) -> None:
    assert bytes_a_sample(codec, random.normal(100, 10, (256, 128)).astype(np.float32)) < 2.96


def test_values_that_come_again_take_little_even_in_full_precision(codec: Codec) -> None:
    assert bytes_a_sample(codec, (1 / random.integers(60, 90, (256, 128))).astype(np.float32)) < 1.5


def test_real_samples_take_under_two_bytes(codec: Codec, shared_fixtures: Path) -> None:
    rows: list[Any] = []
    for path in sorted((shared_fixtures / "job-archive" / "emmy").rglob("data.json.gz")):
        document = json.loads(gzip.decompress(path.read_bytes()))
        for metric in document.values():
            for scope in metric.values():
                rows += [one["data"][:1408] for one in scope["series"][:8]]
    samples = np.array([[NAN if x is None else x for x in row] for row in rows], np.float32).reshape(-1, 128)
    size = 0
    for begin in range(0, len(samples), 1024):
        part = samples[begin : begin + 1024]
        payload = codec.encode(part)
        assert_same(decode_all(codec, payload), part)
        size += len(payload)
    assert size / samples.size < 1.6


def test_only_some_rows_and_columns_can_be_read(codec: Codec) -> None:
    samples = CASES["holes"]
    out = np.full((3, 60), 5, np.float32)
    codec.decode(codec.encode(samples), np.array([2, 0]), slice(10, 50), MatrixTarget(out, np.array([0, 2]), 20))
    assert_same(out[0, 20:], samples[2, 10:50])
    assert_same(out[2, 20:], samples[0, 10:50])
    assert (out[1] == 5).all()
    assert (out[:, :20] == 5).all()


@pytest.mark.parametrize(
    ("rows", "columns", "out_rows", "out_column"),
    [
        ([4], slice(0, 8), [0], 0),
        ([-1], slice(0, 8), [0], 0),
        ([0], slice(-1, 8), [0], 0),
        ([0], slice(95, 103), [0], 0),
        ([0], slice(0, 8), [2], 0),
        ([0], slice(0, 8), [-1], 0),
        ([0], slice(0, 8), [0], 1),
        ([0], slice(0, 8), [0], -1),
        ([0, 1], slice(0, 8), [0], 0),
        ([0], slice(8, 0), [0], 0),
    ],
)
def test_places_that_are_not_there_are_refused(
    codec: Codec, rows: list[int], columns: slice, out_rows: list[int], out_column: int
) -> None:
    samples = CASES["holes"]
    target = MatrixTarget(np.zeros((2, 8), np.float32), np.array(out_rows), out_column)
    with pytest.raises(IndexError):
        codec.decode(codec.encode(samples), np.array(rows), columns, target)
    with pytest.raises(IndexError):
        codec.gather(samples, np.array(rows), columns, target)


@pytest.mark.parametrize(("rows", "slots"), [(1025, 4), (1, 257)])
def test_a_larger_matrix_is_refused(codec: Codec, rows: int, slots: int) -> None:
    with pytest.raises(CodecError):
        codec.encode(np.zeros((rows, slots), np.float32))


@pytest.mark.parametrize("bits", [-1, 23])
def test_other_roundings_are_refused(codec: Codec, bits: int) -> None:
    with pytest.raises(CodecError):
        codec.encode(np.zeros((1, 1), np.float32), bits)


def test_the_c_part_may_be_asked_for_or_left_out() -> None:
    assert not choose_codec(native=False).native
    assert native().native
    assert choose_codec().native


def test_the_c_part_believes_no_number_that_does_not_fit_its_buffers() -> None:
    native()
    part: Any = codec_module._codec
    samples = np.zeros((2, 8), np.float32)
    for rows, slots in ((3, 8), (2, 9), (1, 8), (2, 0)):
        with pytest.raises(ValueError, match="no payload"):
            part.encode(samples, rows, slots, 0)
    floats, doubles, counts = np.empty(2, np.float32), np.empty(2), np.empty(2, np.int32)
    for columns in (7, 9, -8, 2**62):
        with pytest.raises(IndexError):
            part.summarise(samples, columns, floats, floats.copy(), doubles, counts)
        with pytest.raises(IndexError):
            part.combine(samples, columns, 0, np.empty(8, np.float32), np.empty(8, np.int32))
    part.summarise(samples, 8, floats, floats.copy(), doubles, counts)


def test_the_c_part_refuses_arrays_that_begin_between_two_numbers() -> None:
    native()
    part: Any = codec_module._codec
    samples = np.zeros((2, 8), np.float32)
    payload, rows, out = part.encode(samples, 2, 8, 0), np.arange(2), np.empty((2, 8), np.float32)
    floats, doubles, counts = np.empty(2, np.float32), np.empty(2), np.empty(2, np.int32)

    def shifted(numbers: np.ndarray) -> memoryview:
        return memoryview(bytearray(numbers.nbytes + 1))[1:]

    calls: list[tuple[Any, ...]] = [
        (part.encode, shifted(samples), 2, 8, 0),
        (part.decode, payload, shifted(rows), 0, 8, out, 8, rows, 0),
        (part.decode, payload, rows, 0, 8, shifted(out), 8, rows, 0),
        (part.decode, payload, rows, 0, 8, out, 8, shifted(rows), 0),
        (part.gather, shifted(samples), 8, rows, 0, 8, out, 8, rows, 0),
        (part.summarise, shifted(samples), 8, floats, floats.copy(), doubles, counts),
        (part.summarise, samples, 8, floats, shifted(floats), doubles, counts),
        (part.summarise, samples, 8, floats, floats.copy(), shifted(doubles), counts),
        (part.combine, shifted(samples), 8, 0, np.empty(8, np.float32), np.empty(8, np.int32)),
        (part.combine, samples, 8, 0, shifted(np.empty(8, np.float32)), np.empty(8, np.int32)),
        (part.combine, samples, 8, 0, np.empty(8, np.float32), shifted(np.empty(8, np.int32))),
    ]
    for call, *arguments in calls:
        with pytest.raises(ValueError, match="does not begin"):
            call(*arguments)
    part.decode(memoryview(b"x" + payload)[1:], rows, 0, 8, out, 8, rows, 0)  # bytes may begin anywhere
    assert not out.any()


def test_without_the_c_part_numpy_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_module, "_codec", None)
    assert not choose_codec().native
    with pytest.raises(RuntimeError, match="not built"):
        choose_codec(native=True)


# Rounding

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
anything = st.floats(width=32)


@settings(max_examples=300, deadline=None)
@given(st.lists(finite, min_size=1, max_size=40), st.integers(1, 22))
def test_a_rounded_sample_is_off_by_its_own_size_times_the_bound_at_most(values: list[float], bits: int) -> None:
    samples = matrix(values)
    found = decode_all(NUMPY, NUMPY.encode(samples, bits)).astype(np.float64)
    bound = np.abs(samples.astype(np.float64)) * 2.0 ** -(bits + 1)
    least = 2.0 ** (-149 + 22 - bits)  # half a step of the numbers too small to be normal
    assert (np.abs(found - samples) <= np.maximum(bound, least)).all()


@settings(max_examples=100, deadline=None)
@given(st.lists(finite, min_size=1, max_size=40), st.integers(1, 22))
def test_rounding_twice_changes_nothing(values: list[float], bits: int) -> None:
    once = decode_all(NUMPY, NUMPY.encode(matrix(values), bits))
    assert_same(decode_all(NUMPY, NUMPY.encode(once, bits)), once)


def test_rounding_saves_the_bits_it_drops(codec: Codec) -> None:
    noise = random.normal(100, 10, (256, 128)).astype(np.float32)
    exact, rounded = (len(codec.encode(noise, bits)) for bits in (0, 10))
    assert (exact - rounded) / noise.size == pytest.approx(13 / 8, abs=0.02)


# Both alike


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    rows, slots = draw(st.integers(0, 6)), draw(st.integers(0, 40))
    kind = draw(st.sampled_from(["anything", "decimals", "few"]))
    one = {
        "anything": anything,
        "decimals": st.integers(-(10**6), 10**6).map(lambda number: number / 10 ** (number % 5)),
        "few": st.sampled_from([1 / 3, 2 / 3, 0.1, 5.0, NAN]),
    }[kind]
    values = draw(st.lists(one, min_size=rows * slots, max_size=rows * slots))
    return np.array(values, np.float64).astype(np.float32).reshape(rows, slots)


@settings(max_examples=200, deadline=None)
@given(matrices(), st.integers(0, 22))
def test_both_codecs_agree_on_any_samples(samples: np.ndarray, bits: int) -> None:
    payload = NUMPY.encode(samples, bits)
    assert native().encode(samples, bits) == payload
    assert_same(decode_all(native(), payload), decode_all(NUMPY, payload))
    if not bits:
        assert_same(decode_all(NUMPY, payload), samples)


def outcome(codec: Codec, payload: bytes) -> str | bytes:
    try:
        return decode_all(codec, payload).tobytes()
    except CodecError as error:
        return str(error)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([name for name, samples in CASES.items() if len(samples) < 10]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    st.integers(-3, 3),
)
def test_both_codecs_read_or_refuse_any_damage_alike(name: str, changes: list[tuple[int, int]], length: int) -> None:
    payload = bytearray(NUMPY.encode(CASES[name]))
    for at, byte in changes:
        payload[at % min(len(payload), 64)] = byte
    damaged = bytes(payload[:length]) if length < 0 else bytes(payload) + bytes(length)
    assert outcome(native(), damaged) == outcome(NUMPY, damaged)


@pytest.mark.parametrize("length", [0, 3, 15, 16, 17, 23, 24, 30, 31, 60])
def test_a_payload_that_is_cut_off_is_refused(codec: Codec, length: int) -> None:
    payload = codec.encode(CASES["noise"])
    with pytest.raises(CodecError):
        decode_all(codec, payload[:length])


def test_a_payload_with_something_after_its_end_is_refused(codec: Codec) -> None:
    with pytest.raises(CodecError, match="add up"):
        first_row(codec, codec.encode(CASES["noise"]) + b"\0")


@pytest.mark.parametrize(
    ("at", "byte"), [(0, 0x44), (4, 2), (5, 1), (6, 5), (7, 4), (9, 2), (10, 127), (12, 129), (14, 1), (16, 0), (17, 9)]
)
def test_a_header_that_cannot_be_is_refused(codec: Codec, at: int, byte: int) -> None:
    payload = bytearray(codec.encode(CASES["noise"]))
    payload[at] = byte
    with pytest.raises(CodecError):
        decode_all(codec, bytes(payload))
    with pytest.raises(CodecError):
        read_header(bytes(payload))
    with pytest.raises(CodecError):  # each codec looks for itself, too: what follows trusts it
        first_row(codec, bytes(payload))


@pytest.mark.parametrize(("first", "width"), [(1, 128), (128, 1), (0, 0xFFFF), (0xFFFF, 1)])
def test_columns_beyond_the_slots_are_refused(codec: Codec, first: int, width: int) -> None:
    payload = bytearray(codec.encode(CASES["noise"]))
    payload[10:14] = struct.pack("<HH", first, width)
    with pytest.raises(CodecError, match="shape"):
        first_row(codec, bytes(payload))


def first_row(codec: Codec, payload: bytes) -> None:
    """Reads a row as it is read where the header was not looked at before."""
    row = np.zeros(1, np.int64)
    codec.decode(payload, row, slice(0, 128), MatrixTarget(np.empty((1, 128), np.float32), row))


def row_payload(row: bytes, count: int = 8) -> bytes:
    return b"CCPB\x01\x00" + struct.pack("<HHHHHH", 1, count, 0, count, 0, len(row)) + row


@pytest.mark.parametrize(
    "row",
    [
        b"\x00",
        b"\x00" * 5,
        bytes(1200),  # longer than any row
        bytes(0xFFFF),
        struct.pack("<HI", 33, 0) + bytes(33),  # wider than a word
        struct.pack("<HI", 10 | 23 << 6, 0) + bytes(10),  # shifted out of the word
        struct.pack("<HI", 4, 0) + bytes(3),
        struct.pack("<HI", 4, 0) + bytes(5),
        struct.pack("<HI", 1 << 14, 0),  # lacks its bitmap
        struct.pack("<HI", 4 | 1 << 14, 0) + b"\x0f" + bytes(1),
        struct.pack("<HI", 4 | 1 << 15, 0),  # lacks its dictionary
        struct.pack("<HI", 4 | 1 << 15, 0) + b"\x02" + bytes(2) + bytes(1),
        struct.pack("<HI", 4 | 1 << 15, 0) + b"\x02" + bytes(2) + b"\xff\xff",  # position 3 of 3
        struct.pack("<HI", 4 | 1 << 15, 0) + b"\xff" + bytes(20),
    ],
)
def test_a_row_that_cannot_be_is_refused(codec: Codec, row: bytes) -> None:
    with pytest.raises(CodecError):
        decode_all(codec, row_payload(row))


def test_a_row_that_is_odd_but_possible_is_read(codec: Codec) -> None:
    row = struct.pack("<HI", 4 | 1 << 14 | 1 << 15 | 2 << 11, 2**32 - 5) + b"\x05" + b"\x01\x30" + b"\x01"
    assert_same(decode_all(codec, row_payload(row))[0], matrix([-0.02, NAN, -0.05] + [NAN] * 5)[0])


# Threads


def test_a_payload_is_whole_though_samples_change_while_it_is_made(codec: Codec) -> None:
    samples = random.normal(100, 10, (64, 128)).astype(np.float32)
    others = np.where(random.random((64, 128)) < 0.5, NAN, np.round(samples, 1)).astype(np.float32)
    first, stop = samples.copy(), threading.Event()

    def change() -> None:
        while not stop.is_set():
            samples[:] = others
            samples[:] = first

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(20):
            found = decode_all(codec, codec.encode(samples))
            either = (found.view(np.uint32) == first.view(np.uint32)) | (
                found.view(np.uint32) == others.view(np.uint32)
            )
            assert bool((either | (np.isnan(found) & np.isnan(others))).all())
    finally:
        stop.set()
        thread.join()


# Matrices


@settings(max_examples=200, deadline=None)
@given(matrices())
def test_both_give_the_same_summary(samples: np.ndarray) -> None:
    mild = np.clip(samples, -1e30, 1e30)
    found, wanted = native().summarise(mild), NUMPY.summarise(mild)
    assert_same(found.min + np.float32(0), wanted.min + np.float32(0))  # of two zeros either is the least
    assert_same(found.max + np.float32(0), wanted.max + np.float32(0))
    np.testing.assert_array_equal(found.samples, wanted.samples)
    size = np.nansum(np.abs(mild), axis=1, dtype=np.float64)
    assert (np.abs(found.sum - wanted.sum) <= 1e-13 * size).all()


@settings(max_examples=200, deadline=None)
@given(matrices(), st.booleans())
def test_both_combine_to_the_same_bits(samples: np.ndarray, mean: bool) -> None:  # noqa: FBT001 a case
    data, number = native().combine(samples, mean=mean)
    right_data, right_number = NUMPY.combine(samples, mean=mean)
    assert_same(data, right_data)
    np.testing.assert_array_equal(number, right_number)


def test_a_combination_is_over_what_is_there(codec: Codec) -> None:
    samples = matrix([1, NAN, NAN, 2], [3, 4, NAN, NAN], [5, 6, NAN, NAN])
    data, number = codec.combine(samples, mean=False)
    assert_same(data, matrix([9, 10, NAN, 2])[0])
    assert number.tolist() == [3, 2, 0, 1]
    assert_same(codec.combine(samples, mean=True)[0], matrix([3, 5, NAN, 2])[0])


def test_a_sum_of_many_is_exact_where_single_precision_is_not(codec: Codec) -> None:
    samples = np.full((20_000, 1), 16_777_217 / 3, np.float32)
    assert codec.combine(samples, mean=True)[0][0] == samples[0, 0]
    assert codec.summarise(samples.T).sum[0] == float(samples[0, 0]) * 20_000


def test_a_summary_leaves_out_what_is_missing(codec: Codec) -> None:
    samples = matrix([5, NAN, -3, 4], [NAN] * 4)
    summary = codec.summarise(samples)
    assert_same(summary.min, matrix([-3, NAN])[0])
    assert_same(summary.max, matrix([5, NAN])[0])
    assert summary.sum.tolist() == [6, 0]
    assert summary.samples.tolist() == [3, 0]


def test_a_checksum_of_a_payload_does_not_hang_on_the_codec() -> None:
    samples = CASES["noise"]
    assert zlib.crc32(native().encode(samples)) == zlib.crc32(NUMPY.encode(samples))
