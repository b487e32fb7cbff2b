"""What is done with matrices of samples (a row per series, a column per slot, NaN for none), in NumPy.

`codec` chooses between these and their faster twins in C.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cc_backend.metricstore.model import Float64Array, Int64Array
from cc_backend.model import Samples

RowIndex = Int64Array | slice
Int32Array = npt.NDArray[np.int32]


class RowSummary(NamedTuple):
    """Per row: minimum, maximum (NaN without samples), sum and number of samples."""

    min: Samples
    max: Samples
    sum: Float64Array
    samples: npt.NDArray[np.integer]

    def select(self, rows: RowIndex) -> "RowSummary":
        """The summary of some of the rows."""
        return RowSummary(self.min[rows], self.max[rows], self.sum[rows], self.samples[rows])


class MatrixTarget(NamedTuple):
    """Where samples go: one row of `matrix` for each row that is read, from `column` on."""

    matrix: Samples
    rows: Int64Array
    column: int = 0


def summarise(samples: Samples) -> RowSummary:
    """The summary of each row of a matrix, missing samples left out."""
    present = ~np.isnan(samples)
    with np.errstate(invalid="ignore"):  # infinities of both signs
        total: Float64Array = np.sum(samples, axis=1, dtype=np.float64, where=present)
    return RowSummary(
        np.fmin.reduce(samples, axis=1, initial=np.nan),
        np.fmax.reduce(samples, axis=1, initial=np.nan),
        total,
        np.count_nonzero(present, axis=1).astype(np.int32),
    )


def combine(samples: Samples, *, mean: bool) -> tuple[Samples, Int32Array]:
    """Sum or mean per column over what is there, NaN only where nothing is; and how many there were."""
    present = ~np.isnan(samples)
    count = np.count_nonzero(present, axis=0).astype(np.int32)
    divisor = count if mean else np.ones_like(count)
    with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs; beyond single precision is infinite
        total = np.sum(samples, axis=0, dtype=np.float64, where=present) + 0.0  # never -0
        result = np.divide(total, divisor, out=np.full(total.shape, np.nan), where=count > 0)
        return result.astype(np.float32), count


def gather(samples: Samples, rows: Int64Array, columns: slice, target: MatrixTarget) -> None:
    """Copy some rows and columns of a matrix to a place in another. Raises IndexError for what is not there."""
    check_bounds(rows, columns, target, height=len(samples), width=samples.shape[1])
    end = target.column + columns.stop - columns.start
    target.matrix[as_index(target.rows), target.column : end] = samples[as_index(rows), columns]


def check_bounds(rows: Int64Array, columns: slice, target: MatrixTarget, *, height: int, width: int) -> None:
    """Raise IndexError unless the rows and columns are there and have a place in the target."""
    count = columns.stop - columns.start
    right = len(rows) == len(target.rows) and columns.start >= 0 and count >= 0 and columns.stop <= width
    right = right and target.column >= 0 and target.column + count <= target.matrix.shape[1]
    if right and len(rows):
        right = int(rows.min()) >= 0 and int(rows.max()) < height
        right = right and int(target.rows.min()) >= 0 and int(target.rows.max()) < len(target.matrix)
    if not right:
        raise IndexError("rows or columns are not there")


def as_index(rows: Int64Array) -> RowIndex:
    """A slice for neighbouring ascending rows: copying one is several times faster than gathering."""
    if not len(rows):
        return slice(0, 0)
    if int(rows[-1]) - int(rows[0]) + 1 == len(rows) and (len(rows) == 1 or bool((np.diff(rows) == 1).all())):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
