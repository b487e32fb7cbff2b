"""What comes out of a batch of lines on its way into the store."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np

from cc_backend.errors import TooLarge
from cc_backend.metricstore.model import QUIET_REASONS, Doubles, Ids, Reason
from cc_backend.model import Samples
from cc_common.error_codes import ErrorCode

NAMED_ERRORS = 20
"""So many faulty lines of a batch are named."""


LINES_PER_BATCH = 1_000_000
"""Maximum lines of a batch: one is read while all others wait."""

SLOW_LINES_PER_BATCH = 100_000
"""Maximum lines of a batch that are not plain and are read one by one, some 10 microseconds each; also in lines.h."""

_LEAST_LINE_BYTES = 2


@dataclass(slots=True)
class Faults:
    """Lines left out: how many by reason, why the first faulty ones, and where the first of the others stand."""

    counts: dict[Reason, int] = field(default_factory=dict)
    named: list[tuple[int, str]] = field(default_factory=list)
    quiet: list[tuple[Reason, int]] = field(default_factory=list)

    def add(self, reason: Reason, positions: Iterable[int], number: int, text: str = "") -> None:
        """Count lines; of positions only the first few are looked at, so they must ascend."""
        self.counts[reason] = self.counts.get(reason, 0) + number
        first = islice(positions, NAMED_ERRORS)
        if reason in QUIET_REASONS:
            self.quiet.extend((reason, position) for position in first)
        else:
            self.named.extend((position, text) for position in first)


class Decoded(NamedTuple):
    """Samples of a batch in the order of their lines; one time for all, or one each. `positions` count from 0.

    A value is infinite where single precision cannot hold the number on the line.
    """

    sids: Ids
    values: Samples
    times_s: int | Ids
    positions: Ids

    def only(self, wanted: Ids) -> "Decoded":
        """The samples at some indexes."""
        times = self.times_s if isinstance(self.times_s, int) else self.times_s[wanted]
        return Decoded(self.sids[wanted], self.values[wanted], times, self.positions[wanted])


class Screened(NamedTuple):
    """Samples fit to be stored; `positions` of their lines count from 0."""

    sids: Ids
    values: Samples
    times_s: int | Ids
    positions: Ids

    def only(self, wanted: Ids) -> "Screened":
        """The samples at some indexes."""
        times = self.times_s if isinstance(self.times_s, int) else self.times_s[wanted]
        return Screened(self.sids[wanted], self.values[wanted], times, self.positions[wanted])


NOTHING = Decoded(np.empty(0, np.int64), np.empty(0, np.float32), 0, np.empty(0, np.int64))


def check_lines(batch: bytes) -> None:
    """Returns when a batch has no more lines than it may; raises TooLarge if it has."""
    if len(batch) > _LEAST_LINE_BYTES * LINES_PER_BATCH and batch.count(b"\n") > LINES_PER_BATCH:
        text = f"the batch has more than {LINES_PER_BATCH} lines; send it in smaller parts"
        raise TooLarge(text, code=ErrorCode.BODY_TOO_LARGE)


def too_slow() -> TooLarge:
    """The error for a batch with more lines that are not plain than it may have."""
    text = f"the batch has more than {SLOW_LINES_PER_BATCH} lines that are faulty or written in an unusual way; "
    return TooLarge(text + "send it in smaller parts", code=ErrorCode.BODY_TOO_LARGE)


def single(values: Doubles) -> Samples:
    """The nearest numbers of single precision; infinite where there is none."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
