"""Nodes that did nothing, and jobs that computed nothing any more: where each rule begins and ends to hold."""

from collections.abc import Sequence

import numpy as np
import pytest

from cc_backend.insight.idle_nodes import find_idle_nodes, find_stall
from cc_backend.insight.job_curves import MetricCurves
from cc_backend.model import JobMetric, MetricUnit, SampleSeries

NAN = float("nan")
PEAK = 16.0


def curves(*rows: Sequence[float], step_s: int = 60) -> MetricCurves:
    return MetricCurves(
        JobMetric(MetricUnit(""), step_s, [SampleSeries(f"n{i}", np.array(row)) for i, row in enumerate(rows)])
    )


def found(*rows: Sequence[float], step_s: int = 60) -> list[tuple[int, int]]:
    return [(node.row, node.first) for node in find_idle_nodes(curves(*rows, step_s=step_s), PEAK)]


def test_one_of_two_nodes_that_never_works_is_idle_from_the_start() -> None:
    assert found([15.6] * 60, [0.06] * 60) == [(1, 0)]


def test_a_node_that_stops_is_idle_from_then_on_with_its_value_and_that_of_the_others() -> None:
    (node,) = find_idle_nodes(curves([15.0] * 60, [15.0] * 20 + [0.5] * 40, [14.0] * 60), PEAK)
    assert (node.row, node.first, node.value, node.others) == (1, 20, 0.5, 14.5)


def test_more_nodes_may_be_idle_than_work() -> None:
    assert [row for row, _ in found([15.0] * 60, *[[0.1] * 60] * 7)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_node_that_does_little_is_not_idle() -> None:
    assert found([15.6] * 60, [0.8] * 60) == []  # a twentieth of the peak
    assert found([15.6] * 60, [0.79] * 60) == [(1, 0)]


def test_a_node_is_held_against_the_busiest_one_too() -> None:
    assert found([4.0] * 60, [0.4] * 60) == []
    assert found([4.0] * 60, [0.39] * 60) == [(1, 0)]


def test_when_nobody_works_nobody_is_idle() -> None:
    assert found([0.7] * 60, [0.01] * 60) == []
    assert found([0.0] * 60, [0.0] * 60) == []


def test_a_rest_shorter_than_five_minutes_at_the_end_is_none() -> None:
    assert found([15.0] * 60, [15.0] * 56 + [0.1] * 4) == []
    assert found([15.0] * 60, [15.0] * 55 + [0.1] * 5) == [(1, 55)]


def test_a_rest_shorter_than_a_twentieth_of_the_job_is_its_tail() -> None:
    assert found([15.0] * 400, [15.0] * 381 + [0.1] * 19) == []
    assert found([15.0] * 400, [15.0] * 380 + [0.1] * 20) == [(1, 380)]


def test_a_short_job_needs_three_samples_and_five_minutes() -> None:
    assert found([15.0] * 2, [0.1] * 2, step_s=600) == []
    assert found([15.0] * 3, [0.1] * 3, step_s=600) == [(1, 0)]
    assert found([15.0] * 59, [0.1] * 59, step_s=5) == []
    assert found([15.0] * 60, [0.1] * 60, step_s=5) == [(1, 0)]


def test_a_rest_after_which_work_goes_on_is_not_told() -> None:
    assert found([15.0] * 60, [15.0] * 20 + [0.1] * 20 + [15.0] * 20) == []


def test_daily_chores_do_not_hide_an_idle_node() -> None:
    rest = [0.05] * 100
    rest[40] = 3.0
    assert found([15.0] * 100, rest) == [(1, 0)]


def test_a_single_quiet_sample_before_does_not_begin_the_stretch() -> None:
    row = [15.0] * 5 + [0.1] + [15.0] * 4 + [0.1] * 200
    assert found([15.0] * 210, row) == [(1, 10)]


def test_gaps_say_nothing() -> None:
    assert found([15.0] * 60, [NAN] * 60) == []
    assert found([15.0] * 60, [0.1] * 20 + [NAN] * 20 + [0.1] * 20) == [(1, 0)]


@pytest.mark.parametrize("rows", [[], [[]], [[1.0] * 10]])
def test_a_single_node_or_none_has_nobody_to_be_held_against(rows: list[list[float]]) -> None:
    assert found(*rows) == []


# Nothing computed any more

FLOPS_PEAK = 1000.0


def stall(*rows: Sequence[float], step_s: int = 60) -> int | None:
    found = find_stall([(curves(*rows, step_s=step_s), FLOPS_PEAK)])
    return None if found is None else found.first


def test_a_job_that_computes_nothing_after_ten_minutes_has_stalled_then() -> None:
    found = find_stall([(curves([210.0] * 10 + [0.6] * 530), FLOPS_PEAK)])
    assert found is not None
    assert (found.first, found.before, found.after) == (10, 210.0, pytest.approx(0.6))


def test_half_an_hour_and_a_tenth_of_the_job_without_work_are_needed() -> None:
    assert stall([210.0] * 100 + [0.1] * 29) is None
    assert stall([210.0] * 100 + [0.1] * 30) == 100
    assert stall([210.0] * 360 + [0.1] * 39) is None
    assert stall([210.0] * 360 + [0.1] * 40) == 360


def test_a_job_that_never_computed_has_not_stalled() -> None:
    assert stall([0.5] * 300) is None
    assert stall([19.0] * 10 + [0.1] * 300) is None  # less than a fiftieth of the peak is no work


def test_a_job_that_becomes_slow_has_not_stalled() -> None:
    assert stall([210.0] * 100 + [10.5] * 100) is None  # a twentieth of what it did
    assert stall([210.0] * 100 + [10.4] * 100) == 100


def test_all_kinds_of_work_have_to_stop() -> None:
    flops, bandwidth = curves([210.0] * 30 + [0.1] * 300), curves([44.0] * 330)
    assert find_stall([(flops, FLOPS_PEAK), (bandwidth, 100.0)]) is None
    idle = curves([44.0] * 40 + [0.1] * 290)
    found = find_stall([(flops, FLOPS_PEAK), (idle, 100.0)])
    assert found is not None
    assert found.first == 40


def test_without_any_measure_of_work_nothing_is_said() -> None:
    assert find_stall([]) is None
    assert stall([NAN] * 300) is None
    assert stall([]) is None
