"""Rounding of sample numbers in archives: to two decimals, halves away from zero.

Python rounds halves to even, unlike other readers and writers of archives.
"""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Beyond this, a double has no meaningful hundredths, and v * 100 would lose integers.
_LARGEST_WITH_HUNDREDTHS = 1e12
_HALF = 0.5


def round2(value: float) -> float:
    """The value rounded to two decimals, halves away from zero; NaN and infinities are unchanged."""
    magnitude = abs(value)
    if not magnitude < _LARGEST_WITH_HUNDREDTHS:
        return float(value)
    scaled = magnitude * 100.0
    whole = math.floor(scaled)
    cents = whole + (scaled - whole >= _HALF)
    return math.copysign(cents / 100.0, value) + 0.0


def round2_array(values: Floats) -> Floats:
    """Each value rounded as by `round2`."""
    magnitude = np.abs(values)
    small = magnitude < _LARGEST_WITH_HUNDREDTHS
    scaled = np.where(small, magnitude, 0.0) * 100.0
    # floor(x + 0.5) would lift 0.49999999999999994 to 1; the difference below is exact.
    whole = np.floor(scaled)
    cents = whole + (scaled - whole >= _HALF)
    return np.where(small, np.copysign(cents / 100.0, values), values) + 0.0


def to_float32(values: npt.NDArray[np.float64 | np.float32]) -> npt.NDArray[np.float32]:
    """The values as 32-bit floats; values that do not fit and infinities become gaps (NaN)."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrowed = values.astype(np.float32)
    narrowed[np.isinf(narrowed)] = np.nan
    return narrowed
