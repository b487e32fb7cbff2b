import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.telemetry.exposition import (
    MetricFamily,
    MetricSample,
    format_number,
    histogram_samples,
    render,
    single_sample_family,
)


def test_a_family_is_help_then_type_then_its_samples() -> None:
    family = MetricFamily(
        "lines_total", "counter", "Lines.", (MetricSample(3, {"result": "accepted"}), MetricSample(1))
    )
    assert render([family]) == (
        b'# HELP lines_total Lines.\n# TYPE lines_total counter\nlines_total{result="accepted"} 3\nlines_total 1\n'
    )


def test_a_summary_carries_its_suffixes() -> None:
    family = MetricFamily(
        "wait_seconds", "summary", "Wait.", (MetricSample(0.5, suffix="_sum"), MetricSample(2, suffix="_count"))
    )
    assert render([family]).splitlines()[2:] == [b"wait_seconds_sum 0.5", b"wait_seconds_count 2"]


def test_a_family_without_samples_is_left_out() -> None:
    assert render([MetricFamily("a", "gauge", "A.", ())]) == b""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-3, "-3"), (2**63, "9223372036854775808"), (0.1, "0.1"), (1e300, "1e+300")],
)
def test_numbers_are_shortest_decimals(value: float, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(("value", "text"), [(math.nan, "NaN"), (math.inf, "+Inf"), (-math.inf, "-Inf")])
def test_what_is_no_number_has_its_own_spelling(value: float, text: str) -> None:
    assert format_number(value) == text


def test_quotes_backslashes_and_line_breaks_cannot_end_a_label() -> None:
    text = render([MetricFamily("a", "gauge", "A.", (MetricSample(1, {"path": 'x"} 9\nb\\'}),))])
    assert text.splitlines()[2] == b'a{path="x\\"} 9\\nb\\\\"} 1'


def test_a_line_break_cannot_end_the_help_text() -> None:
    assert render([single_sample_family("a", "gauge", "one\ntwo", 1)]).splitlines()[0] == rb"# HELP a one\ntwo"


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "a\n", "ä"])
def test_a_name_outside_the_format_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a metric name"):
        render([single_sample_family(name, "gauge", "A.", 1)])


def test_a_label_name_outside_the_format_is_refused() -> None:
    with pytest.raises(ValueError, match="not a label name"):
        render([MetricFamily("a", "gauge", "A.", (MetricSample(1, {"type-id": "0"}),))])


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="not a kind"):
        render([single_sample_family("a", "histogramm", "A.", 1)])


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="given twice"):
        render([single_sample_family("a", "gauge", "A.", 1), single_sample_family("a", "gauge", "A.", 2)])


@given(
    st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.text(max_size=30), max_size=4),
    st.floats(allow_nan=False),
)
def test_labels_and_values_survive_a_round_trip(read_exposition: Any, labels: dict[str, str], value: float) -> None:
    assert read_exposition(render([MetricFamily("a", "gauge", "A.", (MetricSample(value, labels),))]))["a"].samples == [
        ("", labels, value)
    ]


def test_a_histogram_counts_upwards_and_ends_with_all() -> None:
    samples = histogram_samples((0.5, 1, 5), (2, 0, 3, 1), 12.5, {"kind": "x"})
    assert render([MetricFamily("wait_seconds", "histogram", "Wait.", samples)]).splitlines()[2:] == [
        b'wait_seconds_bucket{kind="x",le="0.5"} 2',
        b'wait_seconds_bucket{kind="x",le="1"} 2',
        b'wait_seconds_bucket{kind="x",le="5"} 5',
        b'wait_seconds_bucket{kind="x",le="+Inf"} 6',
        b'wait_seconds_sum{kind="x"} 12.5',
        b'wait_seconds_count{kind="x"} 6',
    ]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.floats(0, 1e9))
def test_a_strict_reader_takes_any_histogram(read_exposition: Any, counts: list[int], total: float) -> None:
    bounds = [2.0**place for place in range(len(counts) - 1)]
    text = render([MetricFamily("wait_seconds", "histogram", "Wait.", histogram_samples(bounds, counts, total))])
    assert read_exposition(text)["wait_seconds"].value("_count") == sum(counts)


@pytest.mark.parametrize(
    "text",
    [
        "a 1\n",
        "# HELP a A.\na 1\n",
        "# HELP a A.\n# TYPE a gauge\n",
        "# HELP a A.\n# TYPE a gauge\na 1",
        "# HELP a A.\n# TYPE a gauge\na  1\n",
        "# HELP a A.\n# TYPE a gauge\na one\n",
        "# HELP a A.\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a A.\n# TYPE a gauge\nb 1\n",
        "# HELP a A.\n# TYPE a gauge\na_sum 1\n",
        '# HELP a A.\n# TYPE a gauge\na{x="1",} 1\n',
        '# HELP a A.\n# TYPE a gauge\na{x="1",x="2"} 1\n',
        '# HELP a A.\n# TYPE a gauge\na{x="\\t"} 1\n',
        "# HELP a A.\n# TYPE a gauge\na 1\n# HELP a A.\n# TYPE a gauge\na 2\n",
        "# HELP a A.\n# TYPE a counter\na 1\n",
        '# HELP a A.\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n',
        '# HELP a A.\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
        '# HELP a A.\n# TYPE a histogram\na_bucket{le="1"} 1\na_bucket{le="+Inf"} 1\na_sum 1\na_count 2\n',
    ],
)
def test_the_strict_reader_refuses_what_the_format_does_not_allow(read_exposition: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_exposition(text.encode())
