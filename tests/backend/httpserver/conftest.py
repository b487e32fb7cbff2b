"""An HTTP server in a thread, with an application that tells what it was asked, and raw sockets to talk to it."""

import asyncio
import contextlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

import pytest

from cc_backend.errors import Unavailable
from cc_backend.httpserver.file_body import FileBody
from cc_backend.httpserver.limits import ServerLimits
from cc_backend.httpserver.listening import bind_socket
from cc_backend.httpserver.server import Application, HttpServer
from cc_backend.httpserver.workers import Lane
from cc_backend.httpserver.wsgi import CALLER_KEY, NEW_COOKIE_KEY, Endpoint

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BODY_LIMIT = 1_000_000
LARGE = 8_000_000
PAGE = 20_000


class EchoApplication:
    """Answers each request with what it was; `/slow` waits until it is let go on, `/large` is said at length."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, bytes]] = []
        self.go_on = threading.Event()
        self.at_work = threading.Event()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        found = re.search(r"session=(\w+)", environ.get("HTTP_COOKIE", ""))
        if found and path != "/expired":
            environ[CALLER_KEY] = found[1]
        if path == "/login":
            environ[CALLER_KEY], environ[NEW_COOKIE_KEY] = "bob", "bob"
        if path == "/slow":
            self.at_work.set()
            self.go_on.wait(20)
        if path == "/raises":
            raise RuntimeError("a defect")
        body = environ["wsgi.input"].read()
        self.requests.append((environ["REQUEST_METHOD"], path, body))
        said = json.dumps({"method": environ["REQUEST_METHOD"], "path": path, "bytes": len(body)}).encode()
        if path == "/page":
            said = bytes(PAGE)
        if path == "/large":
            said = bytes(LARGE)
        fields = [("Content-Type", "application/json"), ("Content-Length", str(len(said)))]
        if path == "/file":
            body_in_file = FileBody.from_parts([bytes(LARGE // 2)] * 2, limit_bytes=LARGE)
            start_response("200 OK", [("Content-Type", "text/csv"), ("Content-Length", str(LARGE))])
            return body_in_file
        if path == "/unsayable":
            fields.append(("X-Price", "5 \u20ac"))
        start_response("401 Unauthorized" if path == "/expired" else "200 OK", fields)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [said]


class RunningServer:
    """The server, its application, and how to reach it."""

    def __init__(self, limits: ServerLimits, threads: int, tls: ssl.SSLContext | None = None) -> None:
        self.echo = EchoApplication()
        application = Application(
            self.echo,
            may_send_body=self._may_send_body,
            body_limit=lambda _: BODY_LIMIT,
            lane=lambda path: Lane.MONITORING if path == "/healthz" else Lane.GENERAL,
            address=lambda environ: environ.get("HTTP_X_FORWARDED_FOR", environ["REMOTE_ADDR"]),
            cookie="session",
        )
        self._listening = bind_socket(f"127.0.0.1:{_free_port()}")
        self.address = self._listening.getsockname()
        self._application, self._limits, self._number, self._tls = application, limits, threads, tls
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._ready.wait(20)

    def _may_send_body(self, environ: "WSGIEnvironment") -> bool:
        token = environ.get("HTTP_X_AUTH_TOKEN")
        if token == "in doubt":
            raise Unavailable("the database does not answer")
        if token == "slow":
            self.echo.at_work.set()
            self.echo.go_on.wait(20)
        return token in ("good", "slow")

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.server = HttpServer(
            self._application, Endpoint("localhost", self.address[1]), threads=self._number, limits=self._limits
        )
        await self.server.serve([self._listening], self._tls, self._stop, self._ready.set)

    def tell_to_stop(self) -> None:
        """As SIGTERM does; returns at once. Nothing happens if it has stopped."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, though its thread may not have ended yet
            self._loop.call_soon_threadsafe(self._stop.set)

    def in_loop(self, probe: Callable[[], Any]) -> Any:
        """What this returns, called in the event loop."""

        async def call() -> Any:
            return probe()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(20)

    def stop(self) -> None:
        """Stop, and wait until it has."""
        self.echo.go_on.set()
        self.tell_to_stop()
        self._thread.join(20)
        self._listening.close()

    def connect(self) -> "Client":
        """A new connection."""
        return Client(socket.create_connection(self.address, timeout=20))

    def connect_securely(self) -> "Client":
        """A new connection that has shaken hands."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return Client(context.wrap_socket(socket.create_connection(self.address, timeout=20)))

    def ask(self, raw: bytes) -> tuple[int, dict[str, str], bytes]:
        """What the server says to these bytes on a connection of their own, of which nothing more comes."""
        with self.connect() as client:
            client.send(raw)
            client.half_close()
            return client.response()


class Client:
    """One connection, byte by byte."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._file = connection.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, raw: bytes) -> None:
        """Send these bytes."""
        self.socket.sendall(raw)

    def half_close(self) -> None:
        """Send nothing more, but listen."""
        self.socket.shutdown(socket.SHUT_WR)

    def response(self, *, to_head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """The next response; status 0 if the connection ended first."""
        line = self._file.readline()
        if not line:
            return 0, {}, b""
        fields = {}
        while field := self._file.readline().rstrip(b"\r\n"):
            name, _, value = field.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip()
        body = b"" if to_head else self._file.read(int(fields.get("content-length", 0)))
        return int(line.split()[1]), fields, body

    def rest(self, size: int) -> int:
        """How many bytes of a body of this size come after its head."""
        try:
            return len(self._file.read(size))
        except OSError:
            return 0

    def is_closed_within(self, seconds: float) -> bool:
        """Whether the server ends the connection; what it still says is read and forgotten."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serving() -> Iterator[Callable[..., RunningServer]]:
    """Starts servers; arguments are limits, and `threads` and `tls`."""
    running = []

    def start(*, threads: int = 4, tls: ssl.SSLContext | None = None, **limits: Any) -> RunningServer:
        running.append(RunningServer(ServerLimits(**limits), threads, tls))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def server(serving: Callable[..., RunningServer]) -> RunningServer:
    """A server with its usual limits."""
    return serving()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], bool]:
    """Whether something becomes true within twenty seconds."""

    def wait(probe: Callable[[], bool]) -> bool:
        end_s = time.monotonic() + 20
        while time.monotonic() < end_s:
            if probe():
                return True
            time.sleep(0.02)
        return False

    return wait
