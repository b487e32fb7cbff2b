"""Samples that are being read, in two steps: what may change is copied under the lock, all else is read without it.

A cold block never changes: who has it can read it whenever he likes, also after another block took its place. So a
question holds the lock only while it finds its blocks and copies from the hot ones. Then it unpacks the cold ones, one
at a time, and reads those that are on disk only: a disk that is slow or hangs holds up nobody else.
"""

from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from cc_backend.metricstore.blocks.cold_block import ColdBlock
from cc_backend.metricstore.blocks.hot_block import Block
from cc_backend.metricstore.blocks.matrix import Summary, Target
from cc_backend.metricstore.model import Flags, Ids
from cc_backend.model import Samples

Result = TypeVar("Result", covariant=True)  # noqa: PLC0105 a result is no `Result_co` to anybody


class Piece(NamedTuple):
    """What is read of one block: its rows and columns, and their place in what is asked for."""

    block: Block | ColdBlock
    where: Ids
    rows: Ids
    columns: slice
    at: int

    @property
    def slots(self) -> int:
        """How many columns there are."""
        return int(self.columns.stop - self.columns.start)

    def samples(self) -> Samples:
        """A matrix with these rows and columns."""
        return self.block.read(self.rows, self.columns)


class Gathering(Protocol[Result]):
    """Something that is put together from pieces, in any order."""

    def take(self, piece: Piece) -> None:
        """Read a piece and add what is in it."""

    def result(self) -> Result:
        """What came together."""


@dataclass(frozen=True, slots=True)
class Reading(Generic[Result]):
    """Something of which the hot pieces are read and the cold ones are not yet."""

    gathering: Gathering[Result]
    cold: list[Piece]

    def finish(self) -> Result:
        """All of it, as it was when the reading was begun. Needs no lock; to be called once."""
        for piece in self.cold:
            self.gathering.take(piece)
        return self.gathering.result()


class Matrix:
    """The samples: a row per row asked for, NaN where there is none."""

    def __init__(self, rows: int, slots: int) -> None:
        self._samples: Samples = np.full((rows, slots), np.nan, np.float32)

    def take(self, piece: Piece) -> None:
        """Copy the samples to their places."""
        piece.block.read_into(piece.rows, piece.columns, Target(self._samples, piece.where, piece.at))

    def result(self) -> Samples:
        """The matrix."""
        return self._samples


class Summaries:
    """The summary of each row."""

    def __init__(self, rows: int) -> None:
        self._least, self._highest = (np.full(rows, np.nan, np.float32) for _ in range(2))
        self._total, self._number = np.zeros(rows), np.zeros(rows, np.int64)

    def take(self, piece: Piece) -> None:
        """Add the summary of a piece."""
        found, where = piece.block.summary(piece.rows, piece.columns), piece.where
        self._least[where] = np.fmin(self._least[where], found.min)
        self._highest[where] = np.fmax(self._highest[where], found.max)
        self._total[where] += found.sum
        self._number[where] += found.number

    def result(self) -> Summary:
        """One summary of all rows."""
        return Summary(self._least, self._highest, self._total, self._number)


class Presence:
    """In which slots any of many rows has a sample."""

    def __init__(self, slots: int) -> None:
        self._flags: Flags = np.zeros(slots, np.bool_)

    def take(self, piece: Piece) -> None:
        """Look at a piece, unless all its slots are known to have samples."""
        known = self._flags[piece.at : piece.at + piece.slots]
        if not known.all():
            known |= ~np.isnan(piece.samples()).all(axis=0)

    def result(self) -> Flags:
        """One flag a slot."""
        return self._flags


class PresenceOfFew:
    """The same of few rows: looking at all their samples at once is faster."""

    def __init__(self, rows: int, slots: int) -> None:
        self._matrix = Matrix(rows, slots)
        self.take = self._matrix.take

    def result(self) -> Flags:
        """One flag a slot."""
        present: Flags = np.any(~np.isnan(self._matrix.result()), axis=0)
        return present


class Extent(NamedTuple):
    """From the first slot with a sample to the end of the last one, and how many have one."""

    begin: int
    end: int
    samples: int


class Reach:
    """How far the samples of one row reach; None if there are none."""

    def __init__(self, first_slot: int) -> None:
        self._first_slot = first_slot
        self._found: Extent | None = None

    def take(self, piece: Piece) -> None:
        """Look at a piece."""
        slots = np.flatnonzero(~np.isnan(piece.samples()[0])) + (self._first_slot + piece.at)
        if len(slots):
            begin, end, samples = self._found or (int(slots[0]), 0, 0)
            self._found = Extent(min(begin, int(slots[0])), max(end, int(slots[-1]) + 1), samples + len(slots))

    def result(self) -> Extent | None:
        """What was found."""
        return self._found
