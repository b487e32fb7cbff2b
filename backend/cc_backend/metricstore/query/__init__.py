"""Queries: reading series, the query protocol with its JSON and binary forms, resampling."""

__all__ = (
    "binary_codec",
    "execute",
    "inventory",
    "json_codec",
    "protocol",
    "resample",
    "series_reader",
)
