from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cc_agent.doctor import CheckResult, check_collectors, run_checks
from cc_agent.options import AgentOptions
from cc_agent.sampler import CollectorStatus
from cc_agent.settings import load_configuration
from cc_common.line_protocol import decode


class Server(ThreadingHTTPServer):
    daemon_threads = True
    status = 200
    date = ""
    answer: dict[str, Any] | None = None
    bodies: list[bytes]


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        server: Server

        def do_POST(self) -> None:
            self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response_only(self.server.status)
            self.send_header("Date", self.server.date or formatdate(usegmt=True))
            answer = json.dumps(self.server.answer).encode() if self.server.answer else b""
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            pass

    running = Server(("127.0.0.1", 0), Handler)
    running.bodies = []
    thread = threading.Thread(target=running.serve_forever, args=(0.05,))
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def _all_findings(server: Server | None = None, **options: Any) -> list[CheckResult]:
    if server is not None:
        options["url"] = f"http://127.0.0.1:{server.server_address[1]}"
    return run_checks(load_configuration(AgentOptions(**options), {}), {}, processor="Some CPU")


def _findings(server: Server | None = None, **options: Any) -> dict[str, CheckResult]:
    return {finding.subject: finding for finding in reversed(_all_findings(server, **options))}


def test_a_node_that_is_well_has_no_bad_finding(server: Server, tmp_path: Path) -> None:
    findings = _findings(server, token="abc", spool_dir=str(tmp_path / "new" / "spool"))
    assert not [finding for finding in findings.values() if finding.failed]
    assert " samples: cpustat " in findings["collectors"].text
    assert findings["sink url"].text.endswith("can be reached, token accepted")
    assert findings["clock"].text == "agrees with the server"
    assert findings["spool"].text.endswith("spool can be written")
    assert findings["processor"].text == "Some CPU"


def _status(name: str, problem: str = "", *, absent: bool = False) -> CollectorStatus:
    return CollectorStatus(name, 0 if problem else 3, problem, "load the driver", absent)


def test_collectors_are_short_but_for_what_has_a_problem() -> None:
    statuses = [
        _status("cpustat"),
        _status("loadavg"),
        _status("nvidia", "no GPU", absent=True),
        _status("ibstat", "no port", absent=True),
        _status("perf", "not allowed"),
    ]
    assert [str(finding) for finding in check_collectors(statuses, built_in=True)] == [
        "works  collectors: 6 samples: cpustat 3, loadavg 3",
        "note   collector perf: not available: not allowed; do: load the driver",
        "works  collectors: not on this machine: nvidia, ibstat",
    ]


def test_of_chosen_collectors_each_says_why_it_has_nothing_to_read(tmp_path: Path) -> None:
    statuses = [_status("cpustat"), _status("nvidia", "no GPU", absent=True)]
    assert [str(finding) for finding in check_collectors(statuses, built_in=False)] == [
        "works  collectors: 3 samples: cpustat 3",
        "note   collector nvidia: nothing to read here: no GPU",
    ]
    chosen = tmp_path / "agent.json"
    chosen.write_text('{"collectors": {"loadavg": {}}}', encoding="utf-8")
    assert not load_configuration(AgentOptions(config=str(chosen)), {}).collectors_are_built_in
    assert load_configuration(AgentOptions(), {}).collectors_are_built_in


def test_a_machine_on_which_nothing_works_fails() -> None:
    findings = list(check_collectors([_status("cpustat", "no /proc")], built_in=True))
    assert findings[-1].failed


def test_the_server_is_asked_with_the_lines_that_run_would_send(server: Server) -> None:
    _findings(server, cluster="orion", hostname="n07")
    (body,) = server.bodies
    points, errors = decode(body, received_s=0)
    assert not errors
    assert {(point.tags["cluster"], point.tags["hostname"]) for point in points} == {("orion", "n07")}
    assert {"cpu_load", "cpu_user", "mem_used"} <= {point.metric for point in points}


def test_lines_that_the_server_does_not_want_are_bad(server: Server) -> None:
    server.answer = {
        "accepted": 3,
        "dropped": {"unknown_cluster": {"lines": 19, "names": [{"name": "oron", "nearest": "orion"}]}},
        "unlisted": {"unknown_host": {"lines": 3, "names": [{"name": "n7", "cluster": "orion"}]}},
    }
    findings = [finding for finding in _all_findings(server) if finding.subject == "sink url" and finding.failed]
    assert [finding.text.partition(";")[0] for finding in findings] == [
        "19 lines are discarded: unknown cluster 'oron' (did you mean 'orion'?)",
        "3 lines are kept, but no page shows them: unknown host 'n7'",
    ]


@pytest.mark.parametrize(
    ("reason", "advice"), [("unknown_metric", "add the metric"), ("unknown_host", "name cluster and host")]
)
def test_the_advice_about_unwanted_lines_fits_what_is_unknown(server: Server, reason: str, advice: str) -> None:
    server.answer = {"accepted": 0, "dropped": {reason: {"lines": 1, "names": [{"name": "mem_total"}]}}}
    (found,) = (found for found in _all_findings(server) if found.subject == "sink url" and found.failed)
    assert found.text.partition("; do: ")[2].startswith(advice)


