r"""The Python kernel: reads the plain lines of a batch all at once.

It cuts a batch at its blanks and newlines and reads only what it can prove to be plain: `\nKEY value=NUMBER TIME`.
Each newline gets a blank before it, so that every cut piece has at most one newline, in front. If then each third piece
is a known key (with its newline), each following one starts with `value=` and each following one is an integer,
then each line consists of exactly these three. The positions of all other lines are handed back.
"""

from itertools import compress

import numpy as np
import orjson

from cc_backend.metricstore.ingest.batch import (
    MAX_NAMED_ERRORS,
    MAX_SLOW_LINES,
    NO_SAMPLES,
    DecodedBatch,
    Rejections,
    to_float32,
    too_many_slow_lines,
)
from cc_backend.metricstore.ingest.key_cache import DictKeyCache, IrregularKeyError, rejection_reason
from cc_backend.metricstore.model import Float64Array, Int64Array
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import parse_time, parse_value

_NO_TIME = np.iinfo(np.int64).min
_NUMBER_BYTES = b"0123456789.,+-eE"
_PREFIX = b"value="
_EXACT_DIGITS = 18  # integers of so many digits are inside the range of 64 bits


def read_plain(
    batch: bytes, cache: DictKeyCache, received_s: int, rejections: Rejections
) -> tuple[DecodedBatch, list[tuple[int, bytes]]]:
    """The samples of the plain lines of a batch, and the other lines with their positions; TooLarge for too many."""
    if b"\r" in batch:
        batch = batch.replace(b"\r\n", b"\n")
    text = batch.removesuffix(b"\n")
    if not text:
        return NO_SAMPLES, []
    try:
        if b"\t" in text or b"\r" in text:  # at the end of a line they do not count
            raise IrregularKeyError  # noqa: TRY301 one way to say no
        fast, slow = _read_aligned(text, cache, received_s, rejections)
    except IrregularKeyError:
        fast, slow = _read_partitioned(text, cache, received_s, rejections)
    if not len(slow):
        return fast, []
    if len(slow) > MAX_SLOW_LINES:
        raise too_many_slow_lines()
    lines = text.split(b"\n")
    return fast, [(at, lines[at]) for at in slow.tolist()]


def _read_aligned(
    text: bytes, cache: DictKeyCache, received_s: int, rejections: Rejections
) -> tuple[DecodedBatch, Int64Array]:
    """The fast path: what could be read, and the positions of lines to be read one by one.

    Raises IrregularKeyError if not all lines have three pieces and a plain key.
    """
    pieces = (b"\n" + text).replace(b"\n", b" \n").split(b" ")
    keys = pieces[1::3]
    if len(pieces) != 3 * len(keys) + 1:
        raise IrregularKeyError
    fields, times = pieces[2::3], pieces[3::3]
    if b"" in times:
        raise IrregularKeyError  # blanks at the end of a line do not count: there may be no field
    sids = _sids(keys, text, cache)
    positions = np.arange(len(keys))
    has_rejected = int(sids.min()) < 0
    if has_rejected:
        known = sids >= 0
        flags = known.tolist()
        fields, times, positions = list(compress(fields, flags)), list(compress(times, flags)), positions[known]
    values, bad_values = _parse_values(fields)
    times_s, bad_times = _parse_times(times, received_s)
    if (has_rejected or bad_values or len(bad_times)) and text.count(b"\n") != len(keys) - 1:
        raise IrregularKeyError  # a piece that was not proven to be plain hides the begin of a line
    if has_rejected:
        _count_rejected(sids, rejections)
        sids = sids[positions]
    decoded = DecodedBatch(sids, to_float32(values), times_s, positions)
    if not bad_values and not len(bad_times):
        return decoded, NO_SAMPLES.positions
    good = np.ones(len(sids), np.bool_)
    good[bad_values] = False
    good[bad_times] = False
    return decoded.select(np.flatnonzero(good)), positions[~good]


