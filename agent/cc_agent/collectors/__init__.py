"""One module for each source of samples; `registry` knows them all."""

__all__ = (
    "base",
    "commands",
    "memstat",
    "registry",
)
