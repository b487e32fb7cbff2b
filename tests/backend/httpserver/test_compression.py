"""Responses in the encoding that the client takes, and nothing told by their length."""

import gzip
import json
import re
from typing import Any

import pytest
import zstandard

from cc_backend.auth import csrf
from cc_backend.httpserver.compression import MIN_BYTES, ContentCoding, compress, negotiate_coding
from cc_backend.web.assets import asset_digest, asset_paths

DECODERS = {
    "gzip": gzip.decompress,
    "zstd": lambda content: zstandard.ZstdDecompressor().decompress(content),
    None: bytes,
}
PAGES = ("/", "/monitoring/jobs/", "/login")


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip;q=0.8", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip ; q=0.0", "identity"),
        ("*", "zstd"),
        ("*;q=0", "identity"),
        ("gzip, *;q=0", "gzip"),
        ("*, zstd;q=0", "gzip"),
        ("identity", "identity"),
        ("identity;q=1, gzip;q=0.5", "identity"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0, gzip", "gzip"),
        ("identity;q=0", "identity"),
        ("br", "identity"),
        ("gzip;q=2", "identity"),
        ("gzip;q=-1", "identity"),
        ("gzip;q=nan", "identity"),
        ("gzip;q=high", "identity"),
        (",;,=,;q", "identity"),
    ],
)
def test_the_client_chooses_the_encoding(accept_encoding: str | None, expected: str) -> None:
    assert negotiate_coding(accept_encoding) == expected


@pytest.mark.parametrize("coding", list(ContentCoding))
@pytest.mark.parametrize("content", [b"", b"x", b"abc" * 1_000_000])
@pytest.mark.parametrize("kept", [False, True])
def test_what_is_encoded_comes_back(coding: ContentCoding, content: bytes, kept: bool) -> None:  # noqa: FBT001
    decoder = DECODERS[None if coding is ContentCoding.IDENTITY else coding.value]
    assert decoder(compress(content, coding, is_cached=kept)) == content


@pytest.fixture
def person(site: Any) -> Any:
    """A browser that is signed in."""
    site.services.users.add("ada", ["user"], password="correct horse battery", now_s=0)
    form = {"username": "ada", "password": "correct horse battery"}
    assert site.client.post("/login", data=form).status_code == 303
    return site.client


@pytest.mark.parametrize("path", PAGES[:2])
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_pages_are_compressed_and_say_on_what_that_depends(person: Any, path: str, coding: str) -> None:
    plain = person.get(path)
    packed = person.get(path, headers={"Accept-Encoding": coding})
    assert packed.headers["Content-Encoding"] == coding
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert "Content-Encoding" not in plain.headers
    assert int(packed.headers["Content-Length"]) == len(packed.data) < len(plain.data) / 2
    assert DECODERS[coding](packed.data).count(b"<form") == plain.data.count(b"<form")


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_json_and_counters_are_compressed_when_they_are_more_than_a_packet(site: Any, coding: str) -> None:
    for number in range(40):
        site.start_job(jobId=number + 1)
    for path in ("/api/jobs/?items-per-page=40", "/metrics"):
        packed = site.client.get(path, headers={**site.headers(), "Accept-Encoding": coding})
        assert packed.headers["Content-Encoding"] == coding
        assert len(DECODERS[coding](packed.data)) > MIN_BYTES
    small = site.client.get("/healthz", headers={"Accept-Encoding": coding})
    assert "Content-Encoding" not in small.headers
    assert json.loads(small.data)["status"] == "ok"


def test_head_has_the_headers_of_get(person: Any) -> None:
    asked = {"Accept-Encoding": "gzip"}
    head, get = person.head("/monitoring/jobs/", headers=asked), person.get("/monitoring/jobs/", headers=asked)
    assert head.data == b""
    for name in ("Content-Encoding", "Vary", "ETag", "Content-Type"):
        assert head.headers[name] == get.headers[name]
    assert abs(int(head.headers["Content-Length"]) - len(get.data)) < 100, "but for the mask of the CSRF token"


@pytest.mark.parametrize("path", ["/monitoring/jobs/", f"/assets/{asset_digest()}/css/tokens.css"])
@pytest.mark.parametrize("coding", ["gzip", "zstd", "identity"])
def test_what_is_unchanged_is_a_304_whichever_encoding_it_came_in(person: Any, path: str, coding: str) -> None:
    first = person.get(path, headers={"Accept-Encoding": coding})
    assert first.status_code == 200
    for other in ("gzip", "zstd", "identity"):
        again = person.get(path, headers={"Accept-Encoding": other, "If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert "Accept-Encoding" in again.headers["Vary"]
        assert "Content-Encoding" not in again.headers


@pytest.mark.parametrize("name", sorted(asset_paths()))
@pytest.mark.parametrize("coding", ["gzip", "zstd", None])
def test_static_files_are_the_same_in_each_encoding(client: Any, name: str, coding: str | None) -> None:
    asked = {"Accept-Encoding": coding} if coding else {}
    response = client.get(f"/assets/{asset_digest()}/{name}", headers=asked)
    assert response.headers.get("Content-Encoding") == coding
    assert "immutable" in response.headers["Cache-Control"]
    plain = client.get(f"/assets/{asset_digest()}/{name}")
    assert DECODERS[coding](response.data) == plain.data


# --- the CSRF token beside text that somebody else chose


def shown_token(client: Any, path: str = "/monitoring/jobs/") -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).text)
    assert found
    return found[1]


def test_the_csrf_token_is_written_differently_in_each_response(person: Any, site: Any) -> None:
    tokens = [shown_token(person) for _ in range(20)]
    assert len(set(tokens)) == 20
    cookie = person.get_cookie("session").value
    secret = site.services.sessions.lookup(cookie, site.services.clock()).csrf_token
    assert secret not in person.get("/monitoring/jobs/").text
    for number in range(len(tokens[0]) - 8):  # nothing of it stays at its place
        assert len({token[number : number + 8] for token in tokens}) > 10


def test_each_way_of_writing_it_is_taken(person: Any) -> None:
    for token in [shown_token(person), shown_token(person)]:
        answer = person.post("/theme", data={"csrf_token": token, "theme": "dark", "back": "/"})
        assert answer.status_code == 303


def test_the_token_itself_and_what_is_nearly_it_are_refused(person: Any, site: Any) -> None:
    cookie = person.get_cookie("session").value
    secret = site.services.sessions.lookup(cookie, site.services.clock()).csrf_token
    shown = shown_token(person)
    for given in (
        secret,
        shown[:-4],
        shown + "AAAA",
        shown[4:],
        csrf.mask_token(secret[:-1]),
        csrf.mask_token("0" * 64),
    ):
        answer = person.post("/theme", data={"csrf_token": given, "theme": "dark", "back": "/"})
        assert answer.status_code == 403, given


@pytest.mark.parametrize("given", ["", "=", "AAAA", "\xfc", "A" * 10_000, "not base64!"])
def test_what_is_no_token_fits_nothing(given: str) -> None:
    assert not csrf.matches_token(given, "ab" * 32)
    assert csrf.matches_token(csrf.mask_token("ab" * 32), "ab" * 32)
