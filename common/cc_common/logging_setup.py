"""Logging to standard error: with priorities for journald, with the time otherwise."""

from __future__ import annotations

import logging
import sys
from typing import Mapping

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))
_LIBRARIES_WITH_REQUEST_LOGS = ("httpx", "httpcore", "werkzeug")
"""They log a line for each request, which adds nothing to our own lines."""


class JournalFormatter(logging.Formatter):
    """Prefixes each line with its priority for sd-daemon(3); journald adds the time."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, each line of it with the priority."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).split("\n"))


def set_up_logging(level: str, environment: Mapping[str, str], *, with_names: bool = False) -> None:
    """Log to standard error from this level on, with the names of loggers if wanted.

    JOURNAL_STREAM in the environment, which systemd sets, selects the format for journald.
    """
    handler = logging.StreamHandler(sys.stderr)
    message = "%(name)s: %(message)s" if with_names else "%(message)s"
    if environment.get("JOURNAL_STREAM"):
        handler.setFormatter(JournalFormatter(message))
    else:
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {message}"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for library in _LIBRARIES_WITH_REQUEST_LOGS:
        logging.getLogger(library).setLevel(logging.WARNING)
