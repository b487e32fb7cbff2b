"""Which encoding a client takes, and responses in it (RFC 9110, sections 8.4 and 12.5.3).

Secrets beside text that somebody else chose must not be compressed as they are: their length would tell about them. The
pages hold one, the CSRF token, and `auth.csrf` writes it in another form each time.
"""

import zlib
from enum import StrEnum
from http import HTTPStatus

import zstandard
from flask import Request, Response

MIN_BYTES = 1400
"""What fits one packet gains nothing."""
_LARGE_BYTES = 512 * 1024
_COMPRESSIBLE_TYPES = frozenset(
    {
        *("application/json", "application/xml", "image/svg+xml"),
        *("application/vnd.clustercockpit.plots", "application/vnd.clustercockpit.series"),
    }
)
_GZIP = 16 + zlib.MAX_WBITS
_UNCHANGED = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NOT_MODIFIED})


class ContentCoding(StrEnum):
    """Encodings, best first."""

    ZSTD = "zstd"
    GZIP = "gzip"
    IDENTITY = "identity"


def negotiate_coding(accept_encoding: str | None) -> ContentCoding:
    """The encoding that a client with this field likes best; of several the one that compresses most.

    One that says that it takes none of them gets the response as it is, since an answer helps more than 406.
    """
    if accept_encoding is None:
        return ContentCoding.IDENTITY
    weights: dict[str, float] = {}
    for entry in accept_encoding.lower().split(","):
        name, _, parameter = entry.partition(";")
        weights[name.strip().removeprefix("x-")] = _weight(parameter)
    rest = weights.get("*")
    liked = [
        (weights.get(coding, rest or 0.0), coding)
        for coding in (ContentCoding.ZSTD, ContentCoding.GZIP)
        if weights.get(coding, rest or 0.0) > 0
    ]
    if not liked:
        return ContentCoding.IDENTITY
    best = max(weight for weight, _ in liked)
    if weights.get(ContentCoding.IDENTITY, 0.0) > best:
        return ContentCoding.IDENTITY
    return next(coding for weight, coding in liked if weight == best)


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0


def compress(content: bytes, coding: ContentCoding, *, is_cached: bool = False) -> bytes:
    """The content in an encoding; what is `kept` and sent often is worth more work, what is large less."""
    is_large = len(content) > _LARGE_BYTES
    if coding is ContentCoding.ZSTD:
        return zstandard.ZstdCompressor(level=19 if is_cached else 1 if is_large else 3).compress(content)
    if coding is ContentCoding.GZIP:
        packer = zlib.compressobj(9 if is_cached else 1 if is_large else 5, wbits=_GZIP)
        return packer.compress(content) + packer.flush()
    return content


def decompress(content: bytes, coding: ContentCoding, *, max_bytes: int) -> bytes | None:
    """What `encoded` was given, None for what is damaged or longer than `max_bytes`."""
    try:
        if coding is ContentCoding.ZSTD:
            with zstandard.ZstdDecompressor().stream_reader(content) as reader:
                found: bytes = reader.read(max_bytes + 1)
        elif coding is ContentCoding.GZIP:
            found = zlib.decompressobj(wbits=_GZIP).decompress(content, max_bytes + 1)
        else:
            found = content
    except (zlib.error, zstandard.ZstdError):
        return None
    return found if len(found) <= max_bytes else None


def compress_response(request: Request, response: Response) -> Response:
    """The response in the encoding that the client likes best, where that makes it smaller.

    Entity tags become weak: they say that the content is the same, in whichever encoding.
    """
    tag, is_weak = response.get_etag()
    if tag is not None and not is_weak:
        response.set_etag(tag, weak=True)
        response.vary.add("Accept-Encoding")
    if response.status_code in _UNCHANGED or response.is_streamed or not _is_compressible(response):
        return response
    response.vary.add("Accept-Encoding")
    content = response.get_data()
    coding = negotiate_coding(request.headers.get("Accept-Encoding"))
    if len(content) <= MIN_BYTES or coding is ContentCoding.IDENTITY:
        return response
    smaller = compress(content, coding)
    if len(smaller) < len(content):
        response.set_data(smaller)  # which corrects Content-Length
        response.headers["Content-Encoding"] = coding
    return response


def _is_compressible(response: Response) -> bool:
    if "Content-Encoding" in response.headers or response.direct_passthrough:
        return False
    media_type = response.mimetype or ""
    return media_type.startswith("text/") or media_type in _COMPRESSIBLE_TYPES
