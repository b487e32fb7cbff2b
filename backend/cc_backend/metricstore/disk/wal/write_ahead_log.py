"""The write-ahead log: each batch is in a file before it is acknowledged.

A log is a folder of segments `NUMBER.wal`. Each start of the program begins a new segment. A segment defines all series
that it uses, so it can be read, rewritten or removed without the others.
"""

import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cc_backend.errors import BackendError
from cc_backend.metricstore.disk.wal.group_commit import Fsync, GroupCommit
from cc_backend.metricstore.disk.wal.wal_format import (
    HEADER_BYTES,
    NAME_SEPARATOR,
    encode_batch,
    encode_series,
    file_header,
)
from cc_backend.metricstore.model import Int64Array, WalState
from cc_backend.model import Samples
from cc_backend.runtime.lockfile import FileId, LockFile, file_id, is_same_file, lock_folder

logger = logging.getLogger(__name__)

SEGMENT_SPAN_S = 3600
SEGMENT_BYTES = 128 << 20
EncodedNames = Callable[[Int64Array, bytes], Sequence[bytes]]
"""The names of series by their sids, with a separator between, as `SeriesTable.encoded_names`."""

_REMINDER_S = 60.0
_PROBE_BYTES = 1 << 16
_SUFFIX = ".wal"
# After these faults the same file is written to again once there is room; after any other fault a new one is begun.
_OUT_OF_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_ADVICE = {
    errno.ENOSPC: "make room on this file system",
    errno.EDQUOT: "raise the quota of this user",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "the file system is read-only: check the disk, then remount it",
    errno.EIO: "the disk has faults: check it",
    errno.ENOENT: "put the folder back, or make an empty one, to which the samples in memory are then written",
    errno.ENOTDIR: "put the folder back, or make an empty one, to which the samples in memory are then written",
    errno.EXDEV: "mount the former file system again, or restart the server",
    errno.EBUSY: "end that process",
}


class WalMisplacedError(OSError):
    """The file or folder that the log writes to has been removed, replaced or moved."""


@dataclass(slots=True)
class Segment:
    """One file of the log. `oldest_s` and `newest_s` are of its samples; `hosts` is known only after it was rewritten.

    `in_memory` says whether all its samples are in memory, so that a snapshot covers it.
    """

    path: Path
    size_bytes: int
    written_s: int
    oldest_s: int | None = None
    newest_s: int | None = None
    hosts: frozenset[tuple[str, str]] | None = None
    in_memory: bool = True

    def include_times(self, oldest_s: int, newest_s: int) -> None:
        """Extend the range of times by these."""
        self.oldest_s = oldest_s if self.oldest_s is None else min(self.oldest_s, oldest_s)
        self.newest_s = newest_s if self.newest_s is None else max(self.newest_s, newest_s)


