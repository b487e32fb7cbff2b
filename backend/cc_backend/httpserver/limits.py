"""Limits in size and time for clients, and the budgets of bodies and responses."""

from collections import Counter
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

_KB = 1024
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits in bytes and seconds. `grace_s` is allowed in addition to the rates."""

    connections: int = 16_384
    """Maximum connections; beyond it the longest idle or incomplete ones are closed."""
    handshakes: int = 512
    """Maximum TLS handshakes in progress; beyond it the oldest are aborted."""
    head_bytes: int = 16 * _KB
    unknown_caller_body_bytes: int = 8 * _KB
    """Maximum body of a caller who is not authenticated: a login form."""
    unknown_callers_memory_bytes: int = 16 * _MB
    body_memory_bytes: int = 128 * _MB
    """Maximum memory of all bodies of known callers."""
    responses_memory_bytes: int = 256 * _MB
    """Maximum memory of all responses that are being sent; beyond it the sender with most loses the oldest."""
    responses_disk_bytes: int = 8 * 1024 * _MB
    """The same for responses in files."""
    head_s: float = 10.0
    idle_s: float = 75.0
    grace_s: float = 15.0
    body_bytes_per_s: float = 32 * _KB
    response_bytes_per_s: float = 16 * _KB
    linger_s: float = 3.0
    """Time for reading a response whose request was not read to its end."""
    linger_bytes: int = 64 * _MB


class MemoryBudget:
    """A budget of bytes that may be reserved at the same time. For one thread."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = self.left_bytes = total_bytes

    def reserve(self, size_bytes: int) -> bool:
        """Reserve bytes; False if there is no room. Reserved bytes must be released."""
        if size_bytes > self.left_bytes:
            return False
        self.left_bytes -= size_bytes
        return True

    def release(self, size_bytes: int) -> None:
        """Release reserved bytes."""
        self.left_bytes += size_bytes


class HasSender(Protocol):
    """What a response is sent to: it is of a sender, and can be aborted."""

    sender: str

    def abort(self) -> None:
        """Close at once."""


Receiver = TypeVar("Receiver", bound=HasSender)


class HeldResponses(Generic[Receiver]):
    """The responses that are being sent, within a limit of bytes. For one thread."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._held: dict[Receiver, int] = {}  # oldest first
        self._held_bytes = 0

    def hold(self, receiver: Receiver, size_bytes: int) -> None:
        """Count a response; beyond the limit, abort the oldest of the sender with most bytes."""
        self._held[receiver] = size_bytes
        self._held_bytes += size_bytes
        while self._held_bytes > self.limit_bytes and len(self._held) > 1:
            of_senders = Counter[str]()
            for waiting, held_bytes in self._held.items():
                of_senders[waiting.sender] += held_bytes
            [(most, _)] = of_senders.most_common(1)
            oldest = next(waiting for waiting in self._held if waiting.sender == most)
            self.release(oldest)
            oldest.abort()

    def release(self, receiver: Receiver) -> None:
        """Stop counting a response."""
        self._held_bytes -= self._held.pop(receiver, 0)
