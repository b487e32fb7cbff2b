"""The job database, SQLite or PostgreSQL: how it is opened, written to and watched; the only package that connects."""

__all__ = (
    "database",
    "database_backup",
    "database_file",
    "fields",
    "opening",
    "postgres_database",
    "postgres_watch",
    "removed_ids",
    "sqlite_database",
    "sqlite_watch",
)
