"""Reads the write-ahead log back into the series table and its grids."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from cc_backend.metricstore.model import Ids, RestoreState
from cc_backend.metricstore.series import SeriesTable
from cc_backend.metricstore.wal import Segment
from cc_backend.metricstore.walformat import BatchRecord, Damage, Record, UnknownVersionError, identity_of, read_records

logger = logging.getLogger(__name__)

_PORTION = 200_000  # samples put into the grids at once, so that many small batches cost as little as few large ones
_LARGE = 2_000  # a batch with one time and so many samples goes in as it is
_NOT_KEPT = -1


def restore(segments: Sequence[Segment], table: SeriesTable) -> RestoreState:
    """Put what the segments hold into the table's grids. Damage is told and skipped; it never stops the start."""
    state = RestoreState()
    sids = _Sids(table)
    for segment in segments:
        _restore(segment, table, sids, state)
    return state


class _Sids(dict[bytes, int]):
    """Key of the log -> sid; segments define the same series again and again."""

    def __init__(self, table: SeriesTable) -> None:
        super().__init__()
        self._table = table

    def __missing__(self, key: bytes) -> int:
        identity = identity_of(key)
        sid = _NOT_KEPT
        if identity is not None and self._table.spec(identity.cluster, identity.metric) is not None:
            sid = max(self._table.register(identity), _NOT_KEPT)
        self[key] = sid
        return sid


def _restore(segment: Segment, table: SeriesTable, sids: _Sids, state: RestoreState) -> None:
    """Put one segment into the grids, and learn which times it holds."""
    sid_of = np.empty(0, np.int64)
    small: list[BatchRecord] = []
    waiting = 0
    for record in segment_records(segment, state):
        if not isinstance(record, BatchRecord):
            sid_of = _placed(sid_of, record.first_id, [sids[key] for key in record.keys])
            continue
        large = isinstance(record.times_s, int) and len(record.ids) >= _LARGE
        if not large and len(record.ids):
            small.append(record)
            waiting += len(record.ids)
        if small and (large or waiting >= _PORTION):
            _put(_joined(small), sid_of, segment, table, state)
            small, waiting = [], 0
        if large:
            _put(record, sid_of, segment, table, state)
    if small:
        _put(_joined(small), sid_of, segment, table, state)


def segment_records(segment: Segment, state: RestoreState) -> Iterator[Record]:
    """The readable records of a segment; what is damaged is counted and told."""
    damage = Damage()
    try:
        data = segment.path.read_bytes()
        yield from read_records(data, damage)
    except (OSError, UnknownVersionError) as error:
        state.damaged_files += 1
        logger.error("file=%s is left out: %s", segment.path, error)  # noqa: TRY400 the text says it all
        return
    state.files += 1
    if damage.skipped_bytes:
        state.damaged_files += 1
        state.damaged_bytes += damage.skipped_bytes
        logger.warning(
            "file=%s is damaged: skipped_bytes=%d of size_bytes=%d first_offset=%d; all other records were read",
            segment.path, damage.skipped_bytes, len(data), damage.first_offset,
        )  # fmt: skip


def _placed(sid_of: Ids, first_id: int, sids: list[int]) -> Ids:
    """The translation with some more entries; a gap is left where a damaged record was."""
    end = first_id + len(sids)
    if end > len(sid_of):
        sid_of = np.concatenate([sid_of, np.full(max(end - len(sid_of), len(sid_of)), _NOT_KEPT, np.int64)])
    sid_of[first_id:end] = sids
    return sid_of


def _joined(records: list[BatchRecord]) -> BatchRecord:
    """Many records as one, in order."""
    lengths = [len(record.ids) for record in records]
    times = [record.times_s for record in records]
    if all(isinstance(time, int) for time in times):
        times_s = np.repeat(np.array(times, np.int64), lengths)
    else:
        times_s = np.concatenate([np.broadcast_to(time, n) for time, n in zip(times, lengths, strict=True)])
    ids, values = (np.concatenate(columns) for columns in zip(*((r.ids, r.values) for r in records), strict=True))
    return BatchRecord(ids, values, times_s)


def _put(record: BatchRecord, sid_of: Ids, segment: Segment, table: SeriesTable, state: RestoreState) -> None:
    """Store samples under their sids; those of series that are not kept are counted."""
    if isinstance(record.times_s, int):
        segment.holds(record.times_s, record.times_s)
    else:
        segment.holds(int(record.times_s.min()), int(record.times_s.max()))
    if int(record.ids.max()) >= len(sid_of):  # the definition was damaged
        sid_of = _placed(sid_of, int(record.ids.max()), [_NOT_KEPT])
    sids = sid_of[record.ids]
    values, times_s = record.values, record.times_s
    if int(sids.min()) == _NOT_KEPT:
        kept = sids != _NOT_KEPT
        state.skipped_samples += len(sids) - int(np.count_nonzero(kept))
        sids, values = sids[kept], values[kept]
        times_s = times_s if isinstance(times_s, int) else times_s[kept]
    state.samples += len(sids)
    if len(sids):
        table.put(sids, values, times_s)
