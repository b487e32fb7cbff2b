"""One hot block of samples: up to `CHUNK_ROWS` series in one window, as they are."""

import numpy as np

from cc_backend.metricstore.blocks.codec import Codec, choose
from cc_backend.metricstore.blocks.file_slice import FilePart
from cc_backend.metricstore.blocks.matrix import Index, Summary, Target, index_of, summarise
from cc_backend.metricstore.blocks.mmap_arrays import blank
from cc_backend.metricstore.model import Flags, Ids
from cc_backend.model import Samples

WINDOW_SLOTS = 128
CHUNK_ROWS = 1024

__all__ = ["CHUNK_ROWS", "WINDOW_SLOTS", "Beneath", "Block", "Index", "Summary", "summarise"]


class Beneath:
    """Samples of a block that are on disk and could not be read yet; `kept` says which rows of them still count."""

    __slots__ = ("kept", "part")

    def __init__(self, part: FilePart, rows: int) -> None:
        self.part = part
        self.kept: Flags = np.ones(rows, np.bool_)

    def forget(self, rows: Ids) -> None:
        """Tell that some rows belong to no series any more, or to another one."""
        self.kept[rows[rows < len(self.kept)]] = False


class Block:
    """Up to `CHUNK_ROWS` series in one window, one row each, NaN where there is no sample.

    `version` grows with each change of a sample; `saved_version` is the one that is on disk, at `saved_part` if known.
    `beneath` is what the disk did not give when the block became hot; the block's own samples are newer.
    """

    __slots__ = ("_codec", "beneath", "samples", "saved_part", "saved_version", "version")

    def __init__(self, rows: int, codec: Codec | None = None) -> None:
        self.samples = blank(rows, WINDOW_SLOTS)
        self.version = 0
        self.saved_version = 0
        self.saved_part: FilePart | None = None
        self.beneath: Beneath | None = None
        self._codec = codec or choose()

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.samples)

    @property
    def size_bytes(self) -> int:
        """Bytes of samples in memory."""
        return self.samples.nbytes

    def touch(self) -> None:
        """Tell that samples were written to `samples` directly."""
        self.version += 1

    def put(self, rows: Ids, columns: int | Ids, values: Samples) -> None:
        """Store samples; of several for one slot the last one counts."""
        self.samples[rows, columns] = values
        self.version += 1

    def fill(self, rows: Ids, columns: Ids, values: Samples) -> int:
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

    def merge(self, rows: Ids, samples: Samples) -> int:
        """Fill what is empty in rows, which differ, from a matrix; returns how many samples that were."""
        at = index_of(rows)
        own = self.samples[at]
        missing = np.isnan(own) & ~np.isnan(samples)
        count = int(np.count_nonzero(missing))
        if count:
            np.copyto(own, samples, where=missing)
            if not isinstance(at, slice):  # then it is a copy
                self.samples[at] = own
            self.version += 1
        return count

    def blank(self, rows: Ids) -> None:
        """Forget the samples of some rows."""
        rows = rows[rows < len(self.samples)]
        if self.beneath is not None:
            self.beneath.forget(rows)
            self.version += 1
        if not bool(np.isnan(self.samples[rows]).all()):
            self.samples[rows] = np.nan
            self.version += 1

    def grow(self, rows: int) -> None:
        """Make room for more rows; no sample changes."""
        grown = blank(rows, WINDOW_SLOTS)
        grown[: len(self.samples)] = self.samples
        self.samples = grown

    def settle(self, old: Samples | None) -> None:
        """Fill what is empty with the samples from `beneath`, if they were read; then nothing is beneath any more."""
        if old is not None and self.beneath is not None:
            here = self.samples[: len(old)]
            empty = np.isnan(here) & self.beneath.kept[:, np.newaxis]
            here[empty] = old[empty]
        self.beneath = None
        self.version += 1

    def read(self, rows: Ids, columns: slice) -> Samples:
        """A matrix with some rows and columns."""
        return self.samples[index_of(rows), columns]

    def read_into(self, rows: Ids, columns: slice, target: Target) -> None:
        """Copy some rows and columns to a place in a matrix."""
        self._codec.gather(self.samples, rows, columns, target)

    def summary(self, rows: Ids, columns: slice) -> Summary:
        """The summary of some rows over some columns."""
        return self._codec.summarise(self.read(rows, columns))
