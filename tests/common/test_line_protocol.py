"""The line protocol: what is written, what is read, what is refused, and by which words."""

import math
from typing import Any, Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_common.errors import LineProtocolError
from cc_common.line_protocol import (
    MAX_NAME_BYTES,
    LineError,
    Point,
    decode,
    encode,
    format_value,
    parse_series,
    parse_time,
    parse_value,
    series_prefix,
    split_line,
)

NOW_S = 1_790_000_000


@pytest.mark.parametrize(
    ("metric", "tags", "prefix"),
    [
        ("load", {}, b"load value="),
        ("load", {"type": "node", "cluster": "c", "hostname": "h"}, b"load,cluster=c,hostname=h,type=node value="),
        ("load", {"type-id": ""}, b"load value="),
        ("a b,c=d", {}, b"a\\ b\\,c=d value="),
        ("m", {"k =,": "v =,"}, b"m,k\\ \\=\\,=v\\ \\=\\, value="),
        ("m", {"k": "a\\b"}, b"m,k=a\\b value="),
        ("m", {"k": 'a"b'}, b'm,k=a"b value='),
        ("m", {"k": "\u00e4"}, b"m,k=\xc3\xa4 value="),
    ],
)
def test_a_series_prefix_has_sorted_escaped_tags_and_no_empty_ones(
    metric: str, tags: Dict[str, str], prefix: bytes
) -> None:
    assert series_prefix(metric, tags) == prefix


@pytest.mark.parametrize(
    ("metric", "tags", "reason"),
    [
        ("", {}, "metric name is empty"),
        ("#load", {}, "begins a comment"),
        ("a\nb", {}, "control character"),
        ("a\\", {}, "ends in a backslash"),
        ("m", {"": "x"}, "tag key is empty"),
        ("m", {"k": "v\\"}, "tag k 'v\\\\\\\\' ends in a backslash"),
        ("m", {"k": "a\nload value=1"}, "control character"),
        ("m", {"k": "\ud800"}, "cannot be written as UTF-8"),
        ("m", {"k": "x" * (MAX_NAME_BYTES + 1)}, "longer than"),
    ],
)
def test_a_name_that_the_protocol_cannot_carry_is_rejected_by_the_writer(
    metric: str, tags: Dict[str, str], reason: str
) -> None:
    with pytest.raises(LineProtocolError, match=reason):
        series_prefix(metric, tags)


@pytest.mark.parametrize(
    ("value", "text"),
    [(5, b"5"), (5.0, b"5"), (-0.5, b"-0.5"), (0.1, b"0.1"), (1e300, b"1e+300"), (2**62, b"4611686018427387904")],
)
def test_values_are_written_in_their_shortest_form(value: Any, text: str) -> None:
    assert format_value(value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, True])
def test_values_that_are_no_finite_numbers_are_not_written(value: Any) -> None:
    with pytest.raises(LineProtocolError):
        format_value(value)


NASTY_LINES = [
    (b"load value=1 17", Point("load", {}, 1.0, 17)),
    (b"load value=1", Point("load", {}, 1.0, NOW_S)),
    (b"load value=1\r", Point("load", {}, 1.0, NOW_S)),
    (b"  load  value=1   17  ", Point("load", {}, 1.0, 17)),
    (b"load value=5i 17", Point("load", {}, 5.0, 17)),
    (b"load value=5u 17", Point("load", {}, 5.0, 17)),
    (b"load value=-5i 17", Point("load", {}, -5.0, 17)),
    (b"load value=+1.5e-3 17", Point("load", {}, 0.0015, 17)),
    (b"load value=.5 17", Point("load", {}, 0.5, 17)),
    (b"load value=5. 17", Point("load", {}, 5.0, 17)),
    (b"load value=1,value=2 17", Point("load", {}, 2.0, 17)),
    (b"a\\ b\\,c,x=1 value=1 17", Point("a b,c", {"x": "1"}, 1.0, 17)),
    (b"m,k\\ \\=\\,=v\\ \\=\\, value=1 17", Point("m", {"k =,": "v =,"}, 1.0, 17)),
    (b"m,k=a\\\\,x=1 value=1 17", "x=1' is not of the form key=value"),
    (b"m,k=a\\b value=1 17", Point("m", {"k": "a\\b"}, 1.0, 17)),
    (b'm,k="q" value=1 17', Point("m", {"k": '"q"'}, 1.0, 17)),
    (b"m,k=1,k=2 value=1 17", Point("m", {"k": "2"}, 1.0, 17)),
    (b"m,k=\xc3\xa4 value=1 17", Point("m", {"k": "\u00e4"}, 1.0, 17)),
    (b"load", "there is no field after the series"),
    (b"load,x=1", "there is no field after the series"),
    (b"load value=1 17 18", "there is text after the timestamp"),
    (b"load value=1 17x", "timestamp '17x' is not an integer"),
    (b"load value=1 1.7e9", "timestamp '1.7e9' is not an integer"),
    (b"load value=1 99999999999999999999", "is not an integer"),
    (b"load value=", "value '' is not a number"),
    (b"load value=NaN 17", "value 'NaN' is not a number"),
    (b"load value=inf 17", "value 'inf' is not a number"),
    (b"load value=1e999 17", "value 1e999 is too large"),
    (b"load value=1_000 17", "value '1_000' is not a number"),
    (b"load value=0x10 17", "value '0x10' is not a number"),
    (b"load value=99999999999999999999i 17", "outside the range of 64 bits"),
    (b"load value=18446744073709551616u 17", "outside the range of 64 bits"),
    (b"load value=-1u 17", "value '-1u' is not a number"),
    (b'load value="text 1" 17', "the value is text, not a number"),
    (b'load value="a,b=c\\" d" 17', "the value is text, not a number"),
    (b'load value="open 17', "no closing quote"),
    (b"load value=1\\", "no closing quote, or a backslash"),
    (b"load value=true 17", "boolean true"),
    (b"load event=1 17", "field 'event' is not 'value'"),
    (b"load value=1,other=2 17", "field 'other' is not 'value'"),
    (b"load value=1, 17", "are not of the form value=number"),
    (b"load Value=1 17", "field 'Value' is not 'value'"),
    (b"load value 17", "are not of the form value=number"),
    (b",x=1 value=1", "the metric name is empty"),
    (b"m,x value=1", "is not of the form key=value"),
    (b"m,x= value=1", "tag x is empty"),
    (b"m,=x value=1", "a tag key is empty"),
    (b"m,x=a=b value=1", "is not of the form key=value"),
    (b"m,,x=1 value=1", "is not of the form key=value"),
    (b"m,x=a\tb value=1", "tag x has a control character"),
    (b"m\x00 value=1", "the metric name has a control character"),
    (b"m\xff value=1", "the series is not UTF-8"),
    (b"m," + b"x" * 2000 + b"=1 value=1", "longer than"),
]


