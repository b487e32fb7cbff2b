"""Asking the backend for running jobs, over real HTTP."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from cc_backend.storeservice.retention_holds import RetentionHoldsClient, parse_used_nodes
from cc_common.errors import SettingsError


@pytest.mark.parametrize(
    ("document", "used"),
    [
        ({"usedNodes": {"orion": ["n1", "n2"]}}, {"orion": {"n1": 0, "n2": 0}}),
        ({"orion": ["n1"], "heron": []}, {"orion": {"n1": 0}, "heron": {}}),
        ({"orion": None}, {"orion": {}}),
        ({"usedNodes": None}, {}),
        ({}, {}),
    ],
)
def test_both_shapes_of_the_answer_are_read(document: Any, used: Any) -> None:
    assert parse_used_nodes(json.dumps(document).encode()) == used


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"x"', b'{"orion":"n1"}', b'{"orion":[1]}', b'{"usedNodes":[]}x', b"<html>"]
)
def test_anything_else_is_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_used_nodes(body)


class Handler(BaseHTTPRequestHandler):
    """Answers what the test says, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    status, body = 200, b"{}"
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        type(self).asked.append((self.path, self.headers.get("Authorization")))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[tuple[str, Any]]:
    handler = type("One", (Handler,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_backend_is_asked_with_a_token_for_jobs_that_started_before(backend: tuple[str, Any]) -> None:
    url, handler = backend
    handler.body = b'{"usedNodes":{"orion":["n1"]}}'
    assert RetentionHoldsClient(url, "tok").fetch_or_last(1_760_000_000) == {"orion": {"n1": 0}}
    assert handler.asked == [("/api/jobs/used_nodes?ts=1760000000", "Bearer tok")]


@pytest.mark.parametrize(("status", "body"), [(401, b"{}"), (500, b""), (200, b"<html>"), (302, b"{}")])
def test_what_it_said_last_counts_while_it_answers_nonsense(backend: tuple[str, Any], status: int, body: bytes) -> None:
    url, handler = backend
    client = RetentionHoldsClient(url, "")
    handler.status, handler.body = status, body
    assert client.fetch_or_last(1) is None
    handler.status, handler.body = 200, b'{"orion":["n1"]}'
    assert client.fetch_or_last(1) == {"orion": {"n1": 0}}
    handler.status, handler.body = status, body
    assert client.fetch_or_last(1) == {"orion": {"n1": 0}}
    assert client.fetch_fresh(2) is None, "the last answer was about another time"


def test_an_endless_answer_is_none(backend: tuple[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    url, handler = backend
    monkeypatch.setattr("cc_backend.storeservice.retention_holds._MAX_RESPONSE_BYTES", 30)
    handler.body = b'{"orion":["n1"]}' + b" " * 14
    assert RetentionHoldsClient(url, "").fetch_or_last(1) == {"orion": {"n1": 0}}
    handler.body += b" "
    assert RetentionHoldsClient(url, "").fetch_or_last(1) is None


def test_nobody_there_is_no_answer() -> None:
    assert RetentionHoldsClient("http://127.0.0.1:1", "").fetch_or_last(1) is None


@pytest.mark.parametrize("url", ["ftp://x", "x", "file:///etc/passwd"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        RetentionHoldsClient(url, "")
