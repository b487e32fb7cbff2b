"""Retention on disk: removes old segments and snapshots, except for samples that running jobs still need."""

import errno
import logging
import os
from collections.abc import Mapping

import numpy as np

from cc_backend.metricstore.blocks.windows import Lock
from cc_backend.metricstore.disk.restore_wal import read_segment
from cc_backend.metricstore.disk.snapshot.snapshot_folder import SnapshotFolder, window_end_s, window_number
from cc_backend.metricstore.disk.snapshot.snapshot_writer import relocate_saved
from cc_backend.metricstore.disk.wal.wal_format import (
    BatchRecord,
    decode_key,
    encode_batch,
    encode_key,
    encode_series,
    file_header,
)
from cc_backend.metricstore.disk.wal.write_ahead_log import Segment, WriteAheadLog, sync_directory, write_all
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import BoolArray, Identity, RestoreState
from cc_backend.model import RetentionHolds

logger = logging.getLogger(__name__)


def trim_segments(log: WriteAheadLog, *, before_s: int, holds: RetentionHolds) -> int:
    """Remove closed segments whose samples are all before `before_s`; the bytes that this freed on disk.

    A segment with samples that are held is rewritten with only these. If the disk fails, it stays as it is.
    """
    freed = 0
    needed = {(cluster, host): from_s for cluster, hosts in holds.items() for host, from_s in hosts.items()}
    for segment in log.closed_segments():
        # A file that could not be read is kept as long as its samples would be.
        newest_s = segment.written_s if segment.newest_s is None else segment.newest_s
        if newest_s >= before_s:
            continue
        wanted = {host: from_s for host, from_s in needed.items() if from_s <= newest_s}
        if segment.hosts is not None:
            wanted = {host: from_s for host, from_s in wanted.items() if host in segment.hosts}
            if segment.hosts == wanted.keys():
                continue
        before_bytes = segment.size_bytes
        try:
            if not wanted or not rewrite_segment(segment, wanted):
                log.remove_segment(segment)
                freed += before_bytes
                logger.info("removed file=%s size_bytes=%d newest_s=%d", segment.path, before_bytes, newest_s)
            else:
                freed += before_bytes - segment.size_bytes
                logger.info("rewrote file=%s for hosts=%d of running jobs", segment.path, len(wanted))
        except OSError as error:
            logger.error("file=%s cannot be removed although it is too old: %s", segment.path, error.strerror)  # noqa: TRY400
    return freed


def trim_snapshots(folder: SnapshotFolder, table: SeriesTable, lock: Lock, *, before_s: int) -> int:
    """Remove chunks that ended by `before_s` and are no longer in memory; the bytes that this freed on disk.

    `lock` guards the table. A file some of whose chunks are in memory is rewritten with only these.
    """
    freed = 0
    for name in folder.windows():
        if window_end_s(name) > before_s:
            continue
        with lock:
            grid = next((grid for grid in table.columns.grids if grid.timestep_s == name.timestep_s), None)
            wanted = frozenset(() if grid is None else grid.windows.chunks(window_number(name)))
        try:
            there = folder.chunks(name)
            if there and there <= wanted:
                continue
            before_bytes = folder.file_size_bytes(name)
            entries = folder.keep_only(name, wanted & there)
            freed += before_bytes - folder.file_size_bytes(name)
            if grid is not None:
                parts = folder.payload_slices(name, entries) if entries else {}
                with lock:
                    relocate_saved(grid, window_number(name), wanted & there, entries, parts)
        except OSError as error:
            logger.error("file=%s cannot be removed although it is too old: %s", folder.path(name), error.strerror)  # noqa: TRY400
    return freed


def rewrite_segment(segment: Segment, held_from_s: Mapping[tuple[str, str], int]) -> bool:
    """Leave only the samples that are held; False if there are none, and then the file is unchanged.

    Raises OSError if the file cannot be read or written.
    """
    state = RestoreState()
    records: list[bytes] = []
    identities: dict[int, Identity | None] = {}
    new_ids: dict[int, int] = {}
    hosts: set[tuple[str, str]] = set()
    for record in read_segment(segment, state):
        if not isinstance(record, BatchRecord):
            identities.update(enumerate(map(decode_key, record.keys), start=record.first_id))
            continue
        keep = _held_samples(record, identities, held_from_s)
        if not keep.any():
            continue
        ids = record.ids[keep]
        for old in np.unique(ids).tolist():
            identity = identities.get(old)
            if identity is not None and old not in new_ids:
                hosts.add((identity.cluster, identity.host))
                new_ids[old] = len(new_ids)
                records.append(encode_series(new_ids[old], [encode_key(identity)]))
        times = record.times_s if isinstance(record.times_s, int) else record.times_s[keep]
        translated = np.array([new_ids[old] for old in ids.tolist()], np.int64)
        records.append(encode_batch(translated, record.values[keep], times))
    if state.unread_files:  # logged already; the unreadable samples may be those that are held
        raise OSError(errno.EIO, "it cannot be read")
    if not records:
        return False
    data = b"".join((file_header(segment.oldest_s or 0), *records))
    _replace_file(segment, data)
    segment.size_bytes = len(data)
    segment.hosts = frozenset(hosts)
    return True


def _held_samples(
    record: BatchRecord, identities: Mapping[int, Identity | None], held_from_s: Mapping[tuple[str, str], int]
) -> BoolArray:
    unique, where = np.unique(record.ids, return_inverse=True)
    never = np.iinfo(np.int64).max
    from_s = np.full(len(unique), never)
    for index, number in enumerate(unique.tolist()):
        identity = identities.get(number)
        if identity is not None:
            from_s[index] = held_from_s.get((identity.cluster, identity.host), never)
    return np.asarray(from_s[where] <= record.times_s)


def _replace_file(segment: Segment, data: bytes) -> None:
    """Replace the content of a file atomically: after a crash it is the old or the new one."""
    temporary = segment.path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_all(descriptor, data, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(segment.path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(segment.path.parent)
