"""The HTTP server of the agent: what it refuses, and that nobody can hold it up."""

import gzip
import http.client
import socket
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cc_agent.errors import AgentError
from cc_agent.http_listener import (
    HttpListener,
    HttpReply,
    HttpRequest,
    ListenerCredentials,
    ListenerLimits,
    server_tls_context,
)


def echo(request: HttpRequest) -> HttpReply:
    if request.path == "/fail":
        raise ValueError("secret detail")
    return HttpReply(200, request.method.encode() + b" " + request.path.encode() + b" " + request.body)


LIMITS = ListenerLimits(body_bytes=1000)


@contextmanager
def listening(limits: ListenerLimits = LIMITS, **options: Any) -> Iterator[HttpListener]:
    listener = HttpListener("127.0.0.1", 0, echo, limits=limits, **options)
    listener.start()
    try:
        yield listener
    finally:
        listener.close()


def ask(listener: HttpListener, method: str = "POST", path: str = "/x", body: bytes = b"", **headers: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=5)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())
    finally:
        connection.close()


def raw(listener: HttpListener, *pieces: bytes) -> bytes:
    """What a connection gets that sends these bytes, and then waits for the end."""
    with socket.create_connection(("127.0.0.1", listener.port), timeout=5) as connection:
        received = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            while more := connection.recv(65536):
                received += more
        except ConnectionError:
            pass
        return received


def test_requests_are_answered_with_their_body_whatever_the_query() -> None:
    with listening() as listener:
        assert ask(listener, body=b"hello", path="/x?cluster=c")[:2] == (200, b"POST /x hello")
        assert ask(listener, "GET")[:2] == (200, b"GET /x ")
        assert ask(listener, "HEAD")[:2] == (200, b"")


def test_a_connection_is_kept_unless_that_is_switched_off() -> None:
    with listening() as listener:
        connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=5)
        for _ in range(3):
            connection.request("POST", "/x", b"a")
            assert connection.getresponse().read() == b"POST /x a"
        connection.close()
    with listening(ListenerLimits(body_bytes=10, keep_alive=False)) as listener:
        assert ask(listener)[2]["Connection"] == "close"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /x HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", b"413"),
        (b"POST /x HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", b"413"),
        (b"POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n", b"400"),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"POST /x HTTP/1.1\r\nContent-Length: 4\r\nContent-Encoding: br\r\n\r\nabcd", b"415"),
        (b"POST /x HTTP/1.1\r\nContent-Length: 4\r\nContent-Encoding: gzip\r\n\r\nabcd", b"400"),
        (b"POST /" + b"x" * 3000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"POST /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /x HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_what_cannot_be_is_refused_and_the_connection_closed(request_bytes: bytes, status: bytes) -> None:
    with listening() as listener:
        assert status in raw(listener, request_bytes).partition(b"\r\n")[0]
        assert ask(listener)[0] == 200


def test_a_body_is_decompressed_within_the_limit() -> None:
    with listening() as listener:
        assert ask(listener, body=gzip.compress(b"hello"), Content_Encoding="gzip")[1] == b"POST /x hello"
        assert ask(listener, body=gzip.compress(b"0" * 900_000), Content_Encoding="gzip")[0] == 413
        assert ask(listener, body=gzip.compress(b"hello")[:-2], Content_Encoding="gzip")[0] == 400
        assert ask(listener, body=gzip.compress(b"hello") + b"more", Content_Encoding="gzip")[0] == 400
        assert ask(listener, body=zlib.compress(b"hello"), Content_Encoding="gzip")[0] == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "s3cr3t"}, 401),
        ({"Authorization": "Bearer s3cr3t"}, 200),
        ({"Authorization": "Basic dTpw"}, 200),
        ({"Authorization": "Basic dTpx"}, 401),
        ({"Authorization": "Bearer \xff"}, 401),
    ],
)
def test_only_who_shows_token_or_password_is_answered(headers: Any, status: int) -> None:
    with listening(credentials=ListenerCredentials("s3cr3t", "u", "p")) as listener:
        got, body, _ = ask(listener, body=b"x", **headers)
    assert got == status
    assert b"s3cr3t" not in body


