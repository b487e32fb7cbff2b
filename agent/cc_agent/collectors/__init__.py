"""One module for each source of samples; `registry` knows them all."""

__all__ = (
    "agentstat",
    "base",
    "commands",
    "memstat",
    "registry",
)