class WriteAheadLog:
    """Writes batches to the newest segment. At a disk fault `append` returns None, and `fault` has the text."""

    def __init__(
        self,
        directory: Path,
        *,
        fsync: Fsync = "interval",
        fsync_interval_s: float = 1.0,
        segment_bytes: int = SEGMENT_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = directory
        self._segment_bytes = segment_bytes
        self._monotonic = monotonic
        self._lock_file = _lock_log_folder(directory)
        self._device = directory.stat().st_dev
        self._group_commit = GroupCommit(fsync, fsync_interval_s)
        self._lock = threading.Lock()
        self._closed_segments: list[Segment] = []
        self._next_number = 1
        self._current: Segment | None = None
        self._descriptor = -1
        self._file_id: FileId = (0, 0)
        self._span = 0
        self._local_ids = np.full(1024, -1, np.int64)
        self._next_local_id = 0
        self._closed = False
        self._fault = ""
        self._fault_reason = ""
        self._fault_logged_s = 0.0
        self._misplaced: WalMisplacedError | None = None  # set while the folder is not in its place
        self._lost_files = False  # something that was written is in memory only now
        self._unlogged_batches = 0
        self._unlogged_samples = 0
        for leftover in directory.glob("*.tmp"):
            leftover.unlink()
        for path in sorted(directory.glob(f"*{_SUFFIX}")):
            if path.stem.isdigit():
                facts = path.stat()
                segment = Segment(path, facts.st_size, int(facts.st_mtime), in_memory=False)
                self._closed_segments.append(segment)
                self._next_number = max(self._next_number, int(path.stem) + 1)

    def observe_sync(self, observe: Callable[[float], None]) -> None:
        """Call `observe` with the seconds that each fsync takes."""
        self._group_commit.on_sync_s = observe

    # Writing

    def append(
        self,
        sids: Int64Array,
        values: Samples,
        times_s: int | Int64Array,
        *,
        received_s: int,
        encoded_names: EncodedNames,
    ) -> int | None:
        """Write a batch; the number for `wait_durable`, or None if it could not be written.

        `encoded_names` gives the names of sids, for series that the segment does not define yet.
        """
        with self._lock:
            if self._closed:
                return None
            try:
                try:
                    segment = self._open_segment(received_s)
                    self._write(segment, sids, values, times_s, encoded_names)
                except OSError:
                    if self._current is not None:
                        raise
                    # The fault may be of that file only: it has reached a size limit, or was removed.
                    segment = self._open_segment(received_s)
                    self._write(segment, sids, values, times_s, encoded_names)
            except OSError as error:
                self._unlogged_batches += 1
                self._unlogged_samples += len(sids)
                self._record_fault(error)
                return None
            if isinstance(times_s, int):
                segment.include_times(times_s, times_s)
            else:
                segment.include_times(int(times_s.min()), int(times_s.max()))
            if self._fault:
                self._clear_fault()
            return self._group_commit.register_write(self._descriptor)

    def wait_durable(self, number: int) -> bool:
        """Whether a written batch is as durable as the fsync mode promises; may block: hold no locks."""
        return self._group_commit.wait_durable(number)

    def forget_series(self, sids: Int64Array) -> None:
        """Forget sids that will be reused for other series."""
        with self._lock:
            self._local_ids[sids[sids < len(self._local_ids)]] = -1

    def _open_segment(self, received_s: int) -> Segment:
        if self._misplaced is not None:
            raise WalMisplacedError(*self._misplaced.args)
        span = received_s // SEGMENT_SPAN_S
        segment = self._current
        if segment is not None:
            if span == self._span and segment.size_bytes < self._segment_bytes and not self._group_commit.pop_fault():
                return segment
            self._close_segment()
        path = self.directory / f"{self._next_number:012d}{_SUFFIX}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._next_number += 1
        try:
            write_all(descriptor, file_header(received_s), 0)
            # The folder is synced with the first batch: waiting for it here would delay all senders.
            self._group_commit.sync_and_close(os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        self._descriptor, self._span, self._file_id = descriptor, span, file_id(os.fstat(descriptor))
        self._current = Segment(path, HEADER_BYTES, received_s)
        self._local_ids[:] = -1
        self._next_local_id = 0
        return self._current

    def _close_segment(self) -> None:
        if self._current is not None:
            self._group_commit.sync_and_close(self._descriptor)
            self._closed_segments.append(self._current)
            self._current, self._descriptor = None, -1

    def _write(
        self,
        segment: Segment,
        sids: Int64Array,
        values: Samples,
        times_s: int | Int64Array,
        encoded_names: EncodedNames,
    ) -> None:
        max_sid = int(sids.max())
        if max_sid >= len(self._local_ids):
            more = np.full(max(max_sid + 1 - len(self._local_ids), len(self._local_ids)), -1, np.int64)
            self._local_ids = np.concatenate([self._local_ids, more])
        ids = self._local_ids[sids]
        new = sids[:0]
        data = b""
        if int(ids.min()) < 0:
            undefined = ids < 0
            new = np.unique(sids[undefined])
            data = encode_series(self._next_local_id, encoded_names(new, NAME_SEPARATOR))
            ids[undefined] = self._next_local_id + np.searchsorted(new, sids[undefined])
        data += encode_batch(ids, values, times_s)
        try:
            write_all(self._descriptor, data, segment.size_bytes)
        except OSError as error:
            self._undo_write(segment, error)
            raise
        if not is_same_file(segment.path, self._file_id):
            self._raise_misplaced()
        # Only after the write succeeded: no batch may use a number that the file does not define.
        if len(new):
            self._local_ids[new] = np.arange(self._next_local_id, self._next_local_id + len(new))
            self._next_local_id += len(new)
        segment.size_bytes += len(data)

    def _raise_misplaced(self) -> None:
        """Raise WalMisplacedError: the record was written to a file that a restart would not find."""
        if self._lock_file.is_in_place():
            self._close_segment()
            self._lost_files = True
            raise WalMisplacedError(errno.ENOENT, "the file that was written to was removed or replaced")
        self._misplaced = WalMisplacedError(errno.ENOENT, "the folder was removed, replaced or moved")
        raise self._misplaced

    def _undo_write(self, segment: Segment, error: OSError) -> None:
        """Cut off a record that was written in part. If even that fails, readers skip it by its checksum."""
        try:
            os.ftruncate(self._descriptor, segment.size_bytes)
            usable = error.errno in _OUT_OF_SPACE
        except OSError:
            usable = False
        if not usable:
            self._close_segment()

    def _record_fault(self, error: OSError) -> None:
        now_s = self._monotonic()
        first = not self._fault
        self._fault = f"{self.directory}: {error.strerror or error}"
        self._fault_reason = f"{error.strerror or error}: {fault_advice(error)}"
        if first or now_s - self._fault_logged_s >= _REMINDER_S:
            self._fault_logged_s = now_s
            logger.error(
                "the write-ahead log in %s cannot be written (%s): %s. Samples stay in memory and senders are told to "
                "keep theirs; unlogged_batches=%d unlogged_samples=%d",
                self.directory, error.strerror, fault_advice(error), self._unlogged_batches, self._unlogged_samples,
            )  # fmt: skip

    def _clear_fault(self) -> None:
        self._fault = ""
        logger.warning(
            "the write-ahead log in %s can be written again; unlogged_batches=%d unlogged_samples=%d",
            self.directory, self._unlogged_batches, self._unlogged_samples,
        )  # fmt: skip

    # Watching

    @property
    def fault(self) -> str:
        """The present fault with the path of the folder, empty without one; never blocks."""
        return self._fault

    @property
    def fault_reason(self) -> str:
        """The newest fault without the path of the folder, and what to do about it."""
        return self._fault_reason

    def check(self) -> None:
        """Check that the folder is still in its place and writable; sets or clears `fault`.

        A fault is cleared only after a test write succeeded. If an empty folder or a copy is in the place of the former
        folder, it is used from now on.
        """
        with self._lock:
            if self._closed:
                return
            try:
                self._check_folder()
                if self._fault:
                    self._probe_write()
            except OSError as error:
                self._record_fault(error)
            else:
                if self._fault:
                    self._clear_fault()

    def pop_lost_files(self) -> bool:
        """Whether files of the log were lost since the last call: their samples must be saved from memory."""
        with self._lock:
            if self._misplaced is not None or not self._lock_file.is_in_place():  # it may come back unchanged
                return False
            lost_segments = [segment for segment in self._closed_segments if not segment.path.exists()]
            for segment in lost_segments:
                self._closed_segments.remove(segment)
            lost, self._lost_files = self._lost_files or bool(lost_segments), False
            return lost

    @property
    def is_in_place(self) -> bool:
        """Whether the folder was in its place at the last check or write."""
        return self._misplaced is None

    def _check_folder(self) -> None:
        if self._lock_file.is_in_place():
            self._misplaced = None
        else:
            try:
                self._adopt_folder()
            except OSError as error:
                self._misplaced = WalMisplacedError(error.errno, error.strerror)
                raise
        if not os.access(self.directory, os.W_OK | os.X_OK):
            code = errno.EROFS if os.statvfs(self.directory).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(code, os.strerror(code))
        if self._current is not None and not is_same_file(self._current.path, self._file_id):
            self._close_segment()
            self._lost_files = True

    def _adopt_folder(self) -> None:
        """Use the folder that is now at the path of the log; raises OSError if it cannot be used."""
        facts = self.directory.stat()
        if not stat.S_ISDIR(facts.st_mode):
            raise WalMisplacedError(errno.ENOTDIR, "something else is where the folder was")
        if facts.st_dev != self._device:  # most likely the file system was unmounted
            raise WalMisplacedError(errno.EXDEV, "another file system is where the folder was")
        try:
            lock_file = lock_folder(self.directory)
        except BackendError as error:
            raise WalMisplacedError(errno.EBUSY, "another process uses the folder that is there now") from error
        self._lock_file.close()
        self._lock_file = lock_file
        self._close_segment()
        numbers = (int(path.stem) for path in self.directory.glob(f"*{_SUFFIX}") if path.stem.isdigit())
        self._next_number = max(self._next_number, *(number + 1 for number in numbers), 1)
        self._misplaced, self._lost_files = None, True
        logger.warning("another folder is at %s; it is used from now on", self.directory)

    def _probe_write(self) -> None:
        trial = self.directory / "trial.tmp"
        try:
            trial.write_bytes(bytes(_PROBE_BYTES))
        finally:
            trial.unlink(missing_ok=True)

    # Segments

    def closed_segments(self) -> list[Segment]:
        """The segments that are no longer written to, oldest first."""
        with self._lock:
            return list(self._closed_segments)

    def remove_segment(self, segment: Segment) -> None:
        """Remove a closed segment; raises OSError if that fails, and the segment stays in the list."""
        with self._lock:  # before the file is removed, so that it is not taken for lost
            if segment in self._closed_segments:
                self._closed_segments.remove(segment)
        try:
            segment.path.unlink(missing_ok=True)
        except OSError:
            with self._lock:
                self._closed_segments.append(segment)
                self._closed_segments.sort(key=lambda closed: closed.path)
            raise

    def rotate(self) -> None:
        """Close the current segment; the next batch begins a new one."""
        with self._lock:
            self._close_segment()

    def state(self) -> WalState:
        """State of the log, for `/metrics`."""
        with self._lock:
            segments = [*self._closed_segments, *([self._current] if self._current else [])]
            return WalState(
                enabled=True,
                segments=len(segments),
                size_bytes=sum(segment.size_bytes for segment in segments),
                fault=self._fault,
                unlogged_batches=self._unlogged_batches,
                unlogged_samples=self._unlogged_samples,
            )

    def close(self) -> None:
        """Sync and close everything, and unlock the folder."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._close_segment()
        self._group_commit.close()
        self._lock_file.close()


def fault_advice(error: OSError) -> str:
    """What to do about a disk fault, as part of a sentence."""
    return _ADVICE.get(error.errno or 0, "check the folder, its owner and its permissions")


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write all bytes at an offset, over whatever an earlier failed write left there."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def sync_directory(directory: Path) -> None:
    """Sync the names in a folder to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock_log_folder(directory: Path) -> LockFile:
    """Make the folder if it is missing, and lock it; raises BackendError with the path if it cannot be used."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        text = f"the folder of the write-ahead log, {directory}, cannot be used: {error.strerror}"
        raise BackendError(text) from error
    return lock_folder(directory)
