"""Bringing one batch home: splitting what is too large, and halving what is bad until the bad line is alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, List, Optional, Tuple

from cc_common.delivery.outcome import DeliveryOutcome, OutcomeKind

MAX_BISECTED_LINES = 20
"""So many bad lines of one batch are looked for one by one; after that a part that is refused is dropped whole."""


@dataclass
class SendReport:
    """What became of a batch: `rest` is what must be kept (empty: nothing), `outcome` the answer that ended the work.

    `poison` holds the lines that were dropped, each with the reason; `dropped_lines` counts all of them.
    """

    outcome: DeliveryOutcome
    rest: bytes = b""
    rejected: int = 0
    dropped_lines: int = 0
    errors: List[str] = field(default_factory=list)
    unwanted: List[str] = field(default_factory=list)
    rejected_parts: List[Tuple[bytes, str]] = field(default_factory=list)


def send_splitting(
    batch: bytes, send: Callable[[bytes], DeliveryOutcome], *, should_continue: Callable[[], bool] = lambda: True
) -> SendReport:
    """Sends a batch, in parts where needed, until it is done, the peer is away, or `should_continue` says no.

    Parts are cut at line ends and sent in order. Lines are sent again where that cannot be avoided, never lost: only a
    line that the peer refuses by itself is dropped.
    """
    parts = [batch]
    report = SendReport(DeliveryOutcome(OutcomeKind.DELIVERED))
    while parts:
        part = parts.pop()
        outcome = send(part)
        if outcome.kind in (OutcomeKind.RETRY, OutcomeKind.UNAUTHORISED):
            report.outcome, report.rest = outcome, b"".join([part, *reversed(parts)])
            return report
        report.rejected += outcome.rejected
        report.errors += outcome.errors
        report.unwanted += outcome.unwanted
        if outcome.kind in (OutcomeKind.TOO_LARGE, OutcomeKind.BAD_BATCH):
            halves = _split_at_line(part)
            if halves is None or len(report.rejected_parts) >= MAX_BISECTED_LINES:
                report.dropped_lines += len(part.splitlines())
                report.rejected_parts.append((part, outcome.message))
            else:
                parts += reversed(halves)
        if parts and not should_continue():
            report.outcome, report.rest = DeliveryOutcome(OutcomeKind.RETRY, "interrupted"), b"".join(reversed(parts))
            return report
    return report


def _split_at_line(part: bytes) -> Optional[Tuple[bytes, bytes]]:
    """Cut at the line end that is nearest to the middle from the left, else from the right; None for a single line."""
    middle = len(part) // 2
    cut = part.rfind(b"\n", 0, middle) + 1
    if cut == 0:
        cut = part.find(b"\n", middle) + 1
    if cut in (0, len(part)):
        return None
    return part[:cut], part[cut:]
