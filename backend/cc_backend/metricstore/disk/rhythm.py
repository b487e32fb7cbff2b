"""When the next snapshot is due; times are of a clock that only goes forth."""


class Rhythm:
    """Due every `interval_s`, and sooner after a time that went wrong."""

    def __init__(self, interval_s: float, now_s: float, *, retry_s: float = 60.0) -> None:
        self._interval_s = interval_s
        self._retry_s = min(retry_s, interval_s)
        self._next_s = now_s + interval_s

    def is_due(self, now_s: float) -> bool:
        """Whether it is time."""
        return now_s >= self._next_s

    def done(self, now_s: float, *, well: bool) -> None:
        """Note that it was tried."""
        self._next_s = now_s + (self._interval_s if well else self._retry_s)
