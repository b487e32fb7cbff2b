"""Answers questions about stored series: which ones are meant, and their samples or statistics over a range.

Everything is on the wall-clock grid of the metric's timestep, so that series always line up; nothing here looks at
what time it is.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cc_backend.errors import InvalidInput, TooLarge
from cc_backend.metricstore.memory.block import summarise
from cc_backend.metricstore.memory.codec import choose
from cc_backend.metricstore.memory.grid import Grid
from cc_backend.metricstore.memory.series import Host, SeriesTable
from cc_backend.metricstore.model import Ids, MetricSpec, Part, Query, StoredSeries, StoredStatistic
from cc_backend.model import Samples

# From coarse to fine: a question for the host is answered from the first level that holds the metric, from no other.
LEVELS = ("socket", "die", "memoryDomain", "llc", "core", "hwthread", "accelerator")
_PORTION_SAMPLES = 4_000_000
_COMBINED_SAMPLES = 500_000  # what is only combined is read so that it stays in the cache of the processor
_DIGITS = re.compile(r"(\d+)")
_PART = tuple.__new__  # builds a Part in a third of the time


class Range(NamedTuple):
    """A half-open range of time, widened to whole slots of a timestep."""

    first_slot: int
    slots: int
    timestep_s: int

    @property
    def from_s(self) -> int:
        """Begin of the first slot."""
        return self.first_slot * self.timestep_s


@dataclass(frozen=True, slots=True)
class Selection:
    """One series of an answer: a stored one, or several to be combined."""

    id: str | None
    subtype_id: str | None
    sids: tuple[int, ...]
    combined: bool


@dataclass(slots=True)
class _Wanted:
    """One series of the answer and its place in it."""

    row: int
    selection: Selection
    query: Query
    spec: MetricSpec


def slots_of(from_s: int, to_s: int, timestep_s: int) -> Range:
    """The slots that [from_s, to_s) touches."""
    first = from_s // timestep_s
    return Range(first, max(-(-to_s // timestep_s) - first, 0), timestep_s)


# Selection


def select(host: Host, query: Query) -> list[Selection]:
    """The series that a query means, in the order of the ids asked for; ids without series are left out."""
    parts = host.metrics.get(query.metric)
    if not parts:
        return []
    if query.type in (None, "", "node"):
        selections = _of_host(parts, query)
    elif query.aggregate and not query.subtype:  # of many parts: no object for each of them
        sids = tuple(sid for number in _ids(parts, query) for sid in _members(parts, query.type or "", number))
        return [Selection(None, None, sids, combined=True)] if sids else []
    else:
        selections = [found for number in _ids(parts, query) for found in _of_part(parts, query, number)]
    if query.aggregate and selections:
        return [Selection(None, None, tuple(sid for found in selections for sid in found.sids), combined=True)]
    return selections


def _of_host(parts: dict[Part, int], query: Query) -> list[Selection]:
    if query.subtype:
        return _subtypes(parts, query, "", "")
    own = parts.get(Part())
    if own is not None:
        return [Selection(None, None, (own,), combined=False)]
    sids = _coarsest(parts)
    return [Selection(None, None, sids, combined=True)] if sids else []


def _coarsest(parts: dict[Part, int]) -> tuple[int, ...]:
    """All series of the coarsest level. Adding levels up would count the same thing twice."""
    types = {part.type for part in parts}
    order = ["", *LEVELS, *sorted(types.difference(LEVELS, [""]))]
    level = next(name for name in order if name in types)
    ids = _natural({part.type_id for part in parts if part.type == level})
    return tuple(sid for number in ids for sid in _members(parts, level, number))


def _members(parts: dict[Part, int], kind: str, number: str) -> tuple[int, ...]:
    """The series of one part: its own, or else those of everything below it."""
    own = parts.get(_PART(Part, (kind, number, "", "")))
    if own is not None:
        return (own,)
    return tuple(sid for part, sid in parts.items() if part.type == kind and part.type_id == number)


def _ids(parts: dict[Part, int], query: Query) -> Iterable[str]:
    if query.type_ids is not None:
        return query.type_ids
    return _natural({part.type_id for part in parts if part.type == query.type})


def _of_part(parts: dict[Part, int], query: Query, number: str) -> list[Selection]:
    kind = query.type or ""
    if query.subtype:
        return _subtypes(parts, query, kind, number)
    sids = _members(parts, kind, number)
    return [Selection(number, None, sids, combined=len(sids) > 1)] if sids else []


def _subtypes(parts: dict[Part, int], query: Query, kind: str, number: str) -> list[Selection]:
    subtype = query.subtype or ""
    below = {p.subtype_id: s for p, s in parts.items() if p[:3] == (kind, number, subtype)}
    wanted = _natural(below) if query.subtype_ids is None else query.subtype_ids
    return [Selection(number or None, name, (below[name],), combined=False) for name in wanted if name in below]


def _natural(ids: Iterable[str]) -> list[str]:
    """Ids in the order people expect: 2 before 10."""
    return sorted(ids, key=lambda name: [(0, int(x), "") if x.isdecimal() else (1, 0, x) for x in _DIGITS.split(name)])


# Answers


class Reader:
    """Runs queries of one cluster over one range against a series table. The caller holds the table's lock."""

    def __init__(self, table: SeriesTable, cluster: str, *, from_s: int, to_s: int, limit_samples: int) -> None:
        if from_s > to_s:
            raise InvalidInput(f"the range begins at {from_s}, after its end at {to_s}")
        self._table = table
        self._cluster = cluster
        self._from_s, self._to_s = from_s, to_s
        self._limit_samples = limit_samples
        self._samples = 0

    def series(self, queries: Sequence[Query]) -> list[list[StoredSeries]]:
        """Per query its series, each on the full grid of the range."""
        answer: list[list[StoredSeries]] = [[] for _ in queries]
        for row, text, timestep_s in self._faults(queries):
            answer[row].append(StoredSeries(None, self._from_s, timestep_s, np.empty(0, np.float32), error=text))
        for wanted, span, matrix in self._matrices(queries):
            position = 0
            for one in wanted:
                end = position + len(one.selection.sids)
                answer[one.row].append(_stored(one, span, matrix[position:end]))
                position = end
        return answer

    def statistics(self, queries: Sequence[Query]) -> list[list[StoredStatistic]]:
        """Per query the statistics of its series; those that are no combinations need not be read sample by sample."""
        answer: list[list[StoredStatistic | None]] = [[] for _ in queries]
        for row, text, timestep_s in self._faults(queries):
            answer[row].append(StoredStatistic(None, None, None, None, error=text, timestep_s=timestep_s))
        places: dict[int, tuple[int, int]] = {}
        stored: list[_Wanted] = []
        combined: list[_Wanted] = []
        for one in self._wanted(queries):
            places[id(one)] = (one.row, len(answer[one.row]))
            answer[one.row].append(None)
            (combined if one.selection.combined else stored).append(one)
        for grid, span, group in self._by_grid(stored):
            summary = grid.summary(self._rows(group), span.first_slot, span.slots)
            for one, least, highest, total, count in zip(group, *(c.tolist() for c in summary), strict=True):
                row, column = places[id(one)]
                answer[row][column] = _statistic(one, least, highest, total, count)
        for wanted, span, matrix in self._portions(combined):
            position = 0
            for one in wanted:
                end = position + len(one.selection.sids)
                data = _stored(one, span, matrix[position:end], scale=False).data[None, :]
                row, column = places[id(one)]
                answer[row][column] = _statistic(one, *(float(c[0]) for c in summarise(data)))
                position = end
        return [[one for one in row if one is not None] for row in answer]

    def _faults(self, queries: Sequence[Query]) -> Iterator[tuple[int, str, int]]:
        """Position of a query that has no answer, why, and the timestep of its metric if that is known."""
        for row, query in enumerate(queries):
            if self._cluster not in self._table.metrics:
                yield row, f"cluster {self._cluster!r} is not configured", 0
                continue
            spec = self._table.spec(self._cluster, query.metric, query.host)
            if spec is None:
                yield row, self._unconfigured(query), 0
            elif not spec.aggregation and any(len(found.sids) > 1 for found in self._selections(query)):
                text = f"metric {query.metric!r} has no aggregation: parts of {query.host!r} cannot be combined"
                yield row, text, spec.timestep_s

    def _unconfigured(self, query: Query) -> str:
        whose = f"cluster {self._cluster!r}"
        if self._table.spec(self._cluster, query.metric) is not None:
            whose = f"host {query.host!r} of {whose}"
        return f"metric {query.metric!r} is not configured for {whose}"

    def _selections(self, query: Query) -> list[Selection]:
        host = self._table.host(self._cluster, query.host)
        return [] if host is None else select(host, query)

    def _wanted(self, queries: Sequence[Query]) -> list[_Wanted]:
        wanted: list[_Wanted] = []
        for row, query in enumerate(queries):
            spec = self._table.spec(self._cluster, query.metric, query.host)
            if spec is None:
                continue
            found = self._selections(query)
            if spec.aggregation or all(len(selection.sids) == 1 for selection in found):
                wanted.extend(_Wanted(row, selection, query, spec) for selection in found)
        return wanted

    def _matrices(self, queries: Sequence[Query]) -> Iterator[tuple[list[_Wanted], Range, Samples]]:
        return self._portions(self._wanted(queries))

    def _portions(self, wanted: list[_Wanted]) -> Iterator[tuple[list[_Wanted], Range, Samples]]:
        """Samples of everything wanted, in the order wanted per grid, a bounded number at once."""
        groups = self._by_grid(wanted)
        size = sum(span.slots * sum(len(one.selection.sids) for one in group) for _, span, group in groups)
        self._samples += size
        if self._samples > self._limit_samples:
            raise TooLarge(f"the answer needs over {self._limit_samples} samples, which is the limit; ask for less")
        for grid, span, group in groups:
            most = _COMBINED_SAMPLES if all(one.selection.combined for one in group) else _PORTION_SAMPLES
            for portion in _cut(group, max(most // max(span.slots, 1), 1)):
                yield portion, span, grid.read(self._rows(portion), span.first_slot, span.slots)

    def _by_grid(self, wanted: list[_Wanted]) -> list[tuple[Grid, Range, list[_Wanted]]]:
        groups: dict[int, list[_Wanted]] = {}
        for one in wanted:
            groups.setdefault(one.spec.timestep_s, []).append(one)
        return [
            (self._table.grids[self._table.grid_index(step)], slots_of(self._from_s, self._to_s, step), group)
            for step, group in groups.items()
        ]

    def _rows(self, wanted: list[_Wanted]) -> Ids:
        return self._table.rows(np.array([sid for one in wanted for sid in one.selection.sids], np.int64))


def _cut(wanted: list[_Wanted], rows: int) -> Iterator[list[_Wanted]]:
    portion: list[_Wanted] = []
    taken = 0
    for one in wanted:
        if portion and taken + len(one.selection.sids) > rows:
            yield portion
            portion, taken = [], 0
        portion.append(one)
        taken += len(one.selection.sids)
    if portion:
        yield portion


def _stored(one: _Wanted, span: Range, samples: Samples, *, scale: bool = True) -> StoredSeries:
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
    )


def combine(samples: Samples, aggregation: str) -> tuple[Samples, npt.NDArray[np.int32]]:
    """Sum or mean per column over what is there, NaN only where nothing is; and how many there were."""
    return choose().combine(samples, mean=aggregation == "avg")


def _statistic(one: _Wanted, least: float, highest: float, total: float, count: float) -> StoredStatistic:
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
