"""Answers questions about stored series: which ones are meant, and their samples or statistics over a range.

Everything is on the wall-clock grid of the metric's timestep, so that series always line up; nothing here looks at
what time it is.
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

# From coarse to fine: a question for the host is answered from the first level that holds the metric, from no other.
PART_TYPES = ("socket", "die", "memoryDomain", "llc", "core", "hwthread", "accelerator")
_MAX_BATCH_SERIES = 1024  # so many are looked up while the lock is held
_MAX_BATCH_SAMPLES = 2_000_000  # and so many may be copied
_MAX_COMBINED_SAMPLES = 500_000  # what is only combined is read so that it stays in the cache of the processor
_DIGITS = re.compile(r"(\d+)")


class SlotRange(NamedTuple):
    """A half-open range of time, widened to whole slots of a timestep."""

    first_slot: int
    slots: int
    timestep_s: int

    @property
    def from_s(self) -> int:
        """Begin of the first slot."""
        return self.first_slot * self.timestep_s


@dataclass(frozen=True, slots=True)
class SelectedSeries:
    """One series of an answer: a stored one, or several to be combined."""

    id: str | None
    subtype_id: str | None
    sids: tuple[int, ...]
    combined: bool


@dataclass(slots=True)
class _Target:
    """One series of the answer and its place in it."""

    row: int
    selection: SelectedSeries
    query: Query
    spec: MetricSpec
    offset_s: int = -1


@dataclass(slots=True)
class _ReadBatch:
    """What is read at once: what is wanted of some queries, which of them have no answer and why, and the readings.

    A fault is the position of the query, a text, and the timestep of its metric if that is known, else 0.
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
        """How many samples are read."""
        return self.own_samples + self.combined_samples

    @property
    def has_room(self) -> bool:
        """Whether there is room for another query."""
        few = max(self.queries, len(self.targets)) < _MAX_BATCH_SERIES
        return few and self.size < _MAX_BATCH_SAMPLES and self.combined_samples < _MAX_COMBINED_SAMPLES


