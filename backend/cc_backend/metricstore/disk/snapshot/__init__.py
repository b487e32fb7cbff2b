"""Snapshot files: one for each timestep and window."""
