"""Strict parser for HTTP/1.1 requests (RFC 9112); knows no sockets.

Anything that a proxy could parse differently is rejected: two lengths, a length beside chunks, folded lines, bare line
feeds, blanks before a colon.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus

MAX_FIELDS = 100
_MAX_HOST = 253 + len(".:65535")  # RFC 1035, section 2.3.4
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = rb"(?:[!-~\x80-\xff](?:[\t !-~\x80-\xff]*[!-~\x80-\xff])?)?"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/(\d)\.(\d)")
_FIELD_LINE = re.compile(rb"(" + _TOKEN + rb"):[\t ]*(" + _VALUE + rb")[\t ]*")
_ABSOLUTE_FORM = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_LABEL = r"[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(rf"(?:\[[0-9A-Fa-f:.]+\]|{_LABEL}(?:\.{_LABEL})*\.?)?(?::[0-9]{{0,5}})?")
_DIGITS = re.compile(r"[0-9]{1,18}")
_PLAIN_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_CHUNK_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[\t ]*(?:;[\t -~\x80-\xff]*)?")


class MalformedRequest(Exception):
    """The request is malformed; `status` and the text are for the response."""

    def __init__(self, text: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Request line and header fields. Names are lower case; values are decoded as Latin-1, as in WSGI."""

    method: str
    path: str
    query: str
    minor_version: int
    fields: tuple[tuple[str, str], ...]
    content_length: int | None
    chunked: bool

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head."""
        return self.chunked or bool(self.content_length)

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open for more requests."""
        wanted = {token.strip().lower() for value in self.values("connection") for token in value.split(",")}
        return "close" not in wanted and (self.minor_version > 0 or "keep-alive" in wanted)

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the body."""
        return self.minor_version > 0 and any(value.lower() == "100-continue" for value in self.values("expect"))

    def values(self, name: str) -> list[str]:
        """All values of a field, by its lower-case name."""
        return [value for field, value in self.fields if field == name]


def parse_head(head: bytes) -> RequestHead:
    """A request head without the empty line that ends it.

    Raises:
        MalformedRequest: it is not HTTP/1.0 or 1.1, or it is ambiguous.
    """
    request_line, *field_lines = head.split(b"\r\n")
    method, target, minor_version = _parse_request_line(request_line)
    if len(field_lines) > MAX_FIELDS:
        raise MalformedRequest(f"more than {MAX_FIELDS} header fields", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    fields = tuple(_parse_field(line) for line in field_lines)
    path, _, query = _origin_form(method, target).partition("?")
    found = RequestHead(method, path, query, minor_version, fields, *_parse_body_framing(fields, minor_version))
    _check_host(found)
    expectations = found.values("expect")
    if any(value.lower() != "100-continue" for value in expectations):
        raise MalformedRequest("Expect: only 100-continue is known", HTTPStatus.EXPECTATION_FAILED)
    return found


def _parse_request_line(line: bytes) -> tuple[str, str, int]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise MalformedRequest("the request line is not METHOD TARGET HTTP/1.1")
    if match[3] != b"1":
        raise MalformedRequest("only HTTP/1.1 and HTTP/1.0 are spoken", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    return match[1].decode("ascii"), match[2].decode("ascii"), min(int(match[4]), 1)


def _parse_field(line: bytes) -> tuple[str, str]:
    match = _FIELD_LINE.fullmatch(line)
    if match is None:
        raise MalformedRequest(f"a header field cannot be read: {line[:60].decode('latin-1')!r}")
    return match[1].decode("ascii").lower(), match[2].decode("latin-1")


def _origin_form(method: str, target: str) -> str:
    """The target as path and query; the host of an absolute target is ignored, like the field `Host`."""
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return target
    absolute = _ABSOLUTE_FORM.match(target)
    if absolute is None:
        raise MalformedRequest("the target of the request must be a path")
    rest = target[absolute.end() :]
    return rest if rest.startswith("/") else f"/{rest}"


def _parse_body_framing(fields: tuple[tuple[str, str], ...], minor_version: int) -> tuple[int | None, bool]:
    """Length of the body (None: not given), and whether it is chunked."""
    lengths = [value for name, value in fields if name == "content-length"]
    codings = [value for name, value in fields if name == "transfer-encoding"]
    if codings:
        if lengths:
            raise MalformedRequest("Content-Length beside Transfer-Encoding")
        if minor_version == 0:
            raise MalformedRequest("Transfer-Encoding in HTTP/1.0")
        if len(codings) > 1 or codings[0].lower() != "chunked":
            raise MalformedRequest("Transfer-Encoding: only chunked is known")
        return None, True
    if not lengths:
        return None, False
    if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):
        raise MalformedRequest("Content-Length must be one integer")
    return int(lengths[0]), False


def _check_host(head: RequestHead) -> None:
    hosts = head.values("host")
    if len(hosts) > 1 or (not hosts and head.minor_version > 0):
        raise MalformedRequest("exactly one field Host is needed")
    if hosts and (len(hosts[0]) > _MAX_HOST or not _HOST.fullmatch(hosts[0])):
        raise MalformedRequest("the field Host cannot be read")


class ChunkDecoder:
    """Decodes a chunked body incrementally.

    The framing may cost as much as the body itself, and 64 KiB more: each chunk takes time, however small it is.
    """

    MAX_LINE_BYTES = 1024
    FREE_FRAME_BYTES = 64 * 1024
    CHUNK_COST_BYTES = 24
    """Added to the bytes of its frame: a line of samples may come as a chunk of its own, a single value may not."""

    def __init__(self) -> None:
        self.done = False
        self._left = 0
        self._line = bytearray()
        self._expects = "size"
        self._frame_bytes = 0
        self._payload_bytes = 0

    def feed(self, data: memoryview) -> tuple[list[memoryview], int]:
        """The parts of the body in these bytes, and the number of bytes that belong to this message.

        Raises:
            MalformedRequest: the framing is invalid, or too large for the body.
        """
        parts: list[memoryview] = []
        at = 0
        while at < len(data) and not self.done:
            if self._left:
                part = data[at : at + self._left]
                parts.append(part)
                self._left -= len(part)
                self._payload_bytes += len(part)
                at += len(part)
            elif self._expects == "size" and not self._line and (end := self._read_whole_chunks(data, at, parts)) > at:
                at = end
            else:
                at += self._collect_line(bytes(data[at : at + self.MAX_LINE_BYTES]))
        if self._frame_bytes > self.FREE_FRAME_BYTES + self._payload_bytes:
            raise MalformedRequest("the body comes in chunks that are too small")
        return parts, at

    def _read_whole_chunks(self, data: memoryview, at: int, parts: list[memoryview]) -> int:
        """Read the complete simple chunks, but not the last one; the position where they end."""
        while (size_line := _PLAIN_SIZE_LINE.match(data, at)) is not None:
            start = size_line.end()
            end = start + int(size_line[1], 16)
            if end == start or bytes(data[end : end + 2]) != b"\r\n":
                break
            parts.append(data[start:end])
            self._payload_bytes += end - start
            self._frame_bytes += start - at + 2 + self.CHUNK_COST_BYTES
            at = end + 2
        return at

    def _collect_line(self, data: bytes) -> int:
        """Read up to the end of a line; the number of bytes read."""
        end = data.find(b"\n")
        taken = len(data) if end < 0 else end + 1
        self._line += data[:taken]
        self._frame_bytes += taken
        if len(self._line) > self.MAX_LINE_BYTES:
            raise MalformedRequest("a line between chunks is too long")
        if end >= 0:
            if not self._line.endswith(b"\r\n"):
                raise MalformedRequest("a line between chunks does not end in CR LF")
            line = bytes(self._line[:-2])
            self._line.clear()
            self._handle_line(line)
        return taken

    def _handle_line(self, line: bytes) -> None:
        self._frame_bytes += self.CHUNK_COST_BYTES if line else 0
        if self._expects == "size":
            match = _CHUNK_SIZE_LINE.fullmatch(line)
            if match is None:
                raise MalformedRequest("the size of a chunk cannot be read")
            self._left = int(match[1], 16)
            self._expects = "end of chunk" if self._left else "trailer"
        elif self._expects == "end of chunk":
            if line:
                raise MalformedRequest("a chunk is longer than its size says")
            self._expects = "size"
        elif line:
            _parse_field(line)
        else:
            self.done = True
