"""Group commit: a background thread calls fsync once for all batches that were written meanwhile."""

import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from typing import Literal

logger = logging.getLogger(__name__)

Fsync = Literal["always", "interval", "never"]


class GroupCommit:
    """A thread that calls fsync on the current file, and closes files that are no longer written to.

    Mode `always`: `wait_durable` blocks until the batch is on the disk; batches that come meanwhile share the next
    call. Mode `interval`: one call every `interval_s` seconds. Mode `never`: left to the operating system.
    """

    def __init__(self, mode: Fsync, interval_s: float) -> None:
        self._mode = mode
        self._interval_s = interval_s
        self._condition = threading.Condition()
        self._current: int | None = None
        self._to_close: list[int] = []
        self._written = 0
        self._synced = 0
        self._failed = 0
        self._fault = False
        self._stopping = False
        self._is_waiting = False  # the thread has nothing to do
        self._thread: threading.Thread | None = None
        self.on_sync_s: Callable[[float], None] | None = None

    def register_write(self, descriptor: int) -> int:
        """The number of a write that was just made to this file, for `wait_durable`."""
        with self._condition:
            self._current = descriptor
            self._written += 1
            if self._fault:  # an earlier write to this file is missing, maybe the definition of these series
                self._failed = self._written
            if self._mode != "never":
                self._start()
                if (
                    self._is_waiting
                ):  # waking the thread for each batch of an interval would cost more than small batches
                    self._condition.notify_all()
            return self._written

    def sync_and_close(self, descriptor: int) -> None:
        """Take over the descriptor of a complete file, or of a folder with a new file; sync it, then close it."""
        with self._condition:
            if self._current == descriptor:
                self._current = None
            if self._mode == "never":
                _close_descriptor(descriptor)
                return
            self._to_close.append(descriptor)
            self._start()
            self._condition.notify_all()

    def wait_durable(self, number: int) -> bool:
        """Whether a batch is as durable as the mode promises; blocks in mode `always` only.

        The number 0 stands for a batch of which nothing was written; it counts as durable.
        """
        if self._mode != "always" or not number:
            return True
        with self._condition:
            self._condition.wait_for(lambda: self._synced >= number)
            return self._failed < number

    def pop_fault(self) -> bool:
        """Whether fsync has failed since the last call of this method."""
        with self._condition:
            fault, self._fault = self._fault, False
            return fault

    def close(self) -> None:
        """Sync what is left, then end the thread."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="metricstore-commit", daemon=True)
            self._thread.start()

    def _is_idle(self) -> bool:
        return self._synced >= self._written and not self._to_close

    def _run(self) -> None:
        with self._condition:
            while not (self._stopping and self._is_idle()):
                self._is_waiting = True
                self._condition.wait_for(lambda: self._stopping or not self._is_idle())
                self._is_waiting = False
                if self._mode == "interval":
                    self._condition.wait_for(lambda: self._stopping, timeout=self._interval_s)
                if not self._is_idle():
                    self._sync_without_lock()

    def _sync_without_lock(self) -> None:
        """Call fsync without holding the lock; on a duplicate of the current file, which may be closed meanwhile."""
        number, retired = self._written, self._to_close
        self._to_close = []
        try:
            current = None if self._current is None else os.dup(self._current)
        except OSError as error:  # too many open files: the others are closed all the same
            _log_sync_error(error)
            current, done = None, False
        else:
            done = True
        self._condition.release()
        try:
            for descriptor in retired if current is None else (*retired, current):
                done = self._sync(descriptor) and done
        finally:
            self._condition.acquire()
        if not done:
            self._failed, self._fault = self._written, True
        self._synced = number
        self._condition.notify_all()

    def _sync(self, descriptor: int) -> bool:
        begin_s = time.perf_counter()
        done = _sync_and_close(descriptor)
        if self.on_sync_s is not None:
            self.on_sync_s(time.perf_counter() - begin_s)
        return done


def _sync_and_close(descriptor: int) -> bool:
    done = True
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)
        else:
            os.fdatasync(descriptor)
    except OSError as error:
        _log_sync_error(error)
        done = False
    return _close_descriptor(descriptor) and done


def _close_descriptor(descriptor: int) -> bool:
    try:
        os.close(descriptor)
    except OSError as error:  # network file systems report failed writes only now
        _log_sync_error(error)
        return False
    return True


def _log_sync_error(error: OSError) -> None:
    logger.error(
        "the disk did not confirm samples of the write-ahead log (%s); a power cut can lose them: check the disk",
        error.strerror,
    )
