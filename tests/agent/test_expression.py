from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.errors import ExpressionError
from cc_agent.expression import compile_condition
from cc_agent.rule_input import NeedsSampleError, RuleInput


def _message(value: float | None = None, time_s: int | None = None) -> RuleInput:
    tags = {"type": "hwthread", "type-id": "12", "hostname": "n01", "cluster": "demo", "stype": "", "odd-one": "x"}
    return RuleInput("cpu_user", tags, {"unit": "%", "source": "CpustatCollector"}, value, time_s)


@pytest.mark.parametrize(
    "text",
    [
        "*",
        " * ",
        "true",
        "name == 'cpu_user'",
        'name == "cpu_user"',
        "name != 'cpu_system'",
        "tags.type == 'hwthread'",
        "tag.type == 'hwthread'",
        "type == 'hwthread'",
        "tags.typeid == '12'",
        "tags.type-id == '12'",
        "type-id == '12'",
        "typeid == '12'",
        "tags['odd-one'] == 'x'",
        "hostname == 'n01' && cluster == 'demo'",
        "meta.unit == '%'",
        "meta.source contains 'stat'",
        "tags.missing == ''",
        "name startsWith 'cpu_' && name endsWith 'user'",
        "name matches '^cpu_[a-z]+$'",
        "match('^cpu%w+$', name)",
        "name in ['mem_used', 'cpu_user']",
        "name not in ['mem_used']",
        "not (name in [])",
        "'type' in tags",
        "'typeid' in tag",
        "'unit' in meta",
        "!(name == 'x')",
        "!!(name == 'cpu_user')",
        "not name == 'x'",
        "name == 'x' || type == 'hwthread'",
        "name == 'x' or type == 'hwthread' and true",
        "false || !false",
        "tags.type-id > 9",
        "tags.type-id >= 12 && tags.type-id <= 12.0 && tags.type-id < 100",
        "2 + 3 * 4 == 14",
        "(2 + 3) * 4 == 20",
        "7 % 4 == 3 && 7 / 2 == 3.5 && -1 < 0 && 5 - 3 - 1 == 1",
        "'a' + 'b' == 'ab'",
        "'abc' < 'abd'",
        "messagetype == 'metric' && msgtype == 'metric'",
        "msg.HasTag('type') && !message.HasTag('nope') && msg.HasMeta('unit')",
        "msg.GetTag('type') == 'hwthread' && msg.GetMeta('unit') == '%'",
        "'it\\'s' == \"it's\"",
        "1e3 == 1000 && .5 == 0.5",
    ],
)
def test_is_true(text: str) -> None:
    assert compile_condition(text)(_message())


@pytest.mark.parametrize(
    "text",
    [
        "false",
        "name == 'cpu_system'",
        "tags.missing == 'x'",
        "name > 5",
        "name contains 5",
        "5 contains 'x'",
        "5 matches 'x'",
        "1 / 0 == 1",
        "1 / 0 == 1 / 0",
        "'a' - 1 == 0",
        "1 in 'text'",
        "name in tags",
        "true && false",
        "!true || false",
        "not true",
    ],
)
def test_is_false(text: str) -> None:
    assert not compile_condition(text)(_message())


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "expected a value, found 'the end'"),
        ("name", "does not yield true or false"),
        ("name = 'x'", "unexpected \"= 'x'\" at position 5"),
        ("name == ", "expected a value"),
        ("name == 'x", 'unexpected "\'x"'),
        ("(name == 'x'", "expected ')'"),
        ("name == 'x')", "unexpected ')'"),
        ("name == 'x' &&", "expected a value"),
        ("name && true", "true or false"),
        ("!name", "true or false"),
        ("nmae == 'x'", "unknown name 'nmae'"),
        ("foo.bar == 'x'", "unknown name 'foo'"),
        ("getCpuListOfType() == 1", "unknown name 'getCpuListOfType'"),
        ("name matches '['", "cannot be read"),
        ("name matches name", "expected a pattern in quotes"),
        ("match(name, name)", "expected a pattern in quotes"),
        ("fields.event == 1", "only the field 'value'"),
        ("msg.Delete('x')", "unknown method 'Delete'"),
        ("msg.HasTag(name)", "needs a name in quotes"),
        ("tags. == 'x'", "expected a name after the dot"),
        ("tags[type] == 'x'", "expected a name in quotes"),
        ("name == 'x' ; true", "unexpected '; true'"),
        ("__import__('os').system('true')", "unknown name '__import__'"),
        ("name in ['a' 'b']", "expected ','"),
        ("(" * 60 + "true" + ")" * 60, "nested too deeply"),
        ("name == '" + "x" * 5000 + "'", "longer than"),
        ("5 + 5", "does not yield"),
    ],
)
def test_mistakes_are_named_with_their_place(text: str, part: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_condition(text)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    "text", ["value > 5", "fields.value > 5", "field.value > 5", "name == 'cpu_user' && value > 5"]
)
def test_a_question_about_the_value_needs_a_sample(text: str) -> None:
    condition = compile_condition(text)
    with pytest.raises(NeedsSampleError):
        condition(_message())
    assert condition(_message(value=6.0))
    assert not condition(_message(value=4.0))


def test_a_question_about_the_time_needs_a_sample() -> None:
    condition = compile_condition("time % 60 == 0")
    with pytest.raises(NeedsSampleError):
        condition(_message())
    assert condition(_message(time_s=120))
    assert not compile_condition("timestamp > 500")(_message(time_s=120))


def test_the_value_is_not_read_when_the_name_decides() -> None:
    assert not compile_condition("name == 'other' && value > 5")(_message())
    assert compile_condition("name == 'cpu_user' || value > 5")(_message())


def test_constants_of_the_configuration_are_known() -> None:
    assert compile_condition("cluster == site && limit > 3", {"site": "demo", "limit": 4})(_message())


@given(st.text(max_size=40))
def test_any_text_in_quotes_is_itself(text: str) -> None:
    quoted = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if "\n" in text:
        quoted = quoted.replace("\n", "\\n")
    message = RuleInput(text, {}, {})
    assert compile_condition(f"name == {quoted}")(message)


@given(st.text(alphabet="()[]!&|=<>.,'\"%*+-/ abntrue19_", max_size=40))
def test_nothing_but_the_named_error_comes_out(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        compile_condition(text)(_message(1.0, 1))
