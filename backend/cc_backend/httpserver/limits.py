"""Limits in size and time for clients, and the memory budget of bodies."""

from dataclasses import dataclass

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
