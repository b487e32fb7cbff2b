"""data.json of an archived job, to and from JobData.

Not written by a JSON library, as other readers and their checks rely on exactly two decimals.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from cc_backend.archive.json_text import json_string, parse_json, raise_first_error
from cc_backend.archive.number_text import fixed2, json_array
from cc_backend.archive.rounding import to_float32
from cc_backend.archive.statistics import series_statistics
from cc_backend.clusters.faults import DocumentReader, Faults, is_number, quoted_value
from cc_backend.clusters.unit_json import unit_from_json, unit_to_json
from cc_backend.errors import ArchiveError
from cc_backend.model import JobData, JobMetric, MetricUnit, Samples, SampleSeries, Scope, Statistic, StatisticsSeries


def encode_data_json(data: JobData) -> bytes:
    """The data.json of a job: samples with two decimals, gaps as null; missing statistics of series are computed."""
    return b"".join([*data_parts(data), b"\n"])


def data_parts(data: JobData) -> Iterator[bytes]:
    """The object of data.json as byte strings to join."""
    yield b"{"
    for name_place, (name, by_scope) in enumerate(sorted(data.items())):
        yield b"%b%b:{" % (b"," if name_place else b"", json_string(name))
        for scope_place, (scope, metric) in enumerate(sorted(by_scope.items())):
            yield b"%b%b:" % (b"," if scope_place else b"", json_string(scope.value))
            yield from metric_parts(metric)
        yield b"}"
    yield b"}"


def metric_parts(metric: JobMetric) -> Iterator[bytes]:
    """One metric at one scope as byte strings to join, as in data.json and in API responses."""
    unit = orjson.dumps(unit_to_json(metric.unit))
    yield b'{"unit":%b,"timestep":%d,"series":[' % (unit, metric.timestep_s)
    for place, series in enumerate(metric.series):
        yield _series_head(series, b"," if place else b"")
        yield json_array(_single(series.data))
        yield b"}"
    yield b"]"
    if metric.statistics_series is not None:
        yield from _statistics_series_parts(metric.statistics_series)
    yield b"}"


def decode_data_json(raw: bytes, *, source: str) -> JobData:
    """The samples of a data.json; raises ArchiveError that names `source` and the invalid place.

    Missing statistics of series are computed, ids of node series are dropped, and ids that are repeated on one host
    are replaced by the positions of the series, which is what the writers of such files meant.
    """
    document = parse_json(raw, source)
    if not isinstance(document, Mapping):
        raise ArchiveError(f"{source}: must be an object, not {quoted_value(document)}")
    part = DocumentReader(document, "", Faults())
    data: JobData = {}
    for name, scopes in document.items():
        if not isinstance(scopes, Mapping):
            part.faults.error(name, f"must be an object of scopes, not {quoted_value(scopes)}")
            continue
        known = ((Scope(scope), metric) for scope, metric in scopes.items() if scope in set(Scope))
        data[name] = {
            scope: _read_metric(DocumentReader(metric, f"{name}.{scope}", part.faults), scope)
            for scope, metric in known
            if isinstance(metric, Mapping)
        }
    raise_first_error(part.faults, source)
    return data


def _series_head(series: SampleSeries, separator: bytes) -> bytes:
    """The JSON of a series up to its samples."""
    statistics = series.statistics or series_statistics(series.data)
    identity = b"" if series.id is None else b',"id":%b' % json_string(series.id)
    values = (statistics.min, statistics.avg, statistics.max)
    # As other writers do: one unknown value makes all three zero.
    known = values if all(map(math.isfinite, values)) else (0.0, 0.0, 0.0)
    return b'%b{"hostname":%b%b,"statistics":{"min":%b,"avg":%b,"max":%b},"data":' % (
        separator,
        json_string(series.hostname),
        identity,
        *(fixed2(value).encode() for value in known),
    )


def _statistics_series_parts(series: StatisticsSeries) -> Iterator[bytes]:
    arrays = {"mean": series.mean, "median": series.median, "min": series.min, "max": series.max}
    for place, (key, values) in enumerate(arrays.items()):
        yield b'%b"%b":' % (b"," if place else b',"statisticsSeries":{', key.encode())
        yield b"null" if values is None else json_array(values)
    yield b"}"


def _single(samples: Samples) -> Samples:
    """The samples as 32-bit floats; values that do not fit become infinite."""
    if samples.dtype == np.float32:
        return samples
    with np.errstate(over="ignore", invalid="ignore"):
        return samples.astype(np.float32)


def _read_metric(part: DocumentReader, scope: Scope) -> JobMetric:
    if not part.has("timestep"):
        part.faults.error(part.path_of("timestep"), "is missing")
    series = [_read_series(series_part, scope) for series_part in part.objects("series")]
    _repair_ids(series)
    over_time = part.raw("statisticsSeries")
    return JobMetric(
        unit=unit_from_json(part.raw("unit")) or MetricUnit(""),
        timestep_s=part.integer("timestep", (1, None), 60),
        series=series,
        statistics_series=(
            _read_statistics_series(DocumentReader(over_time, part.path_of("statisticsSeries"), part.faults))
            if isinstance(over_time, Mapping)
            else None
        ),
    )


def _read_series(part: DocumentReader, scope: Scope) -> SampleSeries:
    data = to_float32(_read_samples(part, "data"))
    identity = part.raw("id")
    return SampleSeries(
        hostname=part.string("hostname", required=True),
        data=data,
        id=None if scope is Scope.NODE or identity in (None, "") else str(identity),
        statistics=_read_statistics(part.raw("statistics")) or series_statistics(data),
    )


def _read_statistics(document: object) -> Statistic | None:
    if not isinstance(document, Mapping):
        return None
    values: list[Any] = [document.get(key) for key in ("min", "avg", "max")]
    return Statistic(*map(float, values)) if all(map(is_number, values)) else None


def _repair_ids(series: Iterable[SampleSeries]) -> None:
    by_host: dict[str, list[SampleSeries]] = {}
    for entry in series:
        by_host.setdefault(entry.hostname, []).append(entry)
    for group in by_host.values():
        ids = [entry.id for entry in group if entry.id is not None]
        if len(set(ids)) != len(ids):
            for place, entry in enumerate(group):
                entry.id = str(place)


def _read_statistics_series(part: DocumentReader) -> StatisticsSeries:
    mean, median = (_read_samples(part, key) if part.has(key) else None for key in ("mean", "median"))
    minima, maxima = _read_samples(part, "min"), _read_samples(part, "max")
    length = max(len(values) for values in (minima, maxima, mean, median) if values is not None)
    gap = np.full(length, np.nan)
    return StatisticsSeries(
        min=minima if part.has("min") else gap, mean=mean, median=median, max=maxima if part.has("max") else gap
    )


def _read_samples(part: DocumentReader, key: str) -> npt.NDArray[np.float64]:
    """An array of numbers and nulls as doubles; empty if absent or null."""
    values = part.raw(key)
    if isinstance(values, list):
        try:
            # NumPy reads None as NaN.
            samples = np.array(values, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            samples = np.zeros((0, 0))
        if samples.ndim == 1:
            return samples
    elif values is None:
        return np.zeros(0)
    part.faults.error(part.path_of(key), f"must be a list of numbers and nulls, not {quoted_value(values)}")
    return np.zeros(0)
