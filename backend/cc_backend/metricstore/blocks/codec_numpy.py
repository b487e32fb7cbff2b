"""The codec of compressed blocks in NumPy, for machines without the C part. Same bytes, some fifty times slower."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cc_backend.metricstore.blocks.matrix import MatrixTarget, check_bounds
from cc_backend.metricstore.blocks.mmap_arrays import Buffer
from cc_backend.metricstore.blocks.payload_format import (
    BITMAP,
    DICTIONARY,
    FLOAT_SCALE,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    MAX_DECIMAL,
    MAX_ROWS,
    MAX_SLOTS,
    MAX_WIDTH,
    ROW_HEADER_BYTES,
    SCALE_AT,
    SCALE_MASK,
    SHIFT_AT,
    SHIFT_MASK,
    VERSION,
    WIDTH_MASK,
    CodecError,
)
from cc_backend.metricstore.model import BoolArray, Int64Array
from cc_backend.model import Samples

Words = npt.NDArray[np.uint32]
Bytes = npt.NDArray[np.uint8]

_SIGN = 0x8000_0000
_INFINITY = 0x7F80_0000
_MANTISSA_BITS = 23
_MIN_DICTIONARY_SAMPLES = 8
_MIN_DICTIONARY_WIDTH = 2


class Header(NamedTuple):
    """The header of a payload. Its rows hold the columns [first, first + width) of a window of `slots`."""

    rows: int
    slots: int
    first: int
    width: int


class _EncodedRows(NamedTuple):
    """Per row: which formula, its base, and the offsets, already shifted (0 where there is no sample)."""

    scale: Int64Array
    base: Int64Array
    shift: Int64Array
    width: Int64Array
    offsets: Int64Array


def order_bits(bits: Words) -> Int64Array:
    """The bits of float32 numbers in an order like that of the numbers (-0 just below 0)."""
    wide = bits.astype(np.int64)
    return np.where(wide & _SIGN, 0xFFFF_FFFF - wide, wide | _SIGN)


def round_mantissa(bits: Words, mantissa_bits: int) -> Words:
    """The numbers with so many bits of mantissa, nearest first, halves away from zero; 0 leaves them as they are."""
    if not mantissa_bits:
        return bits
    drop = _MANTISSA_BITS - mantissa_bits
    size = bits & np.uint32(_SIGN - 1)
    near = (size + np.uint32(1 << (drop - 1))) >> np.uint32(drop) << np.uint32(drop)
    return np.where(near < _INFINITY, near | (bits & np.uint32(_SIGN)), bits).astype(np.uint32)


# Writing


def encode(samples: Samples, mantissa_bits: int = 0) -> bytes:
    """The payload of a block; `mantissa_bits` as in `round_mantissa`. Raises CodecError for a shape that none holds."""
    rows, slots = samples.shape
    if rows > MAX_ROWS or slots > MAX_SLOTS or not 0 <= mantissa_bits < _MANTISSA_BITS:
        raise CodecError(f"no payload holds {rows} rows of {slots} slots with {mantissa_bits} bits")
    samples = np.array(samples, np.float32)  # a copy: another thread may write meanwhile
    present = ~np.isnan(samples)
    columns = np.flatnonzero(present.any(axis=0))
    first, count = (int(columns[0]), int(columns[-1] - columns[0]) + 1) if len(columns) else (0, 0)
    header = struct.pack(HEADER, MAGIC, VERSION, 0, rows, slots, first, count, 0)
    if not count:
        return header + bytes(2 * rows)
    part = np.ascontiguousarray(samples[:, first : first + count], np.float32)
    present = present[:, first : first + count]
    coded = _encode_rows(part, present, mantissa_bits)
    pieces = [_encode_row(coded, number, present[number]) if present[number].any() else b"" for number in range(rows)]
    return b"".join([header, np.array([len(piece) for piece in pieces], "<u2").tobytes(), *pieces])


def _encode_rows(samples: Samples, present: BoolArray, mantissa_bits: int) -> _EncodedRows:
    """Per row the formula with the narrower offsets; decimals if they are as narrow."""
    floats = _base_and_offsets(order_bits(round_mantissa(samples.view(np.uint32), mantissa_bits)), present, FLOAT_SCALE)
    scales, decimals = _decimals(samples, present)
    short = _base_and_offsets(decimals, present, 0)._replace(scale=scales)
    better = (scales != FLOAT_SCALE) & (short.width <= floats.width)
    chosen = (
        np.where(better[:, None] if decimal.ndim > 1 else better, decimal, bits)
        for decimal, bits in zip(short, floats, strict=True)
    )
    return _EncodedRows(*chosen)


def _base_and_offsets(numbers: Int64Array, present: BoolArray, scale: int) -> _EncodedRows:
    base = np.min(numbers, axis=1, where=present, initial=2**32)
    offsets = np.where(present, numbers - base[:, None], 0)
    used = np.bitwise_or.reduce(offsets, axis=1)
    shifted = (used != 0) & (scale == FLOAT_SCALE)
    shift = np.where(shifted, _bit_length(used & -used) - 1, 0)
    offsets >>= shift[:, None]
    return _EncodedRows(np.full(len(base), scale), base, shift, _bit_length(offsets.max(axis=1)), offsets)


def _bit_length(numbers: Int64Array) -> Int64Array:
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64)


def _decimals(samples: Samples, present: BoolArray) -> tuple[Int64Array, Int64Array]:
    """Per row the smallest scale at which each sample is an integer times 10^-scale, else FLOAT_SCALE; the integers."""
    scales = np.full(len(samples), FLOAT_SCALE)
    decimals = np.zeros(samples.shape, np.int64)
    for scale in range(FLOAT_SCALE):
        rows = np.flatnonzero(scales == FLOAT_SCALE)
        part = samples[rows]
        scaled = np.rint(part.astype(np.float64) * 10.0**scale)
        fits = np.abs(scaled) <= MAX_DECIMAL
        whole = np.where(fits, scaled, 0.0).astype(np.int64)  # turns -0 into 0, which is no longer the same
        back = (whole / 10.0**scale).astype(np.float32)
        fits &= back.view(np.uint32) == part.view(np.uint32)
        found = (fits | ~present[rows]).all(axis=1)
        scales[rows[found]] = scale
        decimals[rows[found]] = whole[found]
    return scales, decimals


def _encode_row(coded: _EncodedRows, number: int, present: BoolArray) -> bytes:
    width, shift, scale = int(coded.width[number]), int(coded.shift[number]), int(coded.scale[number])
    offsets = coded.offsets[number][present]
    descriptor = width | shift << SHIFT_AT | scale << SCALE_AT
    bitmap = b""
    if not present.all():
        descriptor |= BITMAP
        bitmap = np.packbits(present, bitorder="little").tobytes()
    data = _dictionary(offsets, width)
    if data is None:
        data = pack(offsets, width)
    else:
        descriptor |= DICTIONARY
    return struct.pack("<HI", descriptor, int(coded.base[number]) & 0xFFFF_FFFF) + bitmap + data


def _dictionary(offsets: Int64Array, width: int) -> bytes | None:
    """The offsets as positions in a dictionary, if that is shorter."""
    count = len(offsets)
    if width < _MIN_DICTIONARY_WIDTH or count < _MIN_DICTIONARY_SAMPLES:
        return None
    words, positions = np.unique(offsets, return_inverse=True)
    position_width = (len(words) - 1).bit_length()
    if 1 + _byte_count(len(words) * width) + _byte_count(count * position_width) >= _byte_count(count * width):
        return None
    return bytes([len(words) - 1]) + pack(words, width) + pack(positions, position_width)


def _byte_count(bits: int) -> int:
    return (bits + 7) // 8


def pack(numbers: Int64Array, width: int) -> bytes:
    """Numbers with `width` bits each, lowest bit first."""
    bits = (numbers[:, None] >> np.arange(width)) & 1
    return np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes()


# Reading


def read_header(payload: Buffer) -> tuple[Header, Int64Array]:
    """The header of a payload and where each of its rows begins, the end of the last one included.

    Raises CodecError unless the lengths add up to the payload's.
    """
    if len(payload) < HEADER_BYTES:
        raise CodecError("a payload is too short for its header")
    magic, version, zero, rows, slots, first, count, reserved = struct.unpack_from(HEADER, payload)
    if magic != MAGIC or version != VERSION or zero or reserved:
        raise CodecError("this is not a payload of a known version")
    if rows > MAX_ROWS or slots > MAX_SLOTS or first + count > slots:
        raise CodecError("a payload has a shape that cannot be")
    begin = HEADER_BYTES + 2 * rows
    if len(payload) < begin:
        raise CodecError("a payload is too short for its table of rows")
    lengths = np.frombuffer(payload, "<u2", rows, HEADER_BYTES)
    starts = np.concatenate([[begin], begin + np.cumsum(lengths, dtype=np.int64)])
    if int(starts[-1]) != len(payload):
        raise CodecError("the rows of a payload do not add up to its length")
    return Header(rows, slots, first, count), starts


def decode(payload: Buffer, rows: Int64Array, columns: slice, target: MatrixTarget) -> None:
    """Put some rows and columns to a place in a matrix.

    Raises CodecError for a payload that is damaged, IndexError for what is not in payload or matrix.
    """
    header, starts = read_header(payload)
    check_bounds(rows, columns, target, height=header.rows, width=header.slots)
    whole = np.full((len(rows), header.slots), np.nan, np.float32)
    held = whole[:, header.first : header.first + header.width]
    data = np.frombuffer(payload, np.uint8)
    left = np.ones(len(rows), np.bool_)
    for places in _plain_rows(data, starts, rows, header):
        held[places] = _decode_rows(data, starts[rows[places]], header)
        left[places] = False
    for place in np.flatnonzero(left).tolist():
        row = int(rows[place])
        held[place] = _decode_row(data[starts[row] : starts[row + 1]].tobytes(), header)
    target.matrix[target.rows, target.column : target.column + columns.stop - columns.start] = whole[:, columns]


def _plain_rows(data: Bytes, starts: Int64Array, rows: Int64Array, header: Header) -> Iterator[Int64Array]:
    """Positions in `rows` of those that have all samples and no dictionary, those of one kind together."""
    lengths = starts[rows + 1] - starts[rows]
    places = np.flatnonzero(lengths >= ROW_HEADER_BYTES)
    begins = starts[rows[places]]
    descriptors = data[begins].astype(np.int64) | data[begins + 1].astype(np.int64) << 8
    for descriptor in np.unique(descriptors).tolist():
        width, shift = descriptor & WIDTH_MASK, descriptor >> SHIFT_AT & SHIFT_MASK
        if descriptor & (BITMAP | DICTIONARY) or width + shift > MAX_WIDTH:
            continue
        right = lengths[places] == ROW_HEADER_BYTES + _byte_count(width * header.width)
        found = places[right & (descriptors == descriptor)]
        if len(found):
            yield found


def _decode_rows(data: Bytes, begins: Int64Array, header: Header) -> Samples:
    """The columns of rows that begin there, as `_plain_rows` finds them."""
    descriptor = int(data[begins[0]]) | int(data[begins[0] + 1]) << 8
    width, shift = descriptor & WIDTH_MASK, descriptor >> SHIFT_AT & SHIFT_MASK
    length = ROW_HEADER_BYTES + _byte_count(width * header.width)
    rows = data[begins[:, None] + np.arange(length)]
    bases = rows[:, 2:ROW_HEADER_BYTES].copy().view("<u4").astype(np.int64)
    offsets = _unpack_rows(rows[:, ROW_HEADER_BYTES:], width, header.width)
    return _to_floats(offsets << shift, bases, descriptor >> SCALE_AT & SCALE_MASK)


def _decode_row(data: bytes, header: Header) -> Samples:
    """The columns of one row."""
    count = header.width
    samples = np.full(count, np.nan, np.float32)
    if not data:
        return samples
    if len(data) < ROW_HEADER_BYTES:
        raise CodecError("a row is too short for its header")
    descriptor, base = struct.unpack_from("<HI", data)
    width, shift = descriptor & WIDTH_MASK, descriptor >> SHIFT_AT & SHIFT_MASK
    if width + shift > MAX_WIDTH:
        raise CodecError("a row has offsets that are too wide")
    data = data[ROW_HEADER_BYTES:]
    present = np.ones(count, np.bool_)
    if descriptor & BITMAP:
        size = _byte_count(count)
        present, data = _unpack(data[:size], 1, count).astype(np.bool_), data[size:]
    number = int(np.count_nonzero(present))
    if descriptor & DICTIONARY:
        offsets = _read_dictionary(data, width, number)
    else:
        if len(data) != _byte_count(number * width):
            raise CodecError("a row has another length than its samples need")
        offsets = _unpack(data, width, number)
    samples[present] = _to_floats(offsets << shift, base, descriptor >> SCALE_AT & SCALE_MASK)
    return samples


def _read_dictionary(data: bytes, width: int, number: int) -> Int64Array:
    if not data:
        raise CodecError("a row lacks its dictionary")
    size = data[0] + 1
    position_width = data[0].bit_length()
    end = 1 + _byte_count(size * width)
    if len(data) != end + _byte_count(number * position_width):
        raise CodecError("a row has another length than its samples need")
    words = _unpack(data[1:end], width, size)
    positions = _unpack(data[end:], position_width, number)
    if number and int(positions.max()) >= size:
        raise CodecError("a row goes beyond its dictionary")
    return words[positions]


def _unpack(data: bytes, width: int, number: int) -> Int64Array:
    """The numbers that `pack` got; fewer bits than they need give CodecError."""
    if len(data) < _byte_count(number * width):
        raise CodecError("a row has another length than its samples need")
    if not width:
        return np.zeros(number, np.int64)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=number * width, bitorder="little")
    numbers: Int64Array = (bits.reshape(number, width).astype(np.int64) << np.arange(width)).sum(axis=1, dtype=np.int64)
    return numbers


def _unpack_rows(data: Bytes, width: int, number: int) -> Int64Array:
    """Numbers of `width` bits from several rows of bytes that are long enough: each from the word it begins in."""
    begins = np.arange(number) * width
    padded = np.zeros((len(data), data.shape[1] + 8), np.uint8)
    padded[:, : data.shape[1]] = data
    words = np.zeros((len(data), number), np.int64)
    for byte in range((width + 14) // 8):
        words |= padded[:, (begins >> 3) + byte].astype(np.int64) << (8 * byte)
    return (words >> (begins & 7)) & ((1 << width) - 1)


def _to_floats(offsets: Int64Array, base: int | Int64Array, scale: int) -> Samples:
    if scale != FLOAT_SCALE:
        signed = base - ((base & _SIGN) << 1)
        return ((offsets + signed) / 10.0**scale).astype(np.float32)
    keys = (offsets + base) & 0xFFFF_FFFF
    return np.where(keys & _SIGN, keys ^ _SIGN, 0xFFFF_FFFF - keys).astype(np.uint32).view(np.float32)
