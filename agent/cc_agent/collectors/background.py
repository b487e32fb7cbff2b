"""Reading of slow sources, such as a BMC or a command, in a thread of their own.

A tick never waits for them: it takes what the last reading found, once.
"""

from __future__ import annotations

import threading
from typing import Callable, Generic, Optional, TypeVar

T = TypeVar("T")


class BackgroundReader(Generic[T]):
    """Runs `read` in a thread each time it is asked to, and hands over its result when there is one.

    One reading runs at a time: a request during a reading is ignored, so that a source that hangs costs one thread.
    """

    def __init__(self, name: str, read: Callable[[], T]) -> None:
        self._name = name
        self._read = read
        self._lock = threading.Lock()
        self._running = False
        self._result: Optional[T] = None
        self._error: Optional[Exception] = None
        self._generation = 0
        self._thread: Optional[threading.Thread] = None

    @property
    def running(self) -> bool:
        """Whether a reading has not returned yet."""
        return self._running

    def start(self) -> bool:
        """Begin a reading; False if the last one has not returned."""
        with self._lock:
            if self._running:
                return False
            self._running = True
            generation = self._generation
        self._thread = threading.Thread(target=self._work, args=(generation,), name=self._name, daemon=True)
        self._thread.start()
        return True

    def wait(self, timeout_s: float) -> bool:
        """Wait for the reading that was begun last; whether it has returned."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self._running

    def take(self) -> Optional[T]:
        """The result of the last reading, given once; None if there is none yet. Raises what the reading raised."""
        with self._lock:
            result, self._result = self._result, None
            error, self._error = self._error, None
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Drop the result of a reading that still runs."""
        with self._lock:
            self._generation += 1
            self._result = self._error = None

    def _work(self, generation: int) -> None:
        result: Optional[T] = None
        failure: Optional[Exception] = None
        try:
            result = self._read()
        except Exception as error:  # noqa: BLE001 raised again by `take`
            failure = error
        with self._lock:
            self._running = False
            if generation == self._generation:
                self._result, self._error = result, failure
