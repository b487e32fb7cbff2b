"""Asking stores elsewhere over real HTTP: one like ours, one like the reference's, and such as misbehave."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from cc_backend.errors import Unavailable
from cc_backend.jobdata.external_store import (
    DOWN_RETRY_S,
    ExternalStore,
    StoreEndpoint,
    StoreUnavailable,
    align_to_grid,
    parse_endpoints,
)
from cc_backend.jobdata.store_router import StoreRouter
from cc_backend.metricstore import HostHealth, MetricSpec, MetricStore, Query
from cc_backend.metricstore.query.binary_codec import MEDIA_TYPE, encode
from cc_backend.metricstore.query.execute import execute
from cc_backend.metricstore.query.json_codec import encode_json
from cc_backend.metricstore.query.protocol import SeriesResult, parse_request
from cc_backend.settings import ExternalStoreSettings
from cc_common.errors import SettingsError

T0 = 1_760_000_400
METRICS = {"orion": {"load": MetricSpec(60, "sum"), "flops": MetricSpec(60, "sum")}}
Respond = Callable[[str, dict[str, str], bytes], tuple[int, str, bytes]]


class Server:
    """A real HTTP server whose answers the test makes up."""

    def __init__(self, respond: Respond) -> None:
        asked = self.asked = []  # type: ignore[var-annotated]
        connections = self.connections = set()  # type: ignore[var-annotated]

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                connections.add(self.client_address)
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                asked.append((self.path, dict(self.headers), body))
                status, kind, content = respond(self.path, dict(self.headers), body)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def requests(self) -> list[dict[str, Any]]:
        """The documents that were asked."""
        return [json.loads(body) for _, _, body in self.asked]

    def close(self) -> None:
        """Nobody listens any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Callable[[Respond], Server]]:
    made: list[Server] = []

    def make(respond: Respond) -> Server:
        made.append(Server(respond))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def ask_at() -> Iterator[Callable[..., ExternalStore]]:
    made: list[ExternalStore] = []

    def make(url: str, **more: Any) -> ExternalStore:
        steady = more.pop("steady", time.monotonic)
        made.append(ExternalStore(StoreEndpoint(more.pop("scope", "*"), url, "tok", **more), monotonic=steady))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def store() -> MetricStore:
    """A store with three threads of n1 (one silent) and a load of n1 and n2."""
    found = MetricStore.open(None, METRICS, now_s=T0)
    lines = [f"load,cluster=orion,hostname={host} value={value} {T0 + 60}" for host, value in (("n1", 1), ("n2", 2))]
    for thread in (0, 2):
        lines += [
            f"flops,cluster=orion,hostname=n1,type=hwthread,type-id={thread} value={thread + at} {T0 + at * 60}"
            for at in range(3)
        ]
    assert found.ingest("\n".join(lines).encode(), received_s=T0 + 180).accepted == len(lines)
    return found


