"""Numbers, times and names as people read them, for pages, mails and the command line."""

__all__ = (
    "format",
    "labels",
)