def test_a_token_that_may_not_send_samples_is_told_apart_from_a_bad_one(server: Server) -> None:
    server.status, server.answer = 403, {"error": "the token of 'x' lacks the scope 'write'", "code": "scope_missing"}
    assert "do: ask for a token that may send samples" in _findings(server, token="abc")["sink url"].text


def _sink_findings(folder: Path, **sink: Any) -> list[CheckResult]:
    document = {"collectors": {"loadavg": {}}, "sinks": {"other": {"host": "127.0.0.1", **sink}}}
    (folder / "agent.json").write_text(json.dumps(document), encoding="utf-8")
    options = AgentOptions(config=str(folder / "agent.json"))
    return [found for found in run_checks(load_configuration(options, {}), {}) if found.subject == "sink other"]


INFLUX = {"type": "influxdb", "database": "b", "organization": "o", "password": "x"}
NATS = {"type": "nats", "subject": "hpc"}


@pytest.mark.parametrize("sink", [INFLUX, NATS], ids=lambda sink: str(sink["type"]))
def test_a_sink_at_whose_address_nobody_listens_is_bad(sink: dict[str, Any], tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        (found,) = _sink_findings(tmp_path, **sink, port=taken.getsockname()[1])
    assert found.failed


def test_a_cluster_that_nobody_named_is_said_to_be_the_name_of_the_node() -> None:
    assert "give --cluster if it is another" in _findings(hostname="n07")["node"].text
    assert "give --cluster" not in _findings(hostname="n07", cluster="n07")["node"].text


@pytest.mark.parametrize(
    ("status", "token", "part"),
    [
        (401, "abc", "token rejected (HTTP 401: the token is not accepted); do: ask for a new token"),
        (403, None, "do: give a token with --token-file"),
        (404, "abc", "responds HTTP 404"),
        (500, "abc", "responds HTTP 500"),
    ],
)
def test_responses_are_explained(server: Server, status: int, token: str | None, part: str) -> None:
    server.status = status
    finding = _findings(server, token=token)["sink url"]
    assert finding.failed
    assert part in finding.text


def test_a_token_for_another_cluster_is_reported_as_such_and_not_as_a_bad_token(server: Server) -> None:
    server.status = 403
    server.answer = {"error": "this token is not for cluster 'vm'", "code": "cluster_not_allowed"}
    finding = _findings(server, token="abc", cluster="vm")["sink url"]
    assert finding.failed
    assert finding.text.endswith("do: give --cluster as the token has it, or ask for a token for 'vm'")


@pytest.mark.parametrize(
    ("offset_s", "part"), [(-3600, "3600 s ahead of the server"), (3600, " behind the server; do: run chrony")]
)
def test_a_clock_that_is_wrong_is_noticed(server: Server, offset_s: int, part: str) -> None:
    server.date = formatdate(time.time() + offset_s, usegmt=True)
    finding = _findings(server)["clock"]
    assert finding.failed
    assert part in finding.text.replace("3601", "3600")


def test_a_server_without_a_readable_time_is_no_fault(server: Server) -> None:
    server.date = "soon"
    assert not _findings(server)["clock"].failed


def test_an_address_that_cannot_work_is_a_finding() -> None:
    assert _findings(url="nonsense")["sink url"].failed


def test_a_spool_folder_that_cannot_be_written_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    finding = _findings(spool_dir=str(tmp_path / "file" / "spool"))["spool"]
    assert finding.failed
    assert "chown" in finding.text


def test_without_a_server_there_is_advice() -> None:
    assert "give --url" in _findings()["server"].text


def _of_sink(options: dict[str, Any], folder: Path) -> CheckResult:
    file = folder / "agent.json"
    file.write_text(json.dumps({"sinks": {"other": options}}))
    configuration = load_configuration(AgentOptions(config=str(file)), {})
    (found,) = [found for found in run_checks(configuration, {}) if found.subject == "sink other"]
    return found


def test_a_server_of_another_kind_is_sent_a_set_of_samples(
    nats_servers: Any, nats_listener: Any, tmp_path: Path
) -> None:
    with nats_servers.running_server(tmp_path) as broker, nats_listener(broker.address) as listener:
        options = {"type": "nats", "host": broker.address, "subject": "hpc.metrics"}
        found = _of_sink(options, tmp_path)
        assert (found.failed, found.text) == (False, f"type nats: nats://{broker.address}/hpc.metrics accepts samples")
        assert decode(b"".join(listener.sees()), received_s=0)[1] == []
        assert _of_sink({**options, "subject": "a b"}, tmp_path).failed
    gone = _of_sink({**options, "timeout": "1s"}, tmp_path)
    assert gone.failed
    assert "ConnectionRefused" in gone.text
    assert _of_sink({"type": "prometheus", "port": 1}, tmp_path).text == "type prometheus"
