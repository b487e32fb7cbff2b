"""Runs a WSGI application (PEP 3333) for a complete request, and encodes its response."""

import io
import logging
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from werkzeug.exceptions import RequestEntityTooLarge

from cc_backend.httpserver.file_body import FileBody
from cc_backend.httpserver.parser import RequestHead
from cc_backend.httpserver.problem_json import CONTENT_TYPE, problem_body
from cc_common.error_codes import code_for_status

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)

CALLER_KEY = "cc_backend.caller"
"""Key in the environ of a request: the name of the caller that the application found, if any."""
NEW_COOKIE_KEY = "cc_backend.new_cookie"
"""Key in the environ of a request: the new value of the cookie that identifies the caller."""
_NO_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_CONNECTION_FIELDS = frozenset({"connection", "keep-alive", "date", "server", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Host, port and scheme of the server, for the environ."""

    host: str
    port: int
    scheme: str = "http"


@dataclass(frozen=True, slots=True)
class WireResponse:
    """A response, complete except for the fields of the connection; a view as body is of a file."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes | memoryview

    def head(self, connection: str) -> bytes:
        """Status line, header fields and empty line; `connection` is the value of that field, empty for none."""
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in self.fields]
        lines.append(f"Date: {_date(int(time.time()))}")
        if connection:
            lines.append(f"Connection: {connection}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class RefusedBody(io.RawIOBase):
    """Stands for a body that was rejected; reading it raises RequestEntityTooLarge."""

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ARG002 as the base class has it
        """Raise RequestEntityTooLarge."""
        raise RequestEntityTooLarge("the body is larger than this caller may send here")


@lru_cache(maxsize=64)  # a thousand clients may time out in the same second
def wire_problem(status: HTTPStatus, text: str, *, retry_after_s: int | None = None) -> WireResponse:
    """An error response in the form of the API, for requests that do not reach the application."""
    body = problem_body(status, code_for_status(status), text)
    fields = [
        ("Content-Type", CONTENT_TYPE),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if retry_after_s is not None:
        fields.append(("Retry-After", str(retry_after_s)))
    return WireResponse(status, tuple(fields), body)


def wsgi_environ(
    head: RequestHead, body: io.BytesIO | RefusedBody, body_bytes: int, peer: tuple[str, int], endpoint: Endpoint
) -> "WSGIEnvironment":
    """The environ of a request; `body_bytes` is the length of its body, also if that was rejected."""
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(head.path).decode("latin-1"),
        "QUERY_STRING": head.query,
        "REQUEST_URI": f"{head.path}?{head.query}" if head.query else head.path,
        "SERVER_NAME": endpoint.host,
        "SERVER_PORT": str(endpoint.port),
        "SERVER_PROTOCOL": f"HTTP/1.{head.minor_version}",
        "REMOTE_ADDR": peer[0],
        "REMOTE_PORT": str(peer[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": endpoint.scheme,
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in head.fields:
        if "_" in name:  # in the environ it would look like a hyphen
            continue
        key = _environ_key(name)
        if key in environ:
            environ[key] += f"{'; ' if name == 'cookie' else ','}{value}"
        else:
            environ[key] = value
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ.pop("HTTP_CONTENT_LENGTH", None)
    if "HTTP_CONTENT_TYPE" in environ:
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE")
    if head.has_body or head.content_length is not None:
        environ["CONTENT_LENGTH"] = str(body_bytes)
    return environ


@lru_cache(maxsize=256)
def _environ_key(name: str) -> str:
    return f"HTTP_{name.upper().replace('-', '_')}"


def run_application(application: "WSGIApplication", environ: "WSGIEnvironment") -> WireResponse:
    """The response of the application. Exceptions are logged and become status 500."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, fields: list[tuple[str, str]], _: Any = None) -> Callable[[bytes], object]:
        started[:] = [(status, fields)]
        return _no_write

    try:
        parts = application(environ, start_response)
        body = parts.view if isinstance(parts, FileBody) else _join_body(parts)
        [(status, fields)] = started
        return _wire_response(int(status[:3]), fields, body, is_head=environ["REQUEST_METHOD"] == "HEAD")
    except Exception:
        logger.exception("request failed method=%s path=%r", environ["REQUEST_METHOD"], environ["PATH_INFO"])
        return wire_problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; the server's log has the cause")


def _no_write(_: bytes) -> object:
    raise NotImplementedError("write() of WSGI is not offered")


def _join_body(parts: Iterable[bytes]) -> bytes:
    try:
        return b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()


def _wire_response(
    status: int, fields: list[tuple[str, str]], body: bytes | memoryview, *, is_head: bool
) -> WireResponse:
    kept = [(name, value) for name, value in fields if name.lower() not in _CONNECTION_FIELDS]
    for name, value in kept:
        if "\r" in value or "\n" in value or "\r" in name or "\n" in name:
            raise ValueError(f"the header field {name!r} holds a line break")
        f"{name}{value}".encode("latin-1")  # raise here, where it becomes a 500, and not in the event loop
    if status in _NO_BODY:
        kept = [(name, value) for name, value in kept if name.lower() != "content-length"]
        body = b""
    elif is_head:
        body = b""
    else:
        kept = [(name, value) for name, value in kept if name.lower() != "content-length"]
        kept.append(("Content-Length", str(len(body))))
    return WireResponse(status, tuple(kept), body)


@lru_cache(maxsize=2)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)


@lru_cache(maxsize=64)
def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
