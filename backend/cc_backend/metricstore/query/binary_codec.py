"""Binary responses of the query protocol; docs/formats.md has the layout.

Little endian, in columns that begin at multiples of 8 bytes, so that both ends can use the numbers as they lie there.
"""

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from cc_backend.errors import InvalidInput
from cc_backend.metricstore.query.json_codec import queries_to_json
from cc_backend.metricstore.query.protocol import DEFAULT_ALGORITHM, QueryResponse, SeriesResult, query_item_from_json

MEDIA_TYPE = "application/vnd.clustercockpit.series"
MAGIC = b"CCSERIES"
VERSION = 2
ABSENT = 0xFFFF_FFFF
"""In place of a length: there is no such text, or samples were not asked for."""

_HEADER = struct.Struct("<8sIIIIQQII")
HEADER_BYTES = _HEADER.size
_STATISTICS = 1
_TEXTS = ("id", "subtype_id", "error")

Column = npt.NDArray[Any]


def encode(answer: QueryResponse) -> bytes:
    """The answer as bytes."""
    series = [one for row in answer.rows for one in row]
    texts = [[_bytes(getattr(one, name)) for one in series] for name in _TEXTS]
    samples = [one.data for one in series if one.data is not None]
    coverage = [one.coverage for one in series if one.coverage is not None]
    text_block = b"".join(text or b"" for column in texts for text in column)
    queries = b"" if answer.queries is None else orjson.dumps(queries_to_json(answer.queries))
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        _STATISTICS if answer.with_stats else 0,
        len(answer.rows),
        len(series),
        sum(map(len, samples)),
        sum(map(len, coverage)),
        len(text_block),
        len(queries),
    )
    parts = [header]
    parts += _padded(np.array([len(row) for row in answer.rows], "<u4").tobytes())
    parts += _padded(np.array([one.from_s for one in series], "<i8").tobytes())
    parts += _padded(np.array([one.to_s for one in series], "<i8").tobytes())
    for name in ("min", "avg", "max"):
        numbers = [getattr(one, name) for one in series]
        parts += _padded(np.array(numbers, "<f8").tobytes())  # None becomes NaN
    parts += _padded(np.array([one.resolution_s for one in series], "<u4").tobytes())
    parts += _padded(np.array([one.members for one in series], "<u4").tobytes())
    parts += _padded(np.array([ABSENT if one.offset_s is None else one.offset_s for one in series], "<u4").tobytes())
    parts += _padded(np.array([ABSENT if one.data is None else len(one.data) for one in series], "<u4").tobytes())
    parts += _padded(
        np.array([ABSENT if one.coverage is None else len(one.coverage) for one in series], "<u4").tobytes()
    )
    for column in texts:
        parts += _padded(np.array([ABSENT if text is None else len(text) for text in column], "<u4").tobytes())
    parts += _padded(text_block)
    parts += _padded(queries)
    parts += _padded(_concatenate(samples, "<f4"))
    parts += _padded(_concatenate(coverage, "<u4"))
    return b"".join(parts)


def decode(body: bytes) -> QueryResponse:
    """The answer in bytes; its samples are views into them. Raises InvalidInput for what is none."""
    try:
        return _decode(body)
    except (struct.error, ValueError) as error:  # orjson and Unicode errors among them
        raise InvalidInput(f"this is no binary answer of a metric store: {error}") from None


