"""Exponential back-off with full jitter; the time is an argument."""

from __future__ import annotations

import random
from typing import Optional


class Backoff:
    """Tells when the next try is due.

    After the n-th failure in a row the pause is drawn evenly between 0 and min(max, first * 2^(n-1)) ("full jitter"),
    so that many senders do not retry at the same moment; a pause that the peer asked for is added to it.
    """

    def __init__(self, source: random.Random, *, first_s: float = 1.0, max_s: float = 300.0) -> None:
        self._random = source
        self._first_s = first_s
        self._max_s = max_s
        self.failures = 0
        self._due_s: Optional[float] = None

    def record_failure(self, now_s: float, *, retry_after_s: Optional[float] = None) -> float:
        """Record a failure; the seconds until the next try."""
        ceiling_s = self._first_s
        for _ in range(self.failures):
            ceiling_s *= 2
            if ceiling_s >= self._max_s:
                break
        self.failures += 1
        pause_s = self._random.uniform(0.0, min(self._max_s, ceiling_s)) + (retry_after_s or 0.0)
        self._due_s = now_s + pause_s
        return pause_s

    def record_success(self) -> None:
        """Record a success: the next try is due at once."""
        self.failures = 0
        self._due_s = None

    def retry_now(self) -> None:
        """Make the next try due at once, without resetting the count of failures."""
        self._due_s = None

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next try is due; 0 if it is due."""
        return 0.0 if self._due_s is None else max(0.0, self._due_s - now_s)
