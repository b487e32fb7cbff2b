"""Batches of line protocol: reads them, and finds the series of each line. Knows nothing of where samples are kept."""

__all__ = (
    "batch",
    "decode",
    "host_config",
    "identity",
    "key_cache",
    "key_resolver",
    "native_reader",
    "new_keys",
    "unknown_names",
)
