"""Sample numbers as JSON text: fixed notation, two decimals, halves away from zero, null for a gap.

Arrays are printed in C where that was built, else by NumPy and Python, with the same result.
"""

import math

import numpy as np
import numpy.typing as npt

from cc_backend.archive.rounding import round2, round2_array

try:
    from cc_backend.archive import _numbers
except ImportError:  # no compiler when this was installed
    _numbers = None  # type: ignore[assignment]

FloatArray = npt.NDArray[np.float64 | np.float32]

NATIVE = _numbers is not None
"""Whether arrays are printed in C."""


def fixed2(value: float) -> str:
    """A number with two decimals, 0.00 if it is not finite."""
    return f"{round2(value):.2f}" if math.isfinite(value) else "0.00"


def json_array(values: FloatArray) -> bytes:
    """The JSON array of a vector, null for what is not finite."""
    return json_array_native(values) if NATIVE else json_array_numpy(values)


def json_array_native(values: FloatArray) -> bytes:
    """As `json_array`, in C; lets other threads run meanwhile if there are many numbers."""
    return _numbers.json_array(values if values.flags.carray else np.require(values, requirements=("C", "A")))


def json_array_numpy(values: FloatArray) -> bytes:
    """As `json_array`, on NumPy alone."""
    if values.size == 0:
        return b"[]"
    with np.errstate(invalid="ignore"):  # signalling NaN
        wide = values.astype(np.float64)
    known = np.isfinite(wide)
    if 2 * np.count_nonzero(known) < values.size:  # mostly gaps, which need no formatting
        texts = np.full(values.size, "null", object)
        texts[known] = ["%.2f" % number for number in round2_array(wide[known]).tolist()]  # noqa: UP031 the fastest
        return f"[{','.join(texts.tolist())}]".encode()
    # `%.2f` alone would take halves to the even neighbour
    finite = np.where(known, wide, np.nan)
    # One format string for the whole array is several times faster than one call for each number.
    text = ",".join(["%.2f"] * values.size) % tuple(round2_array(finite).tolist())
    return f"[{text.replace('nan', 'null')}]".encode()