def ours(store: MetricStore, *, binary: bool = True) -> Respond:
    """Answers as this project's store does."""

    def respond(_: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        found = execute(parse_request(body), store)
        if binary and MEDIA_TYPE in headers["Accept"]:
            return 200, MEDIA_TYPE, encode(found)
        return 200, "application/json", encode_json(found)

    return respond


def reference(store: MetricStore) -> Respond:
    """Answers as cc-metric-store 1.5.4 does: no ids, slots around the first sample, nothing at both ends."""

    def respond(_: str, __: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        rows = json.loads(encode_json(execute(parse_request(body), store)))["results"]
        return (
            200,
            "application/json",
            json.dumps({"results": [[shifted(one) for one in row] for row in rows]}).encode(),
        )

    return respond


def shifted(one: dict[str, Any]) -> dict[str, Any]:
    if "error" in one:
        return one
    data = one["data"]
    there = [at for at, value in enumerate(data) if value is not None]
    first, last = there[0], there[-1]
    from_s = one["from"] + first * 60 - 30
    return {"data": data[first : last + 1], "from": from_s, "to": from_s + 60 * (last + 1 - first), "resolution": 60,
            "avg": one["avg"], "min": one["min"], "max": one["max"]}  # fmt: skip


def values(rows: list[Any]) -> list[Any]:
    return [[(one.id, [None if v != v else v for v in one.data.tolist()]) for one in row] for row in rows]  # noqa: PLR0124


QUERIES = [
    Query("load", "n1"),
    Query("flops", "n1", "hwthread", ("0", "1", "2")),
    Query("flops", "n1", "hwthread", ("0", "2"), aggregate=True),
    Query("flops", "n1", "hwthread", ("2",)),
    Query("load", "n9"),
]
EXPECTED = [
    [(None, [None, 1, None])],
    [("0", [0, 1, 2]), ("2", [2, 3, 4])],
    [(None, [2, 4, 6])],
    [("2", [2, 3, 4])],
    [],
]


@pytest.mark.parametrize("kind", ["binary", "json", "reference"])
def test_every_kind_of_store_gives_what_the_internal_one_would(
    kind: str, store: MetricStore, server: Any, ask_at: Any
) -> None:
    respond = reference(store) if kind == "reference" else ours(store, binary=kind == "binary")
    external = ask_at(server(respond).url)
    for _ in range(2):
        rows = external.query("orion", QUERIES, from_s=T0, to_s=T0 + 180)
        assert values(rows) == EXPECTED == values(store.query("orion", QUERIES, from_s=T0, to_s=T0 + 180))
    assert {(one.from_s, one.timestep_s) for row in rows for one in row} == {(T0, 60)}
    assert external.fault == ""


def test_a_store_that_names_no_parts_is_asked_for_each_alone_from_then_on(
    store: MetricStore, server: Any, ask_at: Any
) -> None:
    there = server(reference(store))
    external = ask_at(there.url)
    for _ in range(2):
        external.query("orion", QUERIES, from_s=T0, to_s=T0 + 180)
    assert [len(asked["queries"]) for asked in there.requests()] == [5, 7, 7]


def test_a_request_is_what_the_references_client_sends(store: MetricStore, server: Any, ask_at: Any) -> None:
    there = server(ours(store))
    ask_at(there.url + "/").query("orion", QUERIES[:2], from_s=T0, to_s=T0 + 180)
    ((path, headers, body),) = there.asked
    assert path == "/api/query?version=v2"
    assert headers["Authorization"] == "Bearer tok"
    document = json.loads(body)
    assert (document["cluster"], document["from"], document["to"]) == ("orion", T0, T0 + 180)
    assert document["for-all-nodes"] is None
    assert document["queries"][0] == {"metric": "load", "host": "n1", "resolution": 0, "aggreg": False}


def test_connections_are_kept(store: MetricStore, server: Any, ask_at: Any) -> None:
    there = server(ours(store))
    external = ask_at(there.url)
    for _ in range(5):
        external.query("orion", QUERIES, from_s=T0, to_s=T0 + 180)
    assert len(there.connections) == 1


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ((401, "text/plain", b"Use JWT Authentication"), "token"),
        ((403, "application/json", b"{}"), "token"),
        ((500, "text/plain", b"panic"), "500: panic"),
        ((302, "text/plain", b""), "302"),
        ((200, "application/json", b"<html>"), "not a response"),
        ((200, "application/json", b'{"results":[]}'), "0 of 1"),
        ((200, MEDIA_TYPE, b"CCSERIES"), "not a binary response"),
        ((200, "application/json", b"\xff\xfe"), "not a response"),
    ],
)
def test_what_cannot_be_used_is_said(server: Any, ask_at: Any, response: tuple[int, str, bytes], why: str) -> None:
    external = ask_at(server(lambda *_: response).url, scope="orion-gpu")
    with pytest.raises(StoreUnavailable, match=why) as caught:
        external.query("orion", QUERIES[:1], from_s=T0, to_s=T0 + 180)
    assert "'orion-gpu'" in str(caught.value)
    assert external.fault == str(caught.value)
    assert "127.0.0.1" not in external.fault, "users need not know where the store is"


