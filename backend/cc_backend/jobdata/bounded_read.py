"""Reads the samples of a job within limits on the points of one series and on the samples of all series together.

Only the time range is read of which the store can have samples. Above the limits a point is the mean of several slots,
read piece by piece, so that neither a wrong start time nor a year of run time costs memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cc_backend.jobdata.job_slots import JobSlots, first_sample_s, own_slots, touched_slots
from cc_backend.jobdata.store_router import RoutedResult, StoreRouter
from cc_backend.metricstore import Query, StoredSeries
from cc_backend.model import Job, JobData, JobMetric, JobState, Samples


@dataclass(frozen=True, slots=True)
class SampleLimits:
    """Maximum points of one series, and maximum samples of all series of a job together."""

    max_points: int
    max_samples: int


VIEW_LIMITS = SampleLimits(max_points=10_000, max_samples=20_000_000)
"""For pages: a week at 60 s in full resolution, at most 80 MB."""

PREVIEW_LIMITS = SampleLimits(max_points=10_000, max_samples=4_000_000)
"""For one row of a job list, which has many."""

FULL_LIMITS = SampleLimits(max_points=100_000, max_samples=50_000_000)
"""For the API: ten weeks at 60 s in full resolution."""

ARCHIVE_LIMITS = SampleLimits(max_points=250_000, max_samples=250_000_000)
"""For the archive: half a year at 60 s in full resolution."""

_MAX_SAMPLES_PER_QUERY = 4_000_000


def count_series(queries: Sequence[Query]) -> int:
    """The maximum number of series in the responses to queries that name their parts."""
    return sum(1 if query.aggregate or not query.type_ids else len(query.type_ids) for query in queries)


def slots_per_point(slots: int, series: int, limits: SampleLimits) -> int:
    """The number of slots to a point that keeps the limits."""
    points = max(1, min(limits.max_points, limits.max_samples // max(series, 1)))
    return max(1, -(-slots // points))


def read_bounded(
    stores: StoreRouter, job: Job, queries: Sequence[Query], timestep_s: int, *, stride: int, now_s: int
) -> RoutedResult:
    """The series of each query over all slots that the job touches, `every` of them to a point.

    With one slot to a point the series include edge slots that are not the job's own; means of several slots leave
    those out.

    Raises:
        InvalidInput, TooLarge: the internal store refuses the query.
    """
    span = touched_slots(job, timestep_s, now_s)
    held_s = stores.held_range_s(job.cluster, job.sub_cluster, timestep_s)
    held = span if held_s is None else JobSlots(held_s[0] // timestep_s, held_s[1] // timestep_s)
    there = JobSlots(max(span.first, held.first), min(span.end, held.end))
    if there.size <= 0:  # the query still reports unknown metrics
        there = JobSlots(span.first, span.first)
    if stride == 1 and there == span:
        return _query_slots(stores, job, queries, there, timestep_s)
    return _read_in_pieces(stores, job, queries, (span, there), timestep_s, every=stride)


def coarsen(job: Job, data: JobData, limits: SampleLimits) -> JobData:
    """The data, with means of several slots where it exceeds the limits; statistics of single series stay."""
    series = sum(len(metric.series) for by_scope in data.values() for metric in by_scope.values())

    def within(metric: JobMetric) -> JobMetric:
        longest = max((len(series.data) for series in metric.series), default=0)
        every = slots_per_point(longest, series, limits)
        if every == 1:
            return metric
        return replace(
            metric,
            timestep_s=metric.timestep_s * every,
            series=[replace(row, data=_bucket_means(row.data[None, :], every)[0]) for row in metric.series],
            statistics_series=None,
            first_slot_s=first_sample_s(job, metric),
        )

    return {name: {scope: within(metric) for scope, metric in by_scope.items()} for name, by_scope in data.items()}


def _query_slots(
    stores: StoreRouter, job: Job, queries: Sequence[Query], slots: JobSlots, timestep_s: int
) -> RoutedResult:
    return stores.query(
        job.cluster,
        queries,
        from_s=slots.first * timestep_s,
        to_s=slots.end * timestep_s,
        sub_cluster=job.sub_cluster,
    )


def _read_in_pieces(
    stores: StoreRouter,
    job: Job,
    queries: Sequence[Query],
    read: tuple[JobSlots, JobSlots],
    timestep_s: int,
    *,
    every: int,
) -> RoutedResult:
    """The series read in pieces, each reduced to means before the next; `read` is (whole span, span in store)."""
    span, there = read
    gathered = RoutedResult([[] for _ in queries])
    found: list[dict[tuple[str | None, str | None], StoredSeries]] = [{} for _ in queries]
    stop_s = None if job.state is JobState.RUNNING else job.stop_time
    points = -(-span.size // every)
    for piece in _pieces(span, there, every, count_series(queries)):
        answer = _query_slots(stores, job, queries, piece, timestep_s)
        gathered.unreachable |= answer.unreachable
        at = (piece.first - span.first) // every
        for rows, row in zip(found, answer.rows, strict=True):
            for stored in row:
                key = (stored.id, stored.subtype_id)
                if stored.error is not None or stored.timestep_s != timestep_s:
                    # an external store with another timestep: its first piece is kept unchanged
                    rows.setdefault(key, stored)
                    continue
                if key not in rows:
                    data = np.full(points, np.nan, np.float32)
                    rows[key] = replace(
                        stored, data=data, from_s=span.first * timestep_s, timestep_s=timestep_s * every
                    )
                owned = _mask_foreign_slots(job.start_time, stop_s, stored) if every > 1 else stored.data
                means = _bucket_means(owned[None, :], every)[0] if every > 1 else owned
                rows[key].data[at : at + len(means)] = means
    gathered.rows = [list(rows.values()) for rows in found]
    return gathered


def _pieces(span: JobSlots, there: JobSlots, every: int, series: int) -> Iterator[JobSlots]:
    """The span in the store in pieces, each beginning with the first slot of a point."""
    width = max(1, _MAX_SAMPLES_PER_QUERY // max(series, 1) // every) * every if every > 1 else there.size or 1
    first = span.first + (there.first - span.first) // every * every
    if there.size <= 0:
        yield there
    for begin in range(first, there.end if there.size > 0 else first, width):
        yield JobSlots(begin, min(begin + width, there.end))


def _mask_foreign_slots(start_s: int, stop_s: int | None, stored: StoredSeries) -> Samples:
    """The samples of a series without those of edge slots that are not the job's."""
    own = own_slots(start_s, stop_s, stored.timestep_s, stored.offset_s)
    first = stored.from_s // stored.timestep_s
    begin, end = own.first - first, own.end - first
    if begin <= 0 and end >= len(stored.data):
        return stored.data
    data = np.full_like(stored.data, np.nan)
    data[max(begin, 0) : max(end, 0)] = stored.data[max(begin, 0) : max(end, 0)]
    return data


def _bucket_means(rows: Samples, every: int) -> Samples:
    """Each row reduced to the means of `every` columns; NaN is left out of a mean."""
    length = rows.shape[1]
    points = -(-length // every)
    padded = np.full((len(rows), points * every), np.nan, np.float64)
    padded[:, :length] = rows
    boxes = padded.reshape(len(rows), points, every)
    known = np.isfinite(boxes)
    count = known.sum(axis=2)
    total = np.where(known, boxes, 0.0).sum(axis=2)
    out = np.full(total.shape, np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out.astype(np.float32)
