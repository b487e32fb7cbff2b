"""Snapshot files: one for each timestep and window."""

__all__ = (
    "chunk_keys",
    "snapshot_folder",
    "snapshot_format",
    "snapshot_writer",
    "window_file",
)
