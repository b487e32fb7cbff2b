"""What every long-running process needs: lock files, atomic files, clocks, periodic tasks, health checks."""

__all__ = (
    "atomic_files",
    "float32",
    "health",
    "lockfile",
    "log",
    "periodic",
    "trusted_clock",
)
