r"""From the bytes of a batch to arrays of series numbers, values and times.

`cc_common.lineprotocol` is the specification, and `_line` applies it to one line. The fast path cuts a whole batch at
its blanks and newlines at once and reads only what it can prove to be plain: `\nKEY value=NUMBER TIME`. Each newline
gets a blank before it, so that every cut piece has at most one newline, in front. If then each third piece is a known
key (with its newline), each following one starts with `value=` and each following one is a whole number, then each line
consists of exactly these three. Lines with any piece that is not plain go through `_line`, alone.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import compress
from typing import NamedTuple

import numpy as np
import orjson

from cc_backend.metricstore.model import QUIET_REASONS, Doubles, Flags, Ids, Reason
from cc_backend.metricstore.spellings import DictSpellings, IrregularKeyError, Spellings, refusal_reason
from cc_backend.model import Samples
from cc_common.errors import LineProtocolError
from cc_common.lineprotocol import LineError, parse_time, parse_value, split_line

NAMED_ERRORS = 20
FUTURE_S = 600
"""A sample may be this much ahead of the clock of the store."""

_EXCERPT = 120
_NO_TIME = np.iinfo(np.int64).min
_NUMBER_BYTES = b"0123456789.,+-eE"
_PREFIX = b"value="
_EXACT_DIGITS = 18  # whole numbers of so many digits are inside the range of 64 bits
_BLANK = re.compile(rb"(?<!\\) ")
_ODD_ENDS = b" \t\r"


@dataclass(slots=True)
class Faults:
    """Lines left out: how many by reason, and by position why, for those that may be named."""

    counts: dict[Reason, int] = field(default_factory=dict)
    named: list[tuple[int, str]] = field(default_factory=list)

    def add(self, reason: Reason, positions: Iterable[int], number: int, text: str = "") -> None:
        """Count lines; of positions only the first few are looked at, so they must ascend."""
        self.counts[reason] = self.counts.get(reason, 0) + number
        if reason not in QUIET_REASONS:
            self.named.extend((position, text) for position, _ in zip(positions, range(NAMED_ERRORS), strict=False))


class Decoded(NamedTuple):
    """Samples of a batch in the order of their lines; one time for all, or one each. `positions` count from 0."""

    sids: Ids
    values: Doubles
    times_s: int | Ids
    positions: Ids

    def only(self, wanted: Ids) -> "Decoded":
        """The samples at some indexes."""
        times = self.times_s if isinstance(self.times_s, int) else self.times_s[wanted]
        return Decoded(self.sids[wanted], self.values[wanted], times, self.positions[wanted])


class Screened(NamedTuple):
    """Samples fit to be stored."""

    sids: Ids
    values: Samples
    times_s: int | Ids


_NOTHING = Decoded(np.empty(0, np.int64), np.empty(0, np.float64), 0, np.empty(0, np.int64))


def decode(batch: bytes, spellings: Spellings, *, received_s: int, faults: Faults) -> Decoded:
    """The samples of a batch in line order; what is left out is added to `faults`."""
    if b"\r" in batch:
        batch = batch.replace(b"\r\n", b"\n")
    batch = batch.removesuffix(b"\n")
    if not batch:
        return _NOTHING
    if not isinstance(spellings, DictSpellings):
        return decode_lines(list(enumerate(batch.split(b"\n"))), spellings, received_s, faults)
    try:
        fast, slow = _aligned(batch, spellings, received_s, faults)
    except IrregularKeyError:
        fast, slow = _partitioned(batch, spellings, received_s, faults)
    if not len(slow):
        return fast
    lines = batch.split(b"\n")
    return _merged(fast, decode_lines([(at, lines[at]) for at in slow.tolist()], spellings, received_s, faults))


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
        return _NOTHING
    sids, values, times, positions = zip(*points, strict=True)
    return Decoded(np.array(sids), np.array(values, np.float64), np.array(times), np.array(positions))


def _line(line: bytes, spellings: Spellings, received_s: int) -> tuple[int, float, int]:
    """Series, value and time of one line. Of a line whose series is refused the rest is not read."""
    blank = _BLANK.search(line)
    if blank is not None:
        sid = spellings.find(line[: blank.start()])
        if sid < 0:
            return sid, 0.0, 0
    series, fields, time = split_line(line)
    return spellings.find(series), parse_value(fields), parse_time(time, received_s=received_s)


def _aligned(text: bytes, spellings: DictSpellings, received_s: int, faults: Faults) -> tuple[Decoded, Ids]:
    """The fast path: what could be read, and the positions of lines to be read one by one.

    Raises IrregularKeyError if not all lines have three pieces and a plain key.
    """
    pieces = (b"\n" + text).replace(b"\n", b" \n").split(b" ")
    keys = pieces[1::3]
    if len(pieces) != 3 * len(keys) + 1:
        raise IrregularKeyError
    sids = np.fromiter(map(spellings.__getitem__, keys), np.int64, len(keys))
    fields, times = pieces[2::3], pieces[3::3]
    positions = np.arange(len(keys))
    refused = int(sids.min()) < 0
    if refused:
        known = sids >= 0
        flags = known.tolist()
        fields, times, positions = list(compress(fields, flags)), list(compress(times, flags)), positions[known]
    values, bad_values = _numbers(fields)
    times_s, bad_times = _times(times, received_s)
    if (refused or bad_values or len(bad_times)) and text.count(b"\n") != len(keys) - 1:
        raise IrregularKeyError  # a piece that was not proven to be plain hides the begin of a line
    if refused:
        _count_refused(sids, faults)
        sids = sids[positions]
    decoded = Decoded(sids, values, times_s, positions)
    if not bad_values and not len(bad_times):
        return decoded, _NOTHING.positions
    good = np.ones(len(sids), np.bool_)
    good[bad_values] = False
    good[bad_times] = False
    return decoded.only(np.flatnonzero(good)), positions[~good]


def _count_refused(sids: Ids, faults: Faults) -> None:
    codes, counts = np.unique(sids[sids < 0], return_counts=True)
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        reason = refusal_reason(code)
        named = () if reason in QUIET_REASONS else np.flatnonzero(sids == code)[:NAMED_ERRORS].tolist()
        faults.add(reason, named, count)


def _numbers(fields: list[bytes]) -> tuple[Doubles, list[int]]:
    """Values of fields `value=NUMBER`, and the indexes of those that are not plain."""
    if not fields:
        return np.empty(0, np.float64), []
    joined = b"," + b",".join(fields)
    text = joined.replace(b",value=", b",")
    # Nothing but digits and the like is left: no `true`, `null`, list or text. As many commas as fields, each of them
    # followed by `value=`: every field starts with it and has no second part.
    if len(joined) - len(text) == len(_PREFIX) * len(fields) and not text.translate(None, _NUMBER_BYTES):
        try:
            numbers = orjson.loads(b"[%b]" % text[1:])
        except orjson.JSONDecodeError:
            pass  # a number that is none in JSON, such as `.5` or `1e999`
        else:
            if len(numbers) == len(fields):
                return np.fromiter(numbers, np.float64, len(fields)), []
    return _numbers_one_by_one(fields)


def _numbers_one_by_one(fields: list[bytes]) -> tuple[Doubles, list[int]]:
    values = np.zeros(len(fields))
    bad: list[int] = []
    for index, raw in enumerate(fields):
        if not raw.startswith(_PREFIX):
            bad.append(index)
            continue
        if raw.endswith(b"i"):  # whole numbers are common with other senders
            digits = raw[6:-1].removeprefix(b"-")
            if len(digits) <= _EXACT_DIGITS and digits.isdigit():
                values[index] = int(raw[6:-1])
                continue
        try:
            values[index] = parse_value(raw)
        except LineProtocolError:
            bad.append(index)
    return values, bad


def _times(raw: list[bytes], received_s: int) -> tuple[int | Ids, Ids | list[int]]:
    """Times, one for all if they are the same, and the indexes of those that cannot be read."""
    known: dict[bytes, int] = {}
    for text in set(raw):
        try:
            if not text:
                raise LineProtocolError("two blanks, not a time that was left out")  # noqa: TRY301 one way to say no
            known[text] = parse_time(text, received_s=received_s)
        except LineProtocolError:
            known[text] = _NO_TIME
    if len(known) == 1 and known[raw[0]] != _NO_TIME:
        return known[raw[0]], []
    times = np.fromiter(map(known.__getitem__, raw), np.int64, len(raw))
    return times, np.flatnonzero(times == _NO_TIME)


def _partitioned(text: bytes, spellings: DictSpellings, received_s: int, faults: Faults) -> tuple[Decoded, Ids]:
    """The fast path for the lines that are plain, and the positions of the others."""
    lines = text.split(b"\n")
    flags = [_is_plain(line) for line in lines]
    plain = np.flatnonzero(flags)
    other = np.flatnonzero(~np.array(flags))
    if not len(plain):
        return _NOTHING, other
    own = Faults()
    fast, slow = _aligned(b"\n".join(compress(lines, flags)), spellings, received_s, own)
    for reason, count in own.counts.items():
        faults.counts[reason] = faults.counts.get(reason, 0) + count
    faults.named.extend((int(plain[position]), why) for position, why in own.named)
    return fast._replace(positions=plain[fast.positions]), np.sort(np.concatenate([plain[slow], other]))


def _is_plain(line: bytes) -> bool:
    if line.count(b" ") != 2 or b"\\" in line:  # noqa: PLR2004 key, field and time
        return False
    return line[:1] not in (b" ", b"\t", b"\r", b"#") and line[-1:] not in (b" ", b"\t", b"\r")


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


def screen(decoded: Decoded, *, received_s: int, retention_s: int, faults: Faults) -> Screened:
    """The samples that can be kept: single precision holds them, and their time is neither ahead nor out of date."""
    if not len(decoded.sids):
        return Screened(decoded.sids, np.empty(0, np.float32), 0)
    with np.errstate(over="ignore"):
        values = decoded.values.astype(np.float32)
    times = decoded.times_s
    oldest_s, newest_s = (times, times) if isinstance(times, int) else (int(times.min()), int(times.max()))
    if oldest_s < received_s - retention_s or newest_s > received_s + FUTURE_S or not np.isfinite(values).all():
        decoded = _fine_only(decoded, np.isfinite(values), faults, Reason.VALUE_RANGE, "the value is beyond 3.4e38")
        early = np.broadcast_to(decoded.times_s <= received_s + FUTURE_S, decoded.sids.shape)
        decoded = _fine_only(decoded, early, faults, Reason.FUTURE, f"the time is more than {FUTURE_S} s ahead")
        late = np.broadcast_to(decoded.times_s >= received_s - retention_s, decoded.sids.shape)
        decoded = _fine_only(decoded, late, faults, Reason.TOO_OLD, f"the time is more than {retention_s} s ago")
        return Screened(decoded.sids, decoded.values.astype(np.float32), decoded.times_s)
    return Screened(decoded.sids, values, oldest_s if oldest_s == newest_s else times)


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
