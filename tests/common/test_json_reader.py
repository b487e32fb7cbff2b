"""Reading JSON from outside: bounded, lenient where clients need it, exact about what is wrong."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_common.errors import PayloadError
from cc_common.json_reader import INT32, INT64, ObjectReader, parse_json

LIMIT = 1 << 20


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'\xef\xbb\xbf \r\n{"a": 1}', {"a": 1}),
        (b'{"a": 1}{"b": 2} rubbish ]]]', {"a": 1}),
        (b'{"script": "line\nnext\ttab\x00"}', {"script": "line\nnext\ttab\x00"}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": "x\\ud83d"}', {"a": "x\ufffd"}),
        (b'{"\\uDC00": ["\\udc00"]}', {"\ufffd": ["\ufffd"]}),
        (b'{"a": "[[[[{{{{\\"]"}', {"a": '[[[[{{{{"]'}),
        (b"5", 5),
        (b"null", None),
        (b"-1.5e3", -1500.0),
    ],
)
def test_the_first_value_is_read_as_clients_mean_it(body: bytes, value: Any) -> None:
    assert parse_json(body, max_bytes=LIMIT, max_depth=2) == value


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON: line 1, column 2"),
        (b"{'a': 1}", "is not JSON"),
        (b"[NaN]", "holds NaN"),
        (b"[-Infinity]", "holds -Infinity"),
        (b"[1e999]", "too large: 1e999"),
        (b"9" * 5000, "a number of 5000 digits"),
        (b"[[[1]]]", "nested deeper than 2 levels"),
        (b'{"a": {"b": {}}}', "nested deeper than 2 levels"),
        (b"[" * 500_000, "nested deeper than 2 levels"),
        (b'"' + b'\\"' * 100_000, "is not JSON"),
        (b'"a\\', "is not JSON"),
        (b"x" * (LIMIT + 1), "more than the 1048576 that are accepted"),
    ],
)
def test_what_is_no_bounded_json_is_refused_with_its_reason(body: bytes, words: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_json(body, max_bytes=LIMIT, max_depth=2)
    assert words in str(caught.value)
    assert caught.value.field == ""


def test_depth_is_counted_before_anything_is_parsed_so_that_no_nesting_exhausts_the_stack() -> None:
    with pytest.raises(PayloadError):
        parse_json(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, max_bytes=LIMIT)


def test_what_follows_the_first_value_does_not_count_towards_its_depth() -> None:
    assert parse_json(b"[1]" + b"[" * 1000, max_bytes=LIMIT, max_depth=1) == [1]


@pytest.mark.parametrize("document", [None, [], "x", 5, True])
def test_only_an_object_can_be_read_as_one(document: Any) -> None:
    with pytest.raises(PayloadError, match="the payload: must be an object"):
        ObjectReader(document)


def test_keys_match_without_regard_to_case_and_an_exact_one_first() -> None:
    assert ObjectReader({"JOBID": 1}).integer("jobId") == 1
    assert ObjectReader({"jobid": 1, "jobId": 2}).integer("jobId") == 2


def test_absent_keys_and_null_are_the_zero_value() -> None:
    reader = ObjectReader({"a": None})
    assert (reader.string("a"), reader.integer("b"), reader.number("a"), reader.mapping("a", lambda v, _: v)) == (
        "",
        0,
        0.0,
        None,
    )


def test_unknown_keys_are_named_with_their_path() -> None:
    reader = ObjectReader({"a": 1, "b": 2, "list": [{"x": 1, "y": 2}]})

    def read(item: Any, path: Any) -> None:
        child = reader.child(item, path)
        child.integer("x")
        child.finish()

    reader.items("list", read)
    reader.integer("a")
    assert reader.finish() == ("list[0].y", "b")


@pytest.mark.parametrize(
    ("value", "limits", "expected"),
    [(5, INT64, 5), (5.0, INT64, 5), (-(2**63), INT64, -(2**63)), (2**31 - 1, INT32, 2**31 - 1)],
)
def test_whole_numbers_are_read(value: Any, limits: Any, expected: Any) -> None:
    assert ObjectReader({"n": value}).integer("n", limits) == expected


@pytest.mark.parametrize(
    ("value", "limits"),
    [("5", INT64), (True, INT64), (5.5, INT64), (2**63, INT64), (2**31, INT32), (1e300, INT64), ([], INT64)],
)
def test_other_values_are_no_whole_numbers_in_range(value: Any, limits: Any) -> None:
    with pytest.raises(PayloadError) as caught:
        ObjectReader({"n": value}, "outer").integer("n", limits)
    assert caught.value.field == "outer.n"


def test_a_name_has_no_control_characters_but_a_text_may() -> None:
    reader = ObjectReader({"n": "a\nb"})
    assert reader.string("n") == "a\nb"
    with pytest.raises(PayloadError, match="control character"):
        reader.name("n")


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=10,
)


@given(JSON)
def test_json_that_was_written_is_read_back(value: Any) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=False).encode(), max_bytes=LIMIT) == value


@given(st.binary(max_size=100))
def test_no_body_raises_anything_but_a_payload_error(body: bytes) -> None:
    with contextlib.suppress(PayloadError):
        parse_json(body, max_bytes=LIMIT)
