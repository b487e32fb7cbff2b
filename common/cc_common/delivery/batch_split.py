"""Sending one batch: split if it is too large, bisected if it has an invalid line that the peer does not name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, List, Optional, Tuple

from cc_common.delivery.outcome import DeliveryOutcome, OutcomeKind

MAX_BISECTED_LINES = 20
"""Maximum number of invalid lines isolated per batch; after that a rejected part is dropped whole."""


@dataclass
class SendReport:
    """The result of sending a batch: `rest` is what must be kept (empty: nothing), `outcome` the last outcome.

    `rejected_parts` has the parts that were dropped, usually single lines, each with the reason; `dropped_lines` counts
    their lines.
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
    """Send a batch, in parts if needed, until all is sent, the peer is unavailable, or `should_continue` is false.

    Parts are split at line ends and sent in order. A line may be sent twice but is never lost: only a line that the
    peer rejects when it is sent alone is dropped.
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
    """Two parts, split at the last line end before the middle, else the first after it; None for a single line."""
    middle = len(part) // 2
    cut = part.rfind(b"\n", 0, middle) + 1
    if cut == 0:
        cut = part.find(b"\n", middle) + 1
    if cut in (0, len(part)):
        return None
    return part[:cut], part[cut:]
