"""Receivers that ask their source at intervals, in a thread of their own."""

from __future__ import annotations

import logging
import threading
from typing import Callable, Optional

logger = logging.getLogger(__name__)

_JOIN_S = 2.0


class Poller:
    """Calls `poll` every `interval_s` seconds, at once for the first time; a poll that fails costs only itself.

    What `poll` raises is logged when it begins and when it ends.
    """

    def __init__(self, name: str, poll: Callable[[], None], interval_s: float) -> None:
        self.name = name
        self._poll = poll
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._problem = ""

    def start(self) -> None:
        """Start the thread, which is a daemon."""
        self._thread = threading.Thread(target=self._run, name=f"receiver {self.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after the current poll, without waiting for one that takes longer than two seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def poll_once(self) -> bool:
        """Poll now; whether that succeeded."""
        try:
            self._poll()
        except Exception as error:  # noqa: BLE001 whatever is wrong with a source, the next poll may succeed
            problem = f"{type(error).__name__}: {error}"
            if problem != self._problem:
                logger.warning("cannot poll receiver=%s reason=%r", self.name, problem)
            self._problem = problem
            return False
        if self._problem:
            logger.info("polling again receiver=%s", self.name)
            self._problem = ""
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            self.poll_once()
            self._stop.wait(self._interval_s)