def test_what_is_too_large_for_it_is_asked_in_parts(store: MetricStore, server: Any, ask_at: Any) -> None:
    whole = ours(store)

    def respond(path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        if len(json.loads(body)["queries"]) > 2:
            return 413, "application/json", b"{}"
        return whole(path, headers, body)

    external = ask_at(server(respond).url)
    assert values(external.query("orion", QUERIES, from_s=T0, to_s=T0 + 180)) == EXPECTED
    nothing = ask_at(server(lambda *_: (413, "application/json", b"{}")).url)
    with pytest.raises(StoreUnavailable, match="too large"):
        nothing.query("orion", QUERIES, from_s=T0, to_s=T0 + 180)


def test_one_that_is_away_is_not_asked_again_at_once_and_then_is(store: MetricStore, server: Any, ask_at: Any) -> None:
    now = [100.0]
    there = server(ours(store))
    external = ask_at(there.url, steady=lambda: now[0])
    there.close()
    there.close = lambda: None
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            external.query("orion", QUERIES, from_s=T0, to_s=T0 + 180)
    back = server(ours(store))
    external._endpoint = StoreEndpoint("*", back.url, "tok")
    with pytest.raises(StoreUnavailable):
        external.query("orion", QUERIES, from_s=T0, to_s=T0 + 180)
    assert back.asked == []
    now[0] += DOWN_RETRY_S
    assert values(external.query("orion", QUERIES, from_s=T0, to_s=T0 + 180)) == EXPECTED
    assert external.fault == ""


def test_an_answer_after_a_fault_of_another_question_says_that_it_is_there(
    store: MetricStore, server: Any, ask_at: Any
) -> None:
    """Questions are asked at the same time: the one that fails may not be the last to end."""

    def respond(path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        external._mark_down("it cannot be reached")
        return ours(store)(path, headers, body)

    there = server(respond)
    external = ask_at(there.url, steady=lambda: 100.0)
    for _ in range(2):
        assert values(external.query("orion", QUERIES, from_s=T0, to_s=T0 + 180)) == EXPECTED
    assert external.fault == ""


def test_one_that_never_answers_is_given_up(server: Any, ask_at: Any) -> None:
    release = threading.Event()

    def respond(*_: Any) -> tuple[int, str, bytes]:
        release.wait(30)
        return 200, "application/json", b"{}"

    external = ask_at(server(respond).url, timeout_s=0.2)
    try:
        with pytest.raises(StoreUnavailable, match=r"0\.2 s"):
            external.query("orion", QUERIES, from_s=T0, to_s=T0 + 180)
    finally:
        release.set()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"])
def test_one_that_answers_drop_by_drop_is_given_up(ask_at: Any, head: bytes) -> None:
    """Each piece comes in time, the whole does not."""

    def drip() -> None:
        connection, _ = door.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(head)
            while True:
                connection.sendall(b"a")
                time.sleep(0.02)

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=drip)
        thread.start()
        external = ask_at(f"http://127.0.0.1:{door.getsockname()[1]}", timeout_s=0.3)
        with pytest.raises(StoreUnavailable, match=r"within 0\.3 s"):
            external.query("orion", QUERIES, from_s=T0, to_s=T0 + 180)
        external.close()
        thread.join(10)
        assert not thread.is_alive()


def test_many_series_cannot_fill_the_memory_any_more_than_one(
    store: MetricStore, server: Any, ask_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_backend.jobdata.external_store.MAX_SAMPLES", 6)
    external = ask_at(server(ours(store)).url)
    assert len(external.query("orion", [Query("load", "n1")] * 2, from_s=T0, to_s=T0 + 180)) == 2
    with pytest.raises(StoreUnavailable, match="more than 6 samples"):
        external.query("orion", [Query("load", "n1")] * 3, from_s=T0, to_s=T0 + 180)


def test_an_endless_answer_is_cut(server: Any, ask_at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cc_backend.jobdata.external_store.MAX_RESPONSE_BYTES", 1 << 20)
    external = ask_at(server(lambda *_: (200, "application/json", b" " * (2 << 20))).url)
    with pytest.raises(StoreUnavailable, match="too large"):
        external.query("orion", QUERIES, from_s=T0, to_s=T0 + 180)


class TestGrid:
    def place(self, from_s: int, data: list[float], step_s: int = 60, *, begin: int = 0, end: int = 300) -> list[Any]:
        series = SeriesResult(T0 + from_s, 0, step_s, np.array(data, np.float32))
        found = align_to_grid(series, T0 + begin, T0 + end).data.tolist()
        return [None if value != value else value for value in found]  # noqa: PLR0124 - NaN

    @pytest.mark.parametrize("phase_s", [-30, -29, -1, 0, 1, 29])
    def test_a_slot_goes_where_its_middle_is(self, phase_s: int) -> None:
        assert self.place(60 + phase_s, [1, 2]) == [None, 1, 2, None, None]

    def test_what_lies_outside_the_range_is_left_out(self) -> None:
        assert self.place(-120, [1, 2, 3, 4, 5, 6, 7, 8, 9]) == [3, 4, 5, 6, 7]
        assert self.place(-600, [1, 2]) == [None] * 5
        assert self.place(600, [1, 2]) == [None] * 5

    def test_another_timestep_has_a_grid_of_its_own(self) -> None:
        assert self.place(-60, [1, 2], 120) == [1, 2, None]

    @pytest.mark.parametrize("step_s", [0, -60])
    def test_a_timestep_that_is_none_is_an_error_of_the_series(self, step_s: int) -> None:
        assert align_to_grid(SeriesResult(T0, T0, step_s), T0, T0 + 300).error is not None

    def test_a_tiny_timestep_cannot_fill_the_memory(self) -> None:
        with pytest.raises(StoreUnavailable, match="samples"):
            align_to_grid(SeriesResult(T0, T0, 1), 0, 2**40)

    @pytest.mark.parametrize(("from_s", "counts", "kept"), [(0, [2, 1], [2, 1]), (60, [2, 1], None), (0, [2], None)])
    def test_how_many_members_had_a_sample_is_kept_where_it_fits(
        self, from_s: int, counts: list[int], kept: list[int] | None
    ) -> None:
        """A count that stood beside another slot would be wrong; none is only less."""
        data, coverage = np.array([3, 4], np.float32), np.array(counts, np.int32)
        found = align_to_grid(SeriesResult(T0 + from_s, 0, 60, data, members=2, coverage=coverage), T0, T0 + 120)
        assert found.members == 2
        assert (None if found.coverage is None else found.coverage.tolist()) == kept

    def test_an_error_stays_one(self) -> None:
        assert align_to_grid(SeriesResult(0, 0, 0, error="unknown metric"), T0, T0 + 300).error == "unknown metric"


class TestHealth:
    def test_the_answer_of_the_reference_is_understood(self, server: Any, ask_at: Any) -> None:
        body = {
            "n1": {"State": "partial", "HealthMetrics": '{"degraded":["flops"],"missing":[]}'},
            "n2": {"State": "failed", "HealthMetrics": ""},
        }
        there = server(lambda *_: (200, "application/json", json.dumps(body).encode()))
        found = ask_at(there.url).host_health("orion", ["n1", "n2", "n3"], ["load", "flops"])
        assert found["n1"] == HostHealth((), ("flops",), ("load",))
        assert (found["n2"].state, found["n2"].missing) == ("failed", ("load", "flops"))
        assert "n3" not in found
        ((path, _, asked),) = there.asked
        assert path == "/api/healthcheck"
        assert json.loads(asked) == {"cluster": "orion", "nodes": ["n1", "n2", "n3"], "metric-names": ["load", "flops"]}

    @pytest.mark.parametrize("body", [b"", b"[]", b'{"n1":7}', b'{"n1":{"HealthMetrics":"{"}}', b'{"n1":{}}'])
    def test_nonsense_is_said(self, server: Any, ask_at: Any, body: bytes) -> None:
        external = ask_at(server(lambda *_: (200, "application/json", body)).url)
        with pytest.raises(StoreUnavailable, match="health"):
            external.host_health("orion", ["n1"], ["load"])


class TestRouter:
    @pytest.fixture
    def away(self, ask_at: Any) -> Any:
        return lambda scope: ask_at("http://127.0.0.1:1", scope=scope)

    @pytest.mark.parametrize(
        ("scopes", "asked", "chosen"),
        [
            (["orion-gpu", "orion", "*"], ("orion", "gpu"), "orion-gpu"),
            (["orion-gpu", "orion", "*"], ("orion", "main"), "orion"),
            (["orion-gpu", "orion", "*"], ("orion", ""), "orion"),
            (["orion-gpu", "*"], ("orion", "main"), "*"),
            (["orion-gpu"], ("orion", "main"), None),
            (["orion-gpu"], ("orion-gpu", "main"), "orion-gpu"),
            ([], ("orion", "gpu"), None),
        ],
    )
    def test_the_nearest_scope_counts(
        self, store: MetricStore, away: Any, scopes: list[str], asked: tuple[str, str], chosen: str | None
    ) -> None:
        router = StoreRouter(store, [away(scope) for scope in scopes])
        found = router.external_store(*asked)
        assert (None if found is None else found.scope) == chosen
        router.close()

    def test_without_external_stores_it_is_the_internal_one(self, store: MetricStore) -> None:
        gathered = StoreRouter(store).query("orion", QUERIES, from_s=T0, to_s=T0 + 180)
        assert values(gathered.rows) == EXPECTED
        assert gathered.unreachable == {}

    def test_each_host_is_asked_of_its_own_store_and_one_that_is_away_costs_only_its_own(
        self, store: MetricStore, server: Any, ask_at: Any, away: Any
    ) -> None:
        other = MetricStore.open(None, METRICS, now_s=T0)
        other.ingest(f"load,cluster=orion,hostname=n2 value=7 {T0 + 60}".encode(), received_s=T0 + 180)
        router = StoreRouter(store, [ask_at(server(ours(other)).url, scope="orion-b"), away("orion-c")])
        queries = [Query("load", host) for host in ("n3", "n2", "n1", "n2", "n3")]
        gathered = router.query(
            "orion", queries, from_s=T0, to_s=T0 + 180, sub_cluster={"n1": "a", "n2": "b", "n3": "c"}.__getitem__
        )
        seven = [(None, [None, 7, None])]
        assert values(gathered.rows) == [[], seven, [(None, [None, 1, None])], seven, []]
        assert list(gathered.unreachable) == ["n3"]
        assert "'orion-c'" in gathered.unreachable["n3"]
        assert router.unreachable_reason("orion", "c") == gathered.unreachable["n3"]
        assert router.unreachable_reason("orion", "b") == router.unreachable_reason("orion", "a") == ""
        router.close()

    def test_many_hosts_are_asked_in_portions_and_put_together_in_order(self, server: Any, ask_at: Any) -> None:
        many = MetricStore.open(None, METRICS, now_s=T0)
        lines = "\n".join(f"load,cluster=orion,hostname=h{number} value={number} {T0}" for number in range(150))
        many.ingest(lines.encode(), received_s=T0)
        there = server(ours(many))
        router = StoreRouter(many, [ask_at(there.url)])
        queries = [Query(metric, f"h{number}") for metric in ("load", "flops") for number in range(150)]
        gathered = router.query("orion", queries, from_s=T0, to_s=T0 + 60)
        assert [len(row) for row in gathered.rows] == [1] * 150 + [0] * 150
        assert [row[0].data[0] for row in gathered.rows[:150]] == list(range(150))
        assert sorted(len(asked["queries"]) for asked in there.requests()) == [44, 128, 128]
        router.close()

    def test_several_stores_are_asked_at_the_same_time(self, store: MetricStore, server: Any, ask_at: Any) -> None:
        both = threading.Barrier(2, timeout=30)
        respond = ours(store)

        def together(*request: Any) -> tuple[int, str, bytes]:
            both.wait()  # goes on only when the other one was asked as well
            return respond(*request)

        externals = [ask_at(server(together).url, scope=scope) for scope in ("orion-a", "orion-b")]
        router = StoreRouter(store, externals)
        queries = [Query("load", "n1"), Query("load", "n2")]
        gathered = router.query(
            "orion", queries, from_s=T0, to_s=T0 + 180, sub_cluster={"n1": "a", "n2": "b"}.__getitem__
        )
        assert values(gathered.rows) == [[(None, [None, 1, None])], [(None, [None, 2, None])]]
        router.close()

    def test_a_store_that_keeps_all_waiting_keeps_no_other_store_from_answering(
        self, store: MetricStore, server: Any, ask_at: Any
    ) -> None:
        release, asked = threading.Event(), threading.Semaphore(0)

        def waits(*_: Any) -> tuple[int, str, bytes]:
            asked.release()
            release.wait(60)
            return 500, "text/plain", b""

        stuck = ask_at(server(waits).url, scope="orion-stuck", timeout_s=60)
        router = StoreRouter(store, [stuck, ask_at(server(ours(store)).url, scope="orion-well")])
        many = [Query("load", f"h{number}") for number in range(1000)]
        with ThreadPoolExecutor(2) as callers:
            waiting = callers.submit(router.query, "orion", many, from_s=T0, to_s=T0 + 60, sub_cluster="stuck")
            try:
                assert all(asked.acquire(timeout=30) for _ in range(8))
                well = callers.submit(router.query, "orion", QUERIES, from_s=T0, to_s=T0 + 180, sub_cluster="well")
                assert values(well.result(timeout=30).rows) == EXPECTED
            finally:
                release.set()
            assert len(waiting.result().unreachable) == 1000
        router.close()

    def test_health_of_an_unreachable_store_is_failed(self, store: MetricStore, away: Any) -> None:
        router = StoreRouter(store, [away("orion")])
        assert router.host_health("orion", "", ["n1"], ["load"], now_s=T0)["n1"].state == "failed"
        assert StoreRouter(store).host_health("orion", "", ["n1"], ["load"], now_s=T0 + 120)["n1"].state == "full"
        router.close()

    @pytest.mark.parametrize(("since_s", "silent"), [(T0, ["n9"]), (T0 + 60, ["n9"]), (T0 + 61, ["n2", "n9"])])
    def test_a_host_is_silent_if_nothing_came_since(
        self, store: MetricStore, server: Any, ask_at: Any, since_s: int, silent: list[str]
    ) -> None:
        for router in (StoreRouter(store), StoreRouter(store, [ask_at(server(ours(store)).url)])):
            assert router.silent_hosts("orion", "", ["n2", "n9"], ["load"], since_s=since_s) == silent
            router.close()

    def test_hosts_of_a_store_that_is_away_are_silent(self, store: MetricStore, away: Any) -> None:
        router = StoreRouter(store, [away("*")])
        assert router.silent_hosts("orion", "", ["n1"], ["load"], since_s=T0) == ["n1"]
        router.close()


@pytest.mark.parametrize(
    "entries",
    [
        [("*", "store:8082")],
        [("*", "ftp://store")],
        [("", "http://store")],
        [("orion", "http://a"), ("orion", "http://b")],
    ],
)
def test_places_that_cannot_be_are_refused(entries: list[tuple[str, str]]) -> None:
    with pytest.raises(SettingsError, match="metric-store-external"):
        parse_endpoints([ExternalStoreSettings(scope, url) for scope, url in entries])


def test_a_store_that_is_away_is_a_part_that_is_away() -> None:
    assert issubclass(StoreUnavailable, Unavailable)
