"""Restores the memory of before the start: from the write-ahead log, then from snapshots, newest first.

Both may hold the same samples. Only empty slots are filled, so in this order the last write of a slot wins, and samples
that come in meanwhile win over both.
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
    """Fill the table's grids from segments (oldest first) and snapshots; False if `stopping` ended it early.

    `ingest` is held until known series have their former rows; `on_locked` is called once it is. Damage is logged and
    skipped, it never ends the restore. `state` has the progress. Samples beyond `memory_budget_bytes` (0: no limit)
    stay on disk only.
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
        except Exception:  # a bug that one file triggers must not cost the others
            logger.exception("file=%s could not be restored because of a bug; it is left unchanged", segment.path)
            state.damaged_files += 1
        state.restored_bytes += segment.size_bytes
    for name in folder.windows():
        if stopping():
            return False
        windows.restore(name)
    state.seconds = time.monotonic() - began_s
    return not stopping()
