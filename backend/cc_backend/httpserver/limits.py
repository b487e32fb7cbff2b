"""How much and how long a server bears with a client, and the memory that bodies may take together."""

from dataclasses import dataclass

_KB = 1024
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds in bytes and seconds. Where a rate is given, `grace_s` is what a client may take beside it."""

    connections: int = 16_384
    """Beyond these the connections are closed that have been idle or incomplete longest."""
    handshakes: int = 512
    """Clients that have begun to speak HTTPS and not ended to; beyond these the oldest are closed."""
    head_bytes: int = 16 * _KB
    unknown_caller_body_bytes: int = 8 * _KB
    """Largest body that is taken from a caller who is not known yet: a login form."""
    unknown_callers_memory_bytes: int = 16 * _MB
    body_memory_bytes: int = 128 * _MB
    """Bodies of known callers that are in memory at the same time."""
    responses_memory_bytes: int = 256 * _MB
    """Answers that are not with their clients yet; beyond this who has most of them loses his oldest."""
    head_s: float = 10.0
    idle_s: float = 75.0
    grace_s: float = 15.0
    body_bytes_per_s: float = 32 * _KB
    response_bytes_per_s: float = 16 * _KB
    linger_s: float = 3.0
    """So long an answer may take to be read whose request was not read to its end."""
    linger_bytes: int = 64 * _MB


class MemoryBudget:
    """Bytes that may be held at the same time. For one thread."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = self.left_bytes = total_bytes

    def reserve(self, size_bytes: int) -> bool:
        """Whether there was room; what was taken must be given back."""
        if size_bytes > self.left_bytes:
            return False
        self.left_bytes -= size_bytes
        return True

    def release(self, size_bytes: int) -> None:
        """The bytes are free again."""
        self.left_bytes += size_bytes
