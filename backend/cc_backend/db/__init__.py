"""The job database: how it is opened, written to and watched; the only package that knows the insides of peewee."""

__all__ = (
    "database",
    "database_file",
    "database_watch",
    "fields",
)
