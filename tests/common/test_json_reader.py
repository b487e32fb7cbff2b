"""Reading JSON from outside: bounded, lenient where clients need it, exact about what is wrong."""

from __future__ import annotations

import contextlib
import json
from typing import Any, Callable, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_common.errors import PayloadError
from cc_common.json_reader import INT32, INT64, ObjectReader, parse_json
from cc_common.json_values import as_integer, as_number, as_string, show_json

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
        (b"[1, " + b"9" * 401 + b"]", "a number of 401 digits"),
        (b"-" + b"1" * 401, "digits"),
        (b"[[[1]]]", "nested deeper than 2 levels"),
        (b'{"a": {"b": {}}}', "nested deeper than 2 levels"),
        (b"[" * 500_000, "nested deeper than 2 levels"),
        (b'"' + b'\\"' * 100_000, "is not JSON"),
        (b'"a\\', "is not JSON"),
        (b"x" * (LIMIT + 1), "more than the 1048576 that are accepted"),
    ],
)
def test_what_is_not_limited_json_is_rejected_with_its_reason(body: bytes, words: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_json(body, max_bytes=LIMIT, max_depth=2)
    assert words in str(caught.value)
    assert caught.value.field == ""


def test_depth_is_counted_before_anything_is_parsed_so_that_no_nesting_exhausts_the_stack() -> None:
    with pytest.raises(PayloadError):
        parse_json(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, max_bytes=LIMIT)


NESTED = st.recursive(
    st.sampled_from([1, "", "]", '"[{', "\\\\", "}{"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "[", "{"]), inner, max_size=3),
    max_leaves=60,
)


def depth_of(value: Any) -> int:
    """The levels of lists and objects."""
    if not isinstance(value, (list, dict)):
        return 0
    return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)


@given(value=NESTED, spaces=st.booleans())
def test_a_value_is_read_at_its_depth_and_refused_one_level_below(value: Any, spaces: bool) -> None:  # noqa: FBT001
    body = json.dumps([value], indent=1 if spaces else None).encode()
    depth = depth_of([value])
    assert parse_json(body, max_bytes=LIMIT, max_depth=depth) == [value]
    if depth > 1:
        with pytest.raises(PayloadError, match=f"deeper than {depth - 1} levels"):
            parse_json(body, max_bytes=LIMIT, max_depth=depth - 1)


def test_what_follows_the_first_value_does_not_count_towards_its_depth() -> None:
    assert parse_json(b"[1]" + b"[" * 1000, max_bytes=LIMIT, max_depth=1) == [1]


@pytest.mark.parametrize("document", [None, [], "x", 5, True])
def test_only_an_object_can_be_read_as_one(document: Any) -> None:
    with pytest.raises(PayloadError, match="the payload: must be an object"):
        ObjectReader(document)


def test_keys_match_without_regard_to_case_and_an_exact_one_first() -> None:
    assert ObjectReader({"JOBID": 1}).integer("jobId") == 1
    assert ObjectReader({"jobid": 1, "jobId": 2}).integer("jobId") == 2


def test_a_number_of_400_digits_is_read_wherever_it_stands() -> None:
    for blanks in range(0, 900, 37):
        assert parse_json(b" " * blanks + b"[" + b"7" * 400 + b"]", max_bytes=LIMIT) == [int("7" * 400)]
        with pytest.raises(PayloadError, match="401 digits"):
            parse_json(b" " * blanks + b"[" + b"7" * 401 + b"]", max_bytes=LIMIT)


def test_many_digits_in_a_string_are_not_a_number() -> None:
    assert parse_json(b'["' + b"7" * 5000 + b'", 5]', max_bytes=LIMIT) == ["7" * 5000, 5]


def test_absent_keys_and_null_are_the_default() -> None:
    reader = ObjectReader({"a": None})
    assert (reader.string("a"), reader.integer("b"), reader.number("a")) == ("", 0, 0.0)
    assert (reader.boolean("a"), reader.choice("b", ("x",)), reader.mapping("a", as_string, "")) == (False, "", None)
    assert (reader.integers("a"), reader.strings("b"), reader.objects("a")) == ((), (), ())
    assert reader.integer("a", default=7) == 7


def test_null_in_a_list_or_object_is_the_zero_value() -> None:
    reader = ObjectReader({"n": [1, None], "s": ["x", None], "m": {"k": None, "v": "x"}})
    assert reader.integers("n") == (1, 0)
    assert reader.strings("s") == ("x", "")
    assert reader.mapping("m", as_string, "") == {"k": "", "v": "x"}


def test_lists_of_lists_of_integers_are_read() -> None:
    reader = ObjectReader({"core": [[0, 4], [], None, [1.0, None]], "socket": [[0], [1, -1]], "die": [3]})
    assert reader.integer_lists("core") == ((0, 4), (), (), (1, 0))
    assert reader.integer_lists("absent") == ()
    with pytest.raises(PayloadError, match=r"socket\[1\]\[1\]: must be an integer of at least 0, not -1"):
        reader.integer_lists("socket", (0, None))
    with pytest.raises(PayloadError, match=r"die\[0\]: must be a list, not 3"):
        reader.integer_lists("die")


def test_a_nested_object_is_a_reader_with_its_path() -> None:
    reader = ObjectReader({"unit": {"base": 5}, "none": None, "list": []})
    unit = reader.object("unit")
    assert unit is not None
    with pytest.raises(PayloadError, match=r"unit\.base: must be a string, not 5"):
        unit.string("base")
    assert reader.object("none") is None
    with pytest.raises(PayloadError, match="list: must be an object, not a list"):
        reader.object("list")


