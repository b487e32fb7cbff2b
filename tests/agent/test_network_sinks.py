"""Sinks for other databases: a real VictoriaMetrics where there is one, else what the makers promise."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cc_agent.errors import AgentError
from cc_agent.router import Batch
from cc_agent.sinks.influx import InfluxAsyncSettings, InfluxSettings, influx_write_url, interpret_influx_response
from cc_agent.sinks.prometheus import PrometheusSettings, PrometheusSink
from cc_agent.sinks.registry import SinkDescription, load_sinks, make_sink
from cc_agent.sinks.victoriametrics import PrometheusConverter, import_url
from cc_common.delivery import OutcomeKind
from cc_common.delivery.http_response import HttpResponse
from cc_common.errors import SettingsError


def load_one(**options: Any) -> SinkDescription:
    loaded = load_sinks({"db": options}, source="test", base_directory=None, environment={})
    return loaded.sinks[0]


INFLUX = {"database": "metrics", "organization": "hpc", "password": "s3cr3t", "port": "8086"}


def influx_settings(**options: Any) -> InfluxSettings | InfluxAsyncSettings:
    settings = load_one(**{"type": "influxdb", **INFLUX, **options}).settings
    assert isinstance(settings, (InfluxSettings, InfluxAsyncSettings))
    return settings


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "http://localhost:8086/api/v2/write?org=hpc&bucket=metrics&precision=s"),
        (
            {"host": "db", "port": 8087, "ssl": True, "precision": "ns"},
            "https://db:8087/api/v2/write?org=hpc&bucket=metrics&precision=ns",
        ),
        ({"host": "::1", "database": "a&b c"}, "http://[::1]:8086/api/v2/write?org=hpc&bucket=a%26b+c&precision=s"),
    ],
)
def test_the_keys_of_the_reference_become_an_address(options: Any, url: str) -> None:
    assert influx_write_url(influx_settings(**options)) == url
    assert influx_write_url(influx_settings(type="influxasync", **options)) == url


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        (
            "influxdb",
            {
                "batch_size": 1000,
                "flush_delay": "1s",
                "http_request_timeout": "5s",
                "retry_interval": "1s",
                "max_retry_interval": "1m",
                "retry_exponential_base": 2,
                "max_retries": 20,
                "max_retry_time": "168h",
                "use_gzip": False,
            },
        ),
        (
            "influxasync",
            {
                "batch_size": 1000,
                "flush_interval": 1000,
                "custom_flush_interval": "1s",
                "retry_interval": "1s",
                "retry_exponential_base": 2,
                "max_retries": 20,
                "max_retry_time": "168h",
                "max_retry_attempts": 1,
            },
        ),
    ],
)
def test_every_key_of_the_reference_is_taken(kind: str, keys: Any) -> None:
    influx_settings(type=kind, **keys)


@pytest.mark.parametrize("port", [0, 65536, "x", "-1", "80 ", "", None, True, 1.5])
def test_a_port_that_is_none_is_rejected(port: Any) -> None:
    with pytest.raises(SettingsError, match="port"):
        influx_settings(port=port)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (204, OutcomeKind.DELIVERED),
        (400, OutcomeKind.BAD_BATCH),
        (401, OutcomeKind.UNAUTHORISED),
        (404, OutcomeKind.RETRY),
        (413, OutcomeKind.TOO_LARGE),
        (422, OutcomeKind.BAD_BATCH),
        (429, OutcomeKind.RETRY),
        (503, OutcomeKind.RETRY),
    ],
)
def test_a_line_that_influxdb_cannot_store_does_not_hold_up_the_others(status: int, kind: OutcomeKind) -> None:
    assert interpret_influx_response(HttpResponse(status, {}), now_s=0.0).kind is kind


@contextmanager
def recording_server(status: int) -> Iterator[tuple[int, list[Any]]]:
    requests: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, dict(self.headers), body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port, requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(description: SinkDescription, lines: bytes) -> None:
    sink = make_sink(description, None)
    sink.start()
    sink.put(Batch(lines, lines.count(b"\n")))
    sink.close(10.0)


LINES = b"".join(b"load,cluster=c,hostname=n%d,type=node value=%d 1790000000\n" % (n, n) for n in range(1, 101))


@pytest.mark.parametrize("kind", ["influxdb", "influxasync"])
def test_batches_go_to_influxdb_compressed_and_with_the_token(kind: str) -> None:
    with recording_server(204) as (port, requests):
        send(load_one(**{**INFLUX, "type": kind, "host": "127.0.0.1", "port": port}), LINES)
        send(load_one(**{**INFLUX, "type": kind, "host": "127.0.0.1", "port": port, "user": "u"}), LINES)
    (path, headers, body), (_, other_headers, _) = requests
    assert path == "/api/v2/write?org=hpc&bucket=metrics&precision=s"
    assert headers["Authorization"] == "Token s3cr3t"
    assert other_headers["Authorization"] == "Token u:s3cr3t"
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == LINES


def test_lines_become_the_text_format_of_prometheus() -> None:
    convert = PrometheusConverter()
    lines = b'a\\ b,type-id=0,t\\ "x=y\\,z value=2.5 17\n' * 2
    assert convert(lines) == b'a_b{t__x="y,z",type_id="0"} 2.5 17000\n' * 2
    assert convert(b"") == b""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://vm:8428", "http://vm:8428/api/v1/import/prometheus"),
        ("http://vm:8428/", "http://vm:8428/api/v1/import/prometheus"),
        (
            "https://vm/insert/0/prometheus/api/v1/import/prometheus",
            "https://vm/insert/0/prometheus/api/v1/import/prometheus",
        ),
        ("http://vm?extra_label=site=x", "http://vm/api/v1/import/prometheus?extra_label=site=x"),
    ],
)
def test_an_address_without_a_path_gets_the_one_for_imports(url: str, expected: str) -> None:
    assert import_url(url) == expected


@pytest.fixture(scope="module")
def scraped_sink() -> Iterator[PrometheusSink]:
    """A sink with samples of now, for VictoriaMetrics to scrape."""
    for _ in range(20):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        sink = PrometheusSink("p", PrometheusSettings("prometheus", host="127.0.0.1", port=port, token="t0ken"))
        try:
            sink.start()
        except AgentError:
            continue
        break
    yield sink
    sink.close(1.0)


@pytest.fixture(scope="module")
def victoria_metrics(
    tmp_path_factory: pytest.TempPathFactory, processes: Any, scraped_sink: PrometheusSink
) -> Iterator[str]:
    """The address of a real VictoriaMetrics, which scrapes the sink."""
    program = shutil.which("victoria-metrics")
    if program is None:
        pytest.skip("no victoria-metrics here; `make test-deps` installs it")
    folder = tmp_path_factory.mktemp("victoria")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "scrape.yml").write_text(
        "scrape_configs:\n- job_name: agent\n  scrape_interval: 1s\n  bearer_token: t0ken\n"
        f"  static_configs:\n  - targets: ['127.0.0.1:{scraped_sink.port}']\n"
    )
    command = (
        *(program, f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder}/data"),
        *("-retentionPeriod=100y", "-memory.allowedBytes=64MB", "-storage.minFreeDiskSpaceBytes=1MB"),
        f"-promscrape.config={folder}/scrape.yml",
    )
    address = f"http://127.0.0.1:{port}"
    with processes.process(*command, log=folder / "log"):
        processes.wait_for("VictoriaMetrics", lambda: answers(f"{address}/health"))
        yield address


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 loopback
            return bool(response.status == 200)
    except OSError:
        return False


def exported(address: str, match: str) -> dict[str, list[Any]]:
    """Host -> times in milliseconds and values that the database has."""
    query = urllib.parse.urlencode({"match[]": match})
    found = {}
    deadline_s = time.monotonic() + 20
    while not found and time.monotonic() < deadline_s:
        with urllib.request.urlopen(f"{address}/internal/force_flush", timeout=5):  # noqa: S310 loopback
            pass
        with urllib.request.urlopen(f"{address}/api/v1/export?{query}", timeout=5) as response:  # noqa: S310 loopback
            for line in response.read().splitlines():
                series = json.loads(line)
                found[series["metric"]["hostname"]] = [series["timestamps"], series["values"]]
    return found


EXPECTED = {f"n{number}": [[1_790_000_000_000], [number]] for number in range(1, 101)}


@pytest.mark.integration
def test_victoriametrics_has_what_was_sent(victoria_metrics: str, tmp_path: Path) -> None:
    send(load_one(type="victoriametrics", url=victoria_metrics), LINES.replace(b"load", b"plain"))
    assert exported(victoria_metrics, 'plain{cluster="c",type="node"}') == EXPECTED


@pytest.mark.integration
def test_a_real_scraper_reads_what_is_shown_to_prometheus(victoria_metrics: str, scraped_sink: PrometheusSink) -> None:
    time_s = int(time.time())
    line = b'shown,hostname=n1,type=node,odd=a\\ "b"\\,c value=2.5 %d\n' % time_s
    scraped_sink.put(Batch(line, 1))
    query = 'shown{type="node",job="agent",odd="a \\"b\\",c"}'
    assert exported(victoria_metrics, query)["n1"] == [[time_s * 1000], [2.5]]


@pytest.mark.integration
@pytest.mark.parametrize(("kind", "precision"), [("influxdb", "s"), ("influxasync", "s")])
def test_a_database_that_speaks_as_influxdb_does_has_what_was_sent(
    victoria_metrics: str, kind: str, precision: str
) -> None:
    port = int(victoria_metrics.rpartition(":")[2])
    options = {**INFLUX, "type": kind, "host": "127.0.0.1", "port": port, "precision": precision}
    send(load_one(**options), LINES.replace(b"load", kind.encode()))
    assert exported(victoria_metrics, f"{kind}_value") == EXPECTED
