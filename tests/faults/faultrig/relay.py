"""A relay between senders and the backend that can be away, hang, or lose answers, and knows what went through."""

import gzip
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from processes import free_port

MODES = ("open", "away", "hang", "lose")
_PASSED_ON = ("Content-Type", "Accept-Encoding", "Retry-After")


class Passed(NamedTuple):
    """A request that the backend answered; `told` is whether the sender got the answer."""

    path: str
    body: bytes
    status: int
    told: bool


class Relay:
    """Listens on a port of its own and passes requests on, as its mode says.

    `open`: passes on. `away`: nobody listens, open connections are cut. `hang`: takes the request and never answers.
    `lose`: passes the request on and cuts the connection instead of answering.
    """

    def __init__(self, target_port: int, *, host: str = "127.0.0.1", mode: str = "open") -> None:
        self.port = free_port()
        self.host = host
        self.target_port = target_port
        self.passed: list[Passed] = []
        self.mode = "away"
        self._changed = threading.Condition()
        self._server: ThreadingHTTPServer | None = None
        self.turn(mode)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}:{self.port}"

    def turn(self, mode: str) -> None:
        """Change the mode."""
        assert mode in MODES, mode
        with self._changed:
            self.mode = mode
            self._changed.notify_all()
        if mode == "away":
            self._stop_listening()
        elif self._server is None:
            self._server = _Server((self.host, self.port), _Handler)
            self._server.relay = self  # type: ignore[attr-defined]  # the handler asks for it
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """End."""
        self.turn("away")

    def wait_while_hanging(self) -> None:
        """Return when the mode is another."""
        with self._changed:
            self._changed.wait_for(lambda: self.mode != "hang", timeout=120)

    def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Senders are killed; broken connections are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self._pass_on("POST")

    def do_GET(self) -> None:
        self._pass_on("GET")

    def do_PUT(self) -> None:
        self._pass_on("PUT")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Nothing."""

    def _pass_on(self, method: str) -> None:
        relay: Relay = self.server.relay  # type: ignore[attr-defined]  # set by the relay
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.close_connection = True
        if relay.mode == "hang":
            relay.wait_while_hanging()
            return
        if relay.mode == "away":
            return
        try:
            status, headers, content = self._ask(relay, method, body)
        except (OSError, http.client.HTTPException):
            return
        told = relay.mode != "lose"
        plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        if told:
            self.close_connection = False
            self.send_response(status)
            for name in _PASSED_ON:
                if name in headers:
                    self.send_header(name, headers[name])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        relay.passed.append(Passed(self.path, plain, status, told))

    def _ask(self, relay: Relay, method: str, body: bytes) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection(relay.host, relay.target_port, timeout=20)
        try:
            hop_by_hop = ("host", "connection", "transfer-encoding")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in hop_by_hop}
            connection.request(method, self.path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()
