"""The job archive: the stored data of finished jobs, and how it is computed, written and read."""

__all__ = (
    "archived_scopes",
    "data_json",
    "file_archive",
    "folders",
    "measured_metrics",
    "meta_json",
    "statistics",
)
