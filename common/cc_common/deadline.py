"""Calls that may block, such as statvfs on a dead server, with a deadline."""

from __future__ import annotations

import queue
import threading
from typing import Any, Callable, Dict, Optional, Tuple, TypeVar

T = TypeVar("T")


class DeadlineCalls:
    """Runs calls one after the other in a thread, which is abandoned when a call blocks.

    Each call has a key. While a call blocks, further calls with its key are skipped; while `max_blocked` calls block,
    all are, so that threads cannot pile up.
    """

    def __init__(self, name: str, timeout_s: float, *, max_blocked: int) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._max_blocked = max_blocked
        self._blocked: Dict[str, threading.Event] = {}
        self._requests: Optional[queue.SimpleQueue[Optional[_Call]]] = None

    def run(self, key: str, work: Callable[[], T], *, timeout_s: Optional[float] = None) -> Optional[T]:
        """The result of the call; None if it does not return in time. Raises what the call raises."""
        self._blocked = {name: done for name, done in self._blocked.items() if not done.is_set()}
        if key in self._blocked or len(self._blocked) >= self._max_blocked:
            return None
        if self._requests is None:
            self._requests = queue.SimpleQueue()
            threading.Thread(target=_run_calls, args=(self._requests,), name=self._name, daemon=True).start()
        call = _Call(work)
        self._requests.put(call)
        if not call.done.wait(self._timeout_s if timeout_s is None else timeout_s):
            self._blocked[key] = call.done
            self.close()
            return None
        if call.error is not None:
            raise call.error
        result: T = call.result
        return result

    @property
    def blocked(self) -> Tuple[str, ...]:
        """Keys of the calls that have not returned."""
        return tuple(key for key, done in self._blocked.items() if not done.is_set())

    def close(self) -> None:
        """Let the thread end after its current call; the next call starts another."""
        if self._requests is not None:
            self._requests.put(None)
            self._requests = None


class _Call:
    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: Optional[BaseException] = None
        self.done = threading.Event()


def _run_calls(requests: queue.SimpleQueue[Optional[_Call]]) -> None:
    while True:
        call = requests.get()
        if call is None:
            return
        try:
            call.result = call.work()
        except BaseException as error:  # noqa: BLE001 raised again in the calling thread
            call.error = error
        call.done.set()
