import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Request
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import ClientDisconnected, UnsupportedMediaType
from werkzeug.test import EnvironBuilder

from cc_backend.errors import InvalidInput, TooLarge
from cc_backend.http.bodies import gunzip, parse_json_body, read_body, read_json_body
from cc_common.errors import PayloadError
from cc_common.json_reader import parse_json

LIMIT = 1 << 20


def posted(body: bytes, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(EnvironBuilder(method="POST", data=body, headers=named).get_environ())


def test_a_plain_body_is_given_as_it_came() -> None:
    assert read_body(posted(b"a b\n"), limit_bytes=10) == b"a b\n"


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    assert read_body(posted(b"0123456789"), limit_bytes=10) == b"0123456789"


def test_a_body_over_the_limit_is_refused_naming_the_limit() -> None:
    with pytest.raises(TooLarge, match="limit of 10 bytes"):
        read_body(posted(b"0123456789a"), limit_bytes=10)


class InPortions(io.BytesIO):
    """A body that arrives a few bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 3))


def test_a_body_that_arrives_in_portions_is_read_to_its_length_and_not_further() -> None:
    environ = EnvironBuilder(method="POST", input_stream=InPortions(b"0123456789next")).get_environ()
    request = Request({**environ, "CONTENT_LENGTH": "10"})
    assert read_body(request, limit_bytes=10) == b"0123456789"


def test_a_sender_that_goes_away_in_the_middle_of_a_body_is_told_apart_from_one_that_is_done() -> None:
    environ = EnvironBuilder(method="POST", input_stream=InPortions(b"01234567")).get_environ()
    with pytest.raises(ClientDisconnected):
        read_body(Request({**environ, "CONTENT_LENGTH": "10"}), limit_bytes=10)


def without_length(body: bytes) -> Request:
    environ = EnvironBuilder(method="POST", input_stream=io.BytesIO(body)).get_environ()
    del environ["CONTENT_LENGTH"]
    return Request({**environ, "wsgi.input_terminated": True})


def test_a_body_sent_in_chunks_is_read_to_its_end() -> None:
    assert read_body(without_length(b"0123456789"), limit_bytes=10) == b"0123456789"


@pytest.mark.parametrize("size", [11, 12, 200_000])
def test_a_body_sent_in_chunks_is_refused_over_the_limit_and_never_cut(size: int) -> None:
    with pytest.raises(TooLarge):
        read_body(without_length(b"a" * size), limit_bytes=10)


def test_a_form_content_type_does_not_eat_the_body() -> None:
    request = posted(b"a=b", Content_Type="application/x-www-form-urlencoded")
    assert read_body(request, limit_bytes=10) == b"a=b"


@pytest.mark.parametrize("name", ["gzip", "GZIP", "x-gzip", " gzip "])
def test_a_gzip_body_is_decompressed(name: str) -> None:
    assert read_body(posted(gzip.compress(b"abc"), Content_Encoding=name), limit_bytes=100) == b"abc"


def test_an_unknown_encoding_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedMediaType, match="'br'"):
        read_body(posted(b"abc", Content_Encoding="br"), limit_bytes=100)


def test_a_bomb_is_refused_without_being_unpacked() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge):
        gunzip(bomb, limit_bytes=100_000)


def test_a_bomb_of_many_members_is_refused() -> None:
    with pytest.raises(InvalidInput, match="more than 16 members"):
        gunzip(gzip.compress(b"") * 1000, limit_bytes=100)


def test_members_share_one_limit() -> None:
    with pytest.raises(TooLarge):
        gunzip(gzip.compress(b"12345") * 3, limit_bytes=14)


def test_members_in_a_row_are_one_body() -> None:
    assert gunzip(gzip.compress(b"ab") + gzip.compress(b"cd"), limit_bytes=4) == b"abcd"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x1f",
        b"plain text",
        gzip.compress(b"abc")[:-1],
        gzip.compress(b"abc")[:-4] + b"\0\0\0\0",
        b"\x1f\x8b\x08",
    ],
    ids=["empty", "one byte", "no gzip", "cut", "wrong length", "header only"],
)
def test_damaged_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="gzip"):
        gunzip(body, limit_bytes=100)


def test_rubbish_after_the_stream_is_refused() -> None:
    with pytest.raises(InvalidInput):
        gunzip(gzip.compress(b"abc") + b"xyz", limit_bytes=100)


@given(st.binary(max_size=2000))
def test_gzip_round_trips_at_exactly_its_limit(body: bytes) -> None:
    assert gunzip(gzip.compress(body), limit_bytes=len(body)) == body


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b" [1] \n", [1]),
        (b"null", None),
        (b"9007199254740993", 9007199254740993),
        (b'{"a": 1} trailing', {"a": 1}),
        (b'"\xff"', "\ufffd"),
    ],
)
def test_json_is_read_as_patiently_as_clients_need(body: bytes, document: Any) -> None:
    assert read_json_body(posted(body), limit_bytes=100) == document


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b'{"a": NaN}', b"{'a': 1}", b"[1,]", b"[" * 5000 + b"]" * 5000, b"\0"],
    ids=["empty", "blank", "open", "NaN", "single quotes", "comma", "deep", "zero byte"],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError, match="the body"):
        read_json_body(posted(body), limit_bytes=100_000)


def test_json_over_its_limit_is_too_large_also_when_compressed() -> None:
    with pytest.raises(TooLarge):
        read_json_body(posted(b"[" + b" " * 100 + b"]"), limit_bytes=100)
    with pytest.raises(TooLarge):
        read_json_body(posted(gzip.compress(b"[" + b" " * 1000 + b"]"), Content_Encoding="gzip"), limit_bytes=100)


NUMBERS = (
    st.integers(-(2**70), 2**70).map(str)
    | st.floats(allow_nan=False).map(repr)
    | st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,3})?(e[0-9]{1,3})?", fullmatch=True)
)
TEXTS = st.text(max_size=5).map(json.dumps) | st.sampled_from(
    ['"\\ud800"', '"\\ud83d\\ude00"', '"\x01"', "NaN", "", "\ufeff", "x"]
)
DOCUMENTS = st.recursive(
    NUMBERS | TEXTS | st.just("null"),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(st.sampled_from(["a", "b"]), inner), max_size=3).map(
            lambda items: f"{{{', '.join(f'{json.dumps(key)}: {value}' for key, value in items)}}}"
        )
    ),
    max_leaves=8,
)


@given(text=DOCUMENTS, rest=st.sampled_from([b"", b" ", b"]", b"\xff"]))
def test_the_fast_parser_reads_every_body_as_the_lenient_one_does(text: str, rest: bytes) -> None:
    def outcome(parse: Callable[[bytes], Any]) -> str:
        try:
            return repr(parse(text.encode() + rest))
        except PayloadError as error:
            return f"refused: {error}"

    fast = outcome(lambda body: parse_json_body(body, limit_bytes=LIMIT))
    assert fast == outcome(lambda body: parse_json(body, max_bytes=LIMIT))


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":0},'])
@pytest.mark.parametrize("depth", [31, 32, 33, 2000])
def test_a_body_may_be_nested_as_deeply_for_the_fast_parser_as_for_the_lenient_one(opening: bytes, depth: int) -> None:
    levels = [opening for _ in range(depth - 1)]
    closing = b"".join(b"}" if level.startswith(b"{") else b"]" for level in levels)
    body = b"".join(levels) + b"[1]" + closing
    if depth <= 32:
        assert parse_json_body(body, limit_bytes=LIMIT) == parse_json(body, max_bytes=LIMIT)
    else:
        with pytest.raises(PayloadError, match="deeper than 32 levels"):
            parse_json_body(body, limit_bytes=LIMIT)
