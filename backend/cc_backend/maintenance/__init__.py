"""Scheduled work: archiving, retention, and what else happens without anybody asking."""

__all__ = (
    "running_footprints",
    "scheduler",
)
