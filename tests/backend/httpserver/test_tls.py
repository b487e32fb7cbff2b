"""HTTPS: what clients cost that have not shaken hands, how many there may be, and how long."""

import contextlib
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cc_backend.httpserver.tls import TlsHandshake

GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
BEGINS = b"\x16\x03\x01\x02\x00"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """With a certificate that nobody trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command on this machine to make a certificate with")
    folder: Path = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test")
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.fixture
def secure(serving: Callable[..., Any], tls: ssl.SSLContext) -> Callable[..., Any]:
    """Starts servers that speak HTTPS."""
    return lambda **limits: serving(tls=tls, **limits)


def handshakes(server: Any) -> list[TlsHandshake]:
    found = server.in_loop(lambda: [one for one in server.server._connections if isinstance(one, TlsHandshake)])
    return list(found)


def answers(server: Any) -> bool:
    with server.connect_securely() as client:
        client.send(GET % b"")
        return bool(client.response()[0] == 200)


def test_requests_and_large_bodies_pass_both_ways(secure: Any) -> None:
    server = secure()
    body = bytes(range(256)) * 1000
    with server.connect_securely() as client:
        head = b"POST /write HTTP/1.1\r\nHost: x\r\nX-Auth-Token: good\r\nContent-Length: %d\r\n\r\n"
        client.send(head % len(body) + body)
        assert client.response()[0] == 200
        client.send(GET % b"large" + GET % b"")
        assert [len(client.response()[2]) > 1_000_000 for _ in range(2)] == [True, False]
    assert server.echo.requests[0] == ("POST", "/write", body)


def test_a_response_in_a_file_passes(secure: Any) -> None:
    with secure().connect_securely() as client:
        client.send(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.response()[2] == bytes(8_000_000)


def test_several_connections_at_the_same_time_do_not_mix(secure: Any) -> None:
    server = secure()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect_securely()) for _ in range(10)]
        for number, client in enumerate(clients):
            client.send(b"GET /%d HTTP/1.1\r\n" % number)
        for client in clients:
            client.send(b"Host: x\r\n\r\n")
        for number, client in enumerate(clients):
            assert b'"/%d"' % number in client.response()[2]


def test_who_says_nothing_takes_no_memory_of_tls(secure: Any, eventually: Any) -> None:
    server = secure()
    with server.connect(), server.connect() as other:
        assert eventually(lambda: [one._task for one in handshakes(server)] == [None, None])
        other.send(BEGINS)
        assert eventually(lambda: sum(one._task is not None for one in handshakes(server)) == 1)
    assert eventually(lambda: not handshakes(server))


def test_who_has_not_shaken_hands_counts_among_the_connections(secure: Any) -> None:
    server = secure(connections=20)
    silent = [server.connect() for _ in range(20)]
    for client in silent[:10]:
        client.send(BEGINS)
    assert [answers(server) for _ in range(5)] == [True] * 5
    assert silent[0].is_closed_within(5)
    assert not silent[-1].is_closed_within(0.1)
    for client in silent:
        client.__exit__()


def test_only_so_many_are_shaking_hands_and_a_newcomer_always_may(secure: Any, eventually: Any) -> None:
    server = secure(handshakes=3)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(server.connect()) for _ in range(30)]
        server.in_loop(lambda: [client.send(BEGINS) for client in crowd])  # so that all are there at once
        assert eventually(lambda: len(handshakes(server)) == 3)
        assert answers(server)


def test_a_handshake_has_a_deadline_however_far_it_came(secure: Any) -> None:
    server = secure(head_s=1.0)
    with server.connect() as silent, server.connect() as begun, server.connect_securely() as done:
        begun.send(BEGINS)
        assert [one.is_closed_within(5) for one in (silent, begun, done)] == [True] * 3


@pytest.mark.parametrize("raw", [GET % b"", b"\x00", b"\x16" * 600, BEGINS + b"\x00" * 600])
def test_who_does_not_speak_https_is_left(secure: Any, raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    server = secure()
    with server.connect() as client:
        client.send(raw)
        assert client.is_closed_within(5)
    assert answers(server)
    assert not caplog.records


def test_a_server_that_is_told_to_stop_waits_for_no_handshake(secure: Any) -> None:
    server = secure()
    with server.connect() as silent, server.connect() as begun:
        begun.send(BEGINS)
        assert answers(server)
        server.tell_to_stop()
        assert [one.is_closed_within(5) for one in (silent, begun)] == [True] * 2
