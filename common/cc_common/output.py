"""Flushing standard output at the end of a command."""

from __future__ import annotations

import os
import sys
from typing import Optional


def flush_stdout() -> Optional[OSError]:
    """The error that kept standard output from being flushed; None if there was none.

    After a failure standard output leads to /dev/null: the interpreter would report the rest when it exits.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, 1)
        os.close(descriptor)
        return error
    return None
