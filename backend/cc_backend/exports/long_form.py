"""The series of a job as CSV in long form: one row for each sample, none for a gap."""

from collections.abc import Iterable, Iterator

import numpy as np
import orjson

from cc_backend.exports.csv_text import csv_fields
from cc_backend.exports.job_series import MetricSeries
from cc_backend.wording.format import format_unit

LONG_COLUMNS = ("time", "metric", "unit", "scope", "host", "type-id", "value")
_ROWS_AT_ONCE = 8192


def long_csv_parts(series: Iterable[MetricSeries]) -> Iterator[bytes]:
    """The table as parts to join: times are ISO 8601 in UTC, values have the shortest text that gives them back."""
    yield csv_fields(*LONG_COLUMNS) + b"\r\n"
    for name, scope, metric, first_s in series:
        longest = max((len(row.data) for row in metric.series), default=0)
        for begin in range(0, longest, _ROWS_AT_ONCE):
            count = min(_ROWS_AT_ONCE, longest - begin)
            times = _times(first_s + begin * metric.timestep_s, metric.timestep_s, count)
            for row in metric.series:
                values = _numbers(row.data[begin : begin + _ROWS_AT_ONCE])
                if not values:
                    continue
                unit = format_unit(metric.unit)
                fields = b",%b," % csv_fields(name, unit, scope.value, row.hostname, row.id or "")
                pairs = zip(times, values, strict=False)
                known = [pair for pair in pairs if pair[1] != b"null"] if b"null" in values else pairs
                text = b"\r\n".join(map(fields.join, known))
                if text:
                    yield text + b"\r\n"


def _times(first_s: int, timestep_s: int, count: int) -> list[bytes]:
    seconds = first_s + timestep_s * np.arange(count, dtype=np.int64)
    return [f"{text}Z".encode() for text in np.datetime_as_string(seconds.astype("datetime64[s]")).tolist()]


def _numbers(samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> list[bytes]:
    """The samples as texts, `null` for a gap."""
    whole = np.ascontiguousarray(samples, np.float32)
    return orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",") if len(whole) else []