def slot_range(from_s: int, to_s: int, timestep_s: int) -> SlotRange:
    """The slots that [from_s, to_s) touches."""
    first = from_s // timestep_s
    return SlotRange(first, max(-(-to_s // timestep_s) - first, 0), timestep_s)


# Selection


def select_series(host: Host, query: Query) -> list[SelectedSeries]:
    """The series that a query means, in the order of the ids asked for; ids without series are left out."""
    parts = host.metrics.get(query.metric)
    if not parts:
        return []
    if query.type in (None, "", "node"):
        selections = _select_of_host(parts, query)
    elif query.aggregate and not query.subtype:  # of many parts: no object for each of them
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
    """All series of the coarsest level. Adding levels up would count the same thing twice."""
    types = {part.type for part in parts}
    order = ["", *PART_TYPES, *sorted(types.difference(PART_TYPES, [""]))]
    level = _series_of_type(parts, next(name for name in order if name in types))
    return tuple(sid for number in _natural_order(level) for sid in _sids_of_part(level, number))


def _series_of_type(parts: dict[HostPart, int], kind: str) -> dict[str, dict[tuple[str, str], int]]:
    """The series of one type: id -> subtype and its id -> sid; made once, so that each id asked for is a look-up."""
    level: dict[str, dict[tuple[str, str], int]] = {}
    for part, sid in parts.items():
        if part.type == kind:
            level.setdefault(part.type_id, {})[part[2:]] = sid
    return level


def _sids_of_part(level: Mapping[str, Mapping[tuple[str, str], int]], number: str) -> tuple[int, ...]:
    """The series of one part: its own, or else those of everything below it."""
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
    """Ids in the order people expect: 2 before 10."""
    return sorted(ids, key=lambda name: [(0, int(x), "") if x.isdecimal() else (1, 0, x) for x in _DIGITS.split(name)])


# Answers


class QueryReader:
    """Runs queries of one cluster over one range against a series table, of which `lock` is the lock.

    The lock is held while series are looked up and what is hot is copied, for a bounded number of queries at a time;
    what is compressed or on disk is read without it, so that neither a long answer nor a slow disk holds up ingest.
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
        """Per query its series, each on the full grid of the range."""
        answer: list[list[StoredSeries]] = [[] for _ in queries]
        for portion in self._read_in_batches(queries, statistics=False):
            for row, text, timestep_s in portion.faults:
                answer[row].append(StoredSeries(None, self._from_s, timestep_s, np.empty(0, np.float32), error=text))
            for one, span, samples in _split_by_target(portion.samples):
                answer[one.row].append(_to_stored_series(one, span, samples))
        return answer

    def read_statistics(self, queries: Sequence[Query]) -> list[list[StoredStatistic]]:
        """Per query the statistics of its series; those that are no combinations are never in memory as a whole."""
        answer: list[list[StoredStatistic]] = [[] for _ in queries]
        for portion in self._read_in_batches(queries, statistics=True):
            for row, text, timestep_s in portion.faults:
                answer[row].append(StoredStatistic(None, None, None, None, error=text, timestep_s=timestep_s))
            found: dict[int, StoredStatistic] = {}
            for group, reading in portion.summaries:
                columns = (column.tolist() for column in reading.complete())
                for one, least, highest, total, count in zip(group, *columns, strict=True):
                    found[id(one)] = _to_stored_statistic(one, least, highest, total, count)
            for one, span, samples in _split_by_target(portion.samples):
                data = _to_stored_series(one, span, samples, scale=False).data[None, :]
                found[id(one)] = _to_stored_statistic(one, *(float(column[0]) for column in summarise(data)))
            for one in portion.targets:
                answer[one.row].append(found[id(one)])
        return answer

    def _read_in_batches(self, queries: Sequence[Query], *, statistics: bool) -> Iterator[_ReadBatch]:
        """What is wanted of all queries, in their order, so much at a time as is read at once."""
        row = 0
        while row < len(queries):
            portion = _ReadBatch()
            with self._lock:
                while row < len(queries) and portion.has_room:
                    self._add_query(row, queries[row], portion, statistics=statistics)
                    row += 1
                self._samples += portion.size
                if self._samples > self._limit_samples:
                    text = f"the answer needs over {self._limit_samples} samples, which is the limit; ask for less"
                    raise TooLarge(text)
                self._begin_reads(portion, statistics=statistics)
            yield portion

    def _add_query(self, row: int, query: Query, portion: _ReadBatch, *, statistics: bool) -> None:
        """Add what a query means, or why it has no answer."""
        portion.queries += 1
        if self._cluster not in self._table.metrics:
            portion.faults.append((row, f"cluster {self._cluster!r} is not configured", 0))
            return
        spec = self._table.spec(self._cluster, query.metric, query.host)
        if spec is None:
            portion.faults.append((row, self._unconfigured_text(query), 0))
            return
        host = self._table.host(self._cluster, query.host)
        found = [] if host is None else select_series(host, query)
        if not spec.aggregation and any(len(selection.sids) > 1 for selection in found):
            text = f"metric {query.metric!r} has no aggregation: parts of {query.host!r} cannot be combined"
            portion.faults.append((row, text, spec.timestep_s))
            return
        slots = self._slots_to_read(spec.timestep_s, statistics=statistics).slots
        for selection in found:
            portion.targets.append(_Target(row, selection, query, spec))
            if selection.combined:
                portion.combined_samples += slots * len(selection.sids)
            elif not statistics:
                portion.own_samples += slots

    def _unconfigured_text(self, query: Query) -> str:
        whose = f"cluster {self._cluster!r}"
        if self._table.spec(self._cluster, query.metric) is not None:
            whose = f"host {query.host!r} of {whose}"
        return f"metric {query.metric!r} is not configured for {whose}"

    def _begin_reads(self, portion: _ReadBatch, *, statistics: bool) -> None:
        """Copy what is hot of all that is wanted, and note where the rest lies."""
        whole = portion.targets
        if statistics:
            whole = [one for one in portion.targets if one.selection.combined]
            own = [one for one in portion.targets if not one.selection.combined]
            for grid, span, group in self._by_grid(own, statistics=statistics):
                portion.summaries.append((group, grid.start_summary(self._rows(group), span.first_slot, span.slots)))
        for grid, span, group in self._by_grid(whole, statistics=statistics):
            if not statistics:
                self._set_offsets(group, span.timestep_s)
            portion.samples.append((group, span, grid.start_read(self._rows(group), span.first_slot, span.slots)))

    def _set_offsets(self, wanted: list[_Target], timestep_s: int) -> None:
        """Note where in their slots samples lie; parts of a host that are combined come together."""
        first = np.array([one.selection.sids[0] for one in wanted], np.int64)
        for one, offset_s in zip(wanted, self._table.columns.slot_offsets(first, timestep_s).tolist(), strict=True):
            one.offset_s = offset_s

    def _slots_to_read(self, timestep_s: int, *, statistics: bool) -> SlotRange:
        """The slots that are read: for statistics only those from which and up to which there is anything."""
        span = slot_range(self._from_s, self._to_s, timestep_s)
        if not statistics:
            return span
        held = self._table.columns.grids[self._table.columns.grid_index(timestep_s)].windows.held_slots()
        first = max(span.first_slot, held.start)
        return SlotRange(first, max(min(span.first_slot + span.slots, held.stop) - first, 0), timestep_s)

    def _by_grid(self, wanted: list[_Target], *, statistics: bool) -> list[tuple[Grid, SlotRange, list[_Target]]]:
        groups: dict[int, list[_Target]] = {}
        for one in wanted:
            groups.setdefault(one.spec.timestep_s, []).append(one)
        return [
            (
                self._table.columns.grids[self._table.columns.grid_index(step)],
                self._slots_to_read(step, statistics=statistics),
                group,
            )
            for step, group in groups.items()
        ]

    def _rows(self, wanted: list[_Target]) -> Int64Array:
        return self._table.columns.rows_of(np.array([sid for one in wanted for sid in one.selection.sids], np.int64))


def _split_by_target(
    read: Iterable[tuple[list[_Target], SlotRange, PendingRead[Samples]]],
) -> Iterator[tuple[_Target, SlotRange, Samples]]:
    """Each series of the answer with the samples of its members."""
    for group, span, reading in read:
        matrix = reading.complete()
        position = 0
        for one in group:
            end = position + len(one.selection.sids)
            yield one, span, matrix[position:end]
            position = end


def _to_stored_series(one: _Target, span: SlotRange, samples: Samples, *, scale: bool = True) -> StoredSeries:
    coverage = None
    if one.selection.combined:
        data, coverage = combine(samples, one.spec.aggregation)
    else:
        data = samples[0]
    if scale and one.query.scale_by:
        data = data * np.float32(one.query.scale_by)
    return StoredSeries(
        one.selection.id,
        span.from_s,
        span.timestep_s,
        data,
        subtype_id=one.selection.subtype_id,
        coverage=coverage,
        members=len(one.selection.sids),
        offset_s=one.offset_s if one.offset_s >= 0 else None,
    )


def combine(samples: Samples, aggregation: str) -> tuple[Samples, npt.NDArray[np.int32]]:
    """Sum or mean per column over what is there, NaN only where nothing is; and how many there were."""
    return choose_codec().combine(samples, mean=aggregation == "avg")


def _to_stored_statistic(one: _Target, least: float, highest: float, total: float, count: float) -> StoredStatistic:
    selection = one.selection
    low = mean = high = None
    if count:
        scale = one.query.scale_by or 1.0
        low, high = sorted((least * scale, highest * scale))
        mean = total / count * scale
    return StoredStatistic(
        selection.id,
        low,
        mean,
        high,
        int(count),
        subtype_id=selection.subtype_id,
        timestep_s=one.spec.timestep_s,
        members=len(selection.sids),
    )
