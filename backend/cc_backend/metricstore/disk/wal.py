"""The write-ahead log: every batch is in a file before it is acknowledged.

A log is a folder of segments `NUMBER.wal`. Each run of the program writes new ones, never to an old one, and each holds
the definitions of the series it uses: it can be read, rewritten or removed without the others.
"""

import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cc_backend.errors import BackendError
from cc_backend.metricstore.disk.commit import Committer, Fsync
from cc_backend.metricstore.disk.walformat import HEADER_BYTES, batch_record, file_header, series_record
from cc_backend.metricstore.model import Identity, Ids, LogState
from cc_backend.model import Samples

logger = logging.getLogger(__name__)

SEGMENT_SPAN_S = 3600
SEGMENT_BYTES = 128 << 20
_REMINDER_S = 60.0
_SUFFIX = ".wal"
# After these a file can be written to again once there is room; after any other fault a new file is begun.
_ROOM_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT})
_ADVICE = {
    errno.ENOSPC: "make room on this file system",
    errno.EDQUOT: "raise the quota of this user",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "the file system is read-only: check the disk, then remount it",
    errno.EIO: "the disk has faults: check it",
}


@dataclass(slots=True)
class Segment:
    """One file of the log. Oldest and newest are of its samples; `hosts` is known only after it was rewritten.

    `in_memory` says whether all its samples are in memory, so that a snapshot of the memory covers it.
    """

    path: Path
    size_bytes: int
    written_s: int
    oldest_s: int | None = None
    newest_s: int | None = None
    hosts: frozenset[tuple[str, str]] | None = None
    in_memory: bool = True

    def holds(self, oldest_s: int, newest_s: int) -> None:
        """Note the times of samples."""
        self.oldest_s = oldest_s if self.oldest_s is None else min(self.oldest_s, oldest_s)
        self.newest_s = newest_s if self.newest_s is None else max(self.newest_s, newest_s)


