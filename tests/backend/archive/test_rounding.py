import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.archive.rounding import round2, round2_array, to_float32


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (0.0, 0.0),
        (0.005, 0.01),
        (-0.005, -0.01),
        (0.125, 0.13),
        (-0.125, -0.13),
        (2.5, 2.5),
        (1.005, 1.0),
        (0.004999999999999999, 0.0),
        (-0.001, 0.0),
        (1e10, 1e10),
        (1e300, 1e300),
        (123456789012.345, 123456789012.35),
    ],
)
def test_halves_go_away_from_zero(value: float, rounded: float) -> None:
    assert round2(value) == rounded
    assert math.copysign(1, round2(value)) == math.copysign(1, rounded)


def test_what_is_not_finite_stays_when_rounded() -> None:
    assert math.isnan(round2(math.nan))
    assert round2(-math.inf) == -math.inf


@given(st.one_of(st.floats(), st.integers(-(10**9), 10**9).map(lambda thousandths: thousandths / 1000)))
def test_one_number_is_rounded_as_in_an_array(value: float) -> None:
    alone, within = round2(value), float(round2_array(np.array([value]))[0])
    assert np.array([alone]).view(np.int64)[0] == np.array([within]).view(np.int64)[0] or math.isnan(value)


def test_numbers_that_32_bits_do_not_hold_become_gaps() -> None:
    narrowed = to_float32(np.array([1e39, -math.inf, math.nan, 1.5]))
    assert narrowed.dtype == np.float32
    np.testing.assert_array_equal(narrowed, [math.nan, math.nan, math.nan, 1.5])
