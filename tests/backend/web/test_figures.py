import re
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.insight.job_curves import MetricCurves
from cc_backend.insight.rating import Thresholds
from cc_backend.model import JobMetric, Level, MetricUnit, SampleSeries, Scope
from cc_backend.web.figures.gauges import Spoke, draw_gauge, draw_polar
from cc_backend.web.figures.heatmap import draw_heatmap
from cc_backend.web.figures.line_plot import draw_line_plot, draw_paper_strip, draw_sparkline
from cc_backend.web.figures.roofline import Roof, RooflinePoint, draw_roofline
from cc_backend.web.figures.svg import Area, axis_steps, digits_for, x_ticks
from cc_backend.web.series_figure import build_series_figure
from cc_backend.web.time_axis import clock_labels, run_time_labels, zone_offsets

SCALE = Thresholds(100, 80, 40, 10)
EAST = timezone(timedelta(hours=5, minutes=30))
NASTY = '"><script>alert(1)</script>&'


def figure_of(*rows: list[float], names: tuple[str, ...] = (), level: Level | None = None) -> str:
    hosts = names or tuple(f"n{i}" for i in range(len(rows)))
    series = [SampleSeries(host, np.array(row, dtype=np.float32)) for host, row in zip(hosts, rows, strict=True)]
    drawn = build_series_figure(
        "cpu_load",
        MetricCurves(JobMetric(MetricUnit(""), 60, series)),
        Scope.NODE,
        unit="",
        thresholds=SCALE,
        level=level,
    )
    return str(draw_line_plot(drawn, run_time_labels(3600), "CPU load of one node."))


def all_figures() -> list[str]:
    nan = float("nan")
    many = [[50.0, 51.0, nan, nan, 50.0]] * 9 + [[2.0, 2.0, nan, nan, 2.0]] * 2
    return [
        figure_of([1, 2, 3]),
        figure_of([50, nan, nan, 60, 61], level=Level.CAUTION),
        figure_of(*many, names=(*(f"n{i}" for i in range(9)), NASTY, "b&c"), level=Level.ALERT),
        figure_of([nan, nan]),
        figure_of([]),
        str(draw_sparkline(np.array([1, 2, nan, nan, 3.0]), level=Level.ALERT, thresholds=SCALE)),
        str(draw_sparkline(np.zeros(3))),
        str(draw_sparkline(None)),
        str(draw_gauge(SCALE, 50, edges=True)),
        str(draw_gauge(SCALE, None)),
        str(draw_gauge(Thresholds(0, 0, 0, 0), 5)),
        str(
            draw_polar(
                [Spoke(NASTY, SCALE, 10, 20), Spoke("Memory used", SCALE, 0, 0), Spoke("c", SCALE, 99, 500)], NASTY
            )
        ),
        str(
            draw_heatmap(
                np.array([[1, nan, 3], [0, 0, 0.0]]),
                ["a", NASTY],
                3,
                run_time_labels(600),
                NASTY,
                outlier_levels={NASTY: Level.ALERT},
            )
        ),
        str(
            draw_roofline(
                [RooflinePoint(1, 100), RooflinePoint(0.0001, 1, late=True), RooflinePoint(1e9, 1e9, is_outlier=True)],
                Roof(480, 6144, 520),
                NASTY,
            )
        ),
        str(draw_paper_strip()),
    ]


@pytest.mark.parametrize("number", range(len(all_figures())))
def test_every_figure_is_well_formed_and_holds_neither_style_nor_script(number: int) -> None:
    figure = all_figures()[number]
    ET.fromstring(figure)  # noqa: S314 - our own text
    assert "style=" not in figure
    assert "<script" not in figure
    assert "nan" not in figure.lower().replace("nano", "")
    assert "inf" not in re.sub(r"[^\w]info", "", figure.lower())


def test_a_curve_breaks_where_values_are_missing() -> None:
    d = Area(10, 100).path([1, 2, float("nan"), 3, 4])
    assert d.count("M") == 2


def test_a_lone_value_between_gaps_is_drawn() -> None:
    nan = float("nan")
    assert Area(10, 100).points([nan, 5, nan]) == "M500 44h0"
    assert Area(10, 100).points([5]) == "M0 44h0"
    assert Area(10, 100).points([1, 2, nan, 3, 4]) == ""
    assert 'class="ln pt"' in figure_of([float("nan"), 35, float("nan")])
    assert 'class="sl pt"' in draw_sparkline(np.array([7.0]))


def test_a_band_breaks_where_values_are_missing() -> None:
    nan = float("nan")
    assert Area(10, 100).ribbon([1, 1, nan, 1, 1], [2, 2, nan, 2, 2]).count("Z") == 2


