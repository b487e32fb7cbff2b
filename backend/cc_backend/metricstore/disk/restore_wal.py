"""Restores segments of the write-ahead log, newest first, so that the newest samples can be queried first.

Only slots without a sample are filled: what is there already came later. Within a segment too the batches are stored
from the last to the first, so that the last write of a slot wins, as it did at ingest.
"""

import hashlib
import logging
import threading
from collections.abc import Iterator

import numpy as np

from cc_backend.metricstore.disk.key_reader import KeyReader
from cc_backend.metricstore.disk.wal.wal_format import (
    BatchRecord,
    Damage,
    Record,
    SeriesRecord,
    UnknownVersionError,
    read_records,
)
from cc_backend.metricstore.disk.wal.write_ahead_log import Segment
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import Int64Array, RestoreState

logger = logging.getLogger(__name__)

_SAMPLES_AT_ONCE = 100_000  # small batches are stored together, so that many cost as little as few large ones
_NOT_KEPT = -1
_MAX_SERIES = 1 << 24  # no segment has room for more; a higher number is damage


class WalRestorer:
    """Stores segments in the grids of a table; `lock` guards the table and is released between portions.

    Segments define the same series again and again, mostly in the same order: their sids are cached by a digest.
    """

    def __init__(
        self,
        table: SeriesTable,
        lock: "threading.RLock",
        state: RestoreState,
        *,
        keys: KeyReader,
    ) -> None:
        self._table = table
        self._lock = lock
        self._state = state
        self._keys = keys
        self._sids: dict[bytes, Int64Array] = {}

    def restore(self, segment: Segment) -> None:
        """Store one segment in the grids, and record the range of its times; damage is logged and skipped."""
        unread = self._state.unread_files
        sid_of = np.empty(0, np.int64)
        portions: list[list[BatchRecord]] = [[]]
        waiting = 0
        for record in read_segment(segment, self._state):
            if not isinstance(record, BatchRecord):
                sid_of = _with_sids(sid_of, record.first_id, self._find_sids(record))
            elif len(record.ids):
                if waiting >= _SAMPLES_AT_ONCE:
                    portions.append([])
                    waiting = 0
                portions[-1].append(record)
                waiting += len(record.ids)
        sid_of = np.append(sid_of, _NOT_KEPT)  # for all numbers beyond: their definition was damaged
        while portions:
            portion = portions.pop()
            if portion:
                self._store_samples(portion[0] if len(portion) == 1 else _concatenate(portion), sid_of, segment)
        segment.in_memory = self._state.unread_files == unread

    def _find_sids(self, record: SeriesRecord) -> Int64Array:
        """The sids of the series of a record, -1 for series that are not configured."""
        digest = hashlib.blake2b(record.text, digest_size=16).digest()
        sids = self._sids.get(digest)
        if sids is None:
            sids = self._table.register_keys(self._keys.read(record.keys))
            sids = self._sids[digest] = np.maximum(sids, _NOT_KEPT).astype(np.int32)
        return sids

    def _store_samples(self, record: BatchRecord, sid_of: Int64Array, segment: Segment) -> None:
        """Store samples under their sids; samples of series that are not configured are counted."""
        if isinstance(record.times_s, int):
            segment.include_times(record.times_s, record.times_s)
        else:
            segment.include_times(int(record.times_s.min()), int(record.times_s.max()))
        sids = sid_of[np.minimum(record.ids, len(sid_of) - 1)]
        values, times_s = record.values, record.times_s
        if int(sids.min()) == _NOT_KEPT:
            kept = sids != _NOT_KEPT
            self._state.skipped_samples += len(sids) - int(np.count_nonzero(kept))
            sids, values = sids[kept], values[kept]
            times_s = times_s if isinstance(times_s, int) else times_s[kept]
        self._state.samples += len(sids)
        if len(sids):
            with self._lock:
                self._table.columns.fill_empty(sids, values, times_s)


def read_segment(segment: Segment, state: RestoreState) -> Iterator[Record]:
    """The readable records of a segment; damage is counted and logged."""
    damage = Damage()
    try:
        data = segment.path.read_bytes()
        yield from read_records(data, damage)
    except (OSError, UnknownVersionError) as error:
        state.damaged_files += 1
        state.unread_files += 1
        logger.error("file=%s cannot be restored: %s", segment.path, error)  # noqa: TRY400 - expected
        return
    state.files += 1
    if damage.skipped_bytes:
        state.damaged_files += 1
        state.damaged_bytes += damage.skipped_bytes
        logger.warning(
            "file=%s is damaged: skipped_bytes=%d of size_bytes=%d first_offset=%d; all other records were read",
            segment.path, damage.skipped_bytes, len(data), damage.first_offset,
        )  # fmt: skip


def _with_sids(sid_of: Int64Array, first_id: int, sids: Int64Array) -> Int64Array:
    """`sid_of` with the entries of one more record; where a damaged record was, entries stay -1."""
    end = first_id + len(sids)
    if end > _MAX_SERIES:
        return sid_of
    if end > len(sid_of):
        sid_of = np.concatenate([sid_of, np.full(max(end - len(sid_of), len(sid_of)), _NOT_KEPT, np.int64)])
    sid_of[first_id:end] = sids
    return sid_of


def _concatenate(records: list[BatchRecord]) -> BatchRecord:
    """Several records as one, in order."""
    lengths = [len(record.ids) for record in records]
    times = [record.times_s for record in records]
    if all(isinstance(time, int) for time in times):
        times_s = np.repeat(np.array(times, np.int64), lengths)
    else:
        times_s = np.concatenate([np.broadcast_to(time, n) for time, n in zip(times, lengths, strict=True)])
    ids, values = (np.concatenate(columns) for columns in zip(*((r.ids, r.values) for r in records), strict=True))
    return BatchRecord(ids, values, times_s)
