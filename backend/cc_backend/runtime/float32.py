"""Numbers that come from samples, for JSON: samples are 32-bit floats, and more digits than those have say nothing."""

import numpy as np


def shortest_float32(value: float) -> float:
    """The number with the fewest digits that is the same 32-bit float: 26.628 for 26.628000259399414.

    What no 32-bit float holds stays as it is.
    """
    with np.errstate(over="ignore", under="ignore"):
        narrow = np.float32(value)
    if not np.isfinite(narrow) or (narrow == 0) != (value == 0):
        return value
    return float(str(narrow))
