"""What the store does with its memory from time to time: forgets what is too old, compresses what is no longer new.

And when all that is more than it may take: see `capacity`, which decides what gives way.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.capacity import (
    CapacityReport,
    Step,
    WindowRef,
    capacity_report,
    enforce,
    format_report,
    format_size,
)
from cc_backend.metricstore.disk.store_disk import StoreDisk
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import Int64Array, MemoryState
from cc_backend.model import RetentionHolds

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UpkeepRules:
    """How long samples stay, in seconds, how they are compressed, and how much memory they may take (0: no limit)."""

    retention_s: int
    hot_s: int
    mantissa_bits: int = 0
    cap_bytes: int = 0


class Upkeep:
    """Keeps memory and disk of a store in order. One call at a time does something, others wait.

    `ingest` is held while batches go in, `memory` guards the table.
    """

    def __init__(
        self,
        table: SeriesTable,
        disk: StoreDisk | None,
        rules: UpkeepRules,
        *,
        ingest: "threading.RLock",
        memory: "threading.RLock",
    ) -> None:
        self.rules = rules
        self.refusing = False
        self.kept_from_s = 0  # samples from before may have been forgotten
        self._table = table
        self._disk = disk
        self._ingest = ingest
        self._memory = memory
        self._exclusive = threading.RLock()
        self._step = Step.NOTHING
        self._logged_hour = 0

    def run(self, now_s: int, holds: RetentionHolds, trusted_s: int) -> int:
        """Forget, compress and stay under the cap; returns the bytes freed in memory."""
        if self._disk is not None:
            self._disk.heartbeat(trusted_s, forget_before_s=now_s - 2 * self.rules.retention_s)
            if self._disk.restoring:
                return 0
        with self._exclusive:
            freed = self.free(now_s - self.rules.retention_s, holds)
            freed += self.compress(now_s - self.rules.hot_s)
            if self.rules.cap_bytes:
                before_bytes = self.used_bytes()
                self._stay_under_cap(now_s, holds, trusted_s)
                freed += max(before_bytes - self.used_bytes(), 0)
            self._log_capacity(now_s)
        return freed

    def free(self, before_s: int, holds: RetentionHolds) -> int:
        """Forget what ended by `before_s` and nobody protects, in memory and on disk; returns the bytes in memory."""
        if self._disk is not None and self._disk.restoring:
            return 0
        with self._exclusive:
            self.kept_from_s = max(self.kept_from_s, before_s)
            with self._ingest, self._memory:
                freed = free_samples(self._table, before_s, holds)
                silent = self._table.find_silent(before_s, holds)
                if len(silent):
                    self._table.remove(silent)
                    if self._disk is not None:
                        self._disk.log.forget_series(silent)
                self._table.keys.forget_rejected()
            if self._disk is not None:
                self._disk.remove_expired(before_s, holds)
        return freed

    def compress(self, before_s: int) -> int:
        """Compress windows that ended by `before_s`; returns the bytes saved."""
        with self._memory:
            grids = list(self._table.columns.grids)
        with self._exclusive:
            return sum(
                grid.windows.compress(before_s // grid.timestep_s, self._memory, mantissa_bits=self.rules.mantissa_bits)
                for grid in grids
            )

    def snapshot(self, now_s: int, *, budget_s: float | None = None) -> bool:
        """Write what has changed to snapshots; False if that failed or there is no disk."""
        if self._disk is None:
            return False
        with self._exclusive:
            return self._disk.snapshot(now_s, budget_s=budget_s)

    # Watching

    def check_disk(self) -> None:
        """See whether the folder is as it should be; the snapshots are left out while a pass or upkeep is at work."""
        if self._disk is None:
            return
        self._disk.check_log()
        if self._exclusive.acquire(blocking=False):
            try:
                self._disk.check_snapshots()
            finally:
                self._exclusive.release()

    def faults(self) -> list[str]:
        """What keeps the store from taking or keeping samples; waits for nobody."""
        found = [] if self._disk is None else self._disk.faults()
        if self.refusing:
            found.append("the metric store is full: raise metric-store.memory-cap")
        return found

    # The cap

    def used_bytes(self) -> int:
        """What samples and tables take of the memory."""
        with self._memory:
            used = self._table.size_bytes + sum(grid.size_bytes for grid in self._table.columns.grids)
        return used + (0 if self._disk is None else self._disk.size_bytes)

    def memory_state(self) -> MemoryState:
        """What samples and tables take of the memory just now; looks at every block."""
        with self._memory:
            states = [state for grid in self._table.columns.grids for state in grid.windows.window_states()]
            return MemoryState(
                hot_bytes=sum(state.hot_bytes for state in states),
                cold_bytes=sum(state.cold_bytes for state in states),
                table_bytes=self._table.size_bytes + (0 if self._disk is None else self._disk.size_bytes),
                cap_bytes=self.rules.cap_bytes,
                cap_step=int(self._step),
                refusing=self.refusing,
            )

    def capacity(self, now_s: int) -> CapacityReport:
        """What the store holds, and what it will hold once its retention is full; looks at every block."""
        memory = self.memory_state()
        with self._memory:
            grids = list(self._table.columns.grids)
            live = self._table.columns.row_of >= 0  # those that are forgotten keep their grid
            count = np.bincount(self._table.columns.grid_of[live], minlength=len(grids)).tolist()
            begins = [
                min(grid.windows.numbers()) * WINDOW_SLOTS * grid.timestep_s for grid in grids if grid.windows.numbers()
            ]
        return capacity_report(
            memory,
            series=sum(count),
            samples_per_s=sum(number / grid.timestep_s for number, grid in zip(count, grids, strict=True)),
            retention_s=self.rules.retention_s,
            hot_s=self.rules.hot_s,
            kept_s=now_s - min(begins, default=now_s),
        )

    def _log_capacity(self, now_s: int) -> None:
        """One line an hour."""
        if now_s // 3600 != self._logged_hour:
            self._logged_hour = now_s // 3600
            logger.info("capacity %s", format_report(self.capacity(now_s)))

    def _stay_under_cap(self, now_s: int, holds: RetentionHolds, trusted_s: int) -> None:
        yielding = _StoreUnderCap(self, now_s, holds, trusted_s)
        step = enforce(yielding, cap_bytes=self.rules.cap_bytes, now_s=now_s)
        self.kept_from_s = max(self.kept_from_s, yielding.dropped_until_s)
        self.refusing = step == Step.REFUSE
        if step != self._step:
            self._log_step(step)
        self._step = step

    def _log_step(self, step: Step) -> None:
        used, cap = format_size(self.used_bytes()), format_size(self.rules.cap_bytes)
        match step:
            case Step.REFUSE:
                logger.error("memory-cap is reached used=%s cap=%s: new samples are refused, raise it", used, cap)
            case Step.DROP | Step.DROP_PROTECTED:
                affected = "of running jobs too" if step == Step.DROP_PROTECTED else "none of running jobs"
                logger.error("memory-cap made old samples go, %s: used=%s cap=%s, raise it", affected, used, cap)
            case Step.TO_DISK | Step.COMPRESS:
                logger.warning("near memory-cap step=%s used=%s cap=%s", step.name.lower(), used, cap)
            case Step.NOTHING:
                logger.info("memory is well below memory-cap again used=%s cap=%s", used, cap)

    def evict(self, use: WindowRef) -> int:
        """Keep what is saved of a window on disk only; returns the bytes freed."""
        with self._memory:
            return self._table.columns.grids[use.grid].windows.evict(use.window)

    def windows_in_memory(self) -> list[WindowRef]:
        """All windows whose samples take memory."""
        with self._memory:
            return [
                WindowRef(index, state.window, state.end_s)
                for index, grid in enumerate(self._table.columns.grids)
                for state in grid.windows.window_states()
                if state.hot_bytes or state.cold_bytes
            ]

    def drop_window(self, use: WindowRef, holds: RetentionHolds) -> int:
        """Forget what of a window takes memory, except for hosts in `holds`; returns the bytes freed."""
        with self._memory:
            sids, from_s = _held_series(self._table, holds)
            here = (self._table.columns.grid_of[sids] == use.grid) & (from_s < use.end_s)
            return self._table.columns.grids[use.grid].windows.drop(use.window, self._table.columns.rows_of(sids[here]))


class _StoreUnderCap:
    """The store as `capacity` sees it."""

    def __init__(self, upkeep: Upkeep, now_s: int, holds: RetentionHolds, trusted_s: int) -> None:
        self._upkeep = upkeep
        self._now_s, self._trusted_s = now_s, trusted_s
        self._holds = holds
        self.dropped_until_s = 0

    def used_bytes(self) -> int:
        return self._upkeep.used_bytes()

    def compress(self) -> int:
        """Compress all windows that have ended, and save them, so that they can be left on disk only."""
        freed = self._upkeep.compress(self._now_s)
        self._upkeep.snapshot(self._trusted_s)
        return freed

    def windows(self) -> Sequence[WindowRef]:
        """Windows that take memory: to forget one that is on disk only would gain nothing."""
        return self._upkeep.windows_in_memory()

    def evict(self, use: WindowRef) -> int:
        return self._upkeep.evict(use)

    def drop(self, use: WindowRef, *, protected: bool) -> int:
        self.dropped_until_s = max(self.dropped_until_s, use.end_s)
        return self._upkeep.drop_window(use, {} if protected else self._holds)


def free_samples(table: SeriesTable, before_s: int, holds: RetentionHolds) -> int:
    """Drop blocks of windows that ended by `before_s`, except those with rows of hosts in `holds`; the bytes freed."""
    sids, kept_from_s = _held_series(table, holds)
    freed = 0
    for index, grid in enumerate(table.columns.grids):
        here = table.columns.grid_of[sids] == index
        freed += grid.windows.free(before_s, table.columns.rows_of(sids[here]), kept_from_s[here])
    return freed


def _held_series(table: SeriesTable, holds: RetentionHolds) -> tuple[Int64Array, Int64Array]:
    """The series of hosts in `holds`, and from when on their samples are needed."""
    sids: list[Int64Array] = [np.empty(0, np.int64)]
    times: list[Int64Array] = [np.empty(0, np.int64)]
    for cluster, hosts in holds.items():
        for name, from_s in hosts.items():
            host = table.host(cluster, name)
            if host is not None:
                sids.append(host.sids())
                times.append(np.full(len(sids[-1]), from_s))
    return np.concatenate(sids), np.concatenate(times)
