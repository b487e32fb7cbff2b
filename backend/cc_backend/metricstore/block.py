"""One block of samples: up to `CHUNK_ROWS` series in one window, and the summary of each row."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cc_backend.metricstore.model import Doubles, Ids
from cc_backend.model import Samples

WINDOW_SLOTS = 64
CHUNK_ROWS = 1024

Index = Ids | slice


class Summary(NamedTuple):
    """Per row: least, highest (NaN without samples), sum and number of samples."""

    min: Samples
    max: Samples
    sum: Doubles
    number: npt.NDArray[np.integer]

    def of(self, rows: Index) -> "Summary":
        """The summary of some of the rows."""
        return Summary(self.min[rows], self.max[rows], self.sum[rows], self.number[rows])


class Block:
    """Up to `CHUNK_ROWS` series in one window, one row each, NaN where there is no sample."""

    __slots__ = ("_summary", "samples")

    def __init__(self, rows: int) -> None:
        self.samples: Samples = np.full((rows, WINDOW_SLOTS), np.nan, np.float32)
        self._summary: Summary | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of samples and summary."""
        summary = 0 if self._summary is None else sum(column.nbytes for column in self._summary)
        return self.samples.nbytes + summary

    def put(self, rows: Ids, columns: int | Ids, values: Samples) -> None:
        """Store samples; of several for one slot the last one counts."""
        self.samples[rows, columns] = values
        self._summary = None

    def blank(self, rows: Ids) -> None:
        """Forget the samples of some rows."""
        rows = rows[rows < len(self.samples)]
        self.samples[rows] = np.nan
        self._summary = None

    def grow(self, rows: int) -> None:
        """Make room for more rows."""
        more = np.full((rows - len(self.samples), WINDOW_SLOTS), np.nan, np.float32)
        self.samples = np.concatenate([self.samples, more])
        self._summary = None

    def summary(self) -> Summary:
        """The summary of each row; kept until the next sample comes."""
        if self._summary is None:
            summary = summarise(self.samples)
            self._summary = summary._replace(number=summary.number.astype(np.uint8))
        return self._summary


def summarise(samples: Samples) -> Summary:
    """The summary of each row of a matrix, missing samples left out."""
    present = ~np.isnan(samples)
    return Summary(
        np.fmin.reduce(samples, axis=1, initial=np.nan),
        np.fmax.reduce(samples, axis=1, initial=np.nan),
        np.sum(samples, axis=1, dtype=np.float64, where=present),
        np.count_nonzero(present, axis=1),
    )