def test_the_fault_zone_is_filled_only_when_the_metric_is_in_it() -> None:
    assert "zn f-caution" in figure_of([30, 35], level=Level.CAUTION)
    assert "zn" not in figure_of([60, 65], level=Level.OK)


def test_thresholds_name_their_value() -> None:
    assert "caution begins at 40" in figure_of([30, 50])


def test_a_gap_is_hatched() -> None:
    assert 'class="gap"' in figure_of([1, float("nan"), float("nan"), 1, 1])
    assert 'class="gap"' not in figure_of([1, 2, 3])


def test_nothing_measured_keeps_the_size_of_the_figure() -> None:
    assert 'height="172"' in figure_of([float("nan")] * 3)


@given(st.floats(1e-6, 1e12))
def test_axis_steps_are_round_and_few(top: float) -> None:
    ticks = axis_steps(top)
    assert ticks[0] == 0
    assert 2 <= len(ticks) <= 7
    assert ticks[-1] <= top * (1 + 1e-6)
    assert digits_for([0, 0.5, 1]) == 1


def test_short_run_times_are_labelled_in_seconds_throughout() -> None:
    assert [text for _, text in run_time_labels(80)] == [
        "0",
        "10 s",
        "20 s",
        "30 s",
        "40 s",
        "50 s",
        "60 s",
        "70 s",
        "80 s",
    ]


def test_a_node_with_a_finding_is_marked_by_colour_glyph_and_name() -> None:
    series = [SampleSeries(f"n{i}", np.full(10, 0.1 if i == 2 else 15.0, np.float32)) for i in range(4)]
    curve = MetricCurves(JobMetric(MetricUnit(""), 60, series))
    figure = build_series_figure(
        "cpu_load",
        curve,
        Scope.NODE,
        unit="",
        thresholds=SCALE,
        separate_lines=True,
        outlier_levels={"n2": Level.ALERT},
    )
    drawn = draw_line_plot(figure, [], "")
    assert drawn.count('class="ln alert"') == 1
    assert '<svg class="tm" data-v="alert" x="60%"' in drawn
    assert ">n2</text>" in drawn
    plain = draw_line_plot(
        build_series_figure("cpu_load", curve, Scope.NODE, unit="", thresholds=SCALE, separate_lines=True), [], ""
    )
    assert "ln alert" not in plain
    assert ">n2</text>" not in plain


def test_curves_that_end_before_the_axis_end_before_its_labels_do() -> None:
    curve = MetricCurves(JobMetric(MetricUnit(""), 60, [SampleSeries("n1", np.array([1.0, 2.0, 1.0], np.float32))]))
    figure = build_series_figure("cpu_load", curve, Scope.NODE, unit="", thresholds=SCALE)
    drawn = str(draw_line_plot(figure, run_time_labels(240), "", length_s=240))
    (path,) = re.findall(r'class="ln" d="M0 [\d.]+L([\d.]+) [\d.]+L([\d.]+) [\d.]+"', drawn)
    assert path == ("250", "500")  # 1 and 2 min of 4
    gap = MetricCurves(
        JobMetric(MetricUnit(""), 60, [SampleSeries("n1", np.array([1.0, np.nan, np.nan, np.nan, 1.0], np.float32))])
    )
    figure = build_series_figure("cpu_load", gap, Scope.NODE, unit="", thresholds=SCALE)
    drawn = str(draw_line_plot(figure, run_time_labels(480), "", length_s=480))
    assert '<rect class="gap" x="0%" width="50%"' in drawn


def test_a_gauge_of_what_does_not_judge_has_no_zone_that_stands_out() -> None:
    assert '<rect class="f-caution" ' in draw_gauge(SCALE, 20)
    assert '<rect class="f-caution" ' not in draw_gauge(SCALE, 20, judges=False)


def test_what_no_node_has_sent_yet_is_no_hole_of_the_heat_map() -> None:
    nan = float("nan")
    drawn = draw_heatmap(np.array([[1.0, nan, 1.0, nan], [1.0, 1.0, nan, nan]]), ["a", "b"], 1, [], "")
    assert re.findall(r'<rect class="gap" x="([\d.]+)%" width="([\d.]+)%"', drawn) == [("25", "25"), ("50", "25")]


@given(st.integers(1, 5_000_000))
def test_run_time_labels_stay_on_the_axis_and_are_few(length: int) -> None:
    labels = run_time_labels(length)
    assert 1 <= len(labels) <= 9
    assert all(0 <= per_cent <= 100 for per_cent, _ in labels)
    assert len({text for _, text in labels}) == len(labels)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Chatham"])
