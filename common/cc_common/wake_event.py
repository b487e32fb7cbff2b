"""Waiting that another thread or a signal handler ends."""

from __future__ import annotations

import contextlib
import os
import select


class WakeEvent:
    """A wait that `set` ends early, and `end` for good.

    It is a pipe, because a threading.Event must not be set in a signal handler: its lock may be held by the thread that
    the handler interrupts.
    """

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.ended = False

    def set(self) -> None:
        """End the current wait, or the next one if there is none; safe in a signal handler."""
        with contextlib.suppress(OSError):  # full: the wait ends anyway; closed: a second signal while the program ends
            os.write(self._write_end, b"\0")

    def end(self) -> None:
        """End the current wait and all that follow; safe in a signal handler."""
        self.ended = True
        self.set()

    def wait(self, seconds: float) -> None:
        """Return after this time, or once it is set; afterwards it is not set."""
        if self.ended:
            return
        readable, _, _ = select.select([self._read_end], [], [], max(seconds, 0.0))
        if readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self._read_end, 4096)

    def close(self) -> None:
        """Release the pipe."""
        descriptors = self._read_end, self._write_end
        self._read_end = self._write_end = -1  # first: a signal handler must not write to what is another file by then
        for descriptor in descriptors:
            os.close(descriptor)
