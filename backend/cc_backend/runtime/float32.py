"""Shortest decimal form of 32-bit floats, for JSON: samples have no more digits than that."""

import numpy as np


def shortest_float32(value: float) -> float:
    """The number with the fewest digits that is the same 32-bit float: 26.628 for 26.628000259399414.

    A value that no 32-bit float can hold is returned unchanged.
    """
    with np.errstate(over="ignore", under="ignore"):
        narrow = np.float32(value)
    if not np.isfinite(narrow) or (narrow == 0) != (value == 0):
        return value
    return float(str(narrow))
