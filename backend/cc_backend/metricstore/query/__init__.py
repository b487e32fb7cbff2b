"""Questions and answers: the query protocol, JSON and the compact form, resampling."""

__all__ = (
    "binary_codec",
    "execute",
    "inventory",
    "json_codec",
    "protocol",
    "resample",
    "series_reader",
)
