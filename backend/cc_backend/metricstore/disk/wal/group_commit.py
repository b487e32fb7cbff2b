"""Brings written bytes to the disk in the background, many batches with one call."""

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
    """One thread that calls fsync for the file that is written to, and closes files that are done with.

    `always`: `wait` returns when a batch is on the disk; batches that come meanwhile share the next call.
    `interval`: at most this often. `never`: left to the operating system.
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
        self._is_waiting = False  # the thread waits for something to do
        self._thread: threading.Thread | None = None
        self.on_sync_s: Callable[[float], None] | None = None

    def register_write(self, descriptor: int) -> int:
        """Note that bytes were written; returns the number to wait for."""
        with self._condition:
            self._current = descriptor
            self._written += 1
            if self._fault:  # the file that it was written to lacks what came before, such as whose samples these are
                self._failed = self._written
            if self._mode != "never":
                self._start()
                if (
                    self._is_waiting
                ):  # waking the thread for each batch of an interval would cost more than small batches
                    self._condition.notify_all()
            return self._written

    def sync_and_close(self, descriptor: int) -> None:
        """Take over a file that nothing is written to any more, or a folder with a new one: synced, then closed."""
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
        """Whether a batch is as safe as the mode promises; with `always` this waits for the disk.

        The number 0 is that of a batch of which nothing was written: it is safe.
        """
        if self._mode != "always" or not number:
            return True
        with self._condition:
            self._condition.wait_for(lambda: self._synced >= number)
            return self._failed < number

    def pop_fault(self) -> bool:
        """Whether the disk refused a call since this was last asked."""
        with self._condition:
            fault, self._fault = self._fault, False
            return fault

    def close(self) -> None:
        """Sync what is left and end the thread."""
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
        """Call fsync without holding the lock; the file in use is duplicated, since it may be retired meanwhile."""
        number, retired = self._written, self._to_close
        self._to_close = []
        try:
            current = None if self._current is None else os.dup(self._current)
        except OSError as error:  # too many open files: what is retired is closed all the same
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
    except OSError as error:  # network file systems tell only now that they could not write
        _log_sync_error(error)
        return False
    return True


def _log_sync_error(error: OSError) -> None:
    logger.error(
        "the disk did not confirm samples of the write-ahead log (%s); a power cut can lose them: check the disk",
        error.strerror,
    )
