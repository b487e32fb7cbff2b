"""Samples in memory: who has which row, hot and compressed blocks, window by window."""

__all__ = (
    "codec",
    "cold_block",
    "file_slice",
    "grid",
    "hot_block",
    "matrix",
    "scatter",
    "two_phase_read",
    "windows",
)
