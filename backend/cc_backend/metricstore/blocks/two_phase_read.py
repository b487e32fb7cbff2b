"""Samples that are being read, in two steps: what may change is copied under the lock, all else is read without it.

A cold block never changes: who has it can read it whenever he likes, also after another block took its place. So a
question holds the lock only while it finds its blocks and copies from the hot ones. Then it unpacks the cold ones, one
at a time, and reads those that are on disk only: a disk that is slow or hangs holds up nobody else.
"""

from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from cc_backend.metricstore.blocks.cold_block import ColdBlock
from cc_backend.metricstore.blocks.hot_block import HotBlock
from cc_backend.metricstore.blocks.matrix import MatrixTarget, RowSummary
from cc_backend.metricstore.model import BoolArray, Int64Array
from cc_backend.model import Samples

Result = TypeVar("Result", covariant=True)  # noqa: PLC0105 `Result_co` would be an odd name


class BlockSlice(NamedTuple):
    """What is read of one block: its rows and columns, and their place in what is asked for."""

    block: HotBlock | ColdBlock
    positions: Int64Array
    rows: Int64Array
    columns: slice
    target_column: int

    @property
    def slots(self) -> int:
        """How many columns there are."""
        return int(self.columns.stop - self.columns.start)

    def read(self) -> Samples:
        """A matrix with these rows and columns."""
        return self.block.read(self.rows, self.columns)


class Reducer(Protocol[Result]):
    """Something that is put together from pieces, in any order."""

    def add(self, piece: BlockSlice) -> None:
        """Read a piece and add what is in it."""

    def result(self) -> Result:
        """What came together."""


@dataclass(frozen=True, slots=True)
class PendingRead(Generic[Result]):
    """Something of which the hot pieces are read and the cold ones are not yet."""

    reducer: Reducer[Result]
    cold: list[BlockSlice]

    def complete(self) -> Result:
        """All of it, as it was when the reading was begun. Needs no lock; to be called once."""
        for piece in self.cold:
            self.reducer.add(piece)
        return self.reducer.result()


class MatrixReducer:
    """The samples: a row per row asked for, NaN where there is none."""

    def __init__(self, rows: int, slots: int) -> None:
        self._samples: Samples = np.full((rows, slots), np.nan, np.float32)

    def add(self, piece: BlockSlice) -> None:
        """Copy the samples to their places."""
        piece.block.read_into(
            piece.rows, piece.columns, MatrixTarget(self._samples, piece.positions, piece.target_column)
        )

    def result(self) -> Samples:
        """The matrix."""
        return self._samples


class SummaryReducer:
    """The summary of each row."""

    def __init__(self, rows: int) -> None:
        self._min, self._max = (np.full(rows, np.nan, np.float32) for _ in range(2))
        self._total, self._number = np.zeros(rows), np.zeros(rows, np.int64)

    def add(self, piece: BlockSlice) -> None:
        """Add the summary of a piece."""
        found, where = piece.block.summarise(piece.rows, piece.columns), piece.positions
        self._min[where] = np.fmin(self._min[where], found.min)
        self._max[where] = np.fmax(self._max[where], found.max)
        self._total[where] += found.sum
        self._number[where] += found.samples

    def result(self) -> RowSummary:
        """One summary of all rows."""
        return RowSummary(self._min, self._max, self._total, self._number)


class PresenceReducer:
    """In which slots any of many rows has a sample."""

    def __init__(self, slots: int) -> None:
        self._flags: BoolArray = np.zeros(slots, np.bool_)

    def add(self, piece: BlockSlice) -> None:
        """Look at a piece, unless all its slots are known to have samples."""
        known = self._flags[piece.target_column : piece.target_column + piece.slots]
        if not known.all():
            known |= ~np.isnan(piece.read()).all(axis=0)

    def result(self) -> BoolArray:
        """One flag a slot."""
        return self._flags


class SmallPresenceReducer:
    """In which slots any of a few rows has a sample: all their samples are read at once, which is faster."""

    def __init__(self, rows: int, slots: int) -> None:
        self._matrix = MatrixReducer(rows, slots)
        self.add = self._matrix.add

    def result(self) -> BoolArray:
        """One flag a slot."""
        present: BoolArray = np.any(~np.isnan(self._matrix.result()), axis=0)
        return present


class TimeExtent(NamedTuple):
    """From the first slot with a sample to the end of the last one, and how many have one."""

    begin: int
    end: int
    samples: int


class TimeExtentReducer:
    """How far the samples of one row reach; None if there are none."""

    def __init__(self, first_slot: int) -> None:
        self._first_slot = first_slot
        self._found: TimeExtent | None = None

    def add(self, piece: BlockSlice) -> None:
        """Look at a piece."""
        slots = np.flatnonzero(~np.isnan(piece.read()[0])) + (self._first_slot + piece.target_column)
        if len(slots):
            begin, end, samples = self._found or (int(slots[0]), 0, 0)
            self._found = TimeExtent(min(begin, int(slots[0])), max(end, int(slots[-1]) + 1), samples + len(slots))

    def result(self) -> TimeExtent | None:
        """What was found."""
        return self._found
