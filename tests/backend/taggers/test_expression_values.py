"""Kinds and values of expressions; what is undefined is an error, and nothing of Python can be reached."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.taggers.expression_parser import parse_expression
from cc_backend.taggers.expression_tokens import RuleExpressionError
from cc_backend.taggers.expression_types import Kind, KindTree, kind_of, require_kind
from cc_backend.taggers.expression_values import evaluate

KINDS: dict[str, KindTree] = {
    "job": {"shared": Kind.TEXT, "duration": Kind.NUMBER},
    "mem_bw": {"avg": Kind.NUMBER, "limits": {"peak": Kind.NUMBER}},
    "factor": Kind.NUMBER,
}
VALUES: dict[str, Any] = {
    "job": {"shared": "none", "duration": 7200},
    "mem_bw": {"avg": 12.5, "limits": {"peak": 100.0}},
    "factor": 0.5,
}


def value(text: str) -> Any:
    node = parse_expression(text)
    kind_of(node, KINDS)
    return evaluate(node, VALUES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("7 / 2", 3.5),
        ("4 / 2", 2.0),
        ("7 % 3", 1),
        ("-7 % 3", -1),
        ("7.5 % 2", 1.5),
        ("2 ^ 10", 1024.0),
        ("2 ** 3 ** 2", 512.0),
        ("-2 ^ 2", -4.0),
        ("'a' + 'b'", "ab"),
        ("job.duration > 600 && job.shared == 'none'", True),
        ("mem_bw.avg < mem_bw.limits.peak * factor", True),
        ("mem_bw['avg'] >= 12.5", True),
        ("1 < 2 < 3", True),
        ("1 < 3 < 2", False),
        ("job.shared in ['none', 'single_user']", True),
        ("3 not in [1, 2]", True),
        ("'none' startsWith 'no' and 'none' endsWith 'ne' and 'none' contains 'on'", True),
        ("!(true && false) || false", True),
        ("job.duration > 1 ? 'long' : 'short'", "long"),
        ("abs(-2) + ceil(1.2) + floor(1.8)", 5.0),
        ("round(2.5) + round(-2.5) + round(0.49999999999999994)", 0.0),
        ("max(1, 5, 3) - min([4, 2])", 3),
        ("sum([1, 2, 3]) + mean([1, 2]) + median([5, 1, 3])", 10.5),
        ("len('abc') + len([1, 2])", 5),
        ("lower('AbC') == 'abc' and upper('a') == 'A'", True),
        ("int(2.9) + float(1)", 3.0),
        ("false && 1 / 0 > 1", False),
        ("true || 1 / 0 > 1", True),
        ("true ? 1 : 1 / 0", 1),
    ],
)
def test_values_are_those_of_expr_lang(text: str, expected: object) -> None:
    found = value(text)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 / 0", "1 / 0 has no result"),
        ("1 % 0", "1 % 0 has no result"),
        ("9 ** 9 ** 9", "9 ^ 387420489.0 has no result"),
        ("(-8) ** (1 / 3)", "-8 ^ 0.3333333333333333 has no result"),
        ("9223372036854775807 + 1", "a result is beyond the range of numbers"),
        ("1e308 * 10", "a result is beyond the range of numbers"),
        ("-9223372036854775807 - 2", "a result is beyond the range of numbers"),
    ],
)
def test_what_has_no_result_is_an_error(text: str, problem: str) -> None:
    with pytest.raises(RuleExpressionError) as caught:
        value(text)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("jbo.duration", "'jbo' is not known; did you mean 'job'?"),
        ("job.duratoin > 1", "'duratoin' is not known here; did you mean 'duration'?"),
        ("factor.avg", "a number has no member 'avg'"),
        ("mem_bw + 1", "a number is expected before '+', not something with members"),
        ("factor + 'a'", "a number is expected behind '+', not a text"),
        ("'a' + 1", "a text is expected behind '+', not a number"),
        ("factor && true", "true or false is expected before '&&', not a number"),
        ("!factor", "true or false is expected behind '!', not a number"),
        ("-true", "a number is expected behind '-', not true or false"),
        ("1 == 'a'", "a number is expected behind '==', not a text"),
        ("true < false", "a number or a text is expected before '<'"),
        ("factor ? 1 : 2", "true or false is expected before '?', not a number"),
        ("true ? 1 : 'a'", "a number is expected behind ':', not a text"),
        ("1 in 2", "a list of numbers is expected behind 'in', not a number"),
        ("1 in ['a']", "a list of numbers is expected behind 'in', not a list of texts"),
        ("[1, 'a'] == [1]", "a list must have values, all numbers or all texts"),
        ("abz(1)", "the function 'abz' is not known; did you mean 'abs'?"),
        ("abs()", "abs() takes one value, not 0"),
        ("abs(1, 2)", "abs() takes one value, not 2"),
        ("abs('a')", "abs() takes a number"),
        ("max()", "max() takes one value, not 0"),
        ("len(1)", "len() takes a text or a list of numbers or a list of texts"),
    ],
)
def test_a_wrong_name_or_kind_is_found_before_anything_is_computed(text: str, problem: str) -> None:
    with pytest.raises(RuleExpressionError) as caught:
        kind_of(parse_expression(text), KINDS)
    assert str(caught.value) == problem


def test_the_kind_of_the_result_can_be_required() -> None:
    require_kind(parse_expression("factor > 1"), Kind.TRUTH, KINDS)
    with pytest.raises(RuleExpressionError, match="a number is expected as the result, not true or false"):
        require_kind(parse_expression("factor > 1"), Kind.NUMBER, KINDS)


@pytest.mark.parametrize(
    "text",
    [
        "__class__",
        "job.__class__",
        "job['__class__']",
        "(1).__class__",
        "''.__class__.__mro__",
        "[].__len__",
        "__import__('os')",
        "open('/etc/passwd')",
        "eval('1')",
        "getattr(job, 'x')",
        "abs.__globals__",
        "len(job)",
    ],
)
def test_nothing_of_python_can_be_reached(text: str) -> None:
    with pytest.raises(RuleExpressionError):
        value(text)


def test_a_value_that_is_not_there_is_an_error() -> None:
    with pytest.raises(RuleExpressionError, match="'peak' is not there"):
        evaluate(parse_expression("mem_bw.limits.peak > 1"), {"mem_bw": {"limits": {}}})


@pytest.mark.parametrize(
    "text",
    [
        "(" * 38 + "1" + "+1)" * 38,
        " == ".join(["true"] * 90),
        "((((true == true == true) == true == true) == true == true) == true == true) == true",
        " + ".join(["'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"] * 90),
        " * ".join(["9223372036854775807"] * 90),
        "max(" + ", ".join(["1"] * 99) + ")",
    ],
)
def test_large_expressions_take_no_time(text: str) -> None:
    begin = time.process_time()
    try:
        value(text)
    except RuleExpressionError:
        assert "9223372036854775807" in text
    assert time.process_time() - begin < 2


NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))


@given(st.sampled_from(["+", "-", "*", "/", "%", "^"]), NUMBERS, NUMBERS)
def test_arithmetic_gives_a_number_in_range_or_an_error(sign: str, left: float, right: float) -> None:
    try:
        found = evaluate(parse_expression(f"a {sign} b"), {"a": left, "b": right})
    except RuleExpressionError:
        return
    assert -1.8e308 < found < 1.8e308
