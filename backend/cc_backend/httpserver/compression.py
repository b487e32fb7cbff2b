"""Content codings: negotiation, and compression of responses (RFC 9110, sections 8.4 and 12.5.3).

A secret must not be compressed together with text that somebody else chose, since the length would reveal it. The pages
hold one, the CSRF token, which `auth.csrf` masks in another way each time.
"""

import zlib
from collections.abc import Iterable, Iterator
from enum import StrEnum
from http import HTTPStatus

import zstandard
from flask import Request, Response

MIN_BYTES = 1400
"""Responses that fit into one packet are not compressed."""
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
    """The content codings, best first."""

    ZSTD = "zstd"
    GZIP = "gzip"
    IDENTITY = "identity"


def negotiate_coding(accept_encoding: str | None) -> ContentCoding:
    """The coding that a client with this Accept-Encoding prefers; among equals the one that compresses most.

    A client that accepts none gets the response uncompressed, which is more useful than status 406.
    """
    if accept_encoding is None:
        return ContentCoding.IDENTITY
    weights: dict[str, float] = {}
    for entry in accept_encoding.lower().split(","):
        name, _, parameter = entry.partition(";")
        weights[name.strip().removeprefix("x-")] = _weight(parameter)
    rest = weights.get("*")
    accepted = [
        (weights.get(coding, rest or 0.0), coding)
        for coding in (ContentCoding.ZSTD, ContentCoding.GZIP)
        if weights.get(coding, rest or 0.0) > 0
    ]
    if not accepted:
        return ContentCoding.IDENTITY
    best = max(weight for weight, _ in accepted)
    if weights.get(ContentCoding.IDENTITY, 0.0) > best:
        return ContentCoding.IDENTITY
    return next(coding for weight, coding in accepted if weight == best)


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
    """The content in a coding; with more effort if it is cached and sent often, with less if it is large."""
    is_large = len(content) > _LARGE_BYTES
    if coding is ContentCoding.ZSTD:
        return zstandard.ZstdCompressor(level=19 if is_cached else 1 if is_large else 3).compress(content)
    if coding is ContentCoding.GZIP:
        packer = zlib.compressobj(9 if is_cached else 1 if is_large else 5, wbits=_GZIP)
        return packer.compress(content) + packer.flush()
    return content


def compress_parts(parts: Iterable[bytes], coding: ContentCoding) -> Iterator[bytes]:
    """The parts of a large content in a coding, with little effort."""
    if coding is ContentCoding.IDENTITY:
        yield from parts
        return
    packer = (
        zstandard.ZstdCompressor(level=1).compressobj()
        if coding is ContentCoding.ZSTD
        else zlib.compressobj(1, wbits=_GZIP)
    )
    for part in parts:
        yield packer.compress(part)
    yield packer.flush()


def decompress(content: bytes, coding: ContentCoding, *, max_bytes: int) -> bytes | None:
    """The content that was given to `compress`; None if it is damaged or longer than `max_bytes`."""
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
    """The response in the coding that the client prefers, if that makes it smaller.

    Entity tags become weak: they identify the content in any coding.
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
