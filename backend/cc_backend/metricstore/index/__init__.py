"""Which series there are: hosts, layouts, row numbers, and moving series to another timestep."""

__all__ = (
    "bulk_keys",
    "hosts",
    "series_table",
)