def test_unknown_keys_are_named_with_their_path() -> None:
    reader = ObjectReader({"a": 1, "b": 2, "list": [{"x": 1, "y": 2}], "C": 3})
    for child in reader.objects("list"):
        child.integer("x")
        child.finish()
    reader.integer("a")
    assert reader.finish("c") == ("list[0].y", "b")


@pytest.mark.parametrize(
    ("value", "limits", "expected"),
    [
        (5, INT64, 5),
        (5.0, INT64, 5),
        (-(2**63), INT64, -(2**63)),
        (2**31 - 1, INT32, 2**31 - 1),
        (2**70, (0, None), 2**70),
    ],
)
def test_integers_are_read(value: Any, limits: Any, expected: Any) -> None:
    assert ObjectReader({"n": value}).integer("n", limits) == expected
    assert ObjectReader({"n": [value, value]}).integers("n", limits) == (expected, expected)


@pytest.mark.parametrize(
    ("value", "limits"),
    [("5", INT64), (True, INT64), (5.5, INT64), (2**63, INT64), (2**31, INT32), (1e300, INT64), ([], INT64)],
)
def test_other_values_are_not_integers_in_range(value: Any, limits: Any) -> None:
    with pytest.raises(PayloadError) as caught:
        ObjectReader({"n": value}, "outer").integer("n", limits)
    assert caught.value.field == "outer.n"
    with pytest.raises(PayloadError) as caught:
        ObjectReader({"n": [1, value]}, "outer").integers("n", limits)
    assert caught.value.field == "outer.n[1]"


def test_a_name_has_no_control_characters_but_a_string_may() -> None:
    reader = ObjectReader({"n": "a\nb"})
    assert reader.string("n") == "a\nb"
    with pytest.raises(PayloadError, match="control character"):
        reader.name("n")


@pytest.mark.parametrize("value", [None, ""])
def test_a_required_string_must_not_be_empty(value: Any) -> None:
    for document in ({"n": value}, {}):
        with pytest.raises(PayloadError, match="n: is missing"):
            ObjectReader(document).string("n", required=True)


@pytest.mark.parametrize(
    ("read", "value", "problem"),
    [
        (lambda reader: reader.string("a"), 5, "a: must be a string, not 5"),
        (lambda reader: reader.integer("a", (0, None)), -1, "a: must be an integer of at least 0, not -1"),
        (lambda reader: reader.integer("a", (0, 3)), 4, "a: must be an integer from 0 to 3, not 4"),
        (lambda reader: reader.integer("a"), "x", 'a: must be an integer, not "x"'),
        (lambda reader: reader.number("a"), "5", 'a: must be a number, not "5"'),
        (lambda reader: reader.number("a"), 10**400, "a: must be a finite number, not 1000"),
        (lambda reader: reader.boolean("a"), 1, "a: must be true or false, not 1"),
        (lambda reader: reader.choice("a", ("x", "y")), "z", 'a: must be one of x, y, not "z"'),
        (lambda reader: reader.strings("a"), {}, "a: must be a list, not an object"),
        (lambda reader: reader.strings("a"), ["x", 1], "a[1]: must be a string, not 1"),
        (lambda reader: reader.objects("a"), [{}, []], "a[1]: must be an object, not a list"),
        (lambda reader: reader.mapping("a", as_number, 0.0), {"k": True}, "a.k: must be a number, not true"),
        (lambda reader: reader.mapping("a", as_number, 0.0), [], "a: must be an object, not a list"),
    ],
)
def test_a_fault_names_the_place_what_is_expected_and_what_is_there(
    read: Callable[[ObjectReader], Any], value: Any, problem: str
) -> None:
    with pytest.raises(PayloadError) as caught:
        read(ObjectReader({"a": value}))
    assert str(caught.value).startswith(problem)


def test_faults_are_collected_if_the_handler_returns_and_defaults_read_instead() -> None:
    faults: List[Tuple[str, str]] = []
    document = {
        "name": 5,
        "size": "x",
        "ids": [1, "2", 3],
        "parts": [{"on": 1}, 7],
        "shares": {"a": 1, "b": "x"},
        "kind": "z",
    }
    reader = ObjectReader(document, on_fault=lambda path, problem: faults.append((path, problem)))
    assert reader.string("name", default="?") == "?"
    assert reader.integer("size", default=9) == 9
    assert reader.integers("ids") == (1, 3)
    assert [part.boolean("on") for part in reader.objects("parts")] == [False]
    assert reader.mapping("shares", as_number, 0.0) == {"a": 1.0}
    assert reader.choice("kind", ("x", "y"), default="y") == "y"
    assert reader.string("host", required=True) == ""
    assert [path for path, _ in faults] == [
        "name",
        "size",
        "ids[1]",
        "parts[1]",
        "parts[0].on",
        "shares.b",
        "kind",
        "host",
    ]


def test_a_document_that_is_not_an_object_is_one_fault_and_then_empty() -> None:
    faults: List[str] = []
    reader = ObjectReader([], "a.b", on_fault=lambda path, problem: faults.append(f"{path}: {problem}"))
    assert reader.string("x") == ""
    assert faults == ["a.b: must be an object, not a list"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "null"), (True, "true"), ("a\nb", '"a\\nb"'), (5.0, "5.0"), ({"a": 1}, "an object"), ([1], "a list")],
)
def test_a_value_is_shown_as_json_on_one_line(value: Any, shown: str) -> None:
    assert show_json(value) == shown


def test_a_long_value_is_cut() -> None:
    assert show_json("x" * 100) == '"' + "x" * 56 + "..."


def test_limits_of_integers_may_be_open() -> None:
    assert as_integer(-5) == -5
    with pytest.raises(ValueError, match="an integer of at most 3, not 4"):
        as_integer(4, maximum=3)


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
