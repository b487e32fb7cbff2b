r"""InfluxDB line protocol: samples as text, one per line, encoded and decoded by pure functions on bytes.

    mem_bw,cluster=demo,hostname=n017,type=socket,type-id=1 value=87.25 1790000040

Grammar: InfluxDB line protocol version 2. In metric names a comma or blank, in tag keys and values a comma, equals sign
or blank is written after a backslash; a backslash before anything else is an ordinary character. A delimiter is
therefore escaped exactly if the byte before it is a backslash, and no name can end in a backslash.

`decode` reads samples: the one field `value`, a number. `decode_messages` reads lines of all classes, with fields of
any name and type. In text a quote and a backslash are written after a backslash, line ends and tabs as \n, \r and \t.
"""

from __future__ import annotations

import math
import re
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

from cc_common.errors import LineProtocolError

MAX_NAME_BYTES = 1024
"""Maximum length of a metric name, tag key or tag value."""
MAX_TEXT_BYTES = 4 << 20
"""Maximum length of the text in a field."""
MAX_FIELDS = 64
"""Maximum number of fields of a line."""
PRECISION_ZEROS: Mapping[str, bytes] = {"s": b"", "ms": b"000", "us": b"000000", "ns": b"000000000"}
"""The zeros that make seconds a timestamp of each precision."""

_LINE_EXCERPT = 120
_INT64_MAX = 2**63 - 1
_UINT64_MAX = 2**64 - 1
_MILLISECONDS = 10**11
_MICROSECONDS = 10**14
_NANOSECONDS = 10**17

