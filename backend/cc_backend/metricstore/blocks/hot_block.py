"""One hot block of samples: up to `CHUNK_ROWS` series in one window, as they are."""

import numpy as np

from cc_backend.metricstore.blocks.codec import Codec, choose_codec
from cc_backend.metricstore.blocks.file_slice import FileSlice
from cc_backend.metricstore.blocks.matrix import MatrixTarget, RowIndex, RowSummary, as_index, summarise
from cc_backend.metricstore.blocks.mmap_arrays import allocate_nan
from cc_backend.metricstore.model import BoolArray, Int64Array
from cc_backend.model import Samples

WINDOW_SLOTS = 128
CHUNK_ROWS = 1024

__all__ = ["CHUNK_ROWS", "WINDOW_SLOTS", "HotBlock", "PendingDiskPart", "RowIndex", "RowSummary", "summarise"]


class PendingDiskPart:
    """Samples of a block that are on disk and could not be read yet; only those of `valid_rows` still count."""

    __slots__ = ("file_slice", "valid_rows")

    def __init__(self, part: FileSlice, rows: int) -> None:
        self.file_slice = part
        self.valid_rows: BoolArray = np.ones(rows, np.bool_)

    def invalidate(self, rows: Int64Array) -> None:
        """Tell that some rows belong to no series any more, or to another one."""
        self.valid_rows[rows[rows < len(self.valid_rows)]] = False


class HotBlock:
    """Up to `CHUNK_ROWS` series in one window, one row each, NaN where there is no sample.

    `version` grows with each change of a sample; `saved_version` is the one that is on disk, at `saved_slice` if known.
    `pending` is what could not be read from disk when the block became hot; the block's own samples are newer.
    """

    __slots__ = ("_codec", "pending", "samples", "saved_slice", "saved_version", "version")

    def __init__(self, rows: int, codec: Codec | None = None) -> None:
        self.samples = allocate_nan(rows, WINDOW_SLOTS)
        self.version = 0
        self.saved_version = 0
        self.saved_slice: FileSlice | None = None
        self.pending: PendingDiskPart | None = None
        self._codec = codec or choose_codec()

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.samples)

    @property
    def size_bytes(self) -> int:
        """Bytes of samples in memory."""
        return self.samples.nbytes

    def mark_changed(self) -> None:
        """Tell that samples were written to `samples` directly."""
        self.version += 1

    def store(self, rows: Int64Array, columns: int | Int64Array, values: Samples) -> None:
        """Store samples; for one slot the last write wins."""
        self.samples[rows, columns] = values
        self.version += 1

    def fill_empty(self, rows: Int64Array, columns: Int64Array, values: Samples) -> int:
        """Store samples where there is none yet, of several for one slot the last; returns how many that were."""
        slots = self.samples.reshape(-1)  # one index for both is faster
        at = rows * WINDOW_SLOTS + columns
        missing = np.isnan(slots[at])
        count = int(np.count_nonzero(missing))
        if count == len(at):
            slots[at] = values
        elif count:
            slots[at[missing]] = values[missing]
        self.version += count > 0
        return count

    def fill_from_matrix(self, rows: Int64Array, samples: Samples) -> int:
        """Fill what is empty in rows, which differ, from a matrix; returns how many samples that were."""
        at = as_index(rows)
        own = self.samples[at]
        missing = np.isnan(own) & ~np.isnan(samples)
        count = int(np.count_nonzero(missing))
        if count:
            np.copyto(own, samples, where=missing)
            if not isinstance(at, slice):  # then it is a copy
                self.samples[at] = own
            self.version += 1
        return count

    def clear_rows(self, rows: Int64Array) -> None:
        """Forget the samples of some rows."""
        rows = rows[rows < len(self.samples)]
        if self.pending is not None:
            self.pending.invalidate(rows)
            self.version += 1
        if not bool(np.isnan(self.samples[rows]).all()):
            self.samples[rows] = np.nan
            self.version += 1

    def grow(self, rows: int) -> None:
        """Make room for more rows; no sample changes."""
        grown = allocate_nan(rows, WINDOW_SLOTS)
        grown[: len(self.samples)] = self.samples
        self.samples = grown

    def merge_pending(self, old: Samples | None) -> None:
        """Fill empty slots with the samples of `pending`, if they were read; nothing is pending after that."""
        if old is not None and self.pending is not None:
            here = self.samples[: len(old)]
            empty = np.isnan(here) & self.pending.valid_rows[:, np.newaxis]
            here[empty] = old[empty]
        self.pending = None
        self.version += 1

    def read(self, rows: Int64Array, columns: slice) -> Samples:
        """A matrix with some rows and columns."""
        return self.samples[as_index(rows), columns]

    def read_into(self, rows: Int64Array, columns: slice, target: MatrixTarget) -> None:
        """Copy some rows and columns to a place in a matrix."""
        self._codec.gather(self.samples, rows, columns, target)

    def summarise(self, rows: Int64Array, columns: slice) -> RowSummary:
        """The summary of some rows over some columns."""
        return self._codec.summarise(self.read(rows, columns))
