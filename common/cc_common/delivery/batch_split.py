"""Bringing one batch home: splitting what is too large, and halving what is bad until the bad line is alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, List, Optional, Tuple

from cc_common.delivery.outcome import Kind, Outcome

MAX_POISON_SEARCH = 20
"""So many bad lines of one batch are looked for one by one; after that a part that is refused is dropped whole."""


@dataclass
class Report:
    """What became of a batch: `rest` is what must be kept (empty: nothing), `outcome` the answer that ended the work.

    `poison` holds the lines that were dropped, each with the reason; `dropped_lines` counts all of them.
    """

    outcome: Outcome
    rest: bytes = b""
    rejected: int = 0
    dropped_lines: int = 0
    errors: List[str] = field(default_factory=list)
    unwanted: List[str] = field(default_factory=list)
    poison: List[Tuple[bytes, str]] = field(default_factory=list)


def dispatch(batch: bytes, send: Callable[[bytes], Outcome], *, go_on: Callable[[], bool] = lambda: True) -> Report:
    """Sends a batch, in parts where needed, until it is done, the peer is away, or `go_on` says no.

    Parts are cut at line ends and sent in order. Lines are sent again where that cannot be avoided, never lost: only a
    line that the peer refuses by itself is dropped.
    """
    parts = [batch]
    report = Report(Outcome(Kind.DELIVERED))
    while parts:
        part = parts.pop()
        outcome = send(part)
        if outcome.kind in (Kind.KEEP, Kind.UNAUTHORISED):
            report.outcome, report.rest = outcome, b"".join([part, *reversed(parts)])
            return report
        report.rejected += outcome.rejected
        report.errors += outcome.errors
        report.unwanted += outcome.unwanted
        if outcome.kind in (Kind.TOO_LARGE, Kind.BAD_BATCH):
            halves = _halves(part)
            if halves is None or len(report.poison) >= MAX_POISON_SEARCH:
                report.dropped_lines += len(part.splitlines())
                report.poison.append((part, outcome.message))
            else:
                parts += reversed(halves)
        if parts and not go_on():
            report.outcome, report.rest = Outcome(Kind.KEEP, "interrupted"), b"".join(reversed(parts))
            return report
    return report


def _halves(part: bytes) -> Optional[Tuple[bytes, bytes]]:
    """Cut at the line end that is nearest to the middle from the left, else from the right; None for a single line."""
    middle = len(part) // 2
    cut = part.rfind(b"\n", 0, middle) + 1
    if cut == 0:
        cut = part.find(b"\n", middle) + 1
    if cut in (0, len(part)):
        return None
    return part[:cut], part[cut:]
