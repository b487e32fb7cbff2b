"""From the bytes of a batch to arrays of series numbers, values and times.

`cc_common.line_protocol` is the specification, and `_line` applies it to one line. A reader (`native_reader`,
`numpy_reader`) takes what it
can prove to be plain, all lines at once; the others go through `_line`, one by one.
"""

import re
from collections.abc import Iterable

import numpy as np

from cc_backend.metricstore.ingest.batch import NAMED_ERRORS, NOTHING, Decoded, Faults, Screened, check_lines, single
from cc_backend.metricstore.ingest.key_cache import DictSpellings, Spellings, refusal_reason
from cc_backend.metricstore.ingest.native_reader import NativeSpellings
from cc_backend.metricstore.ingest.numpy_reader import read_plain
from cc_backend.metricstore.model import Flags, Reason
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import LineError, parse_time, parse_value, split_line

FUTURE_S = 600
"""A sample may be this much ahead of the clock of the store."""

_EXCERPT = 120
_BLANK = re.compile(rb"(?<!\\) ")
_ODD_ENDS = b" \t\r"


def decode(batch: bytes, spellings: Spellings, *, received_s: int, faults: Faults) -> Decoded:
    """The samples of a batch in line order; what is left out is added to `faults`.

    Raises:
        TooLarge: the batch has too many lines, or too many that are not plain.
    """
    check_lines(batch)
    if isinstance(spellings, NativeSpellings):
        fast, slow = _read_native(batch, spellings, received_s, faults)
    elif isinstance(spellings, DictSpellings):
        fast, slow = read_plain(batch, spellings, received_s, faults)
    else:
        raise TypeError(f"no kernel reads with {type(spellings).__name__}")
    return _merged(fast, decode_lines(slow, spellings, received_s, faults)) if slow else fast


def _read_native(
    batch: bytes, spellings: NativeSpellings, received_s: int, faults: Faults
) -> tuple[Decoded, list[tuple[int, bytes]]]:
    codes, values, times_s, positions, refused, slow = spellings.read(batch, received_s)
    for code, count, places in refused:
        faults.add(refusal_reason(code), places, count)
    sids = np.frombuffer(codes, np.int64)
    fast = Decoded(
        sids,
        np.frombuffer(values, np.float32),
        times_s if isinstance(times_s, int) else np.frombuffer(times_s, np.int64),
        np.arange(len(sids)) if positions is None else np.frombuffer(positions, np.int64),
    )
    return fast, slow


def decode_lines(lines: Iterable[tuple[int, bytes]], spellings: Spellings, received_s: int, faults: Faults) -> Decoded:
    """The slow path: numbered lines, one by one."""
    points: list[tuple[int, float, int, int]] = []
    for position, raw in lines:
        line = raw.strip(_ODD_ENDS)
        if not line or line.startswith(b"#"):
            continue
        try:
            sid, value, time_s = _line(line, spellings, received_s)
        except LineProtocolError as error:
            faults.add(Reason.SYNTAX, (position,), 1, str(error))
            continue
        if sid < 0:
            faults.add(refusal_reason(sid), (position,), 1)
        else:
            points.append((sid, value, time_s, position))
    if not points:
        return NOTHING
    sids, values, times, positions = zip(*points, strict=True)
    return Decoded(np.array(sids), single(np.array(values)), np.array(times), np.array(positions))


def _line(line: bytes, spellings: Spellings, received_s: int) -> tuple[int, float, int]:
    """Series, value and time of one line. Of a line whose series is refused the rest is not read."""
    blank = _BLANK.search(line)
    if blank is not None:
        sid = spellings.find(line[: blank.start()])
        if sid < 0:
            return sid, 0.0, 0
    series, fields, time = split_line(line)
    return spellings.find(series), parse_value(fields), parse_time(time, received_s=received_s)


def _merged(fast: Decoded, slow: Decoded) -> Decoded:
    if not len(slow.sids):
        return fast
    if not len(fast.sids):
        return slow
    positions = np.concatenate([fast.positions, slow.positions])
    order = np.argsort(positions, kind="stable")
    times = [np.broadcast_to(part.times_s, part.sids.shape) for part in (fast, slow)]
    return Decoded(
        np.concatenate([fast.sids, slow.sids])[order],
        np.concatenate([fast.values, slow.values])[order],
        np.concatenate(times)[order],
        positions[order],
    )


def screen(decoded: Decoded, *, time_range: tuple[int, int], retention_s: int, faults: Faults) -> Screened:
    """The samples that can be kept: single precision holds them, and their time is neither ahead nor out of date.

    `time_range` are the earliest and the latest time that it may be now.
    """
    if not len(decoded.sids):
        return Screened(decoded.sids, np.empty(0, np.float32), 0, decoded.positions)
    values, times = decoded.values, decoded.times_s
    oldest_s, newest_s = (times, times) if isinstance(times, int) else (int(times.min()), int(times.max()))
    first_s, last_s = time_range[0] - retention_s, time_range[1] + FUTURE_S
    if oldest_s < first_s or newest_s > last_s or not np.isfinite(values).all():
        decoded = _fine_only(decoded, np.isfinite(values), faults, Reason.VALUE_RANGE, "the value is beyond 3.4e38")
        early = np.broadcast_to(decoded.times_s <= last_s, decoded.sids.shape)
        decoded = _fine_only(decoded, early, faults, Reason.FUTURE, f"the time is more than {FUTURE_S} s ahead")
        late = np.broadcast_to(decoded.times_s >= first_s, decoded.sids.shape)
        decoded = _fine_only(decoded, late, faults, Reason.TOO_OLD, f"the time is more than {retention_s} s ago")
        return Screened(decoded.sids, decoded.values, decoded.times_s, decoded.positions)
    return Screened(decoded.sids, values, oldest_s if oldest_s == newest_s else times, decoded.positions)


def _fine_only(decoded: Decoded, fine: Flags, faults: Faults, reason: Reason, text: str) -> Decoded:
    if fine.all():
        return decoded
    bad = np.flatnonzero(~fine)
    faults.add(reason, decoded.positions[bad[:NAMED_ERRORS]].tolist(), len(bad), text)
    return decoded.only(np.flatnonzero(fine))


def name_errors(batch: bytes, faults: Faults, spellings: Spellings) -> tuple[LineError, ...]:
    """The first faulty lines with their numbers from 1, and why."""
    if not faults.named:
        return ()
    lines = batch.split(b"\n")
    errors: list[LineError] = []
    for position, text in sorted(faults.named)[:NAMED_ERRORS]:
        line = lines[position].strip(_ODD_ENDS)
        blank = _BLANK.search(line)
        why = text or spellings.explain(line[: blank.start()] if blank else line)
        errors.append(LineError(position + 1, why, line[: 4 * _EXCERPT].decode(errors="replace")[:_EXCERPT]))
    return tuple(errors)
