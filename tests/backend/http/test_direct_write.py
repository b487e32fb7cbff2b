"""What is answered before the web framework hears of it must not differ from what the framework answers."""

import gc
import io
import weakref
from http import HTTPStatus
from typing import Any

import pytest
from flask import Response
from werkzeug.test import create_environ

from cc_backend.api.routes import ROUTES
from cc_backend.http.routing import routes_by_path
from cc_backend.httpserver.workers import Lane

NOW_S = 1_760_000_400
GOOD = f"load_one,cluster=tern,hostname=tn01,type=node value=4 {NOW_S}\n"
UNWANTED = f"load_one,cluster=tern,hostname=stranger,type=node value=4 {NOW_S}\n"
WRITE_PATHS = sorted(path for path, route in routes_by_path(ROUTES).items() if route.lane is Lane.INGEST)
HTTPS = {"X-Forwarded-Proto": "https"}


def fields(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in ("Content-Length", "Vary", "Date")}


@pytest.mark.parametrize("more", [{}, HTTPS], ids=["http", "https"])
@pytest.mark.parametrize("path", WRITE_PATHS)
def test_a_batch_that_is_wanted_whole_is_answered_with_the_same_headers_as_one_that_is_not(
    site_of: Any, path: str, more: dict[str, str]
) -> None:
    site = site_of(settings={"main": {"trusted-proxies": ["127.0.0.1"]}})
    plain = site.client.post(path, data=GOOD, headers={**site.headers(), **more})
    worded = site.client.post(path, data=UNWANTED, headers={**site.headers(), **more})
    assert (plain.status_code, worded.status_code) == (HTTPStatus.OK, HTTPStatus.OK)
    assert (plain.data, bool(worded.data)) == (b"", True)
    assert fields(plain) == fields(worded)
    assert ("Strict-Transport-Security" in plain.headers) == bool(more)


@pytest.mark.parametrize("body", [GOOD, UNWANTED], ids=["wanted", "unwanted"])
def test_each_batch_counts_once_whoever_answers(site: Any, body: str) -> None:
    for _ in range(3):
        site.client.post("/api/write/", data=body, headers=site.headers())
    counted = site.client.get("/metrics", environ_base={"REMOTE_ADDR": "127.0.0.1"}).text
    assert 'cc_backend_http_requests_total{method="POST",route="/api/write/",status="200"} 3' in counted
    assert site.services.store.counters().batches == 3


@pytest.mark.parametrize("body", [GOOD, UNWANTED], ids=["wanted", "unwanted"])
def test_the_method_is_read_as_the_framework_reads_it(site: Any, body: str) -> None:
    answer = site.client.open("/api/write/", method="post", data=body, headers=site.headers())
    assert (answer.status_code, site.services.store.counters().batches) == (HTTPStatus.OK, 1)


def test_a_batch_of_a_caller_who_is_refused_is_not_even_read(site: Any) -> None:
    class Unread(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            raise AssertionError("the body was read")

    environ = site.client.application.test_request_context("/api/write", method="POST").request.environ
    environ |= {"wsgi.input": Unread(), "CONTENT_LENGTH": str(len(GOOD)), "HTTP_AUTHORIZATION": "Bearer none"}
    answer = Response.from_app(site.client.application, environ)
    assert (answer.status_code, answer.get_json()["code"]) == (HTTPStatus.UNAUTHORIZED, "token_invalid")


def test_a_fault_of_ours_is_a_500_without_its_inside(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr(site.services.store, "ingest", fail)
    answer = site.client.post("/api/write", data=GOOD, headers=site.headers())
    assert (answer.status_code, answer.get_json()["code"]) == (HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error")
    assert "inside" not in answer.text


@pytest.mark.parametrize(
    ("query", "more", "status"),
    [
        ("", {}, 200),
        ("cluster=elsewhere", {}, 403),
        ("", {"HTTP_CONTENT_ENCODING": "gzip"}, 400),
        ("", {"HTTP_X_AUTH_TOKEN": "none"}, 401),
    ],
)
def test_memory_of_a_batch_is_free_at_once_when_it_is_answered(
    site: Any, query: str, more: dict[str, str], status: int
) -> None:
    """Not only when the collector of circular garbage comes by: there may be many batches of megabytes until then."""

    class Body(io.BytesIO):
        pass

    environ = create_environ("/api/write/", method="POST", query_string=query)
    token = site.token(clusters=["tern"])
    environ |= {"HTTP_X_AUTH_TOKEN": token, "CONTENT_LENGTH": str(len(GOOD)), "wsgi.input": Body(GOOD.encode()), **more}
    body = weakref.ref(environ["wsgi.input"])
    gc.collect()
    gc.disable()
    try:
        said: list[str] = []
        b"".join(site.app(environ, lambda text, *_: said.append(text)))
        del environ
        assert body() is None
    finally:
        gc.enable()
    assert said[0].startswith(str(status))
