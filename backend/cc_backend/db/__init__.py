"""The job database: how it is opened, written to and watched; the only package that opens a connection."""

__all__ = (
    "database",
    "database_file",
    "database_watch",
    "fields",
)
