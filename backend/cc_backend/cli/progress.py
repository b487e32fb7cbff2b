"""Progress of a long command: a bar on a terminal, else a line now and then."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

_BAR_WIDTH = 30
_REDRAW_S = 0.2
_LINE_EVERY_S = 5.0


class ProgressBar:
    """Shows how many of something are done, on standard error."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        is_terminal: bool | None = None,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty() if is_terminal is None else is_terminal
        self._clock = clock
        self._what = ""
        self._began_s = self._shown_s = 0.0

    def show(self, what: str, done: int, total: int) -> None:
        """Show that so many are done; what follows too soon is left out, the end never."""
        now_s = self._clock()
        if what != self._what:
            self._what, self._began_s, self._shown_s = what, now_s, now_s
        is_end = done >= total
        if not is_end and now_s - self._shown_s < (_REDRAW_S if self._is_terminal else _LINE_EVERY_S):
            return
        self._shown_s = now_s
        passed_s = now_s - self._began_s
        speed = f", {done / passed_s:.0f}/s" if passed_s > 1 else ""
        text = f"{what}: {done} of {total}{speed}"
        if not self._is_terminal:
            self._stream.write(f"{text}\n")
        else:
            filled = _BAR_WIDTH if is_end else _BAR_WIDTH * done // max(1, total)
            bar = "#" * filled + "-" * (_BAR_WIDTH - filled)
            self._stream.write(f"\r[{bar}] {text}\x1b[K" + ("\n" if is_end else ""))
        self._stream.flush()
