"""The outcome of sending a batch, and the protocol of senders."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional, Protocol, Tuple


class OutcomeKind(enum.Enum):
    """What to do with the batch."""

    DELIVERED = "delivered"
    """The peer has it: drop it from the queue."""
    DELIVERED_PARTLY = "delivered partly"
    """The peer has the good lines and named the bad ones: count these and drop it from the queue."""
    RETRY = "keep"
    """The peer could not accept it now: keep it and retry later."""
    UNAUTHORISED = "unauthorised"
    """The peer does not accept the credentials: keep it, retry later, notify the operator."""
    TOO_LARGE = "too large"
    """The peer accepts smaller batches only: split it."""
    BAD_BATCH = "bad batch"
    """A line is invalid and the peer does not say which: bisect the batch until the line is found."""


@dataclass(frozen=True)
class DeliveryOutcome:
    """The outcome of sending one batch.

    `message` says what happened; `rejected` counts lines that the peer rejected, `errors` describes some of them;
    `unwanted` has a text for each kind of lines that the peer discards or will not show, because it does not know their
    names; `retry_after_s` is the pause that the peer asked for; `needs_operator` means that retrying alone cannot help;
    `code` is the error code of the response, one of `ErrorCode` if the peer is this project's backend.
    """

    kind: OutcomeKind
    message: str = ""
    rejected: int = 0
    errors: Tuple[str, ...] = ()
    unwanted: Tuple[str, ...] = ()
    retry_after_s: Optional[float] = None
    needs_operator: bool = False
    code: str = ""


class BatchSender(Protocol):
    """Sends batches to one peer; `send` never raises for errors of the network or the peer."""

    @property
    def peer(self) -> str:
        """The address of the peer for logs, without secrets."""

    def send(self, batch: bytes) -> DeliveryOutcome:
        """The outcome of one try."""

    def close(self) -> None:
        """Close the connections."""
