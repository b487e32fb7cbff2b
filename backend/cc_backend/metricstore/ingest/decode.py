"""From the bytes of a batch to arrays of series numbers, values and times.

`cc_common.line_protocol` is the specification, and `_decode_line` applies it to one line. A reader (`native_reader`,
`numpy_reader`) takes what it
can prove to be plain, all lines at once; the others go through `_decode_line`, one by one.
"""

import re
from collections.abc import Iterable

import numpy as np

from cc_backend.metricstore.ingest.batch import (
    MAX_NAMED_ERRORS,
    NO_SAMPLES,
    Accepted,
    DecodedBatch,
    Rejections,
    check_line_count,
    to_float32,
)
from cc_backend.metricstore.ingest.key_cache import DictKeyCache, KeyCache, rejection_reason
from cc_backend.metricstore.ingest.native_reader import NativeKeyCache
from cc_backend.metricstore.ingest.numpy_reader import read_plain
from cc_backend.metricstore.model import BoolArray, RejectReason
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import LineError, parse_time, parse_value, split_line

FUTURE_S = 600
"""A sample may be this much ahead of the clock of the store."""

_EXCERPT = 120
_BLANK = re.compile(rb"(?<!\\) ")
_ODD_ENDS = b" \t\r"


def decode(batch: bytes, cache: KeyCache, *, received_s: int, rejections: Rejections) -> DecodedBatch:
    """The samples of a batch in line order; what is left out is added to `rejections`.

    Raises:
        TooLarge: the batch has too many lines, or too many that are not plain.
    """
    check_line_count(batch)
    if isinstance(cache, NativeKeyCache):
        fast, slow = _read_native(batch, cache, received_s, rejections)
    elif isinstance(cache, DictKeyCache):
        fast, slow = read_plain(batch, cache, received_s, rejections)
    else:
        raise TypeError(f"no kernel reads with {type(cache).__name__}")
    return _merge_in_line_order(fast, decode_slow_lines(slow, cache, received_s, rejections)) if slow else fast


def _read_native(
    batch: bytes, cache: NativeKeyCache, received_s: int, rejections: Rejections
) -> tuple[DecodedBatch, list[tuple[int, bytes]]]:
    codes, values, times_s, positions, rejected, slow = cache.read_batch(batch, received_s)
    for code, count, places in rejected:
        rejections.add(rejection_reason(code), places, count)
    sids = np.frombuffer(codes, np.int64)
    fast = DecodedBatch(
        sids,
        np.frombuffer(values, np.float32),
        times_s if isinstance(times_s, int) else np.frombuffer(times_s, np.int64),
        np.arange(len(sids)) if positions is None else np.frombuffer(positions, np.int64),
    )
    return fast, slow


def decode_slow_lines(
    lines: Iterable[tuple[int, bytes]], cache: KeyCache, received_s: int, rejections: Rejections
) -> DecodedBatch:
    """The slow path: numbered lines, one by one."""
    points: list[tuple[int, float, int, int]] = []
    for position, raw in lines:
        line = raw.strip(_ODD_ENDS)
        if not line or line.startswith(b"#"):
            continue
        try:
            sid, value, time_s = _decode_line(line, cache, received_s)
        except LineProtocolError as error:
            rejections.add(RejectReason.SYNTAX, (position,), 1, str(error))
            continue
        if sid < 0:
            rejections.add(rejection_reason(sid), (position,), 1)
        else:
            points.append((sid, value, time_s, position))
    if not points:
        return NO_SAMPLES
    sids, values, times, positions = zip(*points, strict=True)
    return DecodedBatch(np.array(sids), to_float32(np.array(values)), np.array(times), np.array(positions))


def _decode_line(line: bytes, cache: KeyCache, received_s: int) -> tuple[int, float, int]:
    """Series, value and time of one line. Of a line whose series is rejected the rest is not read."""
    blank = _BLANK.search(line)
    if blank is not None:
        sid = cache.find(line[: blank.start()])
        if sid < 0:
            return sid, 0.0, 0
    series, fields, time = split_line(line)
    return cache.find(series), parse_value(fields), parse_time(time, received_s=received_s)


def _merge_in_line_order(fast: DecodedBatch, slow: DecodedBatch) -> DecodedBatch:
    if not len(slow.sids):
        return fast
    if not len(fast.sids):
        return slow
    positions = np.concatenate([fast.positions, slow.positions])
    order = np.argsort(positions, kind="stable")
    times = [np.broadcast_to(part.times_s, part.sids.shape) for part in (fast, slow)]
    return DecodedBatch(
        np.concatenate([fast.sids, slow.sids])[order],
        np.concatenate([fast.values, slow.values])[order],
        np.concatenate(times)[order],
        positions[order],
    )


def validate(
    decoded: DecodedBatch, *, time_range: tuple[int, int], retention_s: int, rejections: Rejections
) -> Accepted:
    """The samples that can be kept: single precision holds them, and their time is neither ahead nor out of date.

    `time_range` are the earliest and the latest time that it may be now.
    """
    if not len(decoded.sids):
        return Accepted(decoded.sids, np.empty(0, np.float32), 0, decoded.positions)
    values, times = decoded.values, decoded.times_s
    oldest_s, newest_s = (times, times) if isinstance(times, int) else (int(times.min()), int(times.max()))
    first_s, last_s = time_range[0] - retention_s, time_range[1] + FUTURE_S
    if oldest_s < first_s or newest_s > last_s or not np.isfinite(values).all():
        decoded = _keep_valid(
            decoded, np.isfinite(values), rejections, RejectReason.VALUE_RANGE, "the value is beyond 3.4e38"
        )
        early = np.broadcast_to(decoded.times_s <= last_s, decoded.sids.shape)
        decoded = _keep_valid(
            decoded, early, rejections, RejectReason.FUTURE, f"the time is more than {FUTURE_S} s ahead"
        )
        late = np.broadcast_to(decoded.times_s >= first_s, decoded.sids.shape)
        decoded = _keep_valid(
            decoded, late, rejections, RejectReason.TOO_OLD, f"the time is more than {retention_s} s ago"
        )
        return Accepted(decoded.sids, decoded.values, decoded.times_s, decoded.positions)
    return Accepted(decoded.sids, values, oldest_s if oldest_s == newest_s else times, decoded.positions)


def _keep_valid(
    decoded: DecodedBatch, fine: BoolArray, rejections: Rejections, reason: RejectReason, text: str
) -> DecodedBatch:
    if fine.all():
        return decoded
    bad = np.flatnonzero(~fine)
    rejections.add(reason, decoded.positions[bad[:MAX_NAMED_ERRORS]].tolist(), len(bad), text)
    return decoded.select(np.flatnonzero(fine))


def describe_rejections(batch: bytes, rejections: Rejections, cache: KeyCache) -> tuple[LineError, ...]:
    """The first faulty lines with their numbers from 1, and why."""
    if not rejections.first_faulty:
        return ()
    lines = batch.split(b"\n")
    errors: list[LineError] = []
    for position, text in sorted(rejections.first_faulty)[:MAX_NAMED_ERRORS]:
        line = lines[position].strip(_ODD_ENDS)
        blank = _BLANK.search(line)
        why = text or cache.rejection_text(line[: blank.start()] if blank else line)
        errors.append(LineError(position + 1, why, line[: 4 * _EXCERPT].decode(errors="replace")[:_EXCERPT]))
    return tuple(errors)
