"""Periodic background work: archiving, retention, clean-up."""

__all__ = (
    "running_footprints",
    "store_tasks",
    "tasks",
)
