"""A server and its clients: whole requests get to the application, everything else has an answer and an end."""

import contextlib
import itertools
import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_backend.httpserver.parser import parse_head
from cc_backend.httpserver.server import _admission_key

BODY_LIMIT = 1_000_000
LARGE = 8_000_000
STRANGER_LIMIT = 8 * 1024
GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
KNOWN = b"X-Auth-Token: good\r\n"


def post(body: bytes, *fields: bytes, path: bytes = b"/write", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Content-Length: %d" % size, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*chunks: bytes, fields: bytes = KNOWN) -> bytes:
    frames = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"POST /write HTTP/1.1\r\nHost: x\r\n" + fields + b"Transfer-Encoding: chunked\r\n\r\n" + frames


def test_requests_on_one_connection_are_answered_in_their_order(server: Any) -> None:
    with server.connect() as client:
        client.send(GET % b"1" + post(b"body") + GET % b"2" + chunked(b"a", b"bc") + b"0\r\n\r\n" + GET % b"3")
        said = [json.loads(client.response()[2]) for _ in range(5)]
    assert [(one["path"], one["bytes"]) for one in said] == [
        ("/1", 0),
        ("/write", 4),
        ("/2", 0),
        ("/write", 3),
        ("/3", 0),
    ]


def test_a_request_may_come_byte_by_byte(server: Any) -> None:
    with server.connect() as client:
        for byte in post(b"hello", KNOWN.strip()):
            client.send(bytes([byte]))
        assert client.response()[0] == 200
    assert server.echo.requests == [("POST", "/write", b"hello")]


def test_a_client_that_will_send_nothing_more_is_answered(server: Any) -> None:
    assert server.ask(post(b"x" * 100_000, KNOWN.strip()))[0] == 200


def test_a_head_request_has_the_length_and_not_the_body(server: Any) -> None:
    with server.connect() as client:
        client.send(b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n" + GET % b"y")
        status, fields, _ = client.response(to_head=True)
        assert (status, fields["content-length"]) == (200, str(len('{"method": "HEAD", "path": "/x", "bytes": 0}')))
        assert json.loads(client.response()[2])["path"] == "/y"


def test_a_connection_that_ends_with_a_large_response_is_closed_once(server: Any, caplog: Any) -> None:
    for _ in range(20):
        with server.connect() as client:
            client.send(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert len(client.response()[2]) == 8_000_000
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_a_large_response_arrives_whole_however_slowly_it_is_read(server: Any, eventually: Any) -> None:
    with server.connect() as client:
        client.send(GET % b"large")
        assert eventually(lambda: any(one._writing_paused for one in server.server._connections))
        assert len(client.response()[2]) == LARGE


def test_a_response_in_a_file_arrives_whole_and_takes_no_memory_limit(serving: Any, eventually: Any) -> None:
    server = serving(responses_memory_bytes=1000)
    with server.connect() as client, server.connect() as other:
        for one in (client, other):
            one.send(GET % b"file" + GET % b"x")
        assert eventually(lambda: any(one._writing_paused for one in server.server._connections))
        for one in (client, other):
            assert one.response()[2] == bytes(LARGE)
            assert one.response()[0] == 200


def test_a_connection_is_kept_or_closed_as_the_client_says(server: Any) -> None:
    with server.connect() as client:
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert client.response()[1]["connection"] == "keep-alive"
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.response()[1]["connection"] == "close"
        assert client.is_closed_within(5)


def test_a_header_that_cannot_be_sent_is_a_500(server: Any) -> None:
    assert server.ask(GET % b"unsayable")[0] == 500


def test_what_the_application_fails_to_catch_is_a_500(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    status, _, body = server.ask(GET % b"raises")
    assert status == 500
    assert b"defect" not in body
    assert "a defect" in caplog.text


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHo",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n",
    ],
)
def test_a_damaged_head_is_a_400(server: Any, raw: bytes) -> None:
    status, fields, body = server.ask(raw)
    assert status == 400
    assert fields["connection"] == "close"
    assert json.loads(body)["code"] == "invalid_input"
    assert server.echo.requests == []


def test_http_2_is_not_spoken(server: Any) -> None:
    assert server.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")[0] == 505


@pytest.mark.parametrize(
    "raw",
    [
        post(b"value=12", KNOWN.strip(), length=9),
        post(b"", KNOWN.strip(), length=9),
        post(b"x" * 50_000, KNOWN.strip(), length=50_001),
        chunked(b"value=12"),
        chunked(b"value=12") + b"0",
        chunked(b"value=12") + b"0\r\n",
        chunked(b"value=12") + b"ZZ\r\n",
        chunked(b"value=12") + b"2",
        chunked(b"value=12") + b"20\r\nabc",
        chunked(b"value=12")[:-1],
        chunked(b"value=12")[:-2],
        chunked(b"value=12")[:-2] + b"3\r\n",
        chunked(),
        chunked(b"x" * 50_000)[:-100],
    ],
)
def test_a_body_that_breaks_off_is_a_400_and_reaches_nobody(server: Any, raw: bytes) -> None:
    assert server.ask(raw)[0] == 400
    assert server.echo.requests == []


def test_a_body_behind_which_the_client_is_gone_reaches_nobody(server: Any, eventually: Any) -> None:
    with server.connect() as client:
        client.send(post(b"x" * 50_000, KNOWN.strip(), length=60_000))
        assert eventually(lambda: any(one._body_bytes == 50_000 for one in server.server._connections))
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert eventually(lambda: not server.server._connections)
    assert server.echo.requests == []


# --- who may send how much


def test_a_stranger_may_send_a_form(server: Any) -> None:
    assert json.loads(server.ask(post(b"x" * STRANGER_LIMIT))[2])["bytes"] == STRANGER_LIMIT
    assert (
        json.loads(server.ask(chunked(b"x" * STRANGER_LIMIT, fields=b"") + b"0\r\n\r\n")[2])["bytes"] == STRANGER_LIMIT
    )


@pytest.mark.parametrize("token", [b"", b"X-Auth-Token: bad\r\n"])
def test_a_stranger_gets_an_answer_before_more_than_a_form_is_taken(server: Any, token: bytes) -> None:
    fields = [token.strip()] if token else []
    with server.connect() as client:
        client.send(post(b"", *fields, length=500_000_000))
        assert client.response()[0] == 500, "the application was asked, and could not read the body"
    with server.connect() as client:
        client.send(chunked(b"x" * STRANGER_LIMIT, b"x", fields=token))
        assert client.response()[0] == 500
    assert server.echo.requests == []


def test_who_is_known_may_send_up_to_the_limit_of_the_route(server: Any) -> None:
    assert json.loads(server.ask(post(b"x" * BODY_LIMIT, KNOWN.strip()))[2])["bytes"] == BODY_LIMIT
    assert json.loads(server.ask(chunked(b"x" * BODY_LIMIT) + b"0\r\n\r\n")[2])["bytes"] == BODY_LIMIT
    for raw in (post(b"x" * BODY_LIMIT + b"y", KNOWN.strip()), chunked(b"x" * BODY_LIMIT, b"y") + b"0\r\n\r\n"):
        assert server.ask(raw)[0] == 500
    assert len(server.echo.requests) == 2


def test_an_answer_to_a_refused_body_is_not_lost_over_the_rest_of_the_body(server: Any) -> None:
    with server.connect() as client:
        client.send(post(b"x" * 5_000_000))
        assert client.response()[0] == 500
        assert client.is_closed_within(10)


def test_who_waits_for_permission_gets_it_or_the_answer_at_once(server: Any) -> None:
    with server.connect() as client:
        client.send(post(b"", KNOWN.strip(), b"Expect: 100-continue", length=20_000))
        assert client.response()[0] == 100
        client.send(b"x" * 20_000)
        assert client.response()[0] == 200
        client.send(post(b"", b"Expect: 100-continue", length=20_000))
        assert client.response()[0] == 500


@pytest.mark.parametrize(
    ("token", "expect", "sent"),
    [(b"in doubt", [], 20_000), (b"in doubt", [b"Expect: 100-continue"], 0), (b"slow", [], 20_000)],
)
def test_where_it_cannot_be_told_who_sends_the_body_is_asked_for_again(
    serving: Any, monkeypatch: pytest.MonkeyPatch, token: bytes, expect: list[bytes], sent: int
) -> None:  # 413 would make senders throw it away
    monkeypatch.setattr("cc_backend.httpserver.server._MAX_WAITING", 1)
    server = serving()
    with contextlib.ExitStack() as clients:
        if token == b"slow":  # two at work, one in the queue
            for number in range(3):
                waiting = clients.enter_context(server.connect())
                waiting.send(post(b"", b"X-Auth-Token: slow", path=b"/%d" % number, length=20_000))
                assert server.echo.at_work.wait(10)
                time.sleep(0.1)
        raw = post(b"x" * sent, b"X-Auth-Token: " + token, *expect, length=20_000)
        status, headers, body = server.ask(raw)
        server.echo.go_on.set()
    assert (status, json.loads(body)["code"]) == (503, "unavailable")
    assert int(headers["retry-after"]) > 0
    assert server.echo.requests == []


def test_strangers_who_flood_leave_threads_and_turns_to_who_is_known(serving: Any) -> None:
    server = serving(threads=4)  # two of them for pages, of which strangers get one
    as_ada = b"GET /%b HTTP/1.1\r\nHost: x\r\nCookie: session=ada\r\n\r\n"
    with contextlib.ExitStack() as clients:
        flood = [clients.enter_context(server.connect()) for _ in range(20)]
        assert server.ask(as_ada % b"")[0] == 200, "from now on it is known whose cookie this is"
        for client in flood:
            client.send(GET % b"slow")
        assert server.echo.at_work.wait(10)
        assert [server.ask(as_ada % path)[0] for path in (b"1", b"2")] == [200, 200]
        server.echo.go_on.set()
        assert [client.response()[0] for client in flood] == [200] * 20


def test_who_is_known_stays_so_whatever_other_cookies_and_schemes_a_proxy_adds(serving: Any) -> None:
    server = serving(threads=4)
    as_ada = (
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: last_seen=%d; session=ada; x=%d\r\nAuthorization: Digest nc=%d\r\n\r\n"
    )
    with contextlib.ExitStack() as clients:
        assert server.ask(as_ada % (1, 1, 1))[0] == 200
        flood = [clients.enter_context(server.connect()) for _ in range(20)]
        for client in flood:
            client.send(GET % b"slow")
        assert server.echo.at_work.wait(10)
        assert [server.ask(as_ada % (n, n, n))[0] for n in (2, 3)] == [200, 200]
        server.echo.go_on.set()


def test_who_has_just_logged_in_is_known_at_the_next_request(serving: Any) -> None:
    server = serving(threads=4)
    with contextlib.ExitStack() as clients:
        assert server.ask(GET % b"login")[0] == 200
        flood = [clients.enter_context(server.connect()) for _ in range(20)]
        for client in flood:
            client.send(GET % b"slow")
        assert server.echo.at_work.wait(10)
        assert server.ask(b"GET /first HTTP/1.1\r\nHost: x\r\nCookie: session=bob\r\n\r\n")[0] == 200
        server.echo.go_on.set()


def test_credentials_that_are_good_no_more_have_the_share_of_a_stranger(serving: Any) -> None:
    server = serving(threads=4)
    request = b"GET /%b HTTP/1.1\r\nHost: x\r\nCookie: session=%b\r\n\r\n"
    with contextlib.ExitStack() as clients:
        assert [server.ask(request % (b"", name))[0] for name in (b"ada", b"bob")] == [200, 200]
        assert server.ask(request % (b"expired", b"ada"))[0] == 401
        flood = [clients.enter_context(server.connect()) for _ in range(5)]
        for client in flood:
            client.send(GET % b"slow")
        assert server.echo.at_work.wait(10)
        ada = clients.enter_context(server.connect())
        ada.send(request % (b"late", b"ada"))
        assert [server.ask(request % (path, b"bob"))[0] for path in (b"1", b"2")] == [200, 200]
        assert "/late" not in [path for _, path, _ in server.echo.requests], "it waits with the strangers"
        server.echo.go_on.set()
        assert ada.response()[0] == 200


@pytest.mark.parametrize(("path", "limit"), [(b"large", "responses_memory_bytes"), (b"file", "responses_disk_bytes")])
def test_who_has_most_answers_waiting_loses_the_oldest_where_they_take_too_much_room(
    serving: Any, path: bytes, limit: str
) -> None:
    server = serving(**{limit: 4 * LARGE})
    request = b"GET /%b HTTP/1.1\r\nHost: x\r\nCookie: session=%b\r\n\r\n"
    with contextlib.ExitStack() as clients:
        assert [server.ask(request % (b"", name))[0] for name in (b"ada", b"bob")] == [200, 200]
        bob, *adas = (clients.enter_context(server.connect()) for _ in range(6))
        for client, name in ((bob, b"bob"), *((ada, b"ada") for ada in adas)):
            client.send(request % (path, name))
            assert client.response(to_head=True)[0] == 200
        assert bob.rest(LARGE) == LARGE, "who has one does not lose it to who has many"
        assert [ada.rest(LARGE) == LARGE for ada in adas] == [False, False, True, True, True]


def test_when_too_many_wait_the_latest_of_who_has_most_is_refused(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_backend.httpserver.server._MAX_WAITING", 3)
    server = serving(threads=1)
    from_address = b"GET /%b HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %b\r\n\r\n"
    with contextlib.ExitStack() as clients:
        first, *many, other = (clients.enter_context(server.connect()) for _ in range(5))
        first.send(from_address % (b"slow", b"192.0.2.1"))
        assert server.echo.at_work.wait(10)
        for client in many:
            client.send(from_address % (b"many", b"192.0.2.1"))
            time.sleep(0.1)
        other.send(from_address % (b"other", b"192.0.2.2"))
        status, fields, _ = many[2].response()
        assert (status, int(fields["retry-after"]) > 0) == (503, True)
        server.echo.go_on.set()
        assert [client.response()[0] for client in (first, *many[:2], other)] == [200] * 4
    assert [path for _, path, _ in server.echo.requests] == ["/slow", "/many", "/other", "/many"]


def test_what_was_said_of_one_sender_counts_for_no_other() -> None:
    fields = ["X-Auth-Token: a", "Authorization: Bearer a", "Cookie: session=a", "X-CSRF-Token: a", "Origin: http://x"]
    fields += ["Referer: http://x", "Sec-Fetch-Site: none", "X-Forwarded-For: 192.0.2.1", "X-Real-Ip: 192.0.2.1"]
    heads = ["POST /a HTTP/1.1\r\nHost: x", "POST /b HTTP/1.1\r\nHost: x", "PUT /a HTTP/1.1\r\nHost: x"]
    heads += ["POST /a HTTP/1.1\r\nHost: y", *(f"{heads[0]}\r\n{field}" for field in fields)]
    keys = {_admission_key("192.0.2.7", parse_head(head.encode())) for head in heads}
    keys.add(_admission_key("192.0.2.8", parse_head(heads[0].encode())))
    assert len(keys) == len(heads) + 1


def test_bodies_in_memory_are_bounded_together(serving: Any, eventually: Any) -> None:
    server = serving(body_memory_bytes=60_000)
    size, fields = 50_000, [KNOWN.strip()]
    with server.connect() as first:
        first.send(post(b"x" * size, *fields, length=size + 1))
        assert eventually(lambda: any(one._body_bytes == size for one in server.server._connections))
        status, headers, _ = server.ask(post(b"x" * size, *fields))
        assert status == 503
        assert int(headers["retry-after"]) > 0
        first.send(b"x")
        assert first.response()[0] == 200
    assert eventually(lambda: server.ask(post(b"x" * size, *fields))[0] == 200), "what was taken was given back"


def test_strangers_who_do_not_go_on_make_room_for_those_who_come_later(serving: Any, eventually: Any) -> None:
    server = serving(unknown_callers_memory_bytes=20_000)
    with contextlib.ExitStack() as clients:
        stalling = [clients.enter_context(server.connect()) for _ in range(5)]
        for number, client in enumerate(stalling):
            client.send(post(b"x" * 4000, length=4001))
            assert eventually(
                lambda count=number + 1: sum(one._body_bytes == 4000 for one in server.server._connections) == count
            )
        assert server.ask(post(b"x" * 3000))[0] == 200
        assert stalling[0].response()[0] == 503, "it waited longest"
        for client in stalling[1:]:
            client.send(b"x")
            assert client.response()[0] == 200, "no more gave way than had to"
        for _ in range(5):
            assert server.ask(post(b"x" * 3000))[0] == 200
    assert eventually(lambda: server.server.unknown_callers_budget.left_bytes == 20_000)


def test_a_stranger_alone_who_wants_more_than_there_is_gets_an_answer(serving: Any) -> None:
    server = serving(unknown_callers_memory_bytes=1000)
    assert server.ask(post(b"x" * 3000))[0] == 503
    assert server.server.unknown_callers_budget.left_bytes == 1000


# --- time and room


def test_a_head_has_a_deadline_however_steadily_it_drips(serving: Any) -> None:
    server = serving(head_s=1.0)
    with server.connect() as silent, server.connect() as dripping:
        dripping.send(b"GET / HTTP/1.1\r\n")
        for _ in range(30):
            try:
                dripping.send(b"X: y\r\n")
            except OSError:
                break
            time.sleep(0.1)
        assert dripping.response()[0] == 408
        assert silent.is_closed_within(5)


def test_empty_lines_before_a_request_do_not_put_the_deadline_off(serving: Any) -> None:
    server = serving(head_s=1.0)
    with server.connect() as client:
        client.send(GET % b"")
        assert client.response()[0] == 200
        for _ in range(30):
            try:
                client.send(b"\r\n")
            except OSError:
                break
            time.sleep(0.1)
        assert client.is_closed_within(5)


def test_a_body_has_a_deadline_and_nothing_of_it_is_kept(serving: Any) -> None:
    server = serving(grace_s=1.0)
    with server.connect() as client:
        client.send(post(b"half", length=8))
        assert client.response()[0] == 408
    assert server.echo.requests == []


def test_a_body_that_comes_fast_enough_may_take_longer(serving: Any) -> None:
    server = serving(grace_s=0.5, body_bytes_per_s=10_000)
    with server.connect() as client:
        client.send(post(b"x" * 40_000, KNOWN.strip(), length=40_001))
        time.sleep(2)
        client.send(b"x")
        assert client.response()[0] == 200


def test_an_idle_connection_is_closed_in_time(serving: Any) -> None:
    server = serving(idle_s=1.0)
    with server.connect() as client:
        client.send(GET % b"")
        assert client.response()[0] == 200
        assert client.is_closed_within(5)


def test_a_response_that_nobody_reads_is_given_up(serving: Any, eventually: Any) -> None:
    server = serving(grace_s=1.0, response_bytes_per_s=1e9)
    with server.connect() as client:
        client.send(GET % b"large")
        assert eventually(lambda: len(server.server._connections) == 1)
        assert eventually(lambda: not server.server._connections)


def test_a_head_without_end_is_refused(server: Any) -> None:
    status, _, _ = server.ask(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 20_000)
    assert status == 431
    assert server.ask(b"GET /" + b"x" * 20_000)[0] == 431


def test_at_the_limit_of_connections_those_go_that_were_idle_longest(serving: Any) -> None:
    server = serving(connections=20)
    idle = [server.connect() for _ in range(20)]
    for number in range(5):
        with server.connect() as client:
            client.send(GET % b"%d" % number)
            assert client.response()[0] == 200
    assert idle[0].is_closed_within(5)
    assert not idle[-1].is_closed_within(0.1)
    for client in idle:
        client.__exit__()


def test_slow_clients_and_busy_workers_do_not_hold_up_the_health_check(serving: Any) -> None:
    server = serving(threads=2)
    waiting = [server.connect() for _ in range(8)]
    for client in waiting[:4]:
        client.send(GET % b"slow")
    for client in waiting[4:]:
        client.send(post(b"half", length=8))
    assert server.echo.at_work.wait(10)
    assert server.ask(GET % b"healthz")[0] == 200
    server.echo.go_on.set()
    for client in waiting:
        client.__exit__()


def test_requests_that_come_far_ahead_of_their_answers_take_no_memory(server: Any) -> None:
    with server.connect() as client:
        client.send(GET % b"slow")
        assert server.echo.at_work.wait(10)
        client.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.send(GET % (b"x" * 10_000) * 2000)
        [connection] = server.server._connections
        assert len(connection._input) < 20_000


def test_who_asks_much_and_reads_nothing_takes_little_memory(serving: Any, eventually: Any) -> None:
    server = serving()
    with server.connect() as client:
        client.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            client.send(GET % b"large" * 20_000)
        assert eventually(lambda: any(one._writing_paused for one in server.server._connections))
        [connection] = server.server._connections
        assert len(connection._input) < 20_000
        assert server.in_loop(connection._transport.get_write_buffer_size) <= 16 * 1024


def test_of_many_requests_few_are_answered_to_who_reads_nothing(server: Any, eventually: Any) -> None:
    with server.connect() as client:
        client.send(GET % b"page" * 200)
        assert eventually(lambda: any(one._writing_paused for one in server.server._connections))
        assert len(server.echo.requests) < 40
        assert [len(client.response()[2]) for _ in range(200)] == [20_000] * 200


def test_requests_before_the_end_of_a_stream_are_answered(server: Any) -> None:
    with server.connect() as client:
        client.send(GET % b"slow" + post(b"body") + GET % b"y" + b"GET /half")
        client.half_close()
        assert server.echo.at_work.wait(10)
        server.echo.go_on.set()
        assert [client.response()[0] for _ in range(4)] == [200, 200, 200, 0]
    assert [path for _, path, _ in server.echo.requests] == ["/slow", "/write", "/y"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_requests_are_the_same_however_their_bytes_arrive(server: Any, data: st.DataObject) -> None:
    bodies = st.binary(max_size=9000)
    kinds = st.one_of(
        st.integers(0, 99).map(lambda number: (GET % str(number).encode(), b"")),
        bodies.map(lambda body: (post(body, KNOWN.strip()), body)),
        st.lists(bodies.filter(bool), max_size=4).map(
            lambda chunks: (chunked(*chunks) + b"0\r\nTrailer: x\r\n\r\n", b"".join(chunks))
        ),
    )
    requests = data.draw(st.lists(kinds, min_size=1, max_size=6))
    wire = b"".join(raw for raw, _ in requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    before = len(server.echo.requests)
    with server.connect() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in itertools.pairwise([0, *cuts, len(wire)]):
            client.send(wire[start:end])
        client.half_close()
        assert [client.response()[0] for _ in requests] == [200] * len(requests)
    assert [body for _, _, body in server.echo.requests[before:]] == [body for _, body in requests]


def test_a_client_that_leaves_as_it_is_refused_is_no_defect(serving: Any, eventually: Any) -> None:
    server = serving()
    client = server.connect()
    client.send(post(b"x", length=2))
    assert eventually(lambda: any(one._body_bytes for one in server.server._connections))

    def refuse() -> None:  # the event loop is busy while the client leaves
        client.__exit__()
        [connection] = server.server._connections
        connection.refuse_for_memory()

    server.in_loop(refuse)
    assert eventually(lambda: not server.server._connections)


def test_a_defect_in_one_connection_leaves_the_deadlines_of_others(serving: Any, eventually: Any) -> None:
    server = serving(head_s=0.5)
    with server.connect() as broken, server.connect() as other:
        broken.send(b"GET ")
        assert eventually(lambda: any(one._head_began for one in server.server._connections))
        [connection] = [one for one in server.server._connections if one._head_began]
        connection._limits = None
        assert other.is_closed_within(10)
        assert broken.is_closed_within(10)


def test_a_server_that_is_told_to_stop_answers_what_runs(serving: Any) -> None:
    server = serving()
    with server.connect() as busy, server.connect() as idle:
        busy.send(GET % b"slow")
        assert server.echo.at_work.wait(10)
        server.tell_to_stop()
        assert idle.is_closed_within(5)
        server.echo.go_on.set()
        status, fields, _ = busy.response()
        assert (status, fields["connection"]) == (200, "close")


def test_names_that_differ_in_an_underscore_only_do_not_pass_for_each_other(serving: Callable[..., Any]) -> None:
    server = serving()
    status, _, _ = server.ask(post(b"x" * 20_000, b"X_Auth_Token: good"))
    assert status == 500, "the caller is not known"
