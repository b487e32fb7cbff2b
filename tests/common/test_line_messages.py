"""Lines of all classes: events, logs and control messages with their text, beside metrics with several fields."""

from typing import Any, Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_common.errors import LineProtocolError
from cc_common.line_protocol import (
    MAX_FIELDS,
    MAX_NAME_BYTES,
    MAX_TEXT_BYTES,
    FieldValue,
    Message,
    decode,
    decode_messages,
    encode_message,
    message_class,
)

NOW_S = 1_790_000_000


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"value": 1.5}, b"value=1.5"),
        ({"value": 2.0}, b"value=2"),
        ({"value": 2}, b"value=2i"),
        ({"value": -(2**63)}, b"value=-9223372036854775808i"),
        ({"value": 2**63}, b"value=9223372036854775808u"),
        ({"a": True, "b": False}, b"a=true,b=false"),
        ({"event": '{"a":"b\\n"}'}, b'event="{\\"a\\":\\"b\\\\n\\"}"'),
        ({"log": "two\nlines\tand \\n"}, b'log="two\\nlines\\tand \\\\n"'),
        ({"log": "a, b=c d"}, b'log="a, b=c d"'),
        ({"log": ""}, b'log=""'),
        ({"a key=,": 1}, b"a\\ key\\=\\,=1i"),
    ],
)
def test_each_type_of_field_is_written_in_its_form(fields: Dict[str, FieldValue], text: bytes) -> None:
    assert encode_message("m", {"t": "x"}, fields, 7) == b"m,t=x " + text + b" 7"
    assert decode_messages(b"m,t=x " + text + b" 7\n", received_s=NOW_S) == ([Message("m", {"t": "x"}, fields, 7)], [])


@pytest.mark.parametrize(
    ("precision", "written"), [("s", b"7"), ("ms", b"7000"), ("us", b"7000000"), ("ns", b"7" + b"0" * 9)]
)
def test_times_are_written_in_the_precision_that_the_reader_wants(precision: str, written: bytes) -> None:
    assert encode_message("m", {}, {"value": 1.0}, 7, precision=precision) == b"m value=1 " + written


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "there is no field"),
        ({str(number): 1 for number in range(MAX_FIELDS + 1)}, "more than 64 fields"),
        ({"": 1}, "field key is empty"),
        ({'a"': 1}, "has a quote"),
        ({"a\n": 1}, "control character"),
        ({"v": 2**64}, "outside the range"),
        ({"v": float("nan")}, "not finite"),
        ({"v": "\ud800"}, "cannot be written as UTF-8"),
        ({"v": "x" * (MAX_TEXT_BYTES + 1)}, "longer than"),
    ],
)
def test_what_no_reader_could_read_is_not_written(fields: Any, reason: str) -> None:
    with pytest.raises(LineProtocolError, match=reason):
        encode_message("m", {}, fields, 7)


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b'job event="{\\"a\\":1}" 7', {"event": '{"a":1}'}),
        (b'job event="raw\nline end" 7', {"event": "raw\nline end"}),
        (b'job event="a\\qb" 7', {"event": "a\\qb"}),
        (b'job event="a",level=3i,ok=T 7', {"event": "a", "level": 3, "ok": True}),
        (b"job value=1,value=2 7", {"value": 2.0}),
        (b"job a=1e3,b=5u 7", {"a": 1000.0, "b": 5}),
        (b'job,tag=a"b value=1 7', {"value": 1.0}),
        (b'job a="x" ', {"a": "x"}),
    ],
)
def test_what_other_writers_send_is_read(line: bytes, fields: Dict[str, FieldValue]) -> None:
    messages, errors = decode_messages(line, received_s=NOW_S)
    assert errors == []
    assert messages[0].fields == fields


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'job event="open 7', "no closing quote"),
        (b'job event="a"b 7', "not of the form key=value"),
        (b"job event=text 7", "'text' is not a number"),
        (b"job a=1, 7", "not of the form key=value"),
        (b"job a=99999999999999999999i 7", "outside the range of 64 bits"),
        (b"job a=-1u 7", "is not a number"),
        (b"job a\xff=1 7", "a field key is not UTF-8"),
        (b'job a="\xff" 7', "the text is not UTF-8"),
        (b"job " + b"x" * (MAX_NAME_BYTES + 1) + b"=1 7", "a field key is longer than"),
        (b"job " + b",".join(b"f%d=1" % number for number in range(MAX_FIELDS + 1)) + b" 7", "more than 64 fields"),
        (b'job a="' + b"x" * (MAX_TEXT_BYTES + 1) + b'" 7', "the text is longer than"),
        (b'job a="x" soon', "timestamp 'soon' is not an integer"),
        (b"job", "there is no field"),
    ],
)
def test_a_bad_line_is_named_and_leaves_the_next_one_alone(line: bytes, reason: str) -> None:
    messages, errors = decode_messages(line + b"\n# comment\n\ngood value=1 8\n", received_s=NOW_S)
    assert [message.name for message in messages] == ["good"]
    assert [error.line_number for error in errors] == [1]
    assert reason in errors[0].reason


def test_lines_are_numbered_as_they_stand_in_the_batch() -> None:
    _, errors = decode_messages(b'a log="x\ny" 7\nbad\n', received_s=NOW_S)
    assert [error.line_number for error in errors] == [3]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"value": 1.0}, "metric"),
        ({"value": 1, "event": "x"}, "metric"),
        ({"value": "text", "event": "x"}, "event"),
        ({"value": True}, ""),
        ({"log": "x"}, "log"),
        ({"control": "150"}, "control"),
        ({"query": "x"}, "query"),
        ({"other": 1.0}, ""),
    ],
)
def test_the_fields_say_which_class_a_message_is_of(fields: Dict[str, FieldValue], expected: str) -> None:
    assert message_class(fields) == expected


def _is_sendable(name: str) -> bool:
    return not name.endswith("\\") and len(name.encode()) <= MAX_NAME_BYTES


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(_is_sendable)
values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)


@given(
    names.filter(lambda name: not name.startswith("#")),
    st.dictionaries(names, names, max_size=4),
    st.dictionaries(names.filter(lambda name: '"' not in name), values, min_size=1, max_size=4),
    st.integers(0, 10**11 - 1),
)
def test_what_is_written_is_read_back(
    name: str, tags: Dict[str, str], fields: Dict[str, FieldValue], time_s: int
) -> None:
    line = encode_message(name, tags, fields, time_s)
    messages, errors = decode_messages(line + b"\n" + line, received_s=NOW_S)
    assert (messages, errors) == ([Message(name, tags, fields, time_s)] * 2, [])
    assert [type(value) for value in messages[0].fields.values()] == [type(value) for value in fields.values()]


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(batch: bytes) -> None:
    messages, errors = decode_messages(batch, received_s=NOW_S)
    assert len(messages) + len(errors) <= batch.count(b"\n") + 1


@given(
    st.lists(st.sampled_from([b"m value=1 7", b"m,a=b value=-2.5i", b"m value=3i 8", b"#x", b"", b"bad", b"m value=x"]))
)
def test_batches_of_samples_are_read_as_the_reader_of_samples_does(lines: Any) -> None:
    batch = b"\n".join(lines)
    points, point_errors = decode(batch, received_s=NOW_S)
    messages, errors = decode_messages(batch, received_s=NOW_S)
    assert [(m.name, m.tags, m.fields["value"], m.time_s) for m in messages] == [tuple(point) for point in points]
    assert [error.line_number for error in errors] == [error.line_number for error in point_errors]
