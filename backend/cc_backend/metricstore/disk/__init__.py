"""The store's folder: write-ahead log, snapshots, and how both come back after a start."""

__all__ = (
    "store_disk",
    "uptime_log",
    "wal",
)
