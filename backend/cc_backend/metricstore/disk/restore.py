"""Brings back what was in memory before the start: from the write-ahead log, then from snapshots, newest first.

Both may hold the same samples. As only empty slots are filled, in this order the last sample of a slot is the one that
counts, and what comes in meanwhile counts before all of them.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from cc_backend.metricstore.disk.restore_snapshots import SnapshotRestorer
from cc_backend.metricstore.disk.restore_wal import WalRestorer
from cc_backend.metricstore.disk.snapshot.snapshot_folder import SnapshotFolder
from cc_backend.metricstore.disk.wal.write_ahead_log import Segment
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import RestoreState

logger = logging.getLogger(__name__)


def restore(
    segments: Sequence[Segment],
    folder: SnapshotFolder,
    table: SeriesTable,
    state: RestoreState,
    *,
    ingest: "threading.RLock",
    memory: "threading.RLock",
    memory_budget_bytes: int = 0,
    on_locked: Callable[[], None] = lambda: None,
    stopping: Callable[[], bool] = lambda: False,
) -> bool:
    """Put segments (oldest first) and snapshots into the table's grids; whether all of it was looked at.

    Batches wait (`ingest` is held) until known series have the rows that they had before; `on_locked` is called when
    they do wait. Damage is told and skipped; it never ends the restore. `state` tells the progress. What is beyond
    `memory_budget_bytes` of memory (if not 0) is left on disk only.
    """
    began_s = time.monotonic()
    windows = SnapshotRestorer(table, memory, folder, state, memory_budget_bytes=memory_budget_bytes, stopping=stopping)
    log = WalRestorer(table, memory, state, keys=windows.keys)
    with ingest:
        on_locked()
        windows.reserve_rows()
    for segment in reversed(segments):
        if stopping():
            return False
        try:
            log.restore(segment)
        except Exception:  # a defect that one file brings to light must not cost all the others
            logger.exception("file=%s met a defect and is left alone", segment.path)
            state.damaged_files += 1
        state.restored_bytes += segment.size_bytes
    for name in folder.windows():
        if stopping():
            return False
        windows.restore(name)
    state.seconds = time.monotonic() - began_s
    return not stopping()
