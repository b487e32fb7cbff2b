"""Largest triangle, three buckets: which samples of each row stand for its buckets.

In C where that was built, else on NumPy alone, with the same result. Of each bucket the sample is picked that spans the
largest triangle with the one picked before and the mean of the following bucket. Where an area is NaN, the last such
sample is picked.

Source: S. Steinarsson, Downsampling Time Series for Visual Representation, 2013; limits as in ClusterCockpit.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

try:
    from cc_backend.metricstore import _resample
except ImportError:  # no compiler when this was installed
    _resample = None  # type: ignore[assignment]

Array = npt.NDArray[np.floating[Any]]
Edges = npt.NDArray[np.int64]

NATIVE = _resample is not None
"""Whether rows of 32-bit floats are done in C."""


def bucket_edges(length: int, number: int) -> Edges:
    """Begins of the buckets between the first and the last sample; the two last edges end the last two buckets."""
    width = (length - 2) / (number - 2)
    edges = (np.arange(number) * width).astype(np.int64) + 1
    edges[2:] = np.minimum(edges[2:], length - 2)
    return np.maximum.accumulate(edges)


def pick_samples(rows: Array, edges: Edges) -> Array:
    """Of each row the first sample, one of each bucket and the last: as many as there are edges, at least three."""
    native = NATIVE and rows.dtype == np.float32
    return pick_samples_native(rows, edges) if native else pick_samples_numpy(rows, edges)


def pick_samples_native(rows: Array, edges: Edges) -> Array:
    """As `pick_samples`, in C, of 32-bit floats; lets other threads run meanwhile if there are many samples."""
    out = np.empty((len(rows), len(edges)), np.float32)
    if len(rows):
        _resample.lttb(np.require(rows, np.float32, ("C", "A")), len(rows), edges, out)
    return out


def pick_samples_numpy(rows: Array, edges: Edges) -> Array:
    """As `pick_samples`, on NumPy alone; all rows of a bucket at once."""
    wide = np.asarray(rows, np.float64)
    picked = np.zeros((len(rows), len(edges)), np.int64)
    picked[:, -1] = rows.shape[1] - 1
    # In a bucket without samples all areas are NaN. These are skipped, so a long empty range costs nothing.
    picked[:, 1:-1] = edges[1:-1] - 1
    present = ~np.isnan(wide[:, : edges[-2]]).all(axis=0)
    with np.errstate(invalid="ignore"):  # of infinities
        for bucket in np.flatnonzero(np.logical_or.reduceat(present, edges[:-2])).tolist():
            low, middle, high = edges[bucket : bucket + 3].tolist()
            picked[:, bucket + 1] = _pick(wide, picked[:, bucket], low, middle, high)
    result: Array = np.take_along_axis(rows, picked, -1)
    return result


def _pick(rows: npt.NDArray[np.float64], before: npt.NDArray[np.int64], low: int, middle: int, high: int) -> Any:
    """Position of the sample in [low, middle) that is picked in each row; the mean is of [middle, high]."""
    before_y = np.take_along_axis(rows, before[:, None], -1)
    centre_x = (middle + high) / 2
    # A running sum adds up in a fixed order, that of the native part; `mean` does it in another one.
    centre_y = np.cumsum(rows[:, middle : high + 1], axis=-1)[:, -1:] / (high - middle + 1)
    bucket = rows[:, low:middle]
    x = np.arange(low, middle)
    before_x = before[:, None]
    area = np.abs((before_x - centre_x) * (bucket - before_y) - (before_x - x) * (centre_y - before_y))
    missing = np.isnan(area)
    last_missing = area.shape[1] - 1 - np.argmax(missing[:, ::-1], axis=-1)
    largest = np.argmax(np.where(missing, -1.0, area), axis=-1)
    return low + np.where(missing.any(axis=-1), last_missing, largest)
