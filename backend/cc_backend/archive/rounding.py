"""Numbers as the archive writes them: fixed notation, two decimals, halves away from zero, null for a gap.

Python's own rounding and its `%.2f` take halves to the even neighbour, other readers and writers of archives do not;
so numbers are rounded here first and only then printed.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Beyond this, a double has no hundredths worth rounding, and v * 100 would lose whole numbers.
_LARGEST_WITH_HUNDREDTHS = 1e12


def round2(value: float) -> float:
    """The value rounded to two decimals, halves away from zero; NaN and infinities as they are."""
    return float(round2_array(np.array([value], dtype=np.float64))[0])


def round2_array(values: Floats) -> Floats:
    """Each value rounded to two decimals, halves away from zero, without negative zero."""
    magnitude = np.abs(values)
    small = magnitude < _LARGEST_WITH_HUNDREDTHS
    scaled = np.where(small, magnitude, 0.0) * 100.0
    # floor(x + 0.5) would lift 0.49999999999999994 to 1; the difference below is exact.
    whole = np.floor(scaled)
    cents = whole + (scaled - whole >= 0.5)  # noqa: PLR2004  the half that is rounded away from zero
    return np.where(small, np.copysign(cents / 100.0, values), values) + 0.0


def fixed2(value: float) -> str:
    """One number with two decimals, 0.00 for what is not finite."""
    return f"{round2(value):.2f}" if np.isfinite(value) else "0.00"


def fixed2_array(values: npt.NDArray[np.float64 | np.float32]) -> str:
    """A JSON array of numbers with two decimals, null for what is not finite."""
    if values.size == 0:
        return "[]"
    wide = values.astype(np.float64)
    known = np.isfinite(wide)
    if 2 * np.count_nonzero(known) < values.size:  # mostly gaps, which need no formatting
        texts = np.full(values.size, "null", object)
        texts[known] = ["%.2f" % number for number in round2_array(wide[known]).tolist()]  # noqa: UP031 the fastest
        return f"[{','.join(texts.tolist())}]"
    finite = np.where(known, wide, np.nan)
    # One format string for the whole array is several times faster than one call for each number.
    text = ",".join(["%.2f"] * values.size) % tuple(round2_array(finite).tolist())
    return f"[{text.replace('nan', 'null')}]"


def to_float32(values: npt.NDArray[np.float64 | np.float32]) -> npt.NDArray[np.float32]:
    """The values as 32-bit floats; what does not fit or is infinite becomes a gap (NaN)."""
    with np.errstate(over="ignore"):
        narrowed = values.astype(np.float32)
    narrowed[np.isinf(narrowed)] = np.nan
    return narrowed
