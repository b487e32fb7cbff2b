"""Request heads and chunked bodies: what is taken, and all that is refused because two readers could differ on it."""

from http import HTTPStatus
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.httpserver.parser import MAX_FIELDS, ChunkDecoder, MalformedRequest, parse_head


def head(*lines: str, first: str = "POST /api/write/ HTTP/1.1") -> bytes:
    return "\r\n".join((first, "Host: cc.example", *lines)).encode("latin-1")


def test_a_head_is_read() -> None:
    found = parse_head(
        head("X-Auth-Token: abc", "content-length:  12 ", first="POST /api/write?cluster=a%20b HTTP/1.1")
    )
    assert (found.method, found.path, found.query) == ("POST", "/api/write", "cluster=a%20b")
    assert found.values("x-auth-token") == ["abc"]
    assert found.content_length == 12
    assert found.has_body
    assert found.keep_alive


@pytest.mark.parametrize(
    ("lines", "first", "expected"),
    [
        ([], "GET / HTTP/1.1", True),
        (["Connection: close"], "GET / HTTP/1.1", False),
        (["Connection: foo, Close"], "GET / HTTP/1.1", False),
        ([], "GET / HTTP/1.0", False),
        (["Connection: Keep-Alive"], "GET / HTTP/1.0", True),
    ],
)
def test_whether_a_connection_is_kept(lines: list[str], first: str, expected: bool) -> None:  # noqa: FBT001
    assert parse_head(head(*lines, first=first)).keep_alive is expected


@pytest.mark.parametrize("target", ["http://other.example/x?y=1", "HTTP://OTHER/x?y=1", "/x?y=1"])
def test_the_host_of_an_absolute_target_does_not_count(target: str) -> None:
    found = parse_head(head(first=f"GET {target} HTTP/1.1"))
    assert (found.path, found.query) == ("/x", "y=1")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GET",
        b"GET / HTTP/1.1",  # no host
        b"GET /\r\nHost: x",
        b" GET / HTTP/1.1\r\nHost: x",
        b"GET  / HTTP/1.1\r\nHost: x",
        b"GET / HTTP/1.1 \r\nHost: x",
        b"GET\t/ HTTP/1.1\r\nHost: x",
        b"G@T / HTTP/1.1\r\nHost: x",
        b"GET x HTTP/1.1\r\nHost: x",
        b"GET * HTTP/1.1\r\nHost: x",
        b"CONNECT x:443 HTTP/1.1\r\nHost: x",
        b"GET ftp://x/ HTTP/1.1\r\nHost: x",
        b"GET /\x00 HTTP/1.1\r\nHost: x",
        b"GET /\xff HTTP/1.1\r\nHost: x",
        b"GET / http/1.1\r\nHost: x",
        b"GET / HTTP/1.1\nHost: x",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: x",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y",
        b"GET / HTTP/1.1\r\nHost: x y",
        b"GET / HTTP/1.1\r\nHost: <x>",
        b"GET / HTTP/1.1\r\nHost: x..y",
        b"GET / HTTP/1.1\r\nHost: .",
        b"GET / HTTP/1.1\r\nHost: .x",
        b"GET / HTTP/1.1\r\nHost: [::1",
        b"GET / HTTP/1.1\r\nHost: [x]",
        b"GET / HTTP/1.1\r\nHost: a,b",
        b"GET / HTTP/1.1\r\nHost: user@x",
        b"GET / HTTP/1.1\r\nHost: a:b:80",
        b"GET / HTTP/1.1\r\nHost: x:port",
        b"GET / HTTP/1.1\r\nHost: x:123456",
        b"GET / HTTP/1.1\r\nHost: " + b"x" * 64,
        b"GET / HTTP/1.1\r\nHost: " + b"x." * 200,
    ],
)
def test_a_damaged_request_line_or_host_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedRequest) as caught:
        parse_head(raw)
    assert caught.value.status == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    "host",
    ["", "localhost", "a.b-c.d_e.:8080", "127.0.0.1:80", "[::1]:8080", "[::ffff:1.2.3.4]", "xn--bcher-kva.example"],
)
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    assert parse_head(f"GET / HTTP/1.1\r\nHost: {host}".encode()).values("host") == [host]


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5, 5"],
        ["Content-Length: +5"],
        ["Content-Length: -1"],
        ["Content-Length: 0x5"],
        ["Content-Length: 5 5"],
        ["Content-Length: 1_0"],
        ["Content-Length:"],
        ["Content-Length: \xb2"],
        [f"Content-Length: {'9' * 30}"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked;x"],
        ["Transfer-Encoding:"],
        ["Transfer-Encoding:\x0bchunked"],
        ["Transfer-Encoding : chunked"],
        [" Transfer-Encoding: chunked"],
        ["X: y", " Transfer-Encoding: chunked"],
        ["X: y", "\tfolded"],
        ["X: a\x00b"],
        ["X: a\rb"],
        ["X: a\nContent-Length: 5"],
        ["X\x00: a"],
        ["X Y: a"],
        ["no colon"],
        [": no name"],
        [""],
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(lines: list[str]) -> None:
    with pytest.raises(MalformedRequest) as caught:
        parse_head(head(*lines))
    assert caught.value.status == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"PRI * HTTP/2.0", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED),
        (b"GET / HTTP/0.9\r\nHost: x", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED),
        (head("Expect: the unexpected"), HTTPStatus.EXPECTATION_FAILED),
        (head(*["X: y"] * MAX_FIELDS), HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
        (head("Transfer-Encoding: chunked", first="POST / HTTP/1.0"), HTTPStatus.BAD_REQUEST),
    ],
)
def test_what_is_not_spoken_here_has_its_own_status(raw: bytes, status: HTTPStatus) -> None:
    with pytest.raises(MalformedRequest) as caught:
        parse_head(raw)
    assert caught.value.status == status


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_malformed(raw: bytes) -> None:
    for data in (raw, b"GET / HTTP/1.1\r\nHost: x\r\n" + raw):
        try:
            found = parse_head(data)
        except MalformedRequest:
            continue
        assert found.path.startswith("/")
        assert "\0" not in str(found.fields)


