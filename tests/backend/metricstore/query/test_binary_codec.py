"""The binary answer: everything comes back as it was, and nothing else is taken for one."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cc_backend.errors import InvalidInput
from cc_backend.metricstore.model import Query
from cc_backend.metricstore.query.binary_codec import ABSENT, MAGIC, VERSION, decode, encode
from cc_backend.metricstore.query.protocol import QueryItem, QueryResponse, SeriesResult

TIMES = st.integers(-(2**62), 2**62)
NUMBERS = st.none() | st.floats(allow_nan=False)
TEXTS = st.none() | st.text(st.characters(codec="utf-8"), max_size=12)
DATA = st.none() | arrays.arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32))
COVERAGE = st.none() | arrays.arrays(np.int32, st.integers(0, 20), elements=st.integers(0, 2**31 - 1))
SERIES = st.builds(
    SeriesResult, TIMES, TIMES, st.integers(0, 2**32 - 1), DATA, NUMBERS, NUMBERS, NUMBERS, TEXTS, TEXTS,
    st.integers(0, 2**32 - 1), COVERAGE, TEXTS, st.none() | st.integers(0, 2**32 - 2),
)  # fmt: skip
QUERIES = st.none() | st.lists(
    st.builds(QueryItem, st.builds(Query, st.text(max_size=5), st.text(max_size=5)), st.integers(0, 1000)), max_size=3
).map(tuple)
ANSWERS = st.builds(QueryResponse, st.lists(st.lists(SERIES, max_size=3), max_size=4), st.booleans(), QUERIES)


def plain(answer: QueryResponse) -> Any:
    """An answer as something that can be compared, NaN included."""
    return [
        [
            (
                one.from_s,
                one.to_s,
                one.resolution_s,
                None if one.data is None else one.data.tobytes(),
                (one.min, one.avg, one.max, one.id, one.subtype_id, one.error, one.members, one.offset_s),
                None if one.coverage is None else one.coverage.tolist(),
            )
            for one in row
        ]
        for row in answer.rows
    ]


@given(answer=ANSWERS)
def test_everything_comes_back_as_it_was(answer: QueryResponse) -> None:
    back = decode(encode(answer))
    assert plain(back) == plain(answer)
    assert (back.with_stats, back.queries) == (answer.with_stats, answer.queries)


@given(body=st.binary(max_size=400))
def test_garbage_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode(body)


@given(answer=ANSWERS, changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4))
def test_a_damaged_answer_is_refused_or_read_and_nothing_worse(
    answer: QueryResponse, changes: list[tuple[float, int]]
) -> None:
    body = bytearray(encode(answer))
    for place, byte in changes:
        body[int(place * len(body))] = byte
    try:
        decode(bytes(body))
    except InvalidInput:
        return


@given(answer=ANSWERS, place=st.floats(0, 1, exclude_max=True))
def test_a_cut_or_longer_answer_is_refused(answer: QueryResponse, place: float) -> None:
    body = encode(answer)
    for wrong in (body[: int(place * len(body))], body + b"\0"):
        with pytest.raises(InvalidInput):
            decode(wrong)


@pytest.mark.parametrize("rows", [2**32 - 1, 10])
def test_numbers_that_promise_too_much_allocate_nothing(rows: int) -> None:
    header = struct.pack("<8sIIIIQQII", MAGIC, VERSION, 0, rows, 2**32 - 1, 2**63, 2**63, 2**32 - 1, 0)
    with pytest.raises(InvalidInput, match=r"early|add up"):
        decode(header + bytes(1000))


def test_another_version_is_named() -> None:
    body = bytearray(encode(QueryResponse([])))
    body[8] = 9
    with pytest.raises(InvalidInput, match="version 9"):
        decode(bytes(body))


def test_samples_lie_where_the_document_says() -> None:
    """Read by hand, as the document describes it."""
    data = np.array([1.5, np.nan, -3], np.float32)
    answer = QueryResponse(
        [
            [],
            [
                SeriesResult(
                    60,
                    240,
                    60,
                    data,
                    -3,
                    -0.75,
                    1.5,
                    "cpu7",
                    members=2,
                    coverage=np.array([2, 0, 1], np.int32),
                    offset_s=50,
                )
            ],
        ]
    )
    body = encode(answer)
    assert body[:8] == MAGIC
    version, flags, rows, series, samples, covered, texts, queries = struct.unpack_from("<IIIIQQII", body, 8)
    assert (version, flags, rows, series, samples, covered, texts, queries) == (2, 1, 2, 1, 3, 3, 4, 0)
    assert struct.unpack_from("<II", body, 48) == (0, 1)
    assert struct.unpack_from("<qqddd", body, 56) == (60, 240, -3, -0.75, 1.5)
    assert [struct.unpack_from("<I", body, at)[0] for at in range(96, 112, 8)] == [60, 2]
    assert [struct.unpack_from("<I", body, at)[0] for at in range(112, 160, 8)] == [50, 3, 3, 4, ABSENT, ABSENT]
    assert body[160:164] == b"cpu7"
    assert np.frombuffer(body, "<f4", 3, 168).tobytes() == data.tobytes()
    assert struct.unpack_from("<III", body, 184) == (2, 0, 1)
    assert len(body) == 200


@pytest.mark.parametrize(
    ("offset", "value", "why"),
    [
        (48, 1, "rows"),  # the first of two rows has a series, and so has the second
        (52, 2, "rows"),
        (120, 2, "samples"),  # of three samples only two belong to somebody
        (128, 0, "samples"),  # the same of coverage counts
        (136, 3, "texts"),  # a letter of the id is nobody's
        (144, 1, "texts"),  # a subtype id of which there is no text
    ],
)
def test_lengths_that_contradict_each_other_are_refused(offset: int, value: int, why: str) -> None:
    data, coverage = np.zeros(3, np.float32), np.ones(3, np.int32)
    body = bytearray(encode(QueryResponse([[], [SeriesResult(0, 180, 60, data, id="cpu7", coverage=coverage)]])))
    assert struct.unpack_from("<I", body, offset)[0] != value
    struct.pack_into("<I", body, offset, value)
    with pytest.raises(InvalidInput, match=why):
        decode(bytes(body))
