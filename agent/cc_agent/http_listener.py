"""A small HTTP server of the agent: bounded in connections, time and size, with or without TLS."""

from __future__ import annotations

import base64
import contextlib
import hmac
import io
import logging
import socket
import ssl
import sys
import threading
import time
import zlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Set

from cc_agent.errors import AgentError

logger = logging.getLogger(__name__)

_MAX_TARGET = 2048
_BUFFER_BYTES = 65536


class HttpRequest(NamedTuple):
    """A request with its body, decompressed; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class HttpReply:
    """A response; `headers` are in addition to length and type."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ListenerLimits:
    """Limits of a listener: `idle_s` between requests, `request_s` for one from its second line to its response."""

    connections: int = 64
    body_bytes: int = 0
    idle_s: float = 120.0
    request_s: float = 30.0
    keep_alive: bool = True


@dataclass(frozen=True)
class ListenerCredentials:
    """What callers must show: a token or a user name with its password; nothing if all are empty."""

    token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        """Whether anything is demanded."""
        return bool(self.token or self.username)

    def allow(self, headers: Mapping[str, str]) -> bool:
        """Whether a request with these headers may pass."""
        given = headers.get("authorization", "").encode("latin-1", "replace")
        wanted = []
        if self.token:
            wanted.append(b"Bearer " + self.token.encode())
        if self.username:
            wanted.append(b"Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()))
        return not wanted or any([hmac.compare_digest(given, text) for text in wanted])  # noqa: C419 in equal time


class HttpListener:
    """Answers requests with `answer` in threads of its own, from `start` to `close`.

    Where `credentials` demand something, a request without it is a 401 before its body is read. `answer` gets requests
    whose body is within the limits only; what it raises becomes a 500.
    """

    def __init__(
        self,
        address: str,
        port: int,
        answer: Callable[[HttpRequest], HttpReply],
        *,
        limits: ListenerLimits,
        credentials: ListenerCredentials = ListenerCredentials(),
        tls: Optional[ssl.SSLContext] = None,
    ) -> None:
        self._where = (address, port)
        self._answer = answer
        self._limits = limits
        self._credentials = credentials
        self.tls = tls
        self._server: Optional[_Server] = None
        self._thread: Optional[threading.Thread] = None

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""
        return int(self._server.server_address[1]) if self._server is not None else 0

    def start(self) -> None:
        """Begin to listen. Raises AgentError if address or port cannot be used."""
        try:
            self._server = _Server(self._where, self._answer, self._limits, self._credentials, self.tls)
        except OSError as error:
            address, port = self._where
            raise AgentError(f"cannot listen on {address or 'all addresses'}, port {port}: {error.strerror}") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="http listener", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop to listen and close all connections."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join(1.0)
            self._server.server_close()
            self._server = self._thread = None


def server_tls_context(certificate_file: str, key_file: str) -> Optional[ssl.SSLContext]:
    """The TLS context of a server with this certificate; None without one. Raises AgentError."""
    if not certificate_file:
        return None
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate_file, key_file or None)
    except OSError as error:
        raise AgentError(f"certificate {certificate_file} cannot be used: {error}") from error
    return context


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        where: Any,
        answer: Callable[[HttpRequest], HttpReply],
        limits: ListenerLimits,
        credentials: ListenerCredentials,
        tls: Optional[ssl.SSLContext],
    ) -> None:
        self.answer, self.limits, self.credentials, self.tls = answer, limits, credentials, tls
        self._open: Set[socket.socket] = set()
        self._lock = threading.Lock()
        if ":" in where[0]:
            self.address_family = socket.AF_INET6
        super().__init__(where, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._open) >= self.limits.connections
            if not full:
                self._open.add(request)
        if full:
            request.settimeout(0.1)
            with contextlib.suppress(OSError):
                request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError as error:  # the system gives no more threads
            self.forget(request)
            self.shutdown_request(request)
            logger.warning("connection refused reason=%r", str(error))

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.forget(request)

    def replace(self, plain: socket.socket, encrypted: socket.socket) -> None:
        """Keep the encrypted connection in place of the one below it, to be closed with the server."""
        with self._lock:
            self._open.discard(plain)
            self._open.add(encrypted)

    def forget(self, connection: socket.socket) -> None:
        """Count a connection no longer."""
        with self._lock:
            self._open.discard(connection)

    def handle_error(self, _request: Any, client_address: Any) -> None:
        logger.debug("connection failed peer=%s reason=%r", client_address, sys.exc_info()[1])

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _DeadlineReader(io.RawIOBase):
    """Reads of a connection, all within one deadline: a peer cannot extend it by sending a byte now and then."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self.connection = connection
        self.until_s = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.connection.settimeout(self.left_s())
        return self.connection.recv_into(buffer)

    def left_s(self) -> float:
        left_s = self.until_s - time.monotonic()
        if left_s <= 0:
            raise socket.timeout("the time for the request is over")
        return left_s


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.reply = HttpReply(
            status, reason.encode() + b"\n", headers={name.replace("_", "-"): value for name, value in headers.items()}
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "cc-agent"
    sys_version = ""
    wbufsize = _BUFFER_BYTES  # head and body in one piece: the second would wait for an acknowledgement of the first
    server: _Server

    def setup(self) -> None:
        if self.server.tls is not None:
            self.request.settimeout(min(5.0, self.server.limits.request_s))
            plain = self.request
            self.request = self.server.tls.wrap_socket(plain, server_side=True)
            self.server.replace(plain, self.request)
        super().setup()
        self.rfile.close()
        self.reader = _DeadlineReader(self.connection)
        self.rfile = io.BufferedReader(self.reader, _BUFFER_BYTES)

    def finish(self) -> None:
        super().finish()
        if self.server.tls is not None:
            self.server.forget(self.request)
            self.request.close()

    def handle_one_request(self) -> None:
        self.reader.until_s = time.monotonic() + self.server.limits.idle_s
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()
            return
        self.close_connection = True

    def parse_request(self) -> bool:
        self.reader.until_s = time.monotonic() + self.server.limits.request_s
        if not super().parse_request():
            return False
        if not self.server.limits.keep_alive:
            self.close_connection = True
        self.handle_request()
        return False  # it is answered already: there are no methods do_GET and do_POST

    def handle_request(self) -> None:
        try:
            reply = self.server.answer(self.whole_request())
        except _RefusedError as refused:
            self.close_connection = True  # the body, if there is one, was not read
            reply = refused.reply
        except (OSError, EOFError):
            self.close_connection = True
            return
        except Exception:
            logger.exception("request failed path=%s", self.path[:100])
            reply = HttpReply(500, b"internal error\n")
        self.send(reply)

    def whole_request(self) -> HttpRequest:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if len(self.path) > _MAX_TARGET:
            raise _RefusedError(414, "the address is too long")
        if not self.server.credentials.allow(headers):
            scheme = "Basic" if self.server.credentials.username else "Bearer"
            raise _RefusedError(401, "token, or user and password, are missing or wrong", WWW_Authenticate=scheme)
        return HttpRequest(self.command, self.path.partition("?")[0], headers, self.body(headers))

    def body(self, headers: Mapping[str, str]) -> bytes:
        limit = self.server.limits.body_bytes
        if "transfer-encoding" in headers:
            raise _RefusedError(411, "a body needs Content-Length")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(self.headers.get_all("content-length", [])) <= 1):
            raise _RefusedError(400, "Content-Length is not a number")
        if len(length) > 12 or int(length) > limit:  # noqa: PLR2004 no limit has that many digits
            raise _RefusedError(413, f"the body is larger than {limit} bytes")
        raw = self.rfile.read(int(length))
        if len(raw) < int(length):
            raise EOFError
        encoding = headers.get("content-encoding", "identity").lower()
        if encoding == "identity":
            return raw
        if encoding != "gzip":
            raise _RefusedError(415, "bodies may be compressed by gzip only", Accept_Encoding="gzip")
        return _decompressed(raw, limit)

    def send(self, reply: HttpReply) -> None:
        self.send_response(reply.status)
        headers: Dict[str, str] = {
            "Content-Type": reply.content_type,
            "Content-Length": str(len(reply.body)),
            **reply.headers,
        }
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.connection.settimeout(self.reader.left_s())
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()

    def log_message(self, text: str, *arguments: Any) -> None:
        logger.debug("peer=%s %s", self.client_address[0], text % arguments)


def _decompressed(raw: bytes, limit: int) -> bytes:
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        whole = decompressor.decompress(raw, limit + 1)
    except zlib.error:
        raise _RefusedError(400, "the body is not gzip") from None
    if len(whole) > limit:
        raise _RefusedError(413, f"the decompressed body is larger than {limit} bytes")
    if not decompressor.eof or decompressor.unused_data:
        raise _RefusedError(400, "the body is not one whole gzip stream")
    return whole