class WriteAheadLog:
    """Writes batches to the newest segment; a fault of the disk never raises but makes `append` say None."""

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
        self._lock_file = _locked(directory)
        self._committer = Committer(fsync, fsync_interval_s)
        self._lock = threading.Lock()
        self._closed_segments: list[Segment] = []
        self._next_number = 1
        self._current: Segment | None = None
        self._descriptor = -1
        self._span = 0
        self._local_ids = np.full(1024, -1, np.int64)
        self._next_local_id = 0
        self._closed = False
        self._fault = ""
        self._fault_told_s = 0.0
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

    def measure_sync(self, observe: Callable[[float], None]) -> None:
        """Have told how many seconds each call takes that brings samples to the disk."""
        self._committer.observe = observe

    # Writing

    def append(
        self, sids: Ids, values: Samples, times_s: int | Ids, *, received_s: int, identity: Callable[[int], Identity]
    ) -> int | None:
        """Write a batch; returns the number for `wait`, or None if it could not be written.

        `identity` tells what a sid stands for, for series that the segment does not define yet.
        """
        with self._lock:
            if self._closed:
                return None
            try:
                try:
                    segment = self._open_segment(received_s)
                    self._write(segment, sids, values, times_s, identity)
                except OSError:
                    if self._current is not None:
                        raise
                    # The fault may be one of that file only, such as the limit on its size.
                    segment = self._open_segment(received_s)
                    self._write(segment, sids, values, times_s, identity)
            except OSError as error:
                self._failed(error, len(sids))
                return None
            if isinstance(times_s, int):
                segment.holds(times_s, times_s)
            else:
                segment.holds(int(times_s.min()), int(times_s.max()))
            if self._fault:
                self._recovered()
            return self._committer.written(self._descriptor)

    def wait(self, number: int) -> bool:
        """Whether a written batch is as safe as the fsync mode promises; call it without holding locks."""
        return self._committer.wait(number)

    def forget(self, sids: Ids) -> None:
        """These numbers will stand for other series."""
        with self._lock:
            self._local_ids[sids[sids < len(self._local_ids)]] = -1

    def _open_segment(self, received_s: int) -> Segment:
        span = received_s // SEGMENT_SPAN_S
        segment = self._current
        if segment is not None:
            if span == self._span and segment.size_bytes < self._segment_bytes and not self._committer.take_fault():
                return segment
            self._leave_segment()
        path = self.directory / f"{self._next_number:012d}{_SUFFIX}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._next_number += 1
        try:
            write_all(descriptor, file_header(received_s), 0)
            # The new name goes to the disk with the first batch: to wait for it here would hold up all senders.
            self._committer.retire(os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        self._descriptor, self._span = descriptor, span
        self._current = Segment(path, HEADER_BYTES, received_s)
        self._local_ids[:] = -1
        self._next_local_id = 0
        return self._current

    def _leave_segment(self) -> None:
        if self._current is not None:
            self._committer.retire(self._descriptor)
            self._closed_segments.append(self._current)
            self._current, self._descriptor = None, -1

    def _write(
        self,
        segment: Segment,
        sids: Ids,
        values: Samples,
        times_s: int | Ids,
        identity: Callable[[int], Identity],
    ) -> None:
        highest = int(sids.max())
        if highest >= len(self._local_ids):
            more = np.full(max(highest + 1 - len(self._local_ids), len(self._local_ids)), -1, np.int64)
            self._local_ids = np.concatenate([self._local_ids, more])
        ids = self._local_ids[sids]
        new = sids[:0]
        data = b""
        if int(ids.min()) < 0:
            undefined = ids < 0
            new = np.unique(sids[undefined])
            data = series_record(self._next_local_id, [identity(sid) for sid in new.tolist()])
            ids[undefined] = self._next_local_id + np.searchsorted(new, sids[undefined])
        data += batch_record(ids, values, times_s)
        try:
            write_all(self._descriptor, data, segment.size_bytes)
        except OSError as error:
            self._take_back(segment, error)
            raise
        # Only now: whatever goes wrong before, no batch may use a number that the file does not define.
        if len(new):
            self._local_ids[new] = np.arange(self._next_local_id, self._next_local_id + len(new))
            self._next_local_id += len(new)
        segment.size_bytes += len(data)

    def _take_back(self, segment: Segment, error: OSError) -> None:
        """Cut off a record that was written in part. Where even that fails, readers skip it by its checksum."""
        try:
            os.ftruncate(self._descriptor, segment.size_bytes)
            usable = error.errno in _ROOM_FAULTS
        except OSError:
            usable = False
        if not usable:
            self._leave_segment()

    def _failed(self, error: OSError, samples: int) -> None:
        self._unlogged_batches += 1
        self._unlogged_samples += samples
        now_s = self._monotonic()
        first = not self._fault
        self._fault = f"{self.directory}: {error.strerror or error}"
        if first or now_s - self._fault_told_s >= _REMINDER_S:
            self._fault_told_s = now_s
            logger.error(
                "the write-ahead log in %s cannot be written (%s): %s. Samples stay in memory and senders are told to "
                "keep theirs; unlogged_batches=%d unlogged_samples=%d",
                self.directory, error.strerror, advice(error), self._unlogged_batches, self._unlogged_samples,
            )  # fmt: skip

    def _recovered(self) -> None:
        self._fault = ""
        logger.warning(
            "the write-ahead log in %s can be written again; unlogged_batches=%d unlogged_samples=%d",
            self.directory, self._unlogged_batches, self._unlogged_samples,
        )  # fmt: skip

    # Segments

    def closed_segments(self) -> list[Segment]:
        """Segments that are no longer written to, oldest first."""
        with self._lock:
            return list(self._closed_segments)

    def drop(self, segment: Segment) -> None:
        """Remove a closed segment."""
        segment.path.unlink(missing_ok=True)
        with self._lock:
            self._closed_segments.remove(segment)

    def rotate(self) -> None:
        """Close the segment in use; the next batch begins a new one."""
        with self._lock:
            self._leave_segment()

    def state(self) -> LogState:
        """How the log is doing."""
        with self._lock:
            segments = [*self._closed_segments, *([self._current] if self._current else [])]
            return LogState(
                enabled=True,
                segments=len(segments),
                size_bytes=sum(segment.size_bytes for segment in segments),
                fault=self._fault,
                unlogged_batches=self._unlogged_batches,
                unlogged_samples=self._unlogged_samples,
            )

    def close(self) -> None:
        """Sync and close everything, and give the folder free for another process."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._leave_segment()
        self._committer.close()
        os.close(self._lock_file)


def advice(error: OSError) -> str:
    """What to do about a fault of the disk."""
    return _ADVICE.get(error.errno or 0, "check the folder, its owner and its permissions")


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write at a fixed place, so that the remains of a failed write are written over."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def sync_directory(directory: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locked(directory: Path) -> int:
    """The descriptor of a lock that no other process has; BackendError names the folder if it cannot be used."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        text = f"the folder of the write-ahead log, {directory}, cannot be used: {error.strerror}"
        raise BackendError(text) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise BackendError(
            f"another process uses the write-ahead log in {directory}; stop it, or give this one its own folder"
        ) from None
    return descriptor
