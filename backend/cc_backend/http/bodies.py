"""Request bodies, read within a size limit: raw, gzip-compressed, or JSON.

`Content-Type` is ignored, as senders omit it or set it wrongly.
"""

import zlib
from typing import Any, BinaryIO

import orjson
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.wrappers import Request

from cc_backend.errors import InvalidInput, TooLarge
from cc_common.error_codes import ErrorCode
from cc_common.json_reader import parse_json

_GZIP = 16 + zlib.MAX_WBITS
# A gzip stream may have several members; without a limit, a million empty ones would keep a core busy.
_MAX_GZIP_MEMBERS = 16


def read_body(request: Request, *, limit_bytes: int) -> bytes:
    """The body, decompressed if it was sent as gzip.

    Raises TooLarge if it exceeds `limit_bytes` before or after decompression, InvalidInput for damaged gzip, and
    UnsupportedMediaType for another encoding.
    """
    body = _read_raw_body(request, limit_bytes)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return body
    if encoding in {"gzip", "x-gzip"}:
        return gunzip(body, limit_bytes=limit_bytes)
    raise UnsupportedMediaType(f"Content-Encoding {encoding[:40]!r} is not known; send gzip or none")


def _read_raw_body(request: Request, limit_bytes: int) -> bytes:
    length = request.content_length
    if length is not None:
        if length > limit_bytes:
            raise _too_large(limit_bytes)
        return _read_exactly(request.environ["wsgi.input"], length)
    # One more than allowed: werkzeug silently truncates a body without a length at the limit.
    request.max_content_length = limit_bytes + 1
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise _too_large(limit_bytes) from None
    if len(body) > limit_bytes:
        raise _too_large(limit_bytes)
    return body


def _read_exactly(stream: BinaryIO, length: int) -> bytes:
    """Exactly `length` bytes in one read: werkzeug would read and join portions, twice the work for a large body."""
    first = stream.read(length)
    if len(first) == length:
        return first
    parts, left = [first], length - len(first)
    while left:
        part = stream.read(left)
        if not part:
            raise ClientDisconnected
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def gunzip(compressed: bytes, *, limit_bytes: int) -> bytes:
    """The decompressed bytes; never more than one byte over `limit_bytes` is held in memory.

    Raises TooLarge beyond the limit, InvalidInput if the stream is damaged or ends early.
    """
    parts: list[bytes] = []
    left = limit_bytes
    for _ in range(_MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(wbits=_GZIP)
        try:
            part = member.decompress(compressed, left + 1)
        except zlib.error as error:
            raise InvalidInput(f"the body is not valid gzip: {error}", code=ErrorCode.INVALID_BODY) from None
        if len(part) > left:
            raise _too_large(limit_bytes)
        if not member.eof:
            raise InvalidInput("the gzip body ends early", code=ErrorCode.INVALID_BODY)
        parts.append(part)
        left -= len(part)
        compressed = member.unused_data
        if not compressed:
            return b"".join(parts)
    raise InvalidInput(f"the gzip body has more than {_MAX_GZIP_MEMBERS} members", code=ErrorCode.INVALID_BODY)


def read_json_body(request: Request, *, limit_bytes: int) -> Any:
    """The JSON document of the body, parsed as leniently as existing clients need.

    Raises PayloadError if it is not JSON or nested too deeply, TooLarge beyond the limit.
    """
    return parse_json_body(read_body(request, limit_bytes=limit_bytes), limit_bytes=limit_bytes)


def parse_json_body(body: bytes, *, limit_bytes: int) -> Any:
    """The JSON document in the bytes of a body, as `read_json_body`."""
    return parse_json(body, max_bytes=limit_bytes, strict=orjson.loads)


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(
        f"the body is over the limit of {limit_bytes} bytes; send it in smaller parts", code=ErrorCode.BODY_TOO_LARGE
    )
