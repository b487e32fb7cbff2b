"""Requests to peers that are slow at each of their steps: the whole ends when its time is over."""

import contextlib
import gzip
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator

import httpx
import pytest

from cc_common.deadline_transport import deadline_client

TOTAL_S = 0.4
AT_MOST_S = 5.0
"""Far above the deadline and far below the time of a peer that goes on: no measure of speed."""

Serve = Callable[[socket.socket], None]
Peer = Callable[[Serve], str]


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Starts a server that treats each connection as the function says; gives its address."""
    stop = threading.Event()
    doors: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(serve: Serve) -> str:
        door = socket.create_server(("127.0.0.1", 0))
        door.settimeout(0.05)
        doors.append(door)

        def handle(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                serve(connection)

        def accept() -> None:
            while not stop.is_set():
                with contextlib.suppress(OSError):  # on Python 3.9 a time-out of a socket is no TimeoutError
                    connection, _ = door.accept()
                    connection.settimeout(10)
                    threads.append(threading.Thread(target=handle, args=(connection,), daemon=True))
                    threads[-1].start()

        threads.append(threading.Thread(target=accept, daemon=True))
        threads[-1].start()
        return f"127.0.0.1:{door.getsockname()[1]}"

    yield start
    stop.set()
    for thread in threads:
        thread.join(10)
    for door in doors:
        door.close()


def _drip(connection: socket.socket, first: bytes, drop: bytes) -> None:
    """Sends a drop each 20 ms until the other side has gone."""
    connection.sendall(first)
    while True:
        connection.sendall(drop)
        time.sleep(0.02)


def _answer(connection: socket.socket, body: bytes = b"ok") -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: a\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"a"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"a"),
    ],
)
def test_a_response_that_comes_drop_by_drop_is_abandoned(peer: Peer, first: bytes, drop: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        _drip(connection, first, drop)

    begin_s = time.monotonic()
    with deadline_client(TOTAL_S) as client, pytest.raises(httpx.TransportError):
        client.get(f"http://{peer(serve)}/")
    assert time.monotonic() - begin_s < AT_MOST_S


def test_a_peer_that_takes_the_request_byte_by_byte_is_abandoned(peer: Peer) -> None:
    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        for _ in range(100):
            connection.recv(512)
            time.sleep(0.02)

    begin_s = time.monotonic()
    with deadline_client(TOTAL_S) as client, pytest.raises(httpx.WriteTimeout):
        client.post(f"http://{peer(serve)}/", content=bytes(50_000_000))
    assert time.monotonic() - begin_s < AT_MOST_S


def test_a_handshake_that_goes_on_and_on_is_abandoned(peer: Peer) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        _drip(connection, b"\x16\x03\x03\x3f\xff", b"\0")

    begin_s = time.monotonic()
    with (
        deadline_client(TOTAL_S, tls=ssl.create_default_context()) as client,
        pytest.raises(httpx.TransportError),
    ):
        client.get(f"https://{peer(serve)}/")
    assert time.monotonic() - begin_s < AT_MOST_S


def test_a_name_that_is_not_resolved_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(20))
    begin_s = time.monotonic()
    with deadline_client(TOTAL_S) as client, pytest.raises(httpx.ConnectTimeout, match=r"backend\.example"):
        client.get("http://backend.example/")
    assert time.monotonic() - begin_s < AT_MOST_S
    release.set()


def test_a_name_that_does_not_exist_is_an_error_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with deadline_client(TOTAL_S) as client, pytest.raises(httpx.ConnectError, match="not known"):
        client.get("http://backend.example/")


def test_the_next_address_of_a_name_is_tried(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    address = peer(_answer)
    port = int(address.rpartition(":")[2])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.99", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with socket.socket() as unused:  # nothing else may listen on the first address
        unused.bind(("127.0.0.99", port))
        with deadline_client(10) as client:
            assert client.get(f"http://backend.example:{port}/").text == "ok"


def test_each_request_has_its_own_time_and_connections_are_kept(peer: Peer) -> None:
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        connections.append(connection)
        while True:
            time.sleep(0.15)
            _answer(connection)

    address = peer(serve)
    with deadline_client(2.0, connections=1) as client:
        assert [client.get(f"http://{address}/").text for _ in range(3)] == ["ok"] * 3
    assert len(connections) == 1


def test_threads_that_share_a_client_do_not_share_a_deadline(peer: Peer) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        _drip(connection, b"HTTP/1.1 200 OK\r\nX-A: ", b"a")

    slow, quick = peer(serve), peer(_answer)
    outcomes: dict[str, str] = {}
    with deadline_client(3.0, connections=4) as client:

        def ask(name: str, address: str) -> None:
            try:
                outcomes[name] = client.get(f"http://{address}/").text
            except httpx.TransportError as error:
                outcomes[name] = type(error).__name__

        first = threading.Thread(target=ask, args=("slow", slow))
        first.start()
        time.sleep(0.1)
        ask("quick", quick)
        first.join(AT_MOST_S)
    assert outcomes == {"slow": "ReadTimeout", "quick": "ok"}


def test_a_connection_that_breaks_is_an_error_of_the_transport(peer: Peer) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")

    with deadline_client(5) as client, pytest.raises(httpx.RemoteProtocolError):
        client.get(f"http://{peer(serve)}/")
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    with deadline_client(5) as client, pytest.raises(httpx.ConnectError):
        client.get(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "deflate", "x-gzip", "gzip, gzip"])
def test_a_response_that_is_compressed_unasked_takes_no_more_memory_than_it_has_bytes(peer: Peer, coding: str) -> None:
    asked: list[bytes] = []
    bomb = gzip.compress(bytes(50_000_000))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()

    def serve(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(head + bomb)

    with deadline_client(10.0, headers={"X-A": "b"}) as client:
        tracemalloc.start()
        answer = client.get(f"http://{peer(serve)}/")
        _, most_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (answer.status_code, answer.content) == (200, bomb)
    assert most_bytes < 5_000_000
    assert b"accept-encoding: identity" in asked[0].lower()
    assert b"x-a: b" in asked[0].lower()
