"""Answers requests of the query protocol: statistics of the native samples, resampling, scaling, coverage."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from cc_backend.errors import InvalidInput, TooLarge
from cc_backend.metricstore.model import Float64Array, Query, StoredSeries, StoredStatistic
from cc_backend.metricstore.query.protocol import (
    DEFAULT_LIMITS,
    MAX_SHOWN,
    QueryItem,
    QueryLimits,
    QueryRequest,
    QueryResponse,
    SampleSource,
    SeriesResult,
    count_named_series,
)
from cc_backend.metricstore.query.resample import ALGORITHMS, Array, resample
from cc_backend.metricstore.query.series_reader import slot_range
from cc_backend.model import Samples
from cc_common.error_codes import ErrorCode

_MAX_BATCH_QUERIES = 128
_MAX_BATCH_SERIES = 4096


def execute(request: QueryRequest, source: SampleSource, bounds: QueryLimits = DEFAULT_LIMITS) -> QueryResponse:
    """What the source has to say. Raises TooLarge if it is more than the bounds or the source allow."""
    asked = request.items
    if request.for_all_nodes:
        hosts = source.hosts(request.cluster)
        if len(asked) + len(hosts) * len(request.for_all_nodes) > bounds.queries:
            raise TooLarge(
                f"for-all-nodes makes over {bounds.queries} queries, which is the limit; ask for less",
                code=ErrorCode.ANSWER_TOO_LARGE,
            )
        asked += tuple(
            QueryItem(Query(metric, host), algorithm=request.algorithm)
            for host in hosts
            for metric in request.for_all_nodes
        )
    rows: list[list[SeriesResult]] = []
    samples = slots = 0
    for portion in _split_queries(asked):
        if samples + _count_samples_to_read(request, portion, source, left=bounds.samples - samples) > bounds.samples:
            raise _too_many_samples(bounds)
        rows += _execute_batch(request, portion, source)
        series = [one for row in rows[-len(portion) :] for one in row]
        samples += sum(len(one.data) for one in series if one.data is not None)
        slots += sum(one.members * (one.to_s - one.from_s) // max(one.resolution_s, 1) for one in series)
        if slots > bounds.slots:
            raise TooLarge(
                f"the answer needs over {bounds.slots} samples, which is the limit; ask in smaller parts",
                code=ErrorCode.ANSWER_TOO_LARGE,
            )
        if samples > bounds.samples:
            raise _too_many_samples(bounds)
    return QueryResponse(rows, request.with_stats, asked if request.for_all_nodes else None)


def _count_samples_to_read(
    request: QueryRequest, asked: Sequence[QueryItem], source: SampleSource, *, left: int
) -> int:
    """How many samples the store will read to send them, 0 where it cannot be over what is left.

    A long range must be refused before it is read, for it would take gigabytes. The same questions for an empty range
    tell the timesteps, and cost next to nothing.
    """
    if (
        not request.with_data
        or sum(count_named_series(one.query) for one in asked) * (request.to_s - request.from_s) <= left
    ):
        return 0
    good = [one.query for one in asked if not _find_fault(request, one)]
    rows = source.query(request.cluster, good, from_s=0, to_s=0)
    found = (one.timestep_s for row in rows for one in row if one.error is None)
    return sum(slot_range(request.from_s, request.to_s, timestep_s).slots for timestep_s in found)


def _too_many_samples(bounds: QueryLimits) -> TooLarge:
    return TooLarge(
        f"the answer has over {bounds.samples} samples, which is the limit; ask in smaller parts",
        code=ErrorCode.ANSWER_TOO_LARGE,
    )


def _split_queries(asked: Sequence[QueryItem]) -> Iterator[Sequence[QueryItem]]:
    """Queries one portion at a time, so that neither the store's lock nor memory is taken for all at once."""
    begin = series = 0
    for at, one in enumerate(asked):
        series += count_named_series(one.query)
        if at + 1 - begin >= _MAX_BATCH_QUERIES or series >= _MAX_BATCH_SERIES:
            yield asked[begin : at + 1]
            begin, series = at + 1, 0
    if begin < len(asked):
        yield asked[begin:]


def _execute_batch(request: QueryRequest, asked: Sequence[QueryItem], source: SampleSource) -> list[list[SeriesResult]]:
    faults = [_find_fault(request, one) for one in asked]
    good = [(row, one) for row, (one, fault) in enumerate(zip(asked, faults, strict=True)) if not fault]
    rows: list[list[SeriesResult]] = [[_error_result(fault)] if fault else [] for fault in faults]
    if not good:
        return rows
    # scaled here, so that statistics are of the samples as they are stored
    queries = [replace(one.query, scale_by=None) if one.query.scale_by else one.query for _, one in good]
    if not request.with_data:
        stored = source.statistics(request.cluster, queries, from_s=request.from_s, to_s=request.to_s)
        for (row, one), found in zip(good, stored, strict=True):
            rows[row] = [_statistics_result(request, one, statistic) for statistic in found]
        return rows
    found_rows = source.query(request.cluster, queries, from_s=request.from_s, to_s=request.to_s)
    pieces = [
        _PendingResult(row, one, series) for (row, one), found in zip(good, found_rows, strict=True) for series in found
    ]
    for group in _group_alike(pieces):
        _process_group(group, with_stats=request.with_stats)
    for piece in pieces:
        rows[piece.row].append(piece.to_result())
    return rows


