import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_backend.errors import InvalidInput
from cc_backend.metricstore.query.resample import ALGORITHMS, average, lttb, minmax, resample, simple

NAN = float("nan")
CURVE = np.array([i * i % 17 for i in range(20)], np.float32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lttb", [0, 16, 2, 16, 4]),
        ("average", [3.5, 10.25, 10.75, 9.25, 1.5]),
        ("simple", [0, 16, 13, 8, 1]),
        ("minmax", [0, 16, 2, 16, 4]),
    ],
)
def test_the_curve_of_the_reference_is_resampled_to_its_numbers(name: str, expected: list[float]) -> None:
    values, timestep_s = resample(CURVE, 60, 240, algorithm=name, minimum_points=10)
    assert values.tolist() == expected
    assert timestep_s == 240


def test_lttb_keeps_gaps_visible() -> None:
    curve = CURVE.copy()
    curve[7] = np.nan
    np.testing.assert_array_equal(lttb(curve, 4), np.array([0, 2, NAN, 0, 4], np.float32))


def test_average_leaves_missing_samples_out_and_drops_the_tail() -> None:
    values = np.array([1, NAN, NAN, NAN, 5, 7, 9], np.float32)
    np.testing.assert_array_equal(average(values, 2), np.array([1, NAN, 6], np.float32))


def test_simple_takes_the_first_of_each_whole_block() -> None:
    assert simple(np.arange(7.0), 3).tolist() == [0, 3]


def test_minmax_keeps_every_peak_in_the_order_of_time() -> None:
    values = np.array([5, 9, 1, 5, 2, 2, 8, NAN, NAN, NAN, NAN, NAN], np.float32)
    np.testing.assert_array_equal(minmax(values, 2), np.array([9, 1, 2, 8, NAN, NAN], np.float32))


def test_a_resolution_up_to_the_timestep_changes_nothing() -> None:
    for resolution_s in (0, 30, 60):
        values, timestep_s = resample(CURVE, 60, resolution_s, minimum_points=1)
        assert values is CURVE
        assert timestep_s == 60


def test_short_series_stay_as_they_are() -> None:
    assert resample(CURVE, 60, 240)[0] is CURVE
    assert resample(CURVE, 60, 2400, minimum_points=1)[0] is CURVE
    assert resample(np.arange(999.0), 60, 120)[1] == 60


def test_a_series_of_a_thousand_samples_is_long_enough() -> None:
    values, timestep_s = resample(np.arange(1000.0), 60, 120)
    assert (len(values), timestep_s) == (500, 120)


def test_a_resolution_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not a multiple"):
        resample(CURVE, 60, 90)


def test_an_unknown_algorithm_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(InvalidInput, match="average, lttb, minmax, simple"):
        resample(CURVE, 60, 120, algorithm="magic")


@settings(deadline=None)
@given(
    st.lists(st.floats(width=32, allow_infinity=False), min_size=1, max_size=60),
    st.integers(1, 9),
    st.sampled_from(sorted(ALGORITHMS)),
)
def test_a_matrix_is_resampled_row_by_row_to_the_promised_length(values: list[float], step: int, name: str) -> None:
    row = np.array(values, np.float32)
    with np.errstate(all="ignore"):
        alone = ALGORITHMS[name](row, step)
        together = ALGORITHMS[name](np.stack([row, row]), step)
    assert len(alone) == (len(row) if name == "lttb" and step == 1 else len(row) // step)
    np.testing.assert_array_equal(together, np.stack([alone, alone]))


def one_bucket_after_the_other(values: list[float], step: int) -> list[float]:
    """The rule of the reference in plain steps."""
    length, number = len(values), len(values) // step
    width = (length - 2) / (number - 2)
    picked, low, middle = [0], 1, int(width) + 1
    for bucket in range(number - 2):
        high = max(min(int((bucket + 2) * width) + 1, length - 2), middle)
        following = values[middle : high + 1]
        x, y = (middle + high) / 2, sum(following) / len(following)
        best, largest = low, -1.0
        for at in range(low, middle):
            before = picked[-1]
            area = abs((before - x) * (values[at] - values[before]) - (before - at) * (y - values[before]))
            if math.isnan(area) or area > largest:
                best, largest = at, area
        picked.append(best)
        low, middle = middle, high
    return [values[at] for at in [*picked, length - 1]]


@given(
    st.lists(st.integers(-50, 50) | st.just(NAN) | st.lists(st.just(NAN), min_size=20, max_size=60), min_size=12),
    st.integers(2, 4),
)
def test_lttb_follows_the_rule_also_over_long_gaps(pieces: list[float | list[float]], step: int) -> None:
    curve = [value for piece in pieces for value in (piece if isinstance(piece, list) else [piece])]
    found = lttb(np.array(curve, np.float64), step)
    np.testing.assert_array_equal(found, one_bucket_after_the_other(curve, step))
