"""Pieces that every long-running process here needs: lock files, atomic files, clocks, periodic work, health."""

__all__ = (
    "atomic_files",
    "float32",
    "health",
    "lockfile",
    "log",
    "periodic",
    "trusted_clock",
)
