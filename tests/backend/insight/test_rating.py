import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.clusters import MetricConfig
from cc_backend.insight.rating import Thresholds, worst_level
from cc_backend.model import Level, MetricUnit, Scope
from cc_backend.web.figures.gauges import draw_gauge, gauge_position, gauge_zones

HIGHER = Thresholds(peak=100, normal=80, caution=40, alert=10)
LOWER = Thresholds(peak=100, normal=50, caution=70, alert=90, lower_is_better=True)


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (0, Level.ALERT),
        (10, Level.ALERT),
        (10.1, Level.CAUTION),
        (40, Level.CAUTION),
        (40.1, Level.OK),
        (80, Level.OK),
        (80.1, Level.HIGH),
        (100, Level.HIGH),
        (103, Level.ARTEFACT),
        (-1, Level.ARTEFACT),
    ],
)
def test_an_edge_belongs_to_the_zone_below_it_where_higher_is_better(value: float, level: Level) -> None:
    assert HIGHER.level_of(value) is level


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (0, Level.OK),
        (69.9, Level.OK),
        (70, Level.CAUTION),
        (89.9, Level.CAUTION),
        (90, Level.ALERT),
        (100, Level.ALERT),
        (110, Level.ARTEFACT),
    ],
)
def test_an_edge_belongs_to_the_zone_above_it_where_lower_is_better(value: float, level: Level) -> None:
    assert LOWER.level_of(value) is level


@pytest.mark.parametrize(
    ("value", "level"), [(8, Level.OK), (8.5, Level.OK), (9, Level.CAUTION), (300, Level.CAUTION), (-1, Level.ARTEFACT)]
)
def test_more_can_wait_for_a_processor_than_it_can_run(value: float, level: Level) -> None:
    config = MetricConfig(
        name="cpu_load", unit=MetricUnit(""), scope=Scope.NODE, timestep_s=60, peak=8, normal=8, caution=4, alert=2
    )
    assert Thresholds.from_config(config).level_of(value) is level
    assert Thresholds.from_config(config).scaled(1).can_exceed_peak
    assert Thresholds.from_config(config).zone_level(value) is (level if level is not Level.CAUTION else None)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_nothing_is_said_of_a_value_that_is_none(value: float | None) -> None:
    assert HIGHER.level_of(value) is None


@pytest.mark.parametrize(
    "scale",
    [
        Thresholds(100, 80, 0, 0),
        Thresholds(0, 0, 0, 0),
        Thresholds(100, 80, 90, 10),
        Thresholds(100, 80, 40, 10, lower_is_better=True),
    ],
)
def test_thresholds_out_of_order_do_not_judge(scale: Thresholds) -> None:
    assert scale.level_of(50) is None
    assert scale.zones == []
    assert gauge_zones(scale) == []
    assert "<svg" in draw_gauge(scale, 50)


def test_full_use_is_not_high_where_normal_is_the_peak() -> None:
    assert Thresholds(96, 96, 60, 30).level_of(96.5) is Level.OK


def test_a_metric_with_its_alert_above_its_caution_is_lower_is_better() -> None:
    config = MetricConfig(
        name="mem_used",
        unit=MetricUnit("B", "G"),
        scope=Scope.NODE,
        timestep_s=60,
        peak=256,
        normal=128,
        caution=200,
        alert=240,
    )
    assert Thresholds.from_config(config).level_of(210) is Level.CAUTION


def test_a_scale_in_another_unit_judges_alike() -> None:
    assert HIGHER.scaled(1000).level_of(40_100) is HIGHER.level_of(40.1)


def test_worst_comes_first() -> None:
    assert worst_level([Level.OK, Level.CAUTION, Level.ALERT, Level.HIGH]) is Level.ALERT
    assert worst_level([]) is Level.OK


@pytest.mark.parametrize(("value", "place"), [(0, 0), (10, 20), (40, 40), (80, 75), (100, 100), (60, 57.5), (500, 100)])
def test_gauge_edges_stand_at_fixed_places(value: float, place: float) -> None:
    assert gauge_position(HIGHER, value) == pytest.approx(place)


@pytest.mark.parametrize(("value", "place"), [(70, 60), (90, 80), (35, 30)])
def test_gauge_edges_stand_at_fixed_places_where_lower_is_better(value: float, place: float) -> None:
    assert gauge_position(LOWER, value) == pytest.approx(place)


thresholds = st.lists(st.floats(0.001, 1e6), min_size=4, max_size=4).map(sorted)


@given(thresholds, st.floats(0, 1e6), st.floats(0, 1e6), st.booleans())
def test_a_higher_value_never_stands_further_left(edges: list[float], a: float, b: float, lower: bool) -> None:  # noqa: FBT001 - from Hypothesis
    low, mid, high, peak = edges
    scale = Thresholds(peak, low, mid, high, lower_is_better=True) if lower else Thresholds(peak, high, mid, low)
    first, second = sorted((a, b))
    assert gauge_position(scale, first) <= gauge_position(scale, second) + 1e-9


@given(thresholds, st.floats(0, 1e6))
def test_every_value_up_to_the_peak_has_a_level(edges: list[float], value: float) -> None:
    alert, caution, normal, peak = edges
    level = Thresholds(peak, normal, caution, alert).level_of(value)
    assert level is not None
    assert (level is Level.ARTEFACT) == (value > peak * 1.02)
