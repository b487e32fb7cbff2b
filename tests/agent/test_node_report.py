from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cc_agent.agent import make_reporter
from cc_agent.node_report import REPEAT_S, RETRY_S, SETTLE_S, NodeReporter, ReportTimes, make_report, report_url
from cc_agent.options import AgentOptions
from cc_agent.sampler import CollectorStatus
from cc_agent.settings import load_configuration
from cc_agent.sinks.http import HttpSettings

WORKS = CollectorStatus("cpustat", 10, "", "", age_s=1.0, cpu_s=0.01, readings=5)
FAILS = CollectorStatus("rapl", 0, "no right\nto read RAPL", "give \x1b CAP_PERFMON")
ABSENT = CollectorStatus("nvidia", 0, "no driver", "", absent=True)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://mon.example.net", "https://mon.example.net/api/nodes/report/"),
        ("http://mon:8080/api/write/?cluster=demo", "http://mon:8080/api/nodes/report/"),
        ("http://influx:8086/api/v2/write?bucket=x", None),
        ("http://mon/other", None),
    ],
)
def test_reports_go_to_where_a_backend_takes_samples(url: str, where: str | None) -> None:
    assert report_url(url) == where


def test_a_report_has_the_state_of_each_collector_and_nothing_that_always_changes() -> None:
    report = make_report("demo", "n01", [WORKS, FAILS, ABSENT], None)
    assert report["collectors"] == [
        {"name": "cpustat", "state": "works", "problem": "", "advice": ""},
        {"name": "rapl", "state": "fails", "problem": "no right to read RAPL", "advice": "give  CAP_PERFMON"},
        {"name": "nvidia", "state": "absent", "problem": "no driver", "advice": ""},
    ]
    later = make_report("demo", "n01", [WORKS._replace(age_s=99.0, readings=7, samples=11), FAILS, ABSENT], None)
    assert later == report


def test_a_report_is_due_once_collectors_have_settled_after_changes_and_once_a_day() -> None:
    times = ReportTimes()
    assert not times.is_due([WORKS], 0.0)
    assert not times.is_due([WORKS, FAILS], SETTLE_S)
    assert times.is_due([WORKS, FAILS], 2 * SETTLE_S)
    times.record(100.0, answered=True)
    assert not times.is_due([WORKS, FAILS], 200.0)
    assert not times.is_due([WORKS, WORKS], 300.0)
    assert times.is_due([WORKS, WORKS], 300.0 + SETTLE_S)
    times.record(400.0, answered=False)
    assert not times.is_due([WORKS, WORKS], 500.0)
    assert times.is_due([WORKS, WORKS], 400.0 + RETRY_S)
    times.record(1000.0, answered=True)
    assert not times.is_due([WORKS, WORKS], 999.0 + REPEAT_S)
    assert times.is_due([WORKS, WORKS], 1000.0 + REPEAT_S)


class Backend(ThreadingHTTPServer):
    daemon_threads = True
    status = 200
    got: list[tuple[str, str, Any]]


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A server that takes reports, or refuses them."""

    class Handler(BaseHTTPRequestHandler):
        server: Backend

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.got.append((self.path, self.headers["Authorization"], body))
            self.send_response(self.server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = Backend(("127.0.0.1", 0), Handler)
    server.got = []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _reported(backend: Backend, at_s: list[float], describe: Any) -> NodeReporter:
    settings = HttpSettings(type="http", url=f"http://127.0.0.1:{backend.server_address[1]}", jwt="abc")
    return NodeReporter([("s", settings)], cluster="demo", hostname="n01", describe=describe, monotonic=lambda: at_s[0])


def _consider(reporter: NodeReporter) -> None:
    reporter.consider([WORKS, FAILS])
    for thread in threading.enumerate():
        if thread.name == "node report":
            thread.join(10)


@pytest.mark.parametrize(("status", "again_s"), [(200, REPEAT_S), (404, REPEAT_S), (403, REPEAT_S), (503, RETRY_S)])
def test_the_server_gets_the_report_with_the_token_and_again_by_what_it_answered(
    backend: Backend, status: int, again_s: float
) -> None:
    backend.status = status
    at_s = [0.0]
    reporter = _reported(backend, at_s, lambda: {"name": "demo"})
    for moment_s in (0.0, SETTLE_S, SETTLE_S + again_s - 1, SETTLE_S + again_s):
        at_s[0] = moment_s
        _consider(reporter)
    path, token, document = backend.got[0]
    assert (path, token) == ("/api/nodes/report/", "Bearer abc")
    assert (document["hostname"], document["description"]) == ("n01", {"name": "demo"})
    assert len(backend.got) == 2


def test_a_node_whose_hardware_cannot_be_read_is_reported_all_the_same(backend: Backend) -> None:
    at_s = [0.0]
    reporter = _reported(backend, at_s, lambda: 1 // 0)
    for moment_s in (0.0, SETTLE_S):
        at_s[0] = moment_s
        _consider(reporter)
    assert backend.got[0][2]["description"] is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_report_that_cannot_be_made_is_not_tried_at_every_tick(backend: Backend) -> None:
    at_s = [0.0]
    reporter = _reported(backend, at_s, lambda: {"not JSON": object()})
    threads = []
    for moment_s in (0.0, SETTLE_S, SETTLE_S + 1, SETTLE_S + 2):
        at_s[0] = moment_s
        _consider(reporter)
        threads.append(reporter._thread)
    assert len({id(thread) for thread in threads if thread is not None}) == 1


def test_reports_can_be_switched_off_and_describe_this_machine(tmp_path: Path, backend: Backend) -> None:
    path = tmp_path / "agent.json"
    url = f"http://127.0.0.1:{backend.server_address[1]}"
    document: dict[str, Any] = {"main": {"cluster": "demo"}, "sinks": {"s": {"type": "http", "url": url}}}
    path.write_text(json.dumps(document), encoding="utf-8")
    reporter = make_reporter(load_configuration(AgentOptions(config=str(path), hostname="n01"), {}))
    assert reporter is not None
    reporter._times.is_due([WORKS, FAILS], -1e9)
    _consider(reporter)
    assert [part["nodes"] for part in backend.got[0][2]["description"]["subClusters"]] == ["n01"]
    document["main"]["report-node"] = False
    path.write_text(json.dumps(document), encoding="utf-8")
    assert make_reporter(load_configuration(AgentOptions(config=str(path), hostname="n01"), {})) is None
