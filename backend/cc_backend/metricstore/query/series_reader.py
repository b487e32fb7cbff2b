"""Reads stored series: which series a query selects, and their samples or statistics over a range.

Everything is on the wall-clock grid of the metric's timestep, so that series always line up. Nothing here depends on
the current time.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cc_backend.errors import InvalidInput, TooLarge
from cc_backend.metricstore.blocks.codec import choose_codec
from cc_backend.metricstore.blocks.grid import Grid
from cc_backend.metricstore.blocks.hot_block import summarise
from cc_backend.metricstore.blocks.matrix import RowSummary
from cc_backend.metricstore.blocks.two_phase_read import PendingRead
from cc_backend.metricstore.blocks.windows import Lock
from cc_backend.metricstore.index.series_table import Host, SeriesTable
from cc_backend.metricstore.model import HostPart, Int64Array, MetricSpec, Query, StoredSeries, StoredStatistic
from cc_backend.model import Samples

# From coarse to fine: a query for the host is answered from the first type that has the metric, and from no other.
PART_TYPES = ("socket", "die", "memoryDomain", "llc", "core", "hwthread", "accelerator")
_MAX_BATCH_SERIES = 1024  # looked up while the lock is held once
_MAX_BATCH_SAMPLES = 2_000_000  # copied while the lock is held once
_MAX_COMBINED_SAMPLES = 500_000  # series that are combined should stay in the cache of the processor
_DIGITS = re.compile(r"(\d+)")


class SlotRange(NamedTuple):
    """A half-open range of time, widened to whole slots of a timestep."""

    first_slot: int
    slots: int
    timestep_s: int

    @property
    def from_s(self) -> int:
        """Begin of the first slot, Unix seconds."""
        return self.first_slot * self.timestep_s


@dataclass(frozen=True, slots=True)
class SelectedSeries:
    """One series of a response: a stored one, or several to be combined."""

    id: str | None
    subtype_id: str | None
    sids: tuple[int, ...]
    combined: bool


@dataclass(slots=True)
class _Target:
    """One series of the response and the row of its query."""

    row: int
    selection: SelectedSeries
    query: Query
    spec: MetricSpec
    offset_s: int = -1


@dataclass(slots=True)
class _ReadBatch:
    """Queries that are read at once: their target series, faults and pending reads.

    A fault is the index of the query, a text, and the timestep of its metric, 0 if unknown.
    """

    faults: list[tuple[int, str, int]] = field(default_factory=list)
    targets: list[_Target] = field(default_factory=list)
    samples: list[tuple[list[_Target], SlotRange, PendingRead[Samples]]] = field(default_factory=list)
    summaries: list[tuple[list[_Target], PendingRead[RowSummary]]] = field(default_factory=list)
    queries: int = 0
    own_samples: int = 0
    combined_samples: int = 0

    @property
    def size(self) -> int:
        """Number of samples to read."""
        return self.own_samples + self.combined_samples

    @property
    def has_room(self) -> bool:
        """Whether another query fits into this batch."""
        few = max(self.queries, len(self.targets)) < _MAX_BATCH_SERIES
        return few and self.size < _MAX_BATCH_SAMPLES and self.combined_samples < _MAX_COMBINED_SAMPLES


def slot_range(from_s: int, to_s: int, timestep_s: int) -> SlotRange:
    """The slots that overlap [from_s, to_s)."""
    first = from_s // timestep_s
    return SlotRange(first, max(-(-to_s // timestep_s) - first, 0), timestep_s)


# Selection


def select_series(host: Host, query: Query) -> list[SelectedSeries]:
    """The series that a query selects, in the order of its ids; ids without series are skipped."""
    parts = host.metrics.get(query.metric)
    if not parts:
        return []
    if query.type in (None, "", "node"):
        selections = _select_of_host(parts, query)
    elif query.aggregate and not query.subtype:  # without an object for each of many parts
        level = _series_of_type(parts, query.type or "")
        sids = tuple(sid for number in _ids(level, query) for sid in _sids_of_part(level, number))
        return [SelectedSeries(None, None, sids, combined=True)] if sids else []
    else:
        level = _series_of_type(parts, query.type or "")
        selections = [found for number in _ids(level, query) for found in _select_of_part(level, query, number)]
    if query.aggregate and selections:
        return [SelectedSeries(None, None, tuple(sid for found in selections for sid in found.sids), combined=True)]
    return selections


def _select_of_host(parts: dict[HostPart, int], query: Query) -> list[SelectedSeries]:
    if query.subtype:
        return _select_subtypes(_series_of_type(parts, "").get("", {}), query, "")
    own = parts.get(HostPart())
    if own is not None:
        return [SelectedSeries(None, None, (own,), combined=False)]
    sids = _coarsest_sids(parts)
    return [SelectedSeries(None, None, sids, combined=True)] if sids else []


def _coarsest_sids(parts: dict[HostPart, int]) -> tuple[int, ...]:
    """All series of the coarsest type. Adding up several types would count the same thing twice."""
    types = {part.type for part in parts}
    order = ["", *PART_TYPES, *sorted(types.difference(PART_TYPES, [""]))]
    level = _series_of_type(parts, next(name for name in order if name in types))
    return tuple(sid for number in _natural_order(level) for sid in _sids_of_part(level, number))


def _series_of_type(parts: dict[HostPart, int], kind: str) -> dict[str, dict[tuple[str, str], int]]:
    """The series of one type: id -> (subtype, subtype id) -> sid."""
    level: dict[str, dict[tuple[str, str], int]] = {}
    for part, sid in parts.items():
        if part.type == kind:
            level.setdefault(part.type_id, {})[part[2:]] = sid
    return level


def _sids_of_part(level: Mapping[str, Mapping[tuple[str, str], int]], number: str) -> tuple[int, ...]:
    """The series of one part: its own, else those of all its subtypes."""
    below = level.get(number, {})
    own = below.get(("", ""))
    return tuple(below.values()) if own is None else (own,)


def _ids(level: Iterable[str], query: Query) -> Iterable[str]:
    return _natural_order(level) if query.type_ids is None else query.type_ids


def _select_of_part(
    level: Mapping[str, Mapping[tuple[str, str], int]], query: Query, number: str
) -> list[SelectedSeries]:
    if query.subtype:
        return _select_subtypes(level.get(number, {}), query, number)
    sids = _sids_of_part(level, number)
    return [SelectedSeries(number, None, sids, combined=len(sids) > 1)] if sids else []


def _select_subtypes(below: Mapping[tuple[str, str], int], query: Query, number: str) -> list[SelectedSeries]:
    subtype = query.subtype or ""
    names = [name for kind, name in below if kind == subtype]
    wanted = _natural_order(names) if query.subtype_ids is None else query.subtype_ids
    found = ((name, below.get((subtype, name))) for name in wanted)
    return [SelectedSeries(number or None, name, (sid,), combined=False) for name, sid in found if sid is not None]


def _natural_order(ids: Iterable[str]) -> list[str]:
    """Ids in natural order: 2 before 10."""
    return sorted(ids, key=lambda name: [(0, int(x), "") if x.isdecimal() else (1, 0, x) for x in _DIGITS.split(name)])


# Reading


class QueryReader:
    """Runs queries of one cluster over one range against a series table, which `lock` guards.

    The lock is held while series are looked up and hot samples are copied, for a limited number of queries at a time.
    Compressed samples, in memory and on disk, are read without it, so that neither a large response nor a slow disk
    delays ingest.
    """

    def __init__(
        self, table: SeriesTable, lock: Lock, cluster: str, *, from_s: int, to_s: int, limit_samples: int
    ) -> None:
        if from_s > to_s:
            raise InvalidInput(f"the range begins at {from_s}, after its end at {to_s}")
        self._table = table
        self._lock = lock
        self._cluster = cluster
        self._from_s, self._to_s = from_s, to_s
        self._limit_samples = limit_samples
        self._samples = 0

    def read_series(self, queries: Sequence[Query]) -> list[list[StoredSeries]]:
        """The series of each query, on the full grid of the range."""
        rows: list[list[StoredSeries]] = [[] for _ in queries]
        for batch in self._read_in_batches(queries, statistics=False):
            for row, text, timestep_s in batch.faults:
                rows[row].append(StoredSeries(None, self._from_s, timestep_s, np.empty(0, np.float32), error=text))
            for target, span, samples in _split_by_target(batch.samples):
                rows[target.row].append(_to_stored_series(target, span, samples))
        return rows

    def read_statistics(self, queries: Sequence[Query]) -> list[list[StoredStatistic]]:
        """The statistics of the series of each query; only combined series are read into memory as a whole."""
        rows: list[list[StoredStatistic]] = [[] for _ in queries]
        for batch in self._read_in_batches(queries, statistics=True):
            for row, text, timestep_s in batch.faults:
                rows[row].append(StoredStatistic(None, None, None, None, error=text, timestep_s=timestep_s))
            by_target: dict[int, StoredStatistic] = {}
            for group, reading in batch.summaries:
                columns = (column.tolist() for column in reading.complete())
                for target, low, high, total, count in zip(group, *columns, strict=True):
                    by_target[id(target)] = _to_stored_statistic(target, low, high, total, count)
            for target, span, samples in _split_by_target(batch.samples):
                data = _to_stored_series(target, span, samples, scale=False).data[None, :]
                by_target[id(target)] = _to_stored_statistic(target, *(float(column[0]) for column in summarise(data)))
            for target in batch.targets:
                rows[target.row].append(by_target[id(target)])
        return rows

    def _read_in_batches(self, queries: Sequence[Query], *, statistics: bool) -> Iterator[_ReadBatch]:
        """The queries in order, in batches; hot samples of each batch have been copied."""
        row = 0
        while row < len(queries):
            batch = _ReadBatch()
            with self._lock:
                while row < len(queries) and batch.has_room:
                    self._add_query(row, queries[row], batch, statistics=statistics)
                    row += 1
                self._samples += batch.size
                if self._samples > self._limit_samples:
                    text = f"the answer needs over {self._limit_samples} samples, which is the limit; ask for less"
                    raise TooLarge(text)
                self._begin_reads(batch, statistics=statistics)
            yield batch

    def _add_query(self, row: int, query: Query, batch: _ReadBatch, *, statistics: bool) -> None:
        """Add the target series of a query, or its fault, to the batch."""
        batch.queries += 1
        if self._cluster not in self._table.metrics:
            batch.faults.append((row, f"cluster {self._cluster!r} is not configured", 0))
            return
        spec = self._table.spec(self._cluster, query.metric, query.host)
        if spec is None:
            batch.faults.append((row, self._unconfigured_text(query), 0))
            return
        host = self._table.host(self._cluster, query.host)
        found = [] if host is None else select_series(host, query)
        if not spec.aggregation and any(len(selection.sids) > 1 for selection in found):
            text = f"metric {query.metric!r} has no aggregation: parts of {query.host!r} cannot be combined"
            batch.faults.append((row, text, spec.timestep_s))
            return
        slots = self._slots_to_read(spec.timestep_s, statistics=statistics).slots
        for selection in found:
            batch.targets.append(_Target(row, selection, query, spec))
            if selection.combined:
                batch.combined_samples += slots * len(selection.sids)
            elif not statistics:
                batch.own_samples += slots

    def _unconfigured_text(self, query: Query) -> str:
        owner = f"cluster {self._cluster!r}"
        if self._table.spec(self._cluster, query.metric) is not None:
            owner = f"host {query.host!r} of {owner}"
        return f"metric {query.metric!r} is not configured for {owner}"

    def _begin_reads(self, batch: _ReadBatch, *, statistics: bool) -> None:
        """Copy the hot samples of all targets, and record where the compressed ones lie."""
        targets = batch.targets
        if statistics:
            targets = [target for target in batch.targets if target.selection.combined]
            own = [target for target in batch.targets if not target.selection.combined]
            for grid, span, group in self._by_grid(own, statistics=statistics):
                batch.summaries.append((group, grid.start_summary(self._rows(group), span.first_slot, span.slots)))
        for grid, span, group in self._by_grid(targets, statistics=statistics):
            if not statistics:
                self._set_offsets(group, span.timestep_s)
            batch.samples.append((group, span, grid.start_read(self._rows(group), span.first_slot, span.slots)))

    def _set_offsets(self, targets: list[_Target], timestep_s: int) -> None:
        """Set where in their slots the samples of each target lie; combined parts of a host are sampled together."""
        first = np.array([target.selection.sids[0] for target in targets], np.int64)
        for target, offset_s in zip(targets, self._table.columns.slot_offsets(first, timestep_s).tolist(), strict=True):
            target.offset_s = offset_s

    def _slots_to_read(self, timestep_s: int, *, statistics: bool) -> SlotRange:
        """The slots to read: the whole range, for statistics only as far as the grid has samples."""
        span = slot_range(self._from_s, self._to_s, timestep_s)
        if not statistics:
            return span
        held = self._table.columns.grids[self._table.columns.grid_index(timestep_s)].windows.held_slots()
        first = max(span.first_slot, held.start)
        return SlotRange(first, max(min(span.first_slot + span.slots, held.stop) - first, 0), timestep_s)

    def _by_grid(self, targets: list[_Target], *, statistics: bool) -> list[tuple[Grid, SlotRange, list[_Target]]]:
        groups: dict[int, list[_Target]] = {}
        for target in targets:
            groups.setdefault(target.spec.timestep_s, []).append(target)
        return [
            (
                self._table.columns.grids[self._table.columns.grid_index(step)],
                self._slots_to_read(step, statistics=statistics),
                group,
            )
            for step, group in groups.items()
        ]

    def _rows(self, targets: list[_Target]) -> Int64Array:
        return self._table.columns.rows_of(
            np.array([sid for target in targets for sid in target.selection.sids], np.int64)
        )


def _split_by_target(
    read: Iterable[tuple[list[_Target], SlotRange, PendingRead[Samples]]],
) -> Iterator[tuple[_Target, SlotRange, Samples]]:
    """Each target with the samples of its members."""
    for group, span, reading in read:
        matrix = reading.complete()
        position = 0
        for target in group:
            end = position + len(target.selection.sids)
            yield target, span, matrix[position:end]
            position = end


def _to_stored_series(target: _Target, span: SlotRange, samples: Samples, *, scale: bool = True) -> StoredSeries:
    coverage = None
    if target.selection.combined:
        data, coverage = combine(samples, target.spec.aggregation)
    else:
        data = samples[0]
    if scale and target.query.scale_by:
        data = data * np.float32(target.query.scale_by)
    return StoredSeries(
        target.selection.id,
        span.from_s,
        span.timestep_s,
        data,
        subtype_id=target.selection.subtype_id,
        coverage=coverage,
        members=len(target.selection.sids),
        offset_s=target.offset_s if target.offset_s >= 0 else None,
    )


def combine(samples: Samples, aggregation: str) -> tuple[Samples, npt.NDArray[np.int32]]:
    """Sum or mean of each column over its samples, NaN for a column without; and the number of samples of each."""
    return choose_codec().combine(samples, mean=aggregation == "avg")


def _to_stored_statistic(target: _Target, low: float, high: float, total: float, count: float) -> StoredStatistic:
    selection = target.selection
    scaled_low = mean = scaled_high = None
    if count:
        scale = target.query.scale_by or 1.0
        scaled_low, scaled_high = sorted((low * scale, high * scale))
        mean = total / count * scale
    return StoredStatistic(
        selection.id,
        scaled_low,
        mean,
        scaled_high,
        int(count),
        subtype_id=selection.subtype_id,
        timestep_s=target.spec.timestep_s,
        members=len(selection.sids),
    )