def test_an_hour_that_comes_twice_is_labelled_twice(zone: str) -> None:
    where = ZoneInfo(zone)
    changes = zone_offsets(datetime(2026, 1, 1, tzinfo=where).timestamp(), 360 * 86400, where)
    change_s = next(since for (_, before), (since, after) in pairwise(changes) if after < before)
    for start_s in (change_s, change_s - 600):  # wholly or nearly in what comes again
        labels = clock_labels(start_s, 3600, where)
        assert len(labels) >= 6
        assert [x for x, _ in labels] == sorted(x for x, _ in labels)
        for x, text in labels:
            assert f"{datetime.fromtimestamp(round(start_s + 36 * x), where):%H:%M}" == text


def test_clock_labels_stand_at_round_local_times() -> None:
    start_s = datetime(2026, 3, 12, 22, 17, tzinfo=EAST).timestamp()
    assert [text for _, text in clock_labels(start_s, 4 * 3600, EAST)] == [
        "22:30",
        "23:00",
        "23:30",
        "13 Mar",
        "00:30",
        "01:00",
        "01:30",
        "02:00",
    ]


@pytest.mark.parametrize(("width", "hidden"), [(466, ()), (338, ("long",)), (226, ("alt",)), (190, ("alt", "near"))])
def test_labels_of_a_time_axis_do_not_touch_whatever_its_length(width: int, hidden: tuple[str, ...]) -> None:
    """Widths at which a style sheet begins to hide labels; a letter takes 6 pixels."""
    text = re.compile(r'<text(?: class="([\w ]+)")? x="([\d.]+)%" y="115" text-anchor="(\w+)">([^<]*)')
    for length_s in (*range(60, 7300, 60), *range(7200, 400_000, 1800)):
        ends_at = 0.0
        for cls, x, anchor, label in text.findall(x_ticks(run_time_labels(length_s), 100)):
            if set(cls.split()) & set(hidden):
                continue
            begin = float(x) * width / 100 - {"start": 0, "middle": 0.5, "end": 1}[anchor] * 6 * len(label)
            assert begin >= ends_at, (length_s, label)
            ends_at = begin + 6 * len(label)


SANTIAGO = ZoneInfo("America/Santiago")


@pytest.mark.parametrize("hours", [1, 3, 6, 12, 24, 40, 96, 240])
def test_a_day_whose_midnight_is_skipped_is_named_at_its_first_moment(hours: int) -> None:
    start_s = datetime(2026, 9, 5, 23, 20, tzinfo=SANTIAGO).timestamp()
    labels = [(round(start_s + x * hours * 36), text) for x, text in clock_labels(start_s, hours * 3600, SANTIAGO)]
    first_s = int(datetime(2026, 9, 6, 1, 0, tzinfo=SANTIAGO).timestamp())
    assert (first_s, "6 Sep") in labels
    assert len({time_s for time_s, _ in labels}) == len(labels)
    assert "00:30" not in [text for _, text in labels if hours == 1]


def test_a_day_that_is_skipped_as_a_whole_has_no_label() -> None:
    apia = ZoneInfo("Pacific/Apia")
    start_s = datetime(2011, 12, 29, 12, tzinfo=apia).timestamp()
    assert [text for _, text in clock_labels(start_s, 86400, apia)][:6] == [
        "12:00", "15:00", "18:00", "21:00", "31 Dec", "03:00",
    ]  # fmt: skip


def test_an_axis_without_length_has_no_labels() -> None:
    assert run_time_labels(0) == clock_labels(1_760_000_400, 0, EAST) == []


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("days", [1, 2, 3, 5, 10, 30])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
@pytest.mark.parametrize("start", ["2026-10-24T12:00", "2026-03-28T07:13", "2026-11-01T01:30", "2026-04-04T20:00"])
def test_clock_labels_stay_round_when_the_clock_is_put_forward_or_back(days: int, zone: str, start: str) -> None:
    where = ZoneInfo(zone)
    begin_s, length_s = datetime.fromisoformat(start).replace(tzinfo=where).timestamp(), days * 86400
    labels = clock_labels(begin_s, length_s, where)
    named = [text for _, text in labels if ":" not in text]
    assert len(labels) >= 4
    assert len(set(named)) == len(named)
    for per_cent, text in labels:
        then = datetime.fromtimestamp(round(begin_s + per_cent * length_s / 100), where)
        day = (then.hour, then.minute) == (0, 0)
        assert text == (f"{then.day} {then:%b}" if day else f"{then:%H:%M}")


def test_the_offsets_of_a_zone_are_told_from_the_second_on_at_which_they_change() -> None:
    start_s = int(datetime(2026, 10, 24, 12, tzinfo=BERLIN).timestamp())
    change_s = int(datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp())
    assert zone_offsets(start_s, 2 * 86400, BERLIN) == [(start_s, 7200), (change_s, 3600)]
    assert zone_offsets(start_s, 3600, BERLIN) == [(start_s, 7200)]
    assert zone_offsets(start_s, 0, UTC) == [(start_s, 0)]
    assert len(zone_offsets(start_s, 365 * 86400, BERLIN)) == 3