def _decode(body: bytes) -> QueryResponse:
    magic, version, flags, rows, series, samples, covered, text_bytes, query_bytes = _HEADER.unpack_from(body)
    if magic != MAGIC:
        raise ValueError("it begins with something else")
    if version != VERSION:
        raise ValueError(f"it is of version {version}, and only {VERSION} is known here")
    take = _ColumnReader(body, HEADER_BYTES)
    per_row = take.read_column("<u4", rows)
    if int(per_row.sum(dtype=np.uint64)) != series:
        raise ValueError("the rows do not add up")
    from_s, to_s = take.read_column("<i8", series), take.read_column("<i8", series)
    least, mean, highest = (take.read_column("<f8", series) for _ in range(3))
    resolution_s, members, offsets = (take.read_column("<u4", series) for _ in range(3))
    lengths, covered_lengths = take.read_column("<u4", series), take.read_column("<u4", series)
    text_lengths = [take.read_column("<u4", series) for _ in _TEXTS]
    names = _split_texts(take.read_bytes(text_bytes), text_lengths)
    queries = orjson.loads(take.read_bytes(query_bytes)) if query_bytes else None
    data = _split_column(take.read_column("<f4", samples), lengths)
    coverage = _split_column(take.read_column("<u4", covered), covered_lengths)
    take.expect_end()
    found = [
        SeriesResult(
            from_s=begin,
            to_s=end,
            resolution_s=step,
            data=values,
            min=_nan_to_none(low),
            avg=_nan_to_none(middle),
            max=_nan_to_none(high),
            id=name,
            subtype_id=subtype,
            members=number,
            coverage=None if counts is None else counts.astype(np.int32),
            error=error,
            offset_s=None if offset == ABSENT else offset,
        )
        for begin, end, step, values, low, middle, high, name, subtype, number, offset, counts, error in zip(
            from_s.tolist(),
            to_s.tolist(),
            resolution_s.tolist(),
            data,
            least.tolist(),
            mean.tolist(),
            highest.tolist(),
            names[0],
            names[1],
            members.tolist(),
            offsets.tolist(),
            coverage,
            names[2],
            strict=True,
        )
    ]
    ends = np.cumsum(per_row, dtype=np.int64).tolist()
    answered = [found[end - length : end] for end, length in zip(ends, per_row.tolist(), strict=True)]
    echoed = None
    if queries is not None:
        if not isinstance(queries, list):
            raise ValueError("the queries are no list")
        echoed = tuple(query_item_from_json(query, DEFAULT_ALGORITHM) for query in queries)
    return QueryResponse(answered, bool(flags & _STATISTICS), echoed)


class _ColumnReader:
    """Takes one part after the other off the bytes, each with its padding."""

    def __init__(self, body: bytes, at: int) -> None:
        self._body = body
        self._at = at

    def read_bytes(self, length: int) -> bytes:
        begin = self._at
        self._at = begin + length + _padding(length)
        if self._at > len(self._body):
            raise ValueError("it ends early")
        return self._body[begin : begin + length]

    def read_column(self, dtype: str, length: int) -> Column:
        """A view of numbers, without copying."""
        size = np.dtype(dtype).itemsize * length
        begin = self._at
        self._at = begin + size + _padding(size)
        if self._at > len(self._body):
            raise ValueError("it ends early")
        return np.frombuffer(self._body, dtype, length, begin)

    def expect_end(self) -> None:
        if self._at != len(self._body):
            raise ValueError("something follows its end")


def _split_column(values: Column, lengths: Column) -> list[Column | None]:
    """A long column in pieces of these lengths."""
    sizes = np.where(lengths == ABSENT, 0, lengths).astype(np.int64)
    ends = np.cumsum(sizes).tolist()
    if (ends[-1] if ends else 0) != len(values):
        raise ValueError("the samples do not add up")
    return [
        None if length == ABSENT else values[end - length : end]
        for end, length in zip(ends, lengths.tolist(), strict=True)
    ]


def _split_texts(block: bytes, columns: Iterable[Column]) -> list[list[str | None]]:
    at = 0
    names: list[list[str | None]] = []
    for column in columns:
        names.append([])
        for length in column.tolist():
            if length == ABSENT:
                names[-1].append(None)
                continue
            names[-1].append(block[at : at + length].decode("utf-8"))
            at += length
    if at != len(block):
        raise ValueError("the texts do not add up")
    return names


def _nan_to_none(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124 - NaN


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "replace")


def _concatenate(columns: list[Any], dtype: str) -> bytes:
    return np.concatenate(columns).astype(dtype, copy=False).tobytes() if columns else b""


def _padding(length: int) -> int:
    return -length % 8


def _padded(part: bytes) -> list[bytes]:
    padding = _padding(len(part))
    return [part, bytes(padding)] if padding else [part]
