"""What comes out of a batch of lines on its way into the store."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np

from cc_backend.errors import TooLarge
from cc_backend.metricstore.model import QUIET_REASONS, Float64Array, Int64Array, RejectReason
from cc_backend.model import Samples
from cc_common.error_codes import ErrorCode

MAX_NAMED_ERRORS = 20
"""So many faulty lines of a batch are named."""


MAX_BATCH_LINES = 1_000_000
"""Maximum lines of a batch: one is read while all others wait."""

MAX_SLOW_LINES = 100_000
"""Maximum lines of a batch that are not plain and are read one by one, some 10 microseconds each; also in lines.h."""

_MIN_LINE_BYTES = 2


@dataclass(slots=True)
class Rejections:
    """Lines left out: how many by reason, why the first faulty ones, and where the first of the others stand."""

    counts: dict[RejectReason, int] = field(default_factory=dict)
    first_faulty: list[tuple[int, str]] = field(default_factory=list)
    first_quiet: list[tuple[RejectReason, int]] = field(default_factory=list)

    def add(self, reason: RejectReason, positions: Iterable[int], count: int, text: str = "") -> None:
        """Count lines; of positions only the first few are looked at, so they must ascend."""
        self.counts[reason] = self.counts.get(reason, 0) + count
        first = islice(positions, MAX_NAMED_ERRORS)
        if reason in QUIET_REASONS:
            self.first_quiet.extend((reason, position) for position in first)
        else:
            self.first_faulty.extend((position, text) for position in first)


class DecodedBatch(NamedTuple):
    """Samples of a batch in the order of their lines; one time for all, or one each. `positions` count from 0.

    A value is infinite where single precision cannot hold the number on the line.
    """

    sids: Int64Array
    values: Samples
    times_s: int | Int64Array
    positions: Int64Array

    def select(self, wanted: Int64Array) -> "DecodedBatch":
        """The samples at some indexes."""
        times = self.times_s if isinstance(self.times_s, int) else self.times_s[wanted]
        return DecodedBatch(self.sids[wanted], self.values[wanted], times, self.positions[wanted])


class Accepted(NamedTuple):
    """Samples fit to be stored; `positions` of their lines count from 0."""

    sids: Int64Array
    values: Samples
    times_s: int | Int64Array
    positions: Int64Array

    def select(self, wanted: Int64Array) -> "Accepted":
        """The samples at some indexes."""
        times = self.times_s if isinstance(self.times_s, int) else self.times_s[wanted]
        return Accepted(self.sids[wanted], self.values[wanted], times, self.positions[wanted])


NO_SAMPLES = DecodedBatch(np.empty(0, np.int64), np.empty(0, np.float32), 0, np.empty(0, np.int64))


def check_line_count(batch: bytes) -> None:
    """Returns when a batch has no more lines than it may; raises TooLarge if it has."""
    if len(batch) > _MIN_LINE_BYTES * MAX_BATCH_LINES and batch.count(b"\n") > MAX_BATCH_LINES:
        text = f"the batch has more than {MAX_BATCH_LINES} lines; send it in smaller parts"
        raise TooLarge(text, code=ErrorCode.BODY_TOO_LARGE)


def too_many_slow_lines() -> TooLarge:
    """The error for a batch with more lines that are not plain than it may have."""
    text = f"the batch has more than {MAX_SLOW_LINES} lines that are faulty or written in an unusual way; "
    return TooLarge(text + "send it in smaller parts", code=ErrorCode.BODY_TOO_LARGE)


def to_float32(values: Float64Array) -> Samples:
    """The nearest numbers of single precision; infinite where there is none."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