def decode(*pieces: bytes) -> tuple[bytes, bytes, bool]:
    """Body, what lies behind it, whether the body is whole."""
    decoder, body, behind = ChunkDecoder(), b"", b""
    for piece in pieces:
        if decoder.done:
            behind += piece
            continue
        parts, used = decoder.feed(memoryview(piece))
        body += b"".join(map(bytes, parts))
        behind += piece[used:]
    return body, behind, decoder.done


def test_chunks_are_put_together_and_the_next_request_is_left_alone() -> None:
    assert decode(b"3\r\nabc\r\n5;name=value\r\ndefgh\r\n0\r\nTrailer: x\r\n\r\nGET /") == (b"abcdefgh", b"GET /", True)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_chunks_are_the_same_however_they_arrive(chunks: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    pieces = [wire[a:b] for a, b in pairwise([0, *cuts, len(wire)])]
    assert decode(*pieces) == (b"".join(chunks), b"", True)


@given(st.integers(0, 30))
def test_a_body_that_is_cut_off_anywhere_is_never_whole(at: int) -> None:
    wire = b"5\r\nabcde\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
    assert decode(wire[: min(at, len(wire) - 1)])[2] is False


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1 2\r\n",
        b" 1\r\n",
        b"\r\n1\r\n",
        b"1\n",
        b"1\r\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nab\r\n\r\n0\r\n\r\n",
        b"3\r\nabc\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n folded: x\r\n\r\n",
        b"1" * 16 + b"\r\n",
        b"1;" + b"x" * 2000 + b"\r\n",
        b"1;\x00\r\n",
        b"1\r\nx\r\n" * 5000,
        b"14\r\n12345678901234567890\r\n" * 20_000,
        b"0\r\n" + b"A: b\r\n" * 5000,
    ],
)
def test_damaged_or_costly_chunks_are_refused(wire: bytes) -> None:
    with pytest.raises(MalformedRequest):
        decode(wire)


@pytest.mark.parametrize("piece_bytes", [7, 1000, 16_388])
def test_a_line_of_samples_may_come_as_a_chunk_of_its_own(piece_bytes: int) -> None:
    line = b"load_one,cluster=c,hostname=n1 value=1 1790000000\n"
    wire = b"%x\r\n%b\r\n" % (len(line), line) * 4000 + b"0\r\n\r\n"
    pieces = [wire[at : at + piece_bytes] for at in range(0, len(wire), piece_bytes)]
    assert decode(*pieces) == (line * 4000, b"", True)
