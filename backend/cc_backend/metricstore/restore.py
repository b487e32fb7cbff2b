"""Reads the write-ahead log back into the series table and its grids."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from cc_backend.metricstore.model import Identity, Ids, RestoreState
from cc_backend.metricstore.series import SeriesTable
from cc_backend.metricstore.wal import Segment
from cc_backend.metricstore.walformat import BatchRecord, Damage, Record, UnknownVersionError, read_records

logger = logging.getLogger(__name__)

_PORTION = 200_000  # samples put into the grids at once, so that many small batches cost as little as few large ones
_LARGE = 2_000  # a batch with one time and so many samples goes in as it is
_NOT_KEPT = -1


def restore(segments: Sequence[Segment], table: SeriesTable) -> RestoreState:
    """Put what the segments hold into the table's grids. Damage is told and skipped; it never stops the start."""
    state = RestoreState()
    for segment in segments:
        restore_segment(segment, table, state)
    return state


def restore_segment(segment: Segment, table: SeriesTable, state: RestoreState) -> None:
    """Put one segment into the grids, and learn which times it holds."""
    sid_of = np.empty(0, np.int64)
    small: list[BatchRecord] = []
    waiting = 0
    for record in segment_records(segment, state):
        if not isinstance(record, BatchRecord):
            sid_of = _placed(sid_of, record.first_id, [_sid(identity, table) for identity in record.identities])
            continue
        if not len(record.ids):
            continue
        _note_times(segment, record)
        batch = _translated(record, sid_of)
        state.samples += len(batch.ids)
        state.skipped_samples += len(record.ids) - len(batch.ids)
        large = isinstance(batch.times_s, int) and len(batch.ids) >= _LARGE
        if not large and len(batch.ids):
            small.append(batch)
            waiting += len(batch.ids)
        if small and (large or waiting >= _PORTION):
            _put(_joined(small), table)
            small, waiting = [], 0
        if large:
            _put(batch, table)
    if small:
        _put(_joined(small), table)


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


def _sid(identity: Identity, table: SeriesTable) -> int:
    if table.spec(identity.cluster, identity.metric) is None:
        return _NOT_KEPT
    return max(table.register(identity), _NOT_KEPT)


def _placed(sid_of: Ids, first_id: int, sids: list[int]) -> Ids:
    """The translation with some more entries; a gap is left where a damaged record was."""
    end = first_id + len(sids)
    if end > len(sid_of):
        sid_of = np.concatenate([sid_of, np.full(max(end - len(sid_of), len(sid_of)), _NOT_KEPT, np.int64)])
    sid_of[first_id:end] = sids
    return sid_of


def _translated(record: BatchRecord, sid_of: Ids) -> BatchRecord:
    """The record with sids in place of the segment's own numbers, without samples of series that are not kept."""
    known = record.ids < len(sid_of)
    sids = np.full(len(record.ids), _NOT_KEPT, np.int64)
    sids[known] = sid_of[record.ids[known]]
    kept = sids != _NOT_KEPT
    if kept.all():
        return BatchRecord(sids, record.values, record.times_s)
    times = record.times_s if isinstance(record.times_s, int) else record.times_s[kept]
    return BatchRecord(sids[kept], record.values[kept], times)


def _note_times(segment: Segment, record: BatchRecord) -> None:
    if isinstance(record.times_s, int):
        segment.holds(record.times_s, record.times_s)
    else:
        segment.holds(int(record.times_s.min()), int(record.times_s.max()))


def _joined(batches: list[BatchRecord]) -> BatchRecord:
    times = [np.full(len(b.ids), b.times_s) if isinstance(b.times_s, int) else b.times_s for b in batches]
    return BatchRecord(
        np.concatenate([batch.ids for batch in batches]),
        np.concatenate([batch.values for batch in batches]),
        np.concatenate(times),
    )


def _put(batch: BatchRecord, table: SeriesTable) -> None:
    table.put(batch.ids, batch.values, batch.times_s)
