"""Executes requests of the query protocol: statistics of the native samples, resampling, scaling, coverage."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from cc_backend.errors import InvalidInput, TooLarge
from cc_backend.metricstore.model import Float64Array, Query, StoredSeries, StoredStatistic
from cc_backend.metricstore.query.lttb import Array
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
from cc_backend.metricstore.query.resample import ALGORITHMS, resample
from cc_backend.metricstore.query.series_reader import slot_range
from cc_backend.model import Samples
from cc_common.error_codes import ErrorCode

_MAX_BATCH_QUERIES = 128
_MAX_BATCH_SERIES = 4096


def execute(request: QueryRequest, source: SampleSource, limits: QueryLimits = DEFAULT_LIMITS) -> QueryResponse:
    """The response to a request. Raises TooLarge if it would be larger than the limits or the source allow."""
    items = request.items
    if request.for_all_nodes:
        hosts = source.hosts(request.cluster)
        if len(items) + len(hosts) * len(request.for_all_nodes) > limits.queries:
            raise TooLarge(
                f"for-all-nodes makes over {limits.queries} queries, which is the limit; ask for less",
                code=ErrorCode.ANSWER_TOO_LARGE,
            )
        items += tuple(
            QueryItem(Query(metric, host), algorithm=request.algorithm)
            for host in hosts
            for metric in request.for_all_nodes
        )
    rows: list[list[SeriesResult]] = []
    samples = slots = 0
    for batch in _split_queries(items):
        if samples + _count_samples_to_read(request, batch, source, left=limits.samples - samples) > limits.samples:
            raise _too_many_samples(limits)
        rows += _execute_batch(request, batch, source)
        series = [result for row in rows[-len(batch) :] for result in row]
        samples += sum(len(result.data) for result in series if result.data is not None)
        slots += sum(result.members * (result.to_s - result.from_s) // max(result.resolution_s, 1) for result in series)
        if slots > limits.slots:
            raise TooLarge(
                f"the answer needs over {limits.slots} samples, which is the limit; ask in smaller parts",
                code=ErrorCode.ANSWER_TOO_LARGE,
            )
        if samples > limits.samples:
            raise _too_many_samples(limits)
    return QueryResponse(rows, request.with_stats, items if request.for_all_nodes else None)


def _count_samples_to_read(
    request: QueryRequest, items: Sequence[QueryItem], source: SampleSource, *, left: int
) -> int:
    """Number of samples that the store would read for these items; 0 if it is certainly within `left`.

    A long range must be rejected before it is read, since it would take gigabytes. The same queries with an empty range
    give the timesteps at next to no cost.
    """
    if (
        not request.with_data
        or sum(count_named_series(item.query) for item in items) * (request.to_s - request.from_s) <= left
    ):
        return 0
    valid = [item.query for item in items if not _find_fault(request, item)]
    rows = source.query(request.cluster, valid, from_s=0, to_s=0)
    timesteps_s = (item.timestep_s for row in rows for item in row if item.error is None)
    return sum(slot_range(request.from_s, request.to_s, timestep_s).slots for timestep_s in timesteps_s)


def _too_many_samples(limits: QueryLimits) -> TooLarge:
    return TooLarge(
        f"the answer has over {limits.samples} samples, which is the limit; ask in smaller parts",
        code=ErrorCode.ANSWER_TOO_LARGE,
    )


def _split_queries(items: Sequence[QueryItem]) -> Iterator[Sequence[QueryItem]]:
    """The items in batches, so that neither the lock of the store nor memory is taken for all at once."""
    begin = series = 0
    for index, item in enumerate(items):
        series += count_named_series(item.query)
        if index + 1 - begin >= _MAX_BATCH_QUERIES or series >= _MAX_BATCH_SERIES:
            yield items[begin : index + 1]
            begin, series = index + 1, 0
    if begin < len(items):
        yield items[begin:]


def _execute_batch(request: QueryRequest, items: Sequence[QueryItem], source: SampleSource) -> list[list[SeriesResult]]:
    faults = [_find_fault(request, item) for item in items]
    valid = [(row, item) for row, (item, fault) in enumerate(zip(items, faults, strict=True)) if not fault]
    rows: list[list[SeriesResult]] = [[_error_result(fault)] if fault else [] for fault in faults]
    if not valid:
        return rows
    # scaled below, so that statistics are of the stored samples
    queries = [replace(item.query, scale_by=None) if item.query.scale_by else item.query for _, item in valid]
    if not request.with_data:
        stored = source.statistics(request.cluster, queries, from_s=request.from_s, to_s=request.to_s)
        for (row, item), found in zip(valid, stored, strict=True):
            rows[row] = [_statistics_result(request, item, statistic) for statistic in found]
        return rows
    found_rows = source.query(request.cluster, queries, from_s=request.from_s, to_s=request.to_s)
    pieces = [
        _PendingResult(row, item, series)
        for (row, item), found in zip(valid, found_rows, strict=True)
        for series in found
    ]
    for group in _group_alike(pieces):
        _process_group(group, with_stats=request.with_stats)
    for piece in pieces:
        rows[piece.row].append(piece.to_result())
    return rows


def _find_fault(request: QueryRequest, item: QueryItem) -> str:
    if item.fault:
        return item.fault
    if request.from_s > request.to_s:
        return f"the range begins at {request.from_s}, after its end at {request.to_s}"
    if item.algorithm not in ALGORITHMS:
        known = ", ".join(sorted(ALGORITHMS))
        return f"resample-algo {item.algorithm[:MAX_SHOWN]!r} is not known; known are {known}"
    return ""


def _error_result(text: str, resolution_s: int = 0) -> SeriesResult:
    return SeriesResult(0, 0, resolution_s, error=text)


def _statistics_result(request: QueryRequest, item: QueryItem, statistic: StoredStatistic) -> SeriesResult:
    if statistic.error is not None:
        return _error_result(statistic.error, statistic.timestep_s)
    step_s = statistic.timestep_s or 1
    from_s = request.from_s // step_s * step_s
    to_s = -(-request.to_s // step_s) * step_s
    low, mean, high = _scaled_statistics(statistic.min, statistic.avg, statistic.max, item.query.scale_by)
    return SeriesResult(
        from_s,
        to_s,
        statistic.timestep_s,
        min=low,
        avg=mean,
        max=high,
        id=statistic.id,
        subtype_id=statistic.subtype_id,
        members=statistic.members,
    )


@dataclass(slots=True)
class _PendingResult:
    """One series between the store and the response."""

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
        low, mean, high = self.statistics
        return SeriesResult(
            stored.from_s,
            stored.from_s + len(stored.data) * stored.timestep_s,
            self.resolution_s,
            self.data,
            low,
            mean,
            high,
            stored.id,
            stored.subtype_id,
            stored.members,
            _partial_coverage(stored, self.resolution_s, len(self.data)),
            offset_s=stored.offset_s if self.resolution_s == stored.timestep_s else None,
        )


def _group_alike(pieces: Sequence[_PendingResult]) -> Iterator[list[_PendingResult]]:
    """Groups of series that can be processed as one matrix."""
    groups: dict[tuple[int, int, int, str], list[_PendingResult]] = {}
    for piece in pieces:
        if piece.stored.error is None:
            key = (len(piece.stored.data), piece.stored.timestep_s, piece.item.resolution_s, piece.item.algorithm)
            groups.setdefault(key, []).append(piece)
    yield from groups.values()


def _process_group(group: list[_PendingResult], *, with_stats: bool) -> None:
    """Compute statistics, resample and scale the series of one group."""
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
    # `simple` gives strided views, which the encoders do not take
    thinned = np.ascontiguousarray(thinned)
    for piece, data in zip(group, thinned, strict=True):
        piece.data = _scaled(data, piece.item.query.scale_by).astype(np.float32, copy=False)
        piece.resolution_s = resolution_s


def _scaled(data: Array, scale: float | None) -> Array:
    """The samples times `scale`, in double precision: 0.001 is inexact in single precision."""
    if not scale:
        return data
    with np.errstate(over="ignore"):  # values beyond single precision become infinite
        return (data.astype(np.float64) * scale).astype(np.float32)


def _row_statistics(matrix: Samples) -> Iterator[tuple[float | None, float | None, float | None]]:
    """Min, mean and max of each row, None for a row without samples."""
    present = ~np.isnan(matrix)
    count = np.count_nonzero(present, axis=1)
    total: Float64Array = np.sum(matrix, axis=1, dtype=np.float64, where=present)
    minima: Samples = np.fmin.reduce(matrix, axis=1, initial=np.nan)
    maxima: Samples = np.fmax.reduce(matrix, axis=1, initial=np.nan)
    for number, sum_, low, high in zip(count.tolist(), total.tolist(), minima.tolist(), maxima.tolist(), strict=True):
        yield (low, sum_ / number, high) if number else (None, None, None)


def _scaled_statistics(
    low: float | None, mean: float | None, high: float | None, scale: float | None
) -> tuple[float | None, float | None, float | None]:
    if not scale or low is None or mean is None or high is None:
        return low, mean, high
    scaled_low, scaled_high = sorted((low * scale, high * scale))
    return scaled_low, mean * scale, scaled_high


def _partial_coverage(stored: StoredSeries, resolution_s: int, points: int) -> npt.NDArray[np.int32] | None:
    """Number of members per slot; None if each slot has all of them or none."""
    coverage = stored.coverage
    if coverage is None or not bool(((coverage > 0) & (coverage < stored.members)).any()):
        return None
    if resolution_s <= stored.timestep_s:
        return coverage
    step = resolution_s // stored.timestep_s
    return np.ascontiguousarray(coverage[: points * step].reshape(points, step).min(axis=1))
