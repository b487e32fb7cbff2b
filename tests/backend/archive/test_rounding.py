import math
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.archive.rounding import fixed2, fixed2_array, round2, to_float32


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (3, "3.00"),
        (0.005, "0.00"),  # as a 32-bit float it is a little less than the half
        (-0.005, "0.00"),
        (0.125, "0.13"),
        (-0.125, "-0.13"),
        (0.375, "0.38"),
        (1.2345, "1.23"),
        (16777217.0, "16777216.00"),  # the first whole number that 32 bits cannot hold
        (1e10, "10000000000.00"),
        (-1e-45, "0.00"),
        (3.4028235e38, "340282346638528859811704183484516925440.00"),
        (1e39, "null"),
        (math.nan, "null"),
        (math.inf, "null"),
        (-math.inf, "null"),
    ],
)
def test_samples_are_narrowed_and_printed_with_two_decimals(value: float, text: str) -> None:
    assert fixed2_array(to_float32(np.array([value], dtype=np.float64))) == f"[{text}]"


def test_an_array_is_printed_in_its_order() -> None:
    assert fixed2_array(np.array([1.0, np.nan, -2.555], dtype=np.float64)) == "[1.00,null,-2.56]"


def test_an_empty_array_is_printed_empty() -> None:
    assert fixed2_array(np.zeros(0, dtype=np.float32)) == "[]"


@pytest.mark.parametrize(("value", "text"), [(0.005, "0.01"), (math.nan, "0.00"), (math.inf, "0.00"), (7, "7.00")])
def test_single_numbers_are_printed_without_narrowing(value: float, text: str) -> None:
    assert fixed2(value) == text


@given(st.integers(-(10**9), 10**9))
def test_exact_halves_agree_with_decimal_arithmetic(eighths: int) -> None:
    value = eighths / 8
    exact = Decimal(eighths) / 8
    assert fixed2(value) == str(exact.quantize(Decimal("0.01"), ROUND_HALF_UP)).replace("-0.00", "0.00")


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_what_was_printed_once_is_printed_the_same_after_reading(value: float) -> None:
    text = fixed2_array(np.array([value], dtype=np.float32))
    again = fixed2_array(to_float32(np.array([float(text[1:-1])], dtype=np.float64)))
    assert again == text