@pytest.mark.parametrize(("line", "expected"), NASTY_LINES)
def test_each_nasty_line_is_read_or_rejected_with_its_reason(line: bytes, expected: Any) -> None:
    points, errors = decode(line, received_s=NOW_S)
    if isinstance(expected, Point):
        assert (points, errors) == ([expected], [])
    else:
        assert points == []
        assert len(errors) == 1
        assert expected in errors[0].reason


def test_comments_blank_lines_and_a_missing_last_newline_do_no_harm() -> None:
    points, errors = decode(b"# note\n\n  \r\nload value=1 17\r\n\nload value=2 18", received_s=NOW_S)
    assert [point.value for point in points] == [1.0, 2.0]
    assert errors == []


def test_a_bad_line_costs_no_good_one_and_is_named_by_its_number() -> None:
    points, errors = decode(b"a value=1 17\nb value=x 17\nc value=3 17\n", received_s=NOW_S)
    assert [point.metric for point in points] == ["a", "c"]
    assert errors == [LineError(2, "value 'x' is not a number", "b value=x 17")]


def test_a_line_in_an_error_is_cut() -> None:
    _, errors = decode(b"m" * 5000, received_s=NOW_S)
    assert len(errors[0].line) == 120


def test_points_of_one_series_do_not_share_their_tags() -> None:
    points, _ = decode(b"m,a=1 value=1\nm,a=1 value=2", received_s=NOW_S)
    points[0].tags["a"] = "changed"
    assert points[1].tags == {"a": "1"}


def test_a_line_is_cut_at_blanks_outside_quotes_and_escapes() -> None:
    assert split_line(b'm\\ x,k=a\\ b event="x \\" y",value=1 17') == (
        b"m\\ x,k=a\\ b",
        b'event="x \\" y",value=1',
        b"17",
    )


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        (b"", NOW_S),
        (b"0", 0),
        (b"-5", -5),
        (b"1790000040", 1790000040),
        (b"99999999999", 99999999999),
        (b"100000000000", 100000000),
        (b"1790000040123", 1790000040),
        (b"1790000040123456", 1790000040),
        (b"1790000040123456789", 1790000040),
        (b"-1790000040123", -1790000041),
    ],
)
def test_the_unit_of_a_timestamp_is_shown_by_its_size(raw: bytes, seconds: float) -> None:
    assert parse_time(raw, received_s=NOW_S) == seconds


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    lambda name: not name.endswith("\\")
)
METRICS = NAMES.filter(lambda name: not name.startswith("#"))
TAGS = st.dictionaries(NAMES, NAMES, max_size=4)
VALUES = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(min_value=-(2**53), max_value=2**53))


@given(METRICS, TAGS, VALUES, st.integers(min_value=-(10**11) + 1, max_value=10**11 - 1))
def test_what_is_written_is_read_back(metric: str, tags: Dict[str, str], value: Any, time_s: int) -> None:
    line = encode(metric, tags, value, time_s)
    assert b"\n" not in line
    series, fields, time = split_line(line)
    assert parse_series(series) == (metric, tags)
    assert parse_value(fields) == value
    assert parse_time(time, received_s=0) == time_s


def test_no_field_at_all_is_no_value() -> None:
    with pytest.raises(LineProtocolError, match="not of the form value=number"):
        parse_value(b"")


@given(st.binary(max_size=200))
def test_no_input_makes_the_reader_fail(batch: bytes) -> None:
    points, errors = decode(batch, received_s=NOW_S)
    assert all(math.isfinite(point.value) for point in points)
    assert len(points) + len(errors) <= batch.count(b"\n") + 1
