"""The HTTP sender against a real server: what each answer means, and what goes over the wire."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Type

import pytest

from cc_common.delivery import DeliveryOutcome, HttpSender, OutcomeKind, Timeouts
from cc_common.delivery.http_response import HttpResponse, interpret_response, parse_retry_after
from cc_common.errors import DeliveryError

NOW_S = 1_790_000_000.0


@dataclass
class Peer:
    """A server that responds as the test says and remembers what it got."""

    url: str = ""
    answers: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    connections: set = field(default_factory=set)

    def will_answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.answers.append((status, body, {name.replace("_", "-"): value for name, value in headers.items()}))


def handler_for(peer: Peer) -> Type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            peer.requests.append((self.path, dict(self.headers), body))
            peer.connections.add(self.client_address)
            status, answer, headers = peer.answers.pop(0) if peer.answers else (200, b"", {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # a client may hang up before it has read all
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def peer() -> Iterator[Peer]:
    state = Peer()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_for(state))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}/api/write?cluster=tern"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def sender(peer: Peer) -> Iterator[HttpSender]:
    sender = HttpSender(peer.url, token="abc.def\n", clock=lambda: NOW_S)
    yield sender
    sender.close()


def test_a_batch_is_posted_with_its_token_and_delivered(peer: Any, sender: Any) -> None:
    assert sender.send(b"load value=1 17\n").kind is OutcomeKind.DELIVERED
    path, headers, body = peer.requests[0]
    assert (path, body) == ("/api/write?cluster=tern", b"load value=1 17\n")
    assert headers["Authorization"] == "Bearer abc.def"
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Content-Encoding" not in headers


def test_one_connection_is_kept_for_many_batches(peer: Any, sender: Any) -> None:
    for _ in range(5):
        sender.send(b"x")
    assert len(peer.connections) == 1


def test_our_400_says_what_was_kept_and_what_not(peer: Any, sender: Any) -> None:
    answer = {
        "accepted": 3,
        "rejected": {"value is not a number": 2},
        "errors": [{"line_number": 2, "reason": "bad"}, "x"],
    }
    peer.will_answer(400, json.dumps(answer).encode())
    outcome = sender.send(b"x")
    assert outcome.kind is OutcomeKind.DELIVERED_PARTLY
    assert outcome.rejected == 2
    assert outcome.errors == ("line 2: bad", "x")


@pytest.mark.parametrize(
    "body",
    [b"", b"bad", b'{"status":"Bad Request","error":"at line 2:24"}', b'{"accepted":true,"errors":[]}', b"[" * 100_000],
)
def test_any_other_400_leaves_the_bad_line_to_be_found(peer: Any, sender: Any, body: bytes) -> None:
    peer.will_answer(400, body)
    assert sender.send(b"x").kind is OutcomeKind.BAD_BATCH


@pytest.mark.parametrize(
    ("status", "kind", "alarm"),
    [
        (200, OutcomeKind.DELIVERED, False),
        (201, OutcomeKind.DELIVERED, False),
        (204, OutcomeKind.DELIVERED, False),
        (301, OutcomeKind.RETRY, True),
        (302, OutcomeKind.RETRY, True),
        (308, OutcomeKind.RETRY, True),
        (401, OutcomeKind.UNAUTHORISED, True),
        (403, OutcomeKind.UNAUTHORISED, True),
        (404, OutcomeKind.RETRY, True),
        (405, OutcomeKind.RETRY, True),
        (408, OutcomeKind.RETRY, False),
        (413, OutcomeKind.TOO_LARGE, False),
        (415, OutcomeKind.RETRY, True),
        (418, OutcomeKind.RETRY, True),
        (422, OutcomeKind.RETRY, True),
        (429, OutcomeKind.RETRY, False),
        (500, OutcomeKind.RETRY, False),
        (502, OutcomeKind.RETRY, False),
        (503, OutcomeKind.RETRY, False),
        (599, OutcomeKind.RETRY, False),
    ],
)
def test_each_status_means_one_thing(peer: Any, sender: Any, status: int, kind: Any, alarm: Any) -> None:
    peer.will_answer(status)
    outcome = sender.send(b"x")
    assert (outcome.kind, outcome.needs_operator) == (kind, alarm)


def test_no_status_is_without_an_outcome_and_only_a_success_forgets_the_batch() -> None:
    forgotten = [
        status
        for status in range(100, 1000)
        if interpret_response(HttpResponse(status, {}), now_s=NOW_S).kind is OutcomeKind.DELIVERED
    ]
    assert forgotten == list(range(200, 300))


def test_a_web_page_is_no_delivery(peer: Any, sender: Any) -> None:
    peer.will_answer(200, b"<html>Log in</html>", Content_Type="text/html; charset=utf-8")
    outcome = sender.send(b"x")
    assert (outcome.kind, outcome.needs_operator) == (OutcomeKind.RETRY, True)


def test_what_the_peer_says_is_part_of_the_message_on_one_line(peer: Any, sender: Any) -> None:
    peer.will_answer(500, b'{"error":"disk\\nfull"}')
    assert sender.send(b"x").message == "HTTP 500 (disk full)"
    peer.will_answer(302, b"", Location="https://other/")
    assert "redirects to https://other/" in sender.send(b"x").message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("999999999999999999999999", 3600.0),
        ("Mon, 21 Sep 2026 14:13:30 GMT", 10.0),
        ("Mon, 21 Sep 2020 14:13:30 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: Any, seconds: float) -> None:
    assert parse_retry_after(value, now_s=NOW_S) == seconds


@pytest.mark.parametrize("status", [429, 503])
def test_the_pause_that_the_peer_asks_for_is_passed_on(peer: Any, sender: Any, status: int) -> None:
    peer.will_answer(status, b"", Retry_After="17")
    assert sender.send(b"x").retry_after_s == 17.0


def test_bodies_are_compressed_only_once_the_peer_said_that_it_takes_it(peer: Any, sender: Any) -> None:
    batch = b"load value=1 17\n" * 200
    peer.will_answer(200, b"", Accept_Encoding="gzip")
    sender.send(batch)
    sender.send(batch)
    sender.send(batch)
    assert [request[1].get("Content-Encoding") for request in peer.requests] == [None, "gzip", None]
    assert gzip.decompress(peer.requests[1][2]) == batch


def test_a_small_body_is_not_compressed(peer: Any, sender: Any) -> None:
    peer.will_answer(200, b"", Accept_Encoding="gzip")
    sender.send(b"x")
    sender.send(b"x")
    assert peer.requests[1][2] == b"x"


def test_a_peer_that_refuses_the_compressed_body_gets_it_plain(peer: Any, sender: Any) -> None:
    batch = b"load value=1 17\n" * 200
    peer.will_answer(200, b"", Accept_Encoding="gzip")
    sender.send(batch)
    peer.will_answer(415)
    assert sender.send(batch).kind is OutcomeKind.DELIVERED
    assert peer.requests[-1][2] == batch


def test_an_unavailable_peer_is_an_outcome_and_not_an_exception() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        sender = HttpSender(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        outcome = sender.send(b"x")
        sender.close()
    assert outcome.kind is OutcomeKind.RETRY
    assert outcome.message.startswith("no response (ConnectError")
    assert outcome.message.endswith(": nothing listens at this address and port")


def test_a_peer_that_does_not_respond_is_abandoned() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sender = HttpSender(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeouts=Timeouts(total_s=0.05))
        outcome = sender.send(b"x")
        sender.close()
    assert outcome.kind is OutcomeKind.RETRY
    assert "ReadTimeout" in outcome.message


def test_a_response_that_is_not_http_is_an_outcome(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        sender = HttpSender(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        outcome = sender.send(b"x")
        sender.close()
        thread.join()
    assert outcome.kind is OutcomeKind.RETRY
    assert "RemoteProtocolError" in outcome.message


def test_an_endless_response_is_cut(peer: Any, sender: Any) -> None:
    peer.will_answer(500, b"x" * 10_000_000)
    assert len(sender.send(b"x").message) < 300
    assert sender.send(b"x").kind is OutcomeKind.DELIVERED


def test_environment_proxies_are_not_used(peer: Any, sender: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert sender.send(b"x").kind is OutcomeKind.DELIVERED


@pytest.mark.parametrize("url", ["", "host/path", "ftp://host/", "http://", "http://host:port/", "file:///etc/passwd"])
def test_an_address_that_is_not_usable_is_rejected_at_once(url: Any) -> None:
    with pytest.raises(DeliveryError, match="address"):
        HttpSender(url)


def test_a_token_that_would_break_the_header_is_rejected() -> None:
    with pytest.raises(DeliveryError, match="token"):
        HttpSender("http://host/", token="abc\r\nX-Evil: 1")


def test_a_ca_file_that_is_missing_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="CA file"):
        HttpSender("https://host/", ca_file=str(tmp_path / "none.pem"))


def test_the_name_of_the_peer_has_no_secrets() -> None:
    assert HttpSender("https://user:hunter2@host:8443/api/write?token=hunter2").peer == "https://host:8443/api/write"
    assert HttpSender("http://[::1]:80/x").peer == "http://[::1]:80/x"


def test_lines_that_the_peer_does_not_want_are_reported_in_words() -> None:
    document = {
        "accepted": 17,
        "dropped": {
            "unknown_cluster": {"lines": 19, "names": [{"name": "trn", "nearest": "tern"}, {"name": "x"}]},
            "series_limit": {"lines": 2, "names": []},
        },
        "unlisted": {"unknown_host": {"lines": 1, "names": [{"name": "tn1", "cluster": "tern", "nearest": "tn01"}]}},
    }
    outcome = interpret_response(HttpResponse(200, {}, json.dumps(document).encode()), now_s=NOW_S)
    assert outcome.kind is OutcomeKind.DELIVERED
    assert outcome.unwanted == (
        "19 lines are discarded: unknown cluster 'trn' (did you mean 'tern'?), 'x'",
        "2 lines are discarded: series limit",
        "1 lines are kept, but no page shows them: unknown host 'tn1' (did you mean 'tn01'?)",
    )


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{",
        b'{"dropped": 7}',
        b'{"dropped": {"a": 1}}',
        b'{"dropped": [1]}',
        b'{"unlisted": null}',
    ],
)
def test_responses_of_other_peers_name_nothing(document: bytes) -> None:
    assert interpret_response(HttpResponse(200, {}, document), now_s=NOW_S).unwanted == ()


def test_what_a_peer_says_of_lines_stays_one_short_line() -> None:
    document = {"dropped": {"a\nb": {"lines": {}, "names": [{"name": "x\x1b[31m" * 99}] * 99 + [7]}}}
    (said,) = interpret_response(HttpResponse(200, {}, json.dumps(document).encode()), now_s=NOW_S).unwanted
    assert len(said) <= 600
    assert said.isprintable()


def _sent(url: str, **options: Any) -> DeliveryOutcome:
    sender = HttpSender(url, **options)
    try:
        return sender.send(b"x")
    finally:
        sender.close()


def test_the_true_cause_of_a_failed_connection_is_named(peer: Peer) -> None:
    plain = _sent(peer.url.replace("http:", "https:"))
    assert plain.needs_operator
    assert plain.message.endswith("it speaks plain HTTP; write http:// instead of https://")
    unknown = _sent("http://no-such-host.invalid/")
    assert "no response" in unknown.message


def test_a_certificate_that_is_not_trusted_is_named_and_can_be_trusted(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command on this machine to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    name = ("-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate)
    subprocess.run([*make, *name], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    peer = Peer()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_for(peer))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        address = f"127.0.0.1:{server.server_address[1]}"
        distrusted = _sent(f"https://{address}/")
        assert distrusted.needs_operator
        assert "its certificate is not trusted here; name the CA that signed it as ca_file" in distrusted.message
        assert _sent(f"https://{address}/", ca_file=str(certificate)).kind is OutcomeKind.DELIVERED
        plain = _sent(f"http://{address}/")
        assert "if it speaks HTTPS, write https:// instead of http://" in plain.message
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_web_page_as_response_is_shown_by_its_status_alone() -> None:
    outcome = interpret_response(HttpResponse(404, {}, b"\n<!doctype html><html><title>Not found</title>"), now_s=0.0)
    assert outcome.message == "HTTP 404: nothing accepts such requests at this address; correct it"
