import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.exposition import Family, Sample, number, render, single

_LINE = re.compile(r'(?P<name>[a-zA-Z_:]\w*)(?:\{(?P<labels>(?:[^"]|"(?:[^"\\]|\\.)*")*)\})? (?P<value>\S+)')
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_UNESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def read(text: bytes) -> list[tuple[str, dict[str, str], float]]:
    """A small reader of the format, for round trips."""
    found = []
    for line in text.decode().split("\n"):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        assert match is not None, line
        labels = {
            name: re.sub(r"\\.", lambda escape: _UNESCAPED[escape[0]], value)
            for name, value in _LABEL.findall(match["labels"] or "")
        }
        found.append((match["name"], labels, float(match["value"])))
    return found


def test_a_family_is_help_then_type_then_its_samples() -> None:
    family = Family("lines_total", "counter", "Lines.", (Sample(3, {"result": "accepted"}), Sample(1)))
    assert render([family]) == (
        b'# HELP lines_total Lines.\n# TYPE lines_total counter\nlines_total{result="accepted"} 3\nlines_total 1\n'
    )


def test_a_summary_carries_its_suffixes() -> None:
    family = Family("wait_seconds", "summary", "Wait.", (Sample(0.5, suffix="_sum"), Sample(2, suffix="_count")))
    assert render([family]).splitlines()[2:] == [b"wait_seconds_sum 0.5", b"wait_seconds_count 2"]


def test_a_family_without_samples_is_left_out() -> None:
    assert render([Family("a", "gauge", "A.", ())]) == b""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-3, "-3"), (2**63, "9223372036854775808"), (0.1, "0.1"), (1e300, "1e+300")],
)
def test_numbers_are_shortest_decimals(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("value", "text"), [(math.nan, "NaN"), (math.inf, "+Inf"), (-math.inf, "-Inf")])
def test_what_is_no_number_has_its_own_spelling(value: float, text: str) -> None:
    assert number(value) == text


def test_quotes_backslashes_and_line_breaks_cannot_end_a_label() -> None:
    text = render([Family("a", "gauge", "A.", (Sample(1, {"path": 'x"} 9\nb\\'}),))])
    assert text.splitlines()[2] == b'a{path="x\\"} 9\\nb\\\\"} 1'


def test_a_line_break_cannot_end_the_help_text() -> None:
    assert render([single("a", "gauge", "one\ntwo", 1)]).splitlines()[0] == rb"# HELP a one\ntwo"


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "a\n", "ä"])
def test_a_name_outside_the_format_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a metric name"):
        render([single(name, "gauge", "A.", 1)])


def test_a_label_name_outside_the_format_is_refused() -> None:
    with pytest.raises(ValueError, match="not a label name"):
        render([Family("a", "gauge", "A.", (Sample(1, {"type-id": "0"}),))])


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="not a kind"):
        render([single("a", "histogramm", "A.", 1)])


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="given twice"):
        render([single("a", "gauge", "A.", 1), single("a", "gauge", "A.", 2)])


@given(
    st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.text(max_size=30), max_size=4),
    st.floats(allow_nan=False),
)
def test_labels_and_values_survive_a_round_trip(labels: dict[str, str], value: float) -> None:
    assert read(render([Family("a", "gauge", "A.", (Sample(value, labels),))])) == [("a", labels, value)]
