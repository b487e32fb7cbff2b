"""The text format of Prometheus, written and read."""

from typing import Any, Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.prometheus_text import (
    MAX_LABELS,
    MAX_LINE_BYTES,
    MAX_SAMPLES,
    ScrapedSample,
    metric_name,
    parse_page,
    series_text,
)


@pytest.mark.parametrize(
    ("name", "labels", "text"),
    [
        ("load", {}, "load"),
        ("load", {"a": ""}, "load"),
        ("mem_bw", {"type-id": "0", "hostname": "n1"}, 'mem_bw{hostname="n1",type_id="0"}'),
        ("1 x-y", {"0": "1"}, '_1_x_y{_0="1"}'),
        ("m", {"a": 'q"b\\c\nd'}, 'm{a="q\\"b\\\\c\\nd"}'),
    ],
)
def test_names_and_labels_are_written_so_that_they_can_be_read(name: str, labels: Dict[str, str], text: str) -> None:
    assert series_text(name, labels) == text


PAGE = b"""
# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

msdos_file_access_time_seconds{path="C:\\\\DIR\\\\FILE.TXT",error="Cannot find file:\\n\\"FILE.TXT\\""} 1.458255915e9
metric_without_timestamp_and_labels 12.47
something_weird{problem="division by zero"} +Inf -3982045
rpc_duration_seconds{quantile="0.01",} 3102
with:colon { a = "x, y} z" , b="" } -1.5e-3
quiet NaN
"""


def test_a_page_is_read_with_blanks_braces_and_escapes_in_labels() -> None:
    samples, bad = parse_page(PAGE)
    assert bad == 0
    assert samples == [
        ScrapedSample("http_requests_total", {"method": "post", "code": "200"}, 1027.0, 1395066363),
        ScrapedSample("http_requests_total", {"method": "post", "code": "400"}, 3.0, 1395066363),
        ScrapedSample(
            "msdos_file_access_time_seconds",
            {"path": "C:\\DIR\\FILE.TXT", "error": 'Cannot find file:\n"FILE.TXT"'},
            1.458255915e9,
            None,
        ),
        ScrapedSample("metric_without_timestamp_and_labels", {}, 12.47, None),
        ScrapedSample("rpc_duration_seconds", {"quantile": "0.01"}, 3102.0, None),
        ScrapedSample("with:colon", {"a": "x, y} z", "b": ""}, -0.0015, None),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"load",
        b"load{",
        b'load{a="x" 1',
        b'load{a="x} 1',
        b"load{a=x} 1",
        b'load{a="x",a="y"} 1',
        b'load{a="x"b="y"} 1',
        b'load{,a="x"} 1',
        b"load 1_000",
        b"load 0x1",
        b"load one",
        b"load 1 2 3",
        b"load 1 2.5",
        b"1load 1",
        b"l\xff 1",
        b'load{a="' + b"x" * MAX_LINE_BYTES + b'"} 1',
        b"load{" + b",".join(b'l%d="x"' % number for number in range(MAX_LABELS + 1)) + b"} 1",
        b"\x00 1",
        "l\u00f6ad 1".encode(),
    ],
)
def test_a_line_that_cannot_be_read_is_counted_and_costs_no_other(line: bytes) -> None:
    samples, bad = parse_page(b"good 1\n" + line + b"\nbetter 2\n")
    assert [sample.name for sample in samples] == ["good", "better"]
    assert bad == 1


@pytest.mark.parametrize("line", [b"load Inf", b"load -inf", b"load nan", b"load 1e999"])
def test_what_is_not_finite_is_left_out_without_a_fault(line: bytes) -> None:
    assert parse_page(line) == ([], 0)


NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]*", fullmatch=True)


@given(
    NAMES,
    st.dictionaries(NAMES, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)),
    st.floats(allow_nan=False, allow_infinity=False),
    st.one_of(st.none(), st.integers(0, 10**11)),
)
def test_what_is_written_is_read_back(name: str, labels: Dict[str, str], value: float, time_s: Any) -> None:
    line = f"{series_text(name, labels)} {value!r}" + ("" if time_s is None else f" {time_s}000")
    assert parse_page(line.encode()) == ([ScrapedSample(name, labels, value, time_s)], 0)


@given(st.text(min_size=1, max_size=20))
def test_every_text_becomes_a_name_that_can_be_read(text: str) -> None:
    (sample,) = parse_page(f"{metric_name(text)} 1".encode())[0]
    assert sample.name == metric_name(text)


@given(st.binary(max_size=300))
def test_no_page_breaks_the_reader(page: bytes) -> None:
    samples, bad = parse_page(page)
    assert len(samples) + bad <= page.count(b"\n") + 1


def test_a_page_of_more_samples_than_can_be_kept_is_cut() -> None:
    samples, bad = parse_page(b"a 1\n" * (MAX_SAMPLES + 5))
    assert (len(samples), bad) == (MAX_SAMPLES, 1)
