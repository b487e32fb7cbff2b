"""Logging of the backend's processes."""

import os

from cc_common.logging_setup import set_up_logging


def configure_logging() -> None:
    """Log to standard error from the level in the environment variable CC_LOG_LEVEL on, info without it."""
    set_up_logging(os.environ.get("CC_LOG_LEVEL") or "info", os.environ, with_names=True)