def _find_fault(request: QueryRequest, one: QueryItem) -> str:
    if one.fault:
        return one.fault
    if request.from_s > request.to_s:
        return f"the range begins at {request.from_s}, after its end at {request.to_s}"
    if one.algorithm not in ALGORITHMS:
        known = ", ".join(sorted(ALGORITHMS))
        return f"resample-algo {one.algorithm[:MAX_SHOWN]!r} is not known; known are {known}"
    return ""


def _error_result(text: str, resolution_s: int = 0) -> SeriesResult:
    return SeriesResult(0, 0, resolution_s, error=text)


def _statistics_result(request: QueryRequest, one: QueryItem, found: StoredStatistic) -> SeriesResult:
    if found.error is not None:
        return _error_result(found.error, found.timestep_s)
    step_s = found.timestep_s or 1
    from_s = request.from_s // step_s * step_s
    to_s = -(-request.to_s // step_s) * step_s
    least, mean, highest = _scaled_statistics(found.min, found.avg, found.max, one.query.scale_by)
    return SeriesResult(
        from_s,
        to_s,
        found.timestep_s,
        min=least,
        avg=mean,
        max=highest,
        id=found.id,
        subtype_id=found.subtype_id,
        members=found.members,
    )


@dataclass(slots=True)
class _PendingResult:
    """One series on its way from the store to the answer."""

    row: int
    item: QueryItem
    stored: StoredSeries
    data: Samples = field(default_factory=lambda: np.empty(0, np.float32))
    resolution_s: int = 0
    statistics: tuple[float | None, float | None, float | None] = (None, None, None)
    error: str | None = None

    def to_result(self) -> SeriesResult:
        stored = self.stored
        error = stored.error or self.error
        if error is not None:
            return _error_result(error, stored.timestep_s)
        least, mean, highest = self.statistics
        return SeriesResult(
            stored.from_s,
            stored.from_s + len(stored.data) * stored.timestep_s,
            self.resolution_s,
            self.data,
            least,
            mean,
            highest,
            stored.id,
            stored.subtype_id,
            stored.members,
            _partial_coverage(stored, self.resolution_s, len(self.data)),
            offset_s=stored.offset_s if self.resolution_s == stored.timestep_s else None,
        )


def _group_alike(pieces: Sequence[_PendingResult]) -> Iterator[list[_PendingResult]]:
    """Series that can be worked on as one matrix."""
    groups: dict[tuple[int, int, int, str], list[_PendingResult]] = {}
    for piece in pieces:
        if piece.stored.error is None:
            key = (len(piece.stored.data), piece.stored.timestep_s, piece.item.resolution_s, piece.item.algorithm)
            groups.setdefault(key, []).append(piece)
    yield from groups.values()


def _process_group(group: list[_PendingResult], *, with_stats: bool) -> None:
    """Statistics, resampling and scaling of series of one kind."""
    first = group[0]
    matrix = np.stack([piece.stored.data for piece in group])
    if with_stats:
        for piece, found in zip(group, _row_statistics(matrix), strict=True):
            piece.statistics = _scaled_statistics(*found, piece.item.query.scale_by)
    try:
        thinned, resolution_s = resample(
            matrix, first.stored.timestep_s, first.item.resolution_s, algorithm=first.item.algorithm
        )
    except InvalidInput as error:
        for piece in group:
            piece.error = str(error)
        return
    # simple resampling gives strided views, which cannot be written out as they are
    thinned = np.ascontiguousarray(thinned)
    for piece, data in zip(group, thinned, strict=True):
        piece.data = _scaled(data, piece.item.query.scale_by).astype(np.float32, copy=False)
        piece.resolution_s = resolution_s


def _scaled(data: Array, scale: float | None) -> Array:
    """In double precision: 0.001 itself is off in single precision, and so would be each sample."""
    if not scale:
        return data
    with np.errstate(over="ignore"):  # beyond single precision is infinite
        return (data.astype(np.float64) * scale).astype(np.float32)


def _row_statistics(matrix: Samples) -> Iterator[tuple[float | None, float | None, float | None]]:
    """Least, mean and highest sample of each row, None where there is none."""
    present = ~np.isnan(matrix)
    count = np.count_nonzero(present, axis=1)
    total: Float64Array = np.sum(matrix, axis=1, dtype=np.float64, where=present)
    least: Samples = np.fmin.reduce(matrix, axis=1, initial=np.nan)
    highest: Samples = np.fmax.reduce(matrix, axis=1, initial=np.nan)
    for number, sum_, low, high in zip(count.tolist(), total.tolist(), least.tolist(), highest.tolist(), strict=True):
        yield (low, sum_ / number, high) if number else (None, None, None)


def _scaled_statistics(
    least: float | None, mean: float | None, highest: float | None, scale: float | None
) -> tuple[float | None, float | None, float | None]:
    if not scale or least is None or mean is None or highest is None:
        return least, mean, highest
    low, high = sorted((least * scale, highest * scale))
    return low, mean * scale, high


def _partial_coverage(stored: StoredSeries, resolution_s: int, points: int) -> npt.NDArray[np.int32] | None:
    """How many members each slot has, if in some slot that is neither none nor all of them."""
    coverage = stored.coverage
    if coverage is None or not bool(((coverage > 0) & (coverage < stored.members)).any()):
        return None
    if resolution_s <= stored.timestep_s:
        return coverage
    step = resolution_s // stored.timestep_s
    return np.ascontiguousarray(coverage[: points * step].reshape(points, step).min(axis=1))
