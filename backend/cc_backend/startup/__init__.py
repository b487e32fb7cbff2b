"""What happens before anything is served: locks on the data, opening the database and the metric store."""

__all__ = (
    "data_locks",
    "database_opening",
    "store_opening",
)
