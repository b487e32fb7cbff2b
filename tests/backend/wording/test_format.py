import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.model import MetricUnit
from cc_backend.wording import format as f

NOON = datetime(2026, 3, 12, 12, 0, tzinfo=UTC).timestamp()
CET = timezone(timedelta(hours=1), "CET")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1248, "1\u202f248"),
        (412000.0, "412\u202f000"),
        (96.0, "96.0"),
        (95.27, "95.3"),
        (4.182, "4.18"),
        (0, "0"),
        (0.0, "0"),
        (-0.001, "0.00"),
        (-12.34, "-12.3"),
        (None, "\N{EN DASH}"),
        (float("nan"), "\N{EN DASH}"),
        (float("inf"), "\N{EN DASH}"),
    ],
)
def test_measured_numbers_have_three_digits_and_thin_spaces(value: float | None, text: str) -> None:
    assert f.format_number(value) == text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("about 39 % of the cores wait.", ["about", "39 %", "of", "the", "cores", "wait."]),
        ("Memory reached 345 of 384 GB on tn0112.", ["Memory", "reached", "345", "of", "384 GB", "on", "tn0112."]),
        ("10.8 of 6\u202f144 GFlop/s.", ["10.8", "of", "6\u202f144 GFlop/s."]),
        ("3 h 31 min after the start", ["3 h 31 min", "after", "the", "start"]),
        ("for 3 d 4 h, 1 min 30 s, 20 kB", ["for", "3 d 4 h,", "1 min 30 s,", "20 kB"]),
        ("2.95 Flop/byte", ["2.95 Flop/byte"]),
        ("1 of 8 GPUs, 23.1 GPU hours", ["1", "of", "8 GPUs,", "23.1 GPU", "hours"]),
        (
            "3 minutes and 20 December, from 10 to 20",
            ["3", "minutes", "and", "20", "December,", "from", "10", "to", "20"],
        ),
        ("", []),
    ],
)
def test_no_line_ends_between_a_number_and_its_unit(text: str, parts: list[str]) -> None:
    assert [part.replace("\u00a0", " ") for part in re.split("[ ]", f.keep_units_together(text)) if part] == parts


@pytest.mark.parametrize(
    ("value", "text"), [(96, "96"), (96.0, "96"), (0.5, "0.5"), (6144.0, "6\u202f144"), (1.25, "1.25")]
)
def test_thresholds_keep_only_digits_that_say_something(value: float, text: str) -> None:
    assert f.format_exact_number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (1320, "22 min"),
        (24060, "6 h 41 min"),
        (43200, "12 h 00 min"),
        (86400, "24 h 00 min"),
        (273600, "3 d 4 h"),
        (-5, "0 s"),
    ],
)
def test_durations_name_their_two_largest_parts(seconds: float, text: str) -> None:
    assert f.format_duration(seconds) == text


def test_a_time_limit_of_whole_hours_has_no_minutes() -> None:
    assert f.format_time_limit(86400) == "24 h"
    assert f.format_time_limit(5400) == "1 h 30 min"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0"), (30, "30 s"), (90, "1.5 min"), (2700, "45 min"), (3600, "1 h"), (3900, "1 h 05"), (5400, "1 h 30")),
        *((82800, "23 h"), (86400, "1 d"), (108000, "1 d 06"), (129600, "1 d 12"), (172800, "2 d")),
    ],
)
def test_axis_labels_are_short(seconds: float, text: str) -> None:
    assert f.format_axis_duration(seconds) == text


def test_a_moment_is_as_short_as_today_allows() -> None:
    assert f.format_moment(NOON - 3600, UTC, now_s=NOON) == "today 11:00"
    assert f.format_moment(NOON - 86400, UTC, now_s=NOON) == "Wed 12:00"
    assert f.format_moment(NOON - 40 * 86400, UTC, now_s=NOON) == "31 Jan, 12:00"
    assert f.format_moment(NOON - 400 * 86400, UTC, now_s=NOON) == "5 Feb 2025, 12:00"
    assert f.format_moment(NOON + 86400, UTC, now_s=NOON) == "13 Mar, 12:00"


def test_a_full_moment_names_its_zone() -> None:
    assert f.format_full_moment(NOON, CET) == "Thu 12 March 2026, 13:00 CET"
    assert f.zone_name(CET, NOON) == "CET"
    assert f.format_iso_utc(NOON) == "2026-03-12T12:00:00Z"


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        (MetricUnit("F/s", "G"), "GFlop/s"),
        (MetricUnit("Flops/s", "G"), "GFlop/s"),
        (MetricUnit("B", "K"), "kB"),
        (MetricUnit(""), ""),
        (MetricUnit("IPC"), ""),
        (MetricUnit("%"), "%"),
        (MetricUnit("Hz", "M"), "MHz"),
    ],
)
def test_units_read_as_people_write_them(unit: MetricUnit, text: str) -> None:
    assert f.format_unit(unit) == text


@pytest.mark.parametrize(
    ("unit", "largest", "factor", "text"),
    [
        (MetricUnit("B/s"), 1.5e9, 1e-6, "MB/s"),
        (MetricUnit("B/s"), 2.5e10, 1e-9, "GB/s"),
        (MetricUnit("B/s", "G"), 0.003, 1e3, "MB/s"),
        (MetricUnit("F/s", "G"), 6144, 1.0, "GFlop/s"),
        (MetricUnit("%"), 1e6, 1.0, "%"),
        (MetricUnit("B/s", "G"), 0.0, 1.0, "GB/s"),
    ],
)
def test_values_move_to_the_prefix_that_keeps_them_readable(
    unit: MetricUnit, largest: float, factor: float, text: str
) -> None:
    assert f.readable_unit(unit, largest) == (pytest.approx(factor), text)


@given(st.floats(1e-6, 1e17), st.sampled_from(["", "k", "M", "G", "T"]))
def test_a_readable_value_means_the_same_amount(largest: float, prefix: str) -> None:
    factor, text = f.readable_unit(MetricUnit("B/s", prefix), largest)
    powers = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
    assert largest * 10 ** powers[prefix] == pytest.approx(largest * factor * 10 ** powers[text.removesuffix("B/s")])


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["a1"], "a1"),
        (["tn0257", "tn0258", "tn0259", "tn0260"], "tn0257 to tn0260"),
        (["tn01", "tn03", "tn04", "tn09"], "tn01, tn03 and 2 more"),
        (["a1", "b2", "c3", "d4"], "a1, b2 and 2 more"),
        (["x", "y", "z", "w"], "x, y and 2 more"),
    ],
)
def test_many_names_become_a_range_or_a_few(names: list[str], text: str) -> None:
    assert f.abbreviate_names(names) == text


def test_one_is_singular() -> None:
    assert f.count_noun(1, "job") == "1 job"
    assert f.count_noun(0, "job") == "0 jobs"
    assert f.count_noun(2, "stretch", "stretches") == "2 stretches"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(90, "1 min 30 s"), (60, "1 min"), (0, "0 s"), (5400, "1 h 30 min"), (0.5, "0.5 s"), (90061, "1 d 1 h 1 min 1 s")],
)
def test_a_step_is_told_exactly(seconds: float, text: str) -> None:
    assert f.format_exact_duration(seconds) == text
