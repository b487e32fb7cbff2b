"""What comes out of a batch of lines on its way into the store."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np

from cc_backend.metricstore.model import QUIET_REASONS, Doubles, Ids, Reason
from cc_backend.model import Samples

NAMED_ERRORS = 20
"""So many faulty lines of a batch are named."""


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
    """Samples fit to be stored."""

    sids: Ids
    values: Samples
    times_s: int | Ids


NOTHING = Decoded(np.empty(0, np.int64), np.empty(0, np.float32), 0, np.empty(0, np.int64))


def single(values: Doubles) -> Samples:
    """The nearest numbers of single precision; infinite where there is none."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
