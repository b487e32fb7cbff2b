"""The folder of a metric store: write-ahead log, snapshots, uptime log and lock.

000000000001.wal ...    write-ahead log, one file per segment
windows/60-START.win1   snapshots, one file per timestep and window
runs                    uptime log: periods in which no store ran on this folder
lock                    locked by the process that uses the folder
"""

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from cc_backend.metricstore.blocks.file_slice import UnreadableError
from cc_backend.metricstore.disk.restore import restore
from cc_backend.metricstore.disk.restore_snapshots import SnapshotRestorer
from cc_backend.metricstore.disk.retention import trim_segments, trim_snapshots
from cc_backend.metricstore.disk.snapshot.snapshot_folder import SnapshotFolder, window_end_s, window_number
from cc_backend.metricstore.disk.snapshot.snapshot_writer import SnapshotResult, SnapshotStoppedError, SnapshotWriter
from cc_backend.metricstore.disk.snapshot.window_file import WindowName
from cc_backend.metricstore.disk.uptime_log import Downtime, UptimeLog
from cc_backend.metricstore.disk.wal.write_ahead_log import WriteAheadLog, fault_advice
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import RestoreState, SnapshotState
from cc_backend.model import RetentionHolds

logger = logging.getLogger(__name__)


class StoreDisk:
    """The folder of one store.

    `ingest` is the lock that is held while batches go into the log, `memory` guards the table. Only one thread at a
    time may be in `remove_expired`, `snapshot`, `check_snapshots` and `close`.
    """

    def __init__(
        self,
        log: WriteAheadLog,
        table: SeriesTable,
        *,
        ingest: "threading.RLock",
        memory: "threading.RLock",
        now_s: int,
        mantissa_bits: int = 0,
    ) -> None:
        self.log = log
        self.restored = RestoreState()
        self._table = table
        self._ingest = ingest
        self._memory = memory
        self._uptime = UptimeLog(log.directory, now_s=now_s)
        self._folder = SnapshotFolder(log.directory / "windows")
        self._writer = SnapshotWriter(table, memory, self._folder, mantissa_bits=mantissa_bits)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_complete = False
        self._fault = ""
        self._fault_reason = self._folder_fault = ""
        self._lost_files = False
        self._rewriting_lost = False  # a snapshot is being written with what lost files held
        self._last_pass_s = 0
        self._last_result = SnapshotResult()

    # Restoring

    def restore(self, now_s: int, *, background: bool, memory_budget_bytes: int = 0) -> None:
        """Read back what the folder holds; in the background this returns as soon as new batches are held back.

        Samples beyond `memory_budget_bytes` (0: no limit) stay on disk only.
        """
        segments = self.log.closed_segments()
        self.restored.total_bytes = self._folder.size_bytes + sum(segment.size_bytes for segment in segments)
        self.restored.running = True
        is_ingest_locked = threading.Event()
        if self.restored.total_bytes:
            logger.info(
                "restore began segments=%d windows=%d size_bytes=%d",
                len(segments), len(self._folder), self.restored.total_bytes,
            )  # fmt: skip

        def run() -> None:
            try:
                self._is_complete = restore(
                    segments,
                    self._folder,
                    self._table,
                    self.restored,
                    ingest=self._ingest,
                    memory=self._memory,
                    memory_budget_bytes=memory_budget_bytes,
                    on_locked=is_ingest_locked.set,
                    stopping=self._stopping.is_set,
                )
            finally:
                is_ingest_locked.set()
                self.restored.running = False
            self._log_restored(now_s)

        def run_logging_errors() -> None:
            try:
                run()
            except Exception:  # what is in memory can be queried, the files stay as they are
                logger.exception(
                    "restore failed: samples from before the start are missing; their files are left unchanged"
                )

        if not background:
            run()
            return
        self._thread = threading.Thread(target=run_logging_errors, name="metricstore-restore", daemon=True)
        self._thread.start()
        is_ingest_locked.wait()

    def _log_restored(self, now_s: int) -> None:
        state = self.restored
        with self._memory:
            newest_s = int(self._table.columns.host_last_s.max(initial=0))
            series = self._table.series_count + self._table.job_count
        logger.info(
            "restored files=%d samples=%d windows=%d chunks=%d as_they_are=%d series=%d skipped_samples=%d "
            "damaged_files=%d newest_age_s=%d seconds=%.1f%s",
            state.files, state.samples, state.windows, state.chunks, state.chunks_adopted, series,
            state.skipped_samples, state.damaged_files, now_s - newest_s if newest_s else -1, state.seconds,
            "" if self._is_complete else " stopped",
        )  # fmt: skip

    @property
    def restoring(self) -> bool:
        """Whether samples from before the start are still being read back."""
        return self.restored.running

    def wait_restored(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of a restore in the background; False if it still runs after `timeout_s`."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self.restoring

    # Snapshots

    def snapshot(self, now_s: int, *, budget_s: float | None = None) -> bool:
        """Write all changes to snapshot files, then remove the segments that they cover; False if not completed.

        Stops after `budget_s` seconds. A disk fault is logged once; the segments stay, and the next call tries again.
        """
        if self.restoring or not self._is_complete:
            return False
        with self._ingest:  # what the segments up to here hold is in memory
            self.log.rotate()
            covered = [segment for segment in self.log.closed_segments() if segment.in_memory]
        stop_s = None if budget_s is None else time.monotonic() + budget_s
        self._rewriting_lost = (
            self._rewriting_lost or self._lost_files
        )  # what is lost from here on is for the next pass
        self._lost_files = False
        try:
            self._retry_unread()
            self._last_result = self._writer.run(stopping=_deadline(stop_s))
            # The oldest first: of two samples of one slot the later one must never be gone before the earlier one.
            for segment in covered:
                self.log.remove_segment(segment)
        except SnapshotStoppedError:
            logger.info("snapshot was not finished in time seconds=%.1f: the write-ahead log is kept", budget_s)
            self._lost_files |= self._rewriting_lost
            return False
        except OSError as error:
            self._lost_files |= self._rewriting_lost
            self._record_fault(error)
            return False
        self._last_pass_s = now_s
        self._uptime.heartbeat(now_s)  # the removed segments cannot show any more that the store ran
        if self._rewriting_lost:
            self._rewriting_lost = False
            logger.warning("samples of lost files were written to %s again", self.log.directory)
        self._record_success(len(covered))
        return True

    def _retry_unread(self) -> None:
        """Read files that were unreadable at the start, before they are replaced."""
        unread = self._folder.unread()
        if unread:
            again = SnapshotRestorer(self._table, self._memory, self._folder, RestoreState())
            for name in unread:
                if self._folder.path(name).exists():
                    again.restore(name)
                else:  # somebody removed it
                    self._folder.remove(name)

    def _record_fault(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        if not self._fault and isinstance(error, UnreadableError):
            logger.error(
                "snapshots in %s are not written, because some of their samples cannot be read (%s). The write-ahead "
                "log is kept, and the next snapshot tries again",
                self._folder.directory, reason,
            )  # fmt: skip
        elif not self._fault:
            logger.error(
                "snapshots in %s cannot be written (%s): %s. The write-ahead log is kept, and the next snapshot tries "
                "again",
                self._folder.directory, reason, fault_advice(error),
            )  # fmt: skip
        self._fault = f"{self._folder.directory}: {reason}"
        self._fault_reason = f"{reason}: {fault_advice(error)}"

    def _record_success(self, segments: int) -> None:
        if self._fault:
            self._fault = self._fault_reason = ""
            logger.warning("snapshots in %s can be written again", self._folder.directory)
        result = self._last_result
        if result.files or segments:
            logger.info(
                "snapshot files=%d chunks=%d copied_chunks=%d size_bytes=%d removed_segments=%d seconds=%.2f",
                result.files, result.chunks, result.copied_chunks, result.size_bytes, segments, result.seconds,
            )  # fmt: skip

    # Watching

    @property
    def needs_snapshot(self) -> bool:
        """Whether files were lost whose samples are in memory, so that a snapshot must write them again."""
        return self._lost_files

    def check_log(self) -> None:
        """Check the folder and the log; cheap enough for every second."""
        self.log.check()
        if self.log.pop_lost_files():
            self._record_lost("segments of the write-ahead log", self.log.directory)

    def check_snapshots(self) -> None:
        """Check the folder of the snapshots."""
        if self.restoring or not self.log.is_in_place:
            return
        directory = self._folder.directory
        try:
            lost = self._folder.pop_lost()
            if directory.exists() and not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))  # noqa: TRY301 - handled like a disk fault
        except OSError as error:
            reason = f"{error.strerror or error}: {fault_advice(error)}"
            if not self._folder_fault:
                logger.error("snapshots in %s cannot be used (%s)", directory, reason)  # noqa: TRY400 - expected
            self._folder_fault = reason
            return
        if self._folder_fault:
            self._folder_fault = ""
            logger.warning("snapshots in %s can be used again", directory)
        if lost:
            self._mark_unsaved(lost)
            self._record_lost(f"{len(lost)} snapshots", directory)

    def _mark_unsaved(self, names: Iterable[WindowName]) -> None:
        for name in names:
            window = window_number(name)
            with self._memory:
                for grid in self._table.columns.grids:
                    if grid.timestep_s == name.timestep_s:
                        for chunk in grid.windows.chunks(window):
                            grid.windows.mark_lost(window, chunk)

    def faults(self) -> list[str]:
        """The faults of the disk, each with what to do; contains no paths, never blocks."""
        found = []
        if self.log.fault:
            found.append(f"the write-ahead log of the metric store cannot be written: {self.log.fault_reason}")
        if reason := self._folder_fault or self._fault_reason:
            found.append(f"the snapshots of the metric store cannot be written: {reason}")
        elif (self._lost_files or self._rewriting_lost) and not self.log.fault:
            found.append(
                "files of the metric store are gone: their samples are written again from memory"
                if self._is_complete
                else "files of the metric store are gone, and not all of them had been read: restore a backup of them"
            )
        return found

    def _record_lost(self, what: str, directory: Path) -> None:
        if not self._lost_files:
            logger.error("%s are gone from %s: their samples are written again from memory", what, directory)
        self._lost_files = True

    # Upkeep

    def remove_expired(self, before_s: int, holds: RetentionHolds) -> int:
        """Remove samples of before `before_s` that nobody holds, after they left memory; the bytes freed."""
        return trim_segments(self.log, before_s=before_s, holds=holds) + self.remove_expired_snapshots(before_s)

    def remove_expired_snapshots(self, before_s: int) -> int:
        """Remove chunks that left memory from snapshots that ended by `before_s`; the bytes freed."""
        if not self._is_complete:
            return 0
        if any(window_end_s(name) <= before_s for name in self._folder.unread()):
            try:
                self._retry_unread()
            except OSError as error:
                logger.warning("snapshots in %s: %s", self._folder.directory, error.strerror)
        return trim_snapshots(self._folder, self._table, self._memory, before_s=before_s)

    def heartbeat(self, now_s: int, *, forget_before_s: int) -> None:
        """Record in the uptime log that the store runs."""
        self._uptime.heartbeat(now_s, forget_before_s=forget_before_s)

    @property
    def last_heartbeat_s(self) -> int:
        """Unix seconds of the last heartbeat in this folder before the start; 0 without any."""
        return self._uptime.last_heartbeat_s

    def downtimes(self) -> list[Downtime]:
        """Periods before the start in which no store ran, oldest first."""
        return self._uptime.downtimes()

    def state(self) -> SnapshotState:
        """State of the snapshots, for `/metrics`."""
        return SnapshotState(
            enabled=True,
            files=len(self._folder),
            size_bytes=self._folder.size_bytes,
            fault=self._fault,
            last_s=self._last_pass_s,
            last_seconds=self._last_result.seconds,
        )

    @property
    def size_bytes(self) -> int:
        """Memory beside samples and series, bytes."""
        return self._writer.size_bytes

    def close(self) -> None:
        """Stop a running restore, sync the log and unlock the folder."""
        self._stopping.set()
        self.wait_restored()
        with self._ingest:
            self.log.close()


def _deadline(stop_s: float | None) -> Callable[[], bool]:
    if stop_s is None:
        return lambda: False
    return lambda: time.monotonic() >= stop_s
