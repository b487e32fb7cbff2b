"""The write-ahead log."""

__all__ = (
    "group_commit",
    "wal_format",
    "write_ahead_log",
)
