"""Binary responses of the query protocol; docs/formats.md has the layout.

Little endian, in columns that begin at multiples of 8 bytes, so that both ends can use the numbers in place.
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
"""In place of a length: the text is absent, or samples were not requested."""

_HEADER = struct.Struct("<8sIIIIQQII")
HEADER_BYTES = _HEADER.size
_STATISTICS = 1
_TEXTS = ("id", "subtype_id", "error")

Column = npt.NDArray[Any]


def encode(response: QueryResponse) -> bytes:
    """The response as bytes."""
    results = [result for row in response.rows for result in row]
    texts = [[_bytes(getattr(result, name)) for result in results] for name in _TEXTS]
    samples = [result.data for result in results if result.data is not None]
    coverage = [result.coverage for result in results if result.coverage is not None]
    text_block = b"".join(text or b"" for column in texts for text in column)
    queries = b"" if response.queries is None else orjson.dumps(queries_to_json(response.queries))
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        _STATISTICS if response.with_stats else 0,
        len(response.rows),
        len(results),
        sum(map(len, samples)),
        sum(map(len, coverage)),
        len(text_block),
        len(queries),
    )
    parts = [header]
    parts += _padded(np.array([len(row) for row in response.rows], "<u4").tobytes())
    parts += _padded(np.array([result.from_s for result in results], "<i8").tobytes())
    parts += _padded(np.array([result.to_s for result in results], "<i8").tobytes())
    for name in ("min", "avg", "max"):
        numbers = [getattr(result, name) for result in results]
        parts += _padded(np.array(numbers, "<f8").tobytes())  # None becomes NaN
    parts += _padded(np.array([result.resolution_s for result in results], "<u4").tobytes())
    parts += _padded(np.array([result.members for result in results], "<u4").tobytes())
    parts += _padded(
        np.array([ABSENT if result.offset_s is None else result.offset_s for result in results], "<u4").tobytes()
    )
    parts += _padded(
        np.array([ABSENT if result.data is None else len(result.data) for result in results], "<u4").tobytes()
    )
    parts += _padded(
        np.array([ABSENT if result.coverage is None else len(result.coverage) for result in results], "<u4").tobytes()
    )
    for column in texts:
        parts += _padded(np.array([ABSENT if text is None else len(text) for text in column], "<u4").tobytes())
    parts += _padded(text_block)
    parts += _padded(queries)
    parts += _padded(_concatenate(samples, "<f4"))
    parts += _padded(_concatenate(coverage, "<u4"))
    return b"".join(parts)


def decode(body: bytes) -> QueryResponse:
    """The response in these bytes; its samples are views into them. Raises InvalidInput if they are not a response."""
    try:
        return _decode(body)
    except (struct.error, ValueError) as error:  # orjson and Unicode errors among them
        raise InvalidInput(f"this is not a binary response of a metric store: {error}") from None


def _decode(body: bytes) -> QueryResponse:
    magic, version, flags, rows, series, samples, covered, text_bytes, query_bytes = _HEADER.unpack_from(body)
    if magic != MAGIC:
        raise ValueError("it begins with something else")
    if version != VERSION:
        raise ValueError(f"it is of version {version}, and only {VERSION} is known here")
    reader = _ColumnReader(body, HEADER_BYTES)
    per_row = reader.read_column("<u4", rows)
    if int(per_row.sum(dtype=np.uint64)) != series:
        raise ValueError("the rows do not add up")
    from_s, to_s = reader.read_column("<i8", series), reader.read_column("<i8", series)
    low, mean, high = (reader.read_column("<f8", series) for _ in range(3))
    resolution_s, members, offsets = (reader.read_column("<u4", series) for _ in range(3))
    lengths, covered_lengths = reader.read_column("<u4", series), reader.read_column("<u4", series)
    text_lengths = [reader.read_column("<u4", series) for _ in _TEXTS]
    names = _split_texts(reader.read_bytes(text_bytes), text_lengths)
    queries = orjson.loads(reader.read_bytes(query_bytes)) if query_bytes else None
    data = _split_column(reader.read_column("<f4", samples), lengths)
    coverage = _split_column(reader.read_column("<u4", covered), covered_lengths)
    reader.expect_end()
    results = [
        SeriesResult(
            from_s=begin,
            to_s=end,
            resolution_s=step,
            data=values,
            min=_nan_to_none(minimum),
            avg=_nan_to_none(average),
            max=_nan_to_none(maximum),
            id=name,
            subtype_id=subtype,
            members=number,
            coverage=None if counts is None else counts.astype(np.int32),
            error=error,
            offset_s=None if offset == ABSENT else offset,
        )
        for begin, end, step, values, minimum, average, maximum, name, subtype, number, offset, counts, error in zip(
            from_s.tolist(),
            to_s.tolist(),
            resolution_s.tolist(),
            data,
            low.tolist(),
            mean.tolist(),
            high.tolist(),
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
    result_rows = [results[end - length : end] for end, length in zip(ends, per_row.tolist(), strict=True)]
    echoed = None
    if queries is not None:
        if not isinstance(queries, list):
            raise ValueError("the queries are not a list")
        echoed = tuple(query_item_from_json(query, DEFAULT_ALGORITHM) for query in queries)
    return QueryResponse(result_rows, bool(flags & _STATISTICS), echoed)


class _ColumnReader:
    """Reads one part of a response after the other, each with its padding."""

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
        """The next column of numbers, as a view."""
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
    """A long column cut into columns of these lengths; None for a length `ABSENT`."""
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
