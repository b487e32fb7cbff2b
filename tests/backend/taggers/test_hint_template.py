import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.taggers.expression_tokens import RuleExpressionError
from cc_backend.taggers.expression_types import Kind
from cc_backend.taggers.hint_template import MAX_HINT_CHARS, parse_hint

VALUES = {"mem": {"avg": 12.3456, "max": 350.0}, "percent": 7.0, "huge": 1234567.891, "job": {"shared": "none", "n": 3}}
KINDS = {"mem": {"avg": Kind.NUMBER, "max": Kind.NUMBER}, "percent": Kind.NUMBER}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ""),
        ("plain { } text", "plain { } text"),
        ("{{.mem.avg}} GB", "12.35 GB"),
        ("{{ .mem.max }}", "350"),
        ("{{.percent}}% of {{.job.shared}}", "7% of none"),
        ("{{.huge}}", "1234567.89"),
        ('{{printf "%.1f" .mem.avg}}', "12.3"),
        ('{{printf "%d jobs, %5.0f|%-6s|%06.2f|%+d%%" .job.n .mem.max .job.shared .percent .job.n}}',
         "3 jobs,   350|none  |007.00|+3%"),
        ('{{.mem.avg | printf "%.0f"}}', "12"),
        ('{{printf "%v %s" .mem.avg .percent}}', "12.35 7"),
        ("a {{- .percent -}} b", "a7b"),
        ("a{{/* a comment */}}b", "ab"),
        ("{{print .percent `x` 2}}", "7 x 2"),
        ("{{len .job.shared}}{{round .mem.avg}}", "412"),
        ('{{"{{"}}', "{{"),
    ],
)  # fmt: skip
def test_placeholders_are_filled_in(template: str, expected: str) -> None:
    assert parse_hint(template).render(VALUES) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{{",
        "{{}}",
        "{{.}}",
        "{{mem}}",
        "{{.a .b}}",
        "{{if .a}}x{{end}}",
        "{{range .a}}{{end}}",
        '{{template "x"}}',
        "{{.a | }}",
        "{{.a | .b}}",
        "{{$x := 1}}",
        "{{printf}}{{.a",
        "{{call .a}}",
        "x" * 5000,
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error(template: str) -> None:
    with pytest.raises(RuleExpressionError):
        parse_hint(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{.none}}",
        "{{.mem.avg.more}}",
        "{{.job.shared.__class__}}",
        '{{printf "%d" .job.shared}}',
        '{{printf "%x" .percent}}',
        '{{printf "%f"}}',
        '{{printf "%999f" .percent}}',
        '{{printf "%.99f" .percent}}',
        "{{printf}}",
        "{{len .percent}}",
        "{{round .job.shared}}",
    ],
)
def test_what_cannot_be_filled_in_is_an_error(template: str) -> None:
    with pytest.raises(RuleExpressionError):
        parse_hint(template).render(VALUES)


def test_names_are_checked_before_a_job_needs_them() -> None:
    parse_hint("{{.mem.avg}} {{.percent}}").check(KINDS)
    for template, problem in (
        ("{{.mme.avg}}", "'.mme.avg' is not known; did you mean 'mem'?"),
        ("{{.mem.average}}", "'.mem.average' is not known; did you mean 'avg'?"),
        ("{{.mem}}", "'.mem' is not a value; name a member of it"),
        ("{{.percent.avg}}", "'.percent.avg' is not known"),
    ):
        with pytest.raises(RuleExpressionError) as caught:
            parse_hint(template).check(KINDS)
        assert str(caught.value) == problem


def test_a_hint_has_a_limit() -> None:
    assert len(parse_hint("{{.a}}" * 500).render({"a": "x" * 1000})) == MAX_HINT_CHARS


@pytest.mark.parametrize("piece", ["{{", "{{ ", "{{/*", '{{"', "{{.a|", "%", '{{printf "%%'])
def test_no_template_takes_long(piece: str) -> None:
    begin = time.process_time()
    with contextlib.suppress(RuleExpressionError):
        parse_hint((piece * 4096)[:4096])
    assert time.process_time() - begin < 2


@given(st.text(alphabet='{}. -|"`%abprintf0123/*\n', max_size=80))
def test_any_text_is_a_template_or_an_error(template: str) -> None:
    with contextlib.suppress(RuleExpressionError):
        parse_hint(template).render({"a": 1.5, "b": "x"})
