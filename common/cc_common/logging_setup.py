"""Logging to standard error: with priorities for journald, with the time otherwise."""

from __future__ import annotations

import logging
import sys
from typing import Mapping

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))


class JournalFormatter(logging.Formatter):
    """Prefixes each line with its priority for sd-daemon(3); journald adds the time."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, each line of it with the priority."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).split("\n"))


def set_up_logging(level: str, environment: Mapping[str, str]) -> None:
    """Log to standard error from this level on."""
    handler = logging.StreamHandler(sys.stderr)
    if environment.get("JOURNAL_STREAM"):
        handler.setFormatter(JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request says nothing new
    logging.getLogger("httpcore").setLevel(logging.WARNING)
