"""What must hold for any bytes that a client sends; the fuzzer and the tests both call these.

What is taken here, h11 takes too and reads the same; it may take more. Where both could differ by what RFC 9112 leaves
open, they are not compared.
"""

import io
import re
from collections.abc import Callable

import h11

from cc_backend.httpserver.parser import ChunkDecoder, MalformedRequest, RequestHead, parse_head
from cc_backend.httpserver.wsgi import Endpoint, wsgi_environ

END = b"\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked" + END
PLACE = Endpoint("cc.example", 443, "https")
MOST_COMPARED = 5000
_BLANK_BEFORE_EXTENSION = re.compile(rb"[0-9A-Fa-f][\t ]+;")  # RFC 9112, section 7.1.1; h11 knows no such blanks
_FRAMING_IN_TRAILER = re.compile(
    rb"content-length|transfer-encoding", re.IGNORECASE
)  # has no meaning here; h11 reads it

Read = tuple[bytes, bytes]


def head(data: bytes) -> None:
    """A head is refused, or means what h11 reads in it; an application can be told, and its body ends in one place."""
    raw = data.lstrip(b"\r\n").split(END)[0]
    for one in (raw, b"GET / HTTP/1.1\r\nHost: x\r\n" + raw, b"POST /a?b HTTP/1.0\r\n" + raw):
        try:
            found = parse_head(one)
        except MalformedRequest:
            continue
        environ = wsgi_environ(found, io.BytesIO(), 0, ("192.0.2.1", 1), PLACE)
        assert all("\n" not in value and "\r" not in value for value in environ.values() if isinstance(value, str))
        _compare(found, one)


def _compare(found: RequestHead, raw: bytes) -> None:
    client = h11.Connection(h11.SERVER)
    client.receive_data(raw + END)
    request = client.next_event()
    assert isinstance(request, h11.Request)
    assert request.method.decode() == found.method
    query = f"?{found.query}" if "?" in found.path + request.target.decode() else ""
    assert request.target.decode().endswith((found.path + query).removeprefix("/"))
    mine = [(name.encode(), value.encode("latin-1")) for name, value in found.fields]
    assert [one for one in request.headers if one[0] != b"transfer-encoding"] == [
        one for one in mine if one[0] != b"transfer-encoding"
    ]
    length = found.content_length or 0
    if length > MOST_COMPARED:
        return
    body = b"0\r\n\r\n" if found.chunked else b"x" * length
    client.receive_data(body + b"GET")
    assert _body(client) == (b"" if found.chunked else body, b"GET")
    if found.minor_version > 0:  # h11 keeps no connection of HTTP/1.0
        assert found.keep_alive == (client.their_state is h11.DONE)


def chunks(data: bytes) -> None:
    """A body in chunks is the same however it arrives, and the same as for h11, as is where the next request begins."""
    ways = [_decoded([data]), _decoded([data[at : at + 1] for at in range(len(data))])]
    ways.append(_decoded([data[at : at + 7] for at in range(0, len(data), 7)]))
    assert ways.count(ways[0]) == len(ways), ways
    found = ways[0]
    if found is None or _BLANK_BEFORE_EXTENSION.search(data) or _FRAMING_IN_TRAILER.search(data):
        return
    client = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    client.receive_data(CHUNKED + data)
    assert isinstance(client.next_event(), h11.Request)
    assert _body(client) == found


def _decoded(pieces: list[bytes]) -> Read | None:
    """Body and what lies behind it; None if it is damaged or has no end."""
    decoder, body, behind = ChunkDecoder(), [], []
    try:
        for piece in pieces:
            if decoder.done:
                behind.append(piece)
                continue
            parts, used = decoder.feed(memoryview(piece))
            assert 0 <= used <= len(piece)
            assert decoder.done or used == len(piece)
            body += map(bytes, parts)
            behind.append(piece[used:])
    except MalformedRequest:
        return None
    return (b"".join(body), b"".join(behind)) if decoder.done else None


def _body(client: h11.Connection) -> Read:
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage), event
    return body, client.trailing_data[0]


TARGETS: dict[str, Callable[[bytes], None]] = {"head": head, "chunks": chunks}
