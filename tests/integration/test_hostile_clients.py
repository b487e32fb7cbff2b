"""Real servers and raw sockets: what breaks off leaves nothing, what stalls holds up nobody, a port has one server."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

FORM = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
MORE_THAN_THREADS = 40


@pytest.fixture
def store(integration: Any, tmp_path: Path) -> Iterator[int]:
    """The port of a metric store that runs by itself, without a key."""
    port = int(integration.free_port())
    config = tmp_path / "config.json"
    document = {
        "main": {"addr": f"127.0.0.1:{port}"},
        "metrics": {"load_one": {"frequency": 60, "aggregation": None}},
        "metric-store": {"wal": {"directory": str(tmp_path / "samples")}},
    }
    config.write_text(json.dumps(document), "utf-8")
    command = (integration.BIN / "cc-backend", "metric-store", "--config", config)
    with integration.process(*command, log=tmp_path / "log"):
        integration.wait_for(f"the store's start (see {tmp_path / 'log'})", lambda: is_up(port))
        yield port


def is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=20).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def status_of(port: int, raw: bytes) -> int:
    """What a server says to these bytes, after which nothing more comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        line = client.makefile("rb").readline()
    return int(line.split()[1]) if line else 0


def line_of(host: str) -> bytes:
    """A line whose value would be another one if the last digits were lost."""
    return b"load_one,cluster=orion,hostname=%b value=12345 %d" % (host.encode(), time.time() - 120)


def samples_of(port: int, host: str) -> list[float]:
    now_s = int(time.time())
    question = {"cluster": "orion", "from": now_s - 600, "to": now_s, "queries": [{"metric": "load_one", "host": host}]}
    answer = httpx.post(f"http://127.0.0.1:{port}/api/query", json=question, timeout=20).json()
    return [one for row in answer["results"] for found in row for one in found.get("data") or [] if one is not None]


@pytest.mark.parametrize("end", [b"", b"0", b"0\r\n", b"0\r\nX", b"5", b"5\r\nab", b"ZZ\r\n", b"-1\r\n\r\n"])
def test_of_a_chunked_batch_that_breaks_off_nothing_is_kept(store: int, end: bytes) -> None:
    cut = line_of("n017")[:-14]  # within the value
    head = b"POST /api/write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert status_of(store, head + b"%x\r\n%b\r\n" % (len(cut), cut) + end) == 400
    assert samples_of(store, "n017") == []


def test_a_batch_that_comes_whole_is_kept_in_chunks_or_with_a_length(store: int) -> None:
    for host, form in (("n018", "chunked"), ("n019", "length")):
        line = line_of(host) + b"\n"
        field, body = (
            (b"Transfer-Encoding: chunked", b"".join(b"1\r\n%c\r\n" % byte for byte in line) + b"0\r\n\r\n")
            if form == "chunked"
            else (b"Content-Length: %d" % len(line), line)
        )
        assert status_of(store, b"POST /api/write HTTP/1.1\r\nHost: x\r\n" + field + b"\r\n\r\n" + body) == 200
        assert samples_of(store, host) == [12345.0]


def test_of_a_batch_shorter_than_its_length_nothing_is_kept(store: int) -> None:
    line = line_of("n020")
    head = b"POST /api/write HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (len(line) + 5)
    assert status_of(store, head + line) == 400
    assert samples_of(store, "n020") == []


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4",
        b"Content-Length: 4\r\nContent-Length: 9",
        b"Transfer-Encoding: chunked, identity",
        b"X: a\r\n folded: b",
    ],
)
def test_no_request_is_smuggled_behind_another(store: int, fields: bytes) -> None:
    inner = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", store), timeout=20) as client:
        client.sendall(b"POST /api/write HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n\r\n0\r\n\r\n" + inner)
        said = client.makefile("rb").read()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1


def test_bodies_that_stall_hold_up_neither_pages_nor_the_health_check(backend: Any) -> None:
    with backend.serving(), ExitStack() as stack:
        for number in range(MORE_THAN_THREADS):
            stalled = stack.enter_context(socket.create_connection(("127.0.0.1", backend.port), timeout=20))
            private = b"POST /api/write/ HTTP/1.1\r\nHost: x\r\n"
            stalled.sendall((FORM if number % 2 else private) + b"Content-Length: 100\r\n\r\nu")
        for path in ("/healthz", "/login", "/metrics"):
            assert httpx.get(backend.url + path, timeout=10).status_code == httpx.codes.OK


def test_a_second_server_on_a_port_says_who_has_it_and_ends(backend: Any, integration: Any, tmp_path: Path) -> None:
    other = integration.new_backend(tmp_path / "other")
    with backend.serving() as running:
        address = f"127.0.0.1:{backend.port}"
        ended = integration.attempt("cc-backend", "serve", "--config", other.config, "--addr", address)
        assert ended.returncode == 1
        [said] = [line for line in ended.stderr.splitlines() if "cluster" not in line]
        assert said.startswith(f"cc-backend: port {backend.port} is taken by process {running.pid} (")
        assert "serving" not in ended.stderr


def test_a_server_that_is_told_to_end_has_answered_what_it_had_begun(backend: Any) -> None:
    with backend.serving() as running:
        with socket.create_connection(("127.0.0.1", backend.port), timeout=20) as client:
            client.sendall(FORM + b"Content-Length: 21\r\n\r\nusername=a&password=")
            time.sleep(0.5)
            running.terminate()
            client.sendall(b"b")
            assert client.makefile("rb").readline().startswith(b"HTTP/1.1 401 ")
        assert running.wait(20) == 0
