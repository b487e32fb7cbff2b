"""What commands do with their standard output at the end."""

from __future__ import annotations

import os
import sys
from typing import Optional


def flush_stdout() -> Optional[OSError]:
    """Why standard output could not be written to the end; None if it could.

    After a failure nothing more goes there: the interpreter would complain of the rest when it exits.
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
