"""The job archive: what is kept of a finished job, and how it is computed, written and read."""

__all__ = (
    "archived_scopes",
    "data_json",
    "file_archive",
    "folders",
    "measured_metrics",
    "statistics",
)