_ESCAPE_METRIC = re.compile(r"([, ])")
_ESCAPE_TAG = re.compile(r"([,= ])")
_UNESCAPE_METRIC = re.compile(r"\\([, ])")
_UNESCAPE_TAG = re.compile(r"\\([,= ])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BLANK = re.compile(rb"(?<!\\) ")
_COMMA = re.compile(r"(?<!\\),")
_EQUALS = re.compile(r"(?<!\\)=")
_FIELDS = re.compile(rb'(?:\\.|"[^"\\]*(?:\\.[^"\\]*)*"|[^ "\\])+', re.DOTALL)
_FIELD = re.compile(rb'((?:\\.|[^,= \\])+)=("[^"\\]*(?:\\.[^"\\]*)*"|[^", ]+)(?:,|$)', re.DOTALL)
_FLOAT = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(rb"[+-]?[0-9]+i")
_UNSIGNED = re.compile(rb"[0-9]+u")
_TIME = re.compile(rb"-?[0-9]{1,19}")
_TRUE = frozenset((b"t", b"T", b"true", b"True", b"TRUE"))
_BOOLEANS = _TRUE | {b"f", b"F", b"false", b"False", b"FALSE"}
_MESSAGE = re.compile(rb'((?:\\[^\n]|[^ \n\\])+ )((?:\\[^\n]|"[^"\\]*(?:\\.[^"\\]*)*"|[^"\n\\])*)(?:\n|\Z)', re.DOTALL)
_ESCAPE_TEXT = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPED_TEXT = re.compile(r'\\([\\"nrt])')
_UNESCAPE_TEXT = {"\\": "\\", '"': '"', "n": "\n", "r": "\r", "t": "\t"}


class Point(NamedTuple):
    """One sample; `time_s` is in seconds since the epoch."""

    metric: str
    tags: Dict[str, str]
    value: float
    time_s: int


FieldValue = Union[bool, int, float, str]


class Message(NamedTuple):
    """A line of any class with its fields; `time_s` is in seconds since the epoch."""

    name: str
    tags: Dict[str, str]
    fields: Dict[str, FieldValue]
    time_s: int


class LineError(NamedTuple):
    """A rejected line: its number from 1, the reason, and its first 120 characters."""

    line_number: int
    reason: str
    line: str


def series_prefix(metric: str, tags: Mapping[str, str]) -> bytes:
    """The constant part of the lines of a series, up to and including `value=`.

    Tags are sorted by key; those with an empty value are left out, because the protocol has no empty tag value.
    Raises LineProtocolError for a name that the protocol cannot encode.
    """
    return _series_key(metric, tags) + b" value="


def _series_key(metric: str, tags: Mapping[str, str]) -> bytes:
    if metric.startswith("#"):
        raise LineProtocolError(f"metric name {metric!r} starts with '#', which begins a comment")
    parts = [_ESCAPE_METRIC.sub(r"\\\1", _check_sendable("metric name", metric))]
    for key in sorted(tags):
        value = tags[key]
        if value:
            written_key = _ESCAPE_TAG.sub(r"\\\1", _check_sendable("tag key", key))
            written_value = _ESCAPE_TAG.sub(r"\\\1", _check_sendable(f"tag {key}", value))
            parts.append(f"{written_key}={written_value}")
    return ",".join(parts).encode()


def _check_sendable(what: str, text: str) -> str:
    if not text:
        raise LineProtocolError(f"{what} is empty")
    if text.endswith("\\"):
        raise LineProtocolError(f"{what} {text!r} ends in a backslash, which would escape what follows it")
    if _CONTROL.search(text):
        raise LineProtocolError(f"{what} {text!r} has a control character")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise LineProtocolError(f"{what} {text!r} cannot be written as UTF-8") from None
    if size > MAX_NAME_BYTES:
        raise LineProtocolError(f"{what} is longer than {MAX_NAME_BYTES} bytes")
    return text


def format_value(value: float) -> bytes:
    """A number as line protocol text: integers without suffix or fraction, others in the shortest exact form.

    Raises LineProtocolError for NaN, infinities, booleans and integers beyond the range of a double.
    """
    if isinstance(value, bool):
        raise LineProtocolError(f"{value} is not a number")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise LineProtocolError("the value is not finite")
    if isinstance(value, int):
        return b"%d" % value
    return repr(float(value)).removesuffix(".0").encode()


def encode(metric: str, tags: Mapping[str, str], value: float, time_s: int) -> bytes:
    """One line without its newline; for repeated samples of a series `series_prefix` is faster."""
    return b"%b%b %d" % (series_prefix(metric, tags), format_value(value), time_s)


def encode_message(
    name: str, tags: Mapping[str, str], fields: Mapping[str, FieldValue], time_s: int, *, precision: str = "s"
) -> bytes:
    """One line of any class without its newline; booleans, integers and text keep their type.

    An integer is written as one of 64 bits with sign, beyond that as one without. Raises LineProtocolError for what the
    protocol cannot encode.
    """
    if not fields:
        raise LineProtocolError("there is no field")
    if len(fields) > MAX_FIELDS:
        raise LineProtocolError(f"there are more than {MAX_FIELDS} fields")
    if any('"' in key for key in fields):
        raise LineProtocolError("a field key has a quote, which begins a text")
    written = (
        _ESCAPE_TAG.sub(r"\\\1", _check_sendable("field key", key)).encode() + b"=" + _format_field(value)
        for key, value in fields.items()
    )
    return b"%b %b %d%b" % (_series_key(name, tags), b",".join(written), time_s, PRECISION_ZEROS[precision])


def _format_field(value: FieldValue) -> bytes:
    if isinstance(value, str):
        try:
            text = "".join(_ESCAPE_TEXT.get(char, char) for char in value).encode()
        except UnicodeEncodeError:
            raise LineProtocolError("the text cannot be written as UTF-8") from None
        if len(text) > MAX_TEXT_BYTES:
            raise LineProtocolError(f"the text is longer than {MAX_TEXT_BYTES} bytes")
        return b'"%b"' % text
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        if not -_INT64_MAX - 1 <= value <= _UINT64_MAX:
            raise LineProtocolError("the integer is outside the range of 64 bits")
        return b"%d%b" % (value, b"i" if value <= _INT64_MAX else b"u")
    return format_value(value)


def split_line(line: bytes) -> Tuple[bytes, bytes, bytes]:
    """Series key, fields and timestamp of a line; the timestamp is empty if the line has none.

    Splits at blanks that are neither escaped nor inside a quoted field value. `line` has no line end.
    """
    parts = line.split(b" ")
    if len(parts) == 3 and all(parts) and b"\\" not in line and b'"' not in line:  # noqa: PLR2004 as nearly all lines are
        return parts[0], parts[1], parts[2]
    blank = _BLANK.search(line)
    if blank is None:
        raise LineProtocolError("there is no field after the series")
    series, rest = line[: blank.start()], line[blank.end() :].lstrip(b" ")
    fields = _FIELDS.match(rest)
    if fields is None:
        raise LineProtocolError("there is no field after the series")
    end = fields.end()
    if end < len(rest) and rest[end : end + 1] != b" ":
        raise LineProtocolError("a quoted field value has no closing quote, or a backslash nothing after it")
    time = rest[end:].strip(b" ")
    if b" " in time:
        raise LineProtocolError("there is text after the timestamp")
    return series, fields.group(), time


def parse_series(series: bytes) -> Tuple[str, Dict[str, str]]:
    """Metric name and tags of a series key; of a repeated tag the last one wins."""
    try:
        text = series.decode()
    except UnicodeDecodeError:
        raise LineProtocolError("the series is not UTF-8") from None
    plain = _parse_plain_series(text)
    if plain is not None:
        return plain
    metric, *pairs = _COMMA.split(text)
    tags: Dict[str, str] = {}
    for pair in pairs:
        parts = _EQUALS.split(pair)
        if len(parts) != 2:  # noqa: PLR2004 a tag is a pair
            raise LineProtocolError(f"tag {pair[:_LINE_EXCERPT]!r} is not of the form key=value")
        key = _check_received("a tag key", _UNESCAPE_TAG.sub(r"\1", parts[0]))
        tags[key] = _check_received(f"tag {key}", _UNESCAPE_TAG.sub(r"\1", parts[1]))
    return _check_received("the metric name", _UNESCAPE_METRIC.sub(r"\1", metric)), tags


def _parse_plain_series(text: str) -> Optional[Tuple[str, Dict[str, str]]]:
    """The fast path for short keys without escapes, as nearly all are; None for any other key."""
    if len(text) > MAX_NAME_BYTES or "\\" in text or not (text.isascii() and text.isprintable()):
        return None
    metric, *pairs = text.split(",")
    tags: Dict[str, str] = {}
    try:
        for pair in pairs:
            key, value = pair.split("=")
            tags[key] = value
    except ValueError:
        return None
    return (metric, tags) if metric and all(tags) and all(tags.values()) else None


def _check_received(what: str, text: str) -> str:
    if not text:
        raise LineProtocolError(f"{what} is empty")
    if _CONTROL.search(text):
        raise LineProtocolError(f"{what} has a control character")
    if len(text.encode()) > MAX_NAME_BYTES:
        raise LineProtocolError(f"{what} is longer than {MAX_NAME_BYTES} bytes")
    return text


def parse_value(fields: bytes) -> float:
    """The number in the field `value`; if it is repeated, the last one wins.

    Raises LineProtocolError for any other field, and for strings, booleans, NaN and infinities.
    """
    if fields.startswith(b"value=") and b"," not in fields:
        return _number(fields[6:])
    value = math.nan
    position = 0
    while position < len(fields) or not fields or fields.endswith(b","):
        field = _FIELD.match(fields, position)
        if field is None:
            raise LineProtocolError(f"fields {_excerpt(fields)!r} are not of the form value=number")
        if field.group(1) != b"value":
            raise LineProtocolError(f"field {_excerpt(field.group(1))!r} is not 'value'")
        value = _number(field.group(2))
        position = field.end()
    return value


def parse_fields(fields: bytes) -> Dict[str, FieldValue]:
    """The fields of a line with their values; of a repeated field the last one wins. Raises LineProtocolError."""
    found: Dict[str, FieldValue] = {}
    position = 0
    while position < len(fields) or not fields or fields.endswith(b","):
        field = _FIELD.match(fields, position)
        if field is None:
            raise LineProtocolError(f"fields {_excerpt(fields)!r} are not of the form key=value")
        try:
            key = _check_received("a field key", _UNESCAPE_TAG.sub(r"\1", field.group(1).decode()))
        except UnicodeDecodeError:
            raise LineProtocolError("a field key is not UTF-8") from None
        found[key] = _field_value(field.group(2))
        if len(found) > MAX_FIELDS:
            raise LineProtocolError(f"there are more than {MAX_FIELDS} fields")
        position = field.end()
    return found


def _field_value(raw: bytes) -> FieldValue:
    if raw.startswith(b'"'):
        if len(raw) > MAX_TEXT_BYTES + 2:
            raise LineProtocolError(f"the text is longer than {MAX_TEXT_BYTES} bytes")
        try:
            text = raw[1:-1].decode()
        except UnicodeDecodeError:
            raise LineProtocolError("the text is not UTF-8") from None
        return _ESCAPED_TEXT.sub(lambda match: _UNESCAPE_TEXT[match.group(1)], text)
    if raw in _BOOLEANS:
        return raw in _TRUE
    whole = _integer(raw)
    return _number(raw) if whole is None else whole


def _integer(raw: bytes) -> Optional[int]:
    """The value of an integer with suffix; None for anything else. Raises LineProtocolError if it is out of range."""
    signed = _INTEGER.fullmatch(raw)
    if len(raw) >= 64 or not (signed or _UNSIGNED.fullmatch(raw)):  # noqa: PLR2004 longer ones are out of range anyway
        return None
    whole = int(raw[:-1])
    if not -_INT64_MAX - 1 <= whole <= (_INT64_MAX if signed else _UINT64_MAX):
        raise LineProtocolError(f"value {_excerpt(raw)} is outside the range of 64 bits")
    return whole


def _number(raw: bytes) -> float:
    if _FLOAT.fullmatch(raw):
        value = float(raw)
        if math.isinf(value):
            raise LineProtocolError(f"value {_excerpt(raw)} is too large")
        return value
    whole = _integer(raw)
    if whole is not None:
        return float(whole)
    if raw.startswith(b'"'):
        raise LineProtocolError("the value is text, not a number")
    if raw in _BOOLEANS:
        raise LineProtocolError(f"the value is the boolean {_excerpt(raw)}, not a number")
    raise LineProtocolError(f"value {_excerpt(raw)!r} is not a number")


def parse_time(raw: bytes, *, received_s: int) -> int:
    """The timestamp in seconds; `received_s` if the line has none.

    The magnitude says whether it is in seconds (below 1e11), milli- (1e14), micro- (1e17) or nanoseconds.
    """
    if not raw:
        return received_s
    if not _TIME.fullmatch(raw):
        raise LineProtocolError(f"timestamp {_excerpt(raw)!r} is not an integer")
    time = int(raw)
    size = abs(time)
    if size < _MILLISECONDS:
        return time
    if size < _MICROSECONDS:
        return time // 10**3
    if size < _NANOSECONDS:
        return time // 10**6
    return time // 10**9


def decode(batch: bytes, *, received_s: int) -> Tuple[List[Point], List[LineError]]:
    """The samples of a batch, and the lines that were rejected; a bad line does not affect the others.

    Comments, blank lines and carriage returns are skipped; the last line needs no newline.
    """
    points: List[Point] = []
    errors: List[LineError] = []
    known: Dict[bytes, Tuple[str, Dict[str, str]]] = {}
    for number, raw in enumerate(batch.split(b"\n"), start=1):
        line = raw.strip(b" \t\r")
        if not line or line.startswith(b"#"):
            continue
        try:
            series, fields, time = split_line(line)
            if series not in known:
                known[series] = parse_series(series)
            metric, tags = known[series]
            points.append(Point(metric, dict(tags), parse_value(fields), parse_time(time, received_s=received_s)))
        except LineProtocolError as error:
            errors.append(LineError(number, str(error), _excerpt(line)))
    return points, errors


def decode_messages(batch: bytes, *, received_s: int) -> Tuple[List[Message], List[LineError]]:
    """The messages of a batch, and the lines that were rejected; a bad line does not affect the others.

    A line end inside quotes is part of the text. Comments and blank lines are skipped.
    """
    messages: List[Message] = []
    errors: List[LineError] = []
    for number, line in message_lines(batch):
        try:
            series, fields, time = split_line(line)
            name, tags = parse_series(series)
            messages.append(Message(name, tags, parse_fields(fields), parse_time(time, received_s=received_s)))
        except LineProtocolError as error:  # noqa: PERF203 a bad line does not affect the others
            errors.append(LineError(number, str(error), _excerpt(line)))
    return messages, errors


def message_lines(batch: bytes) -> Iterator[Tuple[int, bytes]]:
    """The lines of a batch with their numbers, without blank ones and comments; a line may have line ends in quotes."""
    if b'"' not in batch:  # no text, as in nearly all batches
        for number, raw in enumerate(batch.split(b"\n"), start=1):
            line = raw.strip(b" \t\r")
            if line and not line.startswith(b"#"):
                yield number, line
        return
    position, number = 0, 1
    while position < len(batch):
        end = batch.find(b"\n", position)
        end = len(batch) if end < 0 else end
        line = batch[position:end]
        if b'"' in line and not line.lstrip(b" \t\r").startswith(b"#"):
            message = _MESSAGE.match(batch, position)  # with quotes, so that its end may be on a later line
            end = message.end(2) if message else end
        line = batch[position:end].strip(b" \t\r")
        if line and not line.startswith(b"#"):
            yield number, line
        number += batch.count(b"\n", position, end) + 1
        position = end + 1


def message_class(fields: Mapping[str, FieldValue]) -> str:
    """What a message with these fields is: metric, event, log, control or query; "" if they are of no class.

    The first of the fields value (a number), event, log, control and query decides.
    """
    value = fields.get("value")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "metric"
    return next((kind for kind in ("event", "log", "control", "query") if kind in fields), "")


def _excerpt(raw: bytes) -> str:
    return raw[: 4 * _LINE_EXCERPT].decode(errors="replace")[:_LINE_EXCERPT]
