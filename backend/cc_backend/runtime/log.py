"""Log lines for journald and for people: one line an event, priority first where systemd reads it."""

import logging
import os
import sys

# the priorities of syslog, as sd-daemon reads them
_PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


class JournalFormatter(logging.Formatter):
    """Prefixes each line with the priority that journald understands."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one text; a traceback is part of its event and keeps its priority."""
        prefix = f"<{_PRIORITIES.get(record.levelno, 5)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def configure_logging(*, level: str = "", journal: bool | None = None) -> None:
    """Log to standard error: with priorities under systemd, with the time otherwise.

    `level` empty means the environment's CC_LOG_LEVEL, or info.
    """
    under_systemd = "JOURNAL_STREAM" in os.environ if journal is None else journal
    handler = logging.StreamHandler(sys.stderr)
    if under_systemd:
        handler.setFormatter(JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel((level or os.environ.get("CC_LOG_LEVEL", "info")).upper())
    for noisy in ("httpx", "werkzeug"):  # httpx tells of each request to another store
        logging.getLogger(noisy).setLevel(logging.WARNING)
