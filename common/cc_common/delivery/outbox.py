"""A queue of batches to be sent, oldest first: in memory, then on disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from cc_common.delivery.spool import BLOCK_BYTES, Spool

logger = logging.getLogger(__name__)

_LOG_PERIOD_S = 60.0


@dataclass
class _QueuedBatch:
    data: Optional[bytes]
    file_bytes: int = 0  # disk usage of its file; 0 = not on disk

    @property
    def memory_bytes(self) -> int:
        return 0 if self.data is None else len(self.data)


@dataclass(frozen=True)
class Lease:
    """A batch that is being sent, with its number in the outbox."""

    number: int
    batch: bytes


@dataclass(frozen=True)
class QueueStats:
    """Batches and bytes in memory and on disk, and batches dropped since the start."""

    queued: int
    queued_bytes: int
    spooled: int
    spooled_bytes: int
    dropped: int


class Outbox:
    """A queue of batches for one peer, with size limits in memory and on disk.

    Without a directory everything stays in memory. With one, batches go to disk after a failed send (`spill`), when the
    memory limit is reached, and, with `durable`, before `put` returns. Batches that are on disk when the folder is
    opened are sent first. Over a limit the oldest batch is dropped, counted and logged. Thread-safe; one thread at a
    time may `lease`. Raises DeliveryError if the folder cannot be used.
    """

    def __init__(
        self,
        directory: Optional[Path] = None,
        *,
        memory_limit_bytes: int = 16 << 20,
        disk_limit_bytes: int = 1 << 30,
        durable: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory_limit_bytes = memory_limit_bytes
        self._disk_limit_bytes = disk_limit_bytes
        self._durable = durable
        self._clock = clock
        self._lock = threading.Lock()
        self._disk_lock = threading.RLock()  # acquired before _lock, never after it
        self._items: OrderedDict[int, _QueuedBatch] = OrderedDict()
        self._memory_bytes = 0
        self._disk_bytes = 0
        self._in_flight = -1
        self._dropped = 0
        self._logged: dict[str, tuple[float, int]] = {}
        self._spool = None if directory is None else Spool(directory)
        if self._spool is not None:
            for number, size in self._spool.scan().items():
                self._items[number] = _QueuedBatch(None, _disk_usage(size))
                self._disk_bytes += _disk_usage(size)
        self._next = next(reversed(self._items), -1) + 1
        with self._disk_lock:
            self._make_room_on_disk(0)

    def put(self, batch: bytes) -> bool:
        """Append a batch; whether it is stored as promised: on disk if `durable`, else in memory.

        False means that it is in memory only, because it could not be written to disk.
        """
        if not self._durable or self._spool is None:
            self._append(batch)
            self._make_room_in_memory()
            return not self._durable
        with self._disk_lock:
            number = self._append(batch)
            safe = self._to_disk(number)
        self._make_room_in_memory()
        return safe

    def lease(self) -> Optional[Lease]:
        """The oldest batch, which stays in the outbox until `confirm`; None if there is none."""
        while True:
            with self._lock:
                if not self._items:
                    self._in_flight = -1
                    return None
                number, item = next(iter(self._items.items()))
                self._in_flight = number
                data = item.data
            if data is None:
                data = self._spool.read(number) if self._spool is not None else None
            if data is not None:
                return Lease(number, data)
            self._forget(number, dropped="damaged")

    def confirm(self, ticket: Lease) -> None:
        """Remove a batch that was delivered."""
        self._in_flight = -1
        self._forget(ticket.number)

    def requeue(self, ticket: Lease, rest: bytes) -> None:
        """Keep a batch that could not be delivered in its place; `rest` is the part that is still to be sent."""
        with self._disk_lock:
            with self._lock:
                self._in_flight = -1
                item = self._items.get(ticket.number)
                if item is None or rest == ticket.batch:
                    return
                self._memory_bytes += len(rest) - item.memory_bytes
                item.data = rest
            if item.file_bytes:
                self._to_disk(ticket.number)

    def spill(self) -> None:
        """Write everything in memory to disk, until a write fails; does nothing without a folder."""
        if self._spool is None:
            return
        with self._lock:
            numbers = [number for number, item in self._items.items() if item.data is not None]
        for number in numbers:
            if not self._to_disk(number):
                return

    def stats(self) -> QueueStats:
        """The current size of the queue."""
        with self._lock:
            spooled = sum(1 for item in self._items.values() if item.data is None)
            return QueueStats(len(self._items) - spooled, self._memory_bytes, spooled, self._disk_bytes, self._dropped)

    def __len__(self) -> int:
        return len(self._items)

    def close(self) -> None:
        """Write everything to disk that can be, and release the folder."""
        self.spill()
        if self._spool is not None:
            self._spool.close()

    def _append(self, batch: bytes) -> int:
        with self._lock:
            number = self._next
            self._next += 1
            self._items[number] = _QueuedBatch(batch)
            self._memory_bytes += len(batch)
            return number

    def _to_disk(self, number: int) -> bool:
        """Move one batch from memory to disk; False if it cannot be written."""
        with self._disk_lock:
            with self._lock:
                item = self._items.get(number)
                data = None if item is None else item.data
            if self._spool is None or item is None or data is None:
                return True
            if not self._make_room_on_disk(_disk_usage(len(data)) - item.file_bytes):
                return False
            try:
                size = _disk_usage(self._spool.write(number, data))
            except OSError as error:
                self._log(
                    "disk", "spool folder cannot be written reason=%r times=%d: batches stay in memory", error.strerror
                )
                return False
            with self._lock:
                gone = self._items.get(number) is not item
                if not gone:
                    self._disk_bytes += size - item.file_bytes
                    self._memory_bytes -= item.memory_bytes
                    item.file_bytes, item.data = size, None
            if gone:
                self._spool.remove(number)
            return True

    def _make_room_in_memory(self) -> None:
        while True:
            with self._lock:
                if self._memory_bytes <= self._memory_limit_bytes:
                    return
                oldest = self._oldest(lambda item: item.data is not None)
            if oldest is None:
                return
            if self._spool is None or not self._to_disk(oldest):
                self._forget(oldest, dropped="memory is full")

    def _make_room_on_disk(self, needed_bytes: int) -> bool:
        if needed_bytes > self._disk_limit_bytes:
            return False
        while self._disk_bytes + needed_bytes > self._disk_limit_bytes:
            with self._lock:
                oldest = self._oldest(lambda item: item.file_bytes > 0)
            if oldest is None:
                return False
            self._forget(oldest, dropped="disk limit is reached")
        return True

    def _oldest(self, wanted: Callable[[_QueuedBatch], bool]) -> Optional[int]:
        """The number of the oldest batch that fulfils a condition and is not being sent."""
        return next(
            (number for number, item in self._items.items() if number != self._in_flight and wanted(item)), None
        )

    def _forget(self, number: int, *, dropped: str = "") -> None:
        with self._lock:
            item = self._items.pop(number, None)
            if item is None:
                return
            self._memory_bytes -= item.memory_bytes
            self._disk_bytes -= item.file_bytes
            self._dropped += bool(dropped)
        if item.file_bytes and self._spool is not None:
            self._spool.remove(number)
        if dropped:
            self._log("dropped", "dropped oldest batch reason=%r times=%d", dropped)

    def _log(self, topic: str, message: str, *arguments: object) -> None:
        """Log at once, then at most once per 60 s; the count of occurrences is appended to the arguments."""
        now_s = self._clock()
        with self._lock:
            last_s, left_out = self._logged.get(topic, (now_s - _LOG_PERIOD_S, 0))
            silent = now_s - last_s < _LOG_PERIOD_S
            self._logged[topic] = (last_s, left_out + 1) if silent else (now_s, 0)
        if not silent:
            logger.warning(message, *arguments, left_out + 1)


def _disk_usage(size: int) -> int:
    return max(size, BLOCK_BYTES)
