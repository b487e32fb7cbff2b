"""What became of a batch that was sent."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional, Protocol, Tuple


class OutcomeKind(enum.Enum):
    """What the sender has to do with the batch."""

    DELIVERED = "delivered"
    """The peer has it: forget it."""
    DELIVERED_PARTLY = "delivered partly"
    """The peer has the good lines and named the bad ones: count these and forget it."""
    RETRY = "keep"
    """The peer could not take it now: keep it, come back later."""
    UNAUTHORISED = "unauthorised"
    """The peer does not know or trust us: keep it, come back later, tell the operator."""
    TOO_LARGE = "too large"
    """The peer takes smaller batches only: split it."""
    BAD_BATCH = "bad batch"
    """Something in it is wrong and the peer does not say what: halve it until the wrong line is found."""


@dataclass(frozen=True)
class DeliveryOutcome:
    """The answer to one batch.

    `message` says in words what happened; `rejected` counts lines that the peer refused, `errors` names some of them;
    `unwanted` says, a text for each kind, which lines the peer threw away or will not show, because it does not know
    their names; `retry_after_s` is the pause that the peer asked for; `alarm` means that only a person can mend it;
    `code` is the peer's word for programs, one of `ErrorCode` where it is this project's.
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
    """Whatever brings a batch to the peer; `send` never raises for what the network or the peer does."""

    @property
    def peer(self) -> str:
        """The peer's name for logs, without secrets."""

    def send(self, batch: bytes) -> DeliveryOutcome:
        """Tries once."""

    def close(self) -> None:
        """Gives up connections."""
