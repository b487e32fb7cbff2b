"""Styles, scripts and pictures, served under an address that changes whenever any of them does.

The digest is part of the path and not of the query, so that the modules can import each other by relative paths and
still are cached for good.
"""

import hashlib
from functools import cache
from pathlib import Path

from flask import Response, request

from cc_backend.auth.permissions import Permission, requires
from cc_backend.errors import NotFound
from cc_backend.httpserver.compression import ContentCoding, compress, decompress, negotiate_coding

STATIC = Path(__file__).parent / "static"
PACKED = STATIC / "packed"
"""The output of `packaging/compress_assets.py`: the compressed files, each with the suffix of its coding."""
SERVED_SUFFIXES = frozenset({".css", ".js", ".svg"})
CODING_SUFFIXES = {ContentCoding.ZSTD: ".zst", ContentCoding.GZIP: ".gz"}
_FOR_GOOD = "public, max-age=31536000, immutable"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@cache
def asset_paths() -> frozenset[str]:
    """Every file that is served, relative to the static folder."""
    return frozenset(
        path.relative_to(STATIC).as_posix()
        for path in STATIC.rglob("*")
        if path.is_file() and path.suffix in SERVED_SUFFIXES and not path.name.startswith(".")
    )


@cache
def asset_digest() -> str:
    """The first 16 hex digits of a SHA-256 over all served files."""
    total = hashlib.sha256()
    for name in sorted(asset_paths()):
        total.update(name.encode() + b"\0" + (STATIC / name).read_bytes())
    return total.hexdigest()[:16]


@cache
def asset_content(name: str, coding: ContentCoding) -> bytes:
    """One file as it is sent: the one compressed at build time, else compressed now and cached."""
    plain = (STATIC / name).read_bytes()
    return _packed(name, coding, plain) or compress(plain, coding, is_cached=True)


def packed_path(name: str, coding: ContentCoding) -> Path:
    """The path of the compressed file."""
    return PACKED / f"{name}{CODING_SUFFIXES[coding]}"


def _packed(name: str, coding: ContentCoding, plain: bytes) -> bytes | None:
    """The compressed file, None if there is none or if it was made of an older content."""
    if coding not in CODING_SUFFIXES:
        return None
    try:
        packed = packed_path(name, coding).read_bytes()
    except OSError:
        return None
    return packed if decompress(packed, coding, max_bytes=len(plain)) == plain else None


@requires(Permission.PUBLIC)
def serve_asset(version: str, name: str) -> Response:
    """One file: cached without limit under the current digest, revalidated under an older one."""
    if name not in asset_paths():
        raise NotFound("there is no such file")
    coding = negotiate_coding(request.headers.get("Accept-Encoding"))
    response = Response(asset_content(name, coding), mimetype=_TYPES[Path(name).suffix])
    response.headers["Cache-Control"] = _FOR_GOOD if version == asset_digest() else "no-cache"
    if coding is not ContentCoding.IDENTITY:
        response.headers["Content-Encoding"] = coding
    response.vary.add("Accept-Encoding")
    response.set_etag(f"{asset_digest()}-{name.replace('/', '-')}", weak=True)
    response.make_conditional(request)
    return response