def test_a_body_without_credentials_is_not_read() -> None:
    with listening(credentials=ListenerCredentials("s3cr3t")) as listener:
        assert b" 401 " in raw(listener, b"POST /x HTTP/1.1\r\nContent-Length: 900\r\n\r\n")


def test_an_error_does_not_reach_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    with listening() as listener:
        status, body, _ = ask(listener, path="/fail")
        assert ask(listener)[0] == 200
    assert (status, body) == (500, b"internal error\n")
    assert "secret detail" in caplog.text


def is_closed_after(connection: socket.socket, byte: bytes) -> bool:
    try:
        connection.sendall(byte)
        return connection.recv(10) == b""
    except socket.timeout:  # noqa: UP041 another error in Python 3.9
        return False
    except ConnectionError:
        return True


def test_a_peer_that_drips_is_cut_off_at_the_deadline() -> None:
    limits = ListenerLimits(body_bytes=1000, request_s=0.3)
    with listening(limits) as listener, socket.create_connection(("127.0.0.1", listener.port), timeout=5) as slow:
        slow.sendall(b"POST /x HTTP/1.1\r\nContent-Length: 900\r\n\r\n")
        started_s = time.monotonic()
        slow.settimeout(0.05)
        while not is_closed_after(slow, b"x"):
            pass
        assert time.monotonic() - started_s < 3


def test_connections_beyond_the_limit_are_sent_away_and_those_within_go_on() -> None:
    with listening(ListenerLimits(body_bytes=1000, connections=2)) as listener:
        held = [socket.create_connection(("127.0.0.1", listener.port), timeout=5) for _ in range(2)]
        deadline_s = time.monotonic() + 5
        while time.monotonic() < deadline_s and b" 503 " not in raw(listener, b""):
            pass
        assert b" 503 " in raw(listener, b"")
        held[0].sendall(b"GET /x HTTP/1.1\r\n\r\n")
        assert held[0].recv(100).startswith(b"HTTP/1.1 200")
        for connection in held:
            connection.close()


def test_a_connection_for_which_there_is_no_thread_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with listening(ListenerLimits(connections=1)) as listener:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert raw(listener, b"GET /x HTTP/1.1\r\n\r\n") == raw(listener, b"GET /x HTTP/1.1\r\n\r\n") == b""
        monkeypatch.undo()
        assert ask(listener, "GET")[0] == 200


def test_connections_end_with_the_listener() -> None:
    with listening() as listener:
        connection = socket.create_connection(("127.0.0.1", listener.port), timeout=5)
        connection.sendall(b"GET /x HTTP/1.1\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    with connection:
        while connection.recv(1000):
            pass


def test_a_port_that_is_taken_is_named() -> None:
    with listening() as listener, pytest.raises(AgentError, match=rf"127\.0\.0\.1, port {listener.port}: Address"):
        HttpListener("127.0.0.1", listener.port, echo, limits=ListenerLimits()).start()


def idle_bytes(connection: socket.socket) -> bytes:
    """What comes before the end of a connection."""
    received = b""
    try:
        while more := connection.recv(1000):
            received += more
    except (ConnectionError, ssl.SSLEOFError):
        pass
    return received


def test_with_a_certificate_only_https_is_spoken(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    with listening(tls=server_tls_context(str(certificate), str(key))) as listener:
        context = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", listener.port, timeout=5, context=context)
        connection.request("POST", "/x", b"hello")
        assert connection.getresponse().read() == b"POST /x hello"
        connection.close()
        assert b"200" not in raw(listener, b"GET /x HTTP/1.1\r\n\r\n")
        plain = socket.create_connection(("127.0.0.1", listener.port), 5)
        idle = context.wrap_socket(plain, server_hostname="127.0.0.1")
        idle.sendall(b"GET /x HTTP/1.1\r\n\r\n")
        assert idle.recv(1000).startswith(b"HTTP/1.1 200")
    with idle:  # it ends with the listener
        assert not idle_bytes(idle)
    with pytest.raises(AgentError, match="cannot be used"):
        server_tls_context(str(tmp_path / "none"), "")
    assert server_tls_context("", "") is None