def _sids(keys: list[bytes], text: bytes, cache: DictKeyCache) -> Int64Array:
    try:
        return np.fromiter(map(cache.get, keys), np.int64, len(keys))
    except TypeError:  # None: not all are known
        lines = text.count(b"\n") + 1
        if lines != len(keys) or b"".join(keys).count(b"\n") != lines:
            raise IrregularKeyError from None  # a line without any field has no key to be resolved
        return np.fromiter(map(cache.__getitem__, keys), np.int64, len(keys))


def _count_rejected(sids: Int64Array, rejections: Rejections) -> None:
    codes, counts = np.unique(sids[sids < 0], return_counts=True)
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        rejections.add(rejection_reason(code), np.flatnonzero(sids == code)[:MAX_NAMED_ERRORS].tolist(), count)


def _parse_values(fields: list[bytes]) -> tuple[Float64Array, list[int]]:
    """Values of fields `value=NUMBER`, and the indexes of those that are not plain."""
    if not fields:
        return np.empty(0, np.float64), []
    joined = b"," + b",".join(fields)
    text = joined.replace(b",value=", b",")
    # Nothing but digits and the like is left: no `true`, `null`, list or text. As many commas as fields, each of them
    # followed by `value=`: every field starts with it and has no second part.
    if (
        len(joined) - len(text) == len(_PREFIX) * len(fields)
        and not text.translate(None, _NUMBER_BYTES)
        and b",-0," not in text + b","  # an integer for JSON, and so without its sign
    ):
        try:
            numbers = orjson.loads(b"[%b]" % text[1:])
        except orjson.JSONDecodeError:
            pass  # a number that is none in JSON, such as `.5` or `1e999`
        else:
            if len(numbers) == len(fields):
                return np.fromiter(numbers, np.float64, len(fields)), []
    return _parse_values_one_by_one(fields)


def _parse_values_one_by_one(fields: list[bytes]) -> tuple[Float64Array, list[int]]:
    values = np.zeros(len(fields))
    bad: list[int] = []
    for index, raw in enumerate(fields):
        if not raw.startswith(_PREFIX):
            bad.append(index)
            continue
        if raw.endswith(b"i"):  # integers are common with other senders
            digits = raw[6:-1].removeprefix(b"-")
            if len(digits) <= _EXACT_DIGITS and digits.isdigit():
                values[index] = int(raw[6:-1])
                continue
        try:
            values[index] = parse_value(raw)
        except LineProtocolError:
            bad.append(index)
    return values, bad


def _parse_times(raw: list[bytes], received_s: int) -> tuple[int | Int64Array, Int64Array | list[int]]:
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


def _read_partitioned(
    text: bytes, cache: DictKeyCache, received_s: int, rejections: Rejections
) -> tuple[DecodedBatch, Int64Array]:
    """The fast path for the lines that are plain, and the positions of the others."""
    lines = text.split(b"\n")
    flags = [_is_plain(line) for line in lines]
    plain = np.flatnonzero(flags)
    other = np.flatnonzero(~np.array(flags))
    if not len(plain):
        return NO_SAMPLES, other
    own = Rejections()
    fast, slow = _read_aligned(b"\n".join(compress(lines, flags)), cache, received_s, own)
    for reason, count in own.counts.items():
        rejections.counts[reason] = rejections.counts.get(reason, 0) + count
    rejections.first_faulty.extend((int(plain[position]), why) for position, why in own.first_faulty)
    rejections.first_quiet.extend((reason, int(plain[position])) for reason, position in own.first_quiet)
    return fast._replace(positions=plain[fast.positions]), np.sort(np.concatenate([plain[slow], other]))


def _is_plain(line: bytes) -> bool:
    if line.count(b" ") != 2 or b"\\" in line:  # noqa: PLR2004 key, field and time
        return False
    return line[:1] not in (b" ", b"\t", b"\r", b"#") and line[-1:] not in (b" ", b"\t", b"\r")
