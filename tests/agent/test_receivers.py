"""Receivers: what others send reaches the sinks with its own time and tags, each class of messages by itself."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.agent import make_receivers, make_routed_sinks, start_pipeline
from cc_agent.collectors.base import RawSeries
from cc_agent.errors import AgentError
from cc_agent.options import AgentOptions
from cc_agent.processor import Processor, ProcessorSettings, TagRule
from cc_agent.receivers.http import HttpReceiver, HttpReceiverSettings
from cc_agent.receivers.intake import Intake, IntakeOutput
from cc_agent.receivers.nats import NatsReceiver, NatsReceiverSettings
from cc_agent.receivers.polling import Poller
from cc_agent.receivers.prometheus import PrometheusReceiver, PrometheusReceiverSettings
from cc_agent.receivers.registry import load_receivers, make_receiver
from cc_agent.router import Batch, Router
from cc_agent.settings import AgentConfiguration, load_configuration
from cc_agent.sinks.http import HttpSettings
from cc_agent.sinks.prometheus import PrometheusSettings, PrometheusSink
from cc_agent.sinks.registry import SinkDescription, make_sink
from cc_common.delivery import HttpSender, OutcomeKind
from cc_common.delivery.nats_sender import NatsSender
from cc_common.errors import DeliveryError, SettingsError
from cc_common.nats_client import NatsAccess

NOW_S = 1_790_000_000


class KeptSink:
    name = "kept"

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def start(self) -> None:
        pass

    def put(self, batch: Batch, /) -> None:
        self.batches.append(batch)

    def close(self, _deadline_s: float, /) -> None:
        pass

    @property
    def lines(self) -> bytes:
        return b"".join(batch.lines for batch in self.batches)


def intake_of(*sinks: tuple[KeptSink, set[str]], rules: ProcessorSettings | None = None) -> Intake:
    router = Router([Processor(rules)] if rules else [], {"hostname": "relay", "cluster": "c"})
    outputs = [IntakeOutput(router, sink, frozenset(classes)) for sink, classes in sinks]
    return Intake("r", outputs, clock=lambda: float(NOW_S))


def wait_until(is_true: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_samples_keep_their_time_and_host_and_get_what_they_lack() -> None:
    sink = KeptSink()
    report = intake_of((sink, {"metric"})).accept_lines(
        b"load,hostname=n1,type=node value=1.5 1700000000\n"
        b"load,hostname=n2,type=node value=2i 1700000000123456789\n"
        b"load,cluster=other value=3\n"
    )
    assert report == (3, 0, [])
    assert sink.batches == [
        Batch(
            b"load,cluster=c,hostname=n1,type=node value=1.5 1700000000\n"
            b"load,cluster=c,hostname=n2,type=node value=2 1700000000\n"
            b"load,cluster=other,hostname=relay value=3 1790000000\n",
            3,
        )
    ]


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_the_precision_of_a_time_is_seen_by_its_size(unit: int) -> None:
    sink = KeptSink()
    intake_of((sink, {"metric"})).accept_lines(b"m value=1 %d" % (1_700_000_000 * unit))
    assert sink.lines.endswith(b" 1700000000\n")


def test_events_logs_and_control_messages_never_get_into_a_batch_of_samples() -> None:
    samples, events, rest = KeptSink(), KeptSink(), KeptSink()
    intake = intake_of((samples, {"metric"}), (events, {"event"}), (rest, {"log", "control"}))
    report = intake.accept_lines(
        b'load,hostname=n value=1 1700000000\njob,function=start_job,hostname=n event="{\\"a\\": 1}" 1700000000\n'
        b'ccb,hostname=n,loglevel=warn log="x\nload value=1" 1700000000\n'
        b'rapl,hostname=n,method=PUT control="150" 1700000000\nload,hostname=n value=2 1700000001\n'
    )
    assert report.accepted == 5
    assert samples.lines == (
        b"load,cluster=c,hostname=n value=1 1700000000\nload,cluster=c,hostname=n value=2 1700000001\n"
    )
    assert events.lines == b'job,cluster=c,function=start_job,hostname=n event="{\\"a\\": 1}" 1700000000\n'
    assert [batch.lines for batch in rest.batches] == [
        b'ccb,cluster=c,hostname=n,loglevel=warn log="x\\nload value=1" 1700000000\n',
        b'rapl,cluster=c,hostname=n,method=PUT control="150" 1700000000\n',
    ]


def test_rules_see_the_class_of_a_message() -> None:
    sink = KeptSink()
    rules = ProcessorSettings(
        drop_by_message_type=("log",),
        drop_messages_if=("messagetype == 'event' && name == 'noise'", "value > 10"),
        add_tags_if=(TagRule("site", "x", "msgtype == 'event'"),),
        rename_messages={"job": "jobs"},
    )
    intake_of((sink, {"metric", "event", "log"}), rules=rules).accept_lines(
        b'job event="x" 17\nnoise event="x" 17\nccb log="x" 17\nm value=1 17\nm value=11 17\n'
    )
    assert sink.lines == (b'm,cluster=c,hostname=relay value=1 17\njobs,cluster=c,hostname=relay,site=x event="x" 17\n')


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"load", "no field"),
        (b"load value=1,other=2 17", "one field"),
        (b"load other=2 17", "no field 'value'"),
        (b"load value=true 17", "boolean"),
        (b"load value=NaN 17", "not a number"),
        (b'load value="x" 17', "no field 'value'"),
        (b"load value=1 soon", "not an integer"),
        (b'ccb query="x" 17', "no field 'value'"),
    ],
)
def test_a_bad_line_is_named_and_costs_no_other(line: bytes, reason: str) -> None:
    sink = KeptSink()
    report = intake_of((sink, {"metric"})).accept_lines(b"a value=1 17\n" + line + b"\nb value=2 17\n")
    assert (report.accepted, report.rejected) == (2, 1)
    assert report.errors[0]["line"] == 2
    assert reason in report.errors[0]["reason"]
    assert sink.batches[0].samples == 2


@given(st.binary(max_size=200))
def test_no_bytes_break_the_intake(body: bytes) -> None:
    sink = KeptSink()
    report = intake_of((sink, {"metric", "event", "log", "control"})).accept_lines(body)
    assert sum(batch.samples for batch in sink.batches) <= report.accepted


def test_a_batch_of_very_many_lines_is_passed_on_in_parts_of_which_none_is_large() -> None:
    sink = KeptSink()
    body = b"bad\n" + b"a value=1 17\n" * 45_000 + b'a event="x" 17\n' * 45_000
    report = intake_of((sink, {"metric", "event"})).accept_lines(body)
    assert (report.accepted, report.rejected) == (90_000, 1)
    assert sum(batch.samples for batch in sink.batches) == 90_000
    assert max(batch.samples for batch in sink.batches) <= 20_000
    sink.batches.clear()
    series = RawSeries("a", {}, {})
    intake_of((sink, {"metric"})).accept_samples([(series, 1.0, 17)] * 45_000)
    assert [batch.samples for batch in sink.batches] == [20_000, 20_000, 5_000]


def test_a_sink_that_fails_does_not_affect_the_others() -> None:
    class FullSink(KeptSink):
        def put(self, _batch: Batch, /) -> None:
            raise OSError(28, "No space left on device")

    sink = KeptSink()
    assert intake_of((FullSink(), {"metric"}), (sink, {"metric"})).accept_lines(b"m value=1 17").accepted == 1
    assert sink.batches[0].samples == 1


def http_receiver(intake: Intake, **options: Any) -> HttpReceiver:
    receiver = HttpReceiver("r", HttpReceiverSettings("http", address="127.0.0.1", port=free_port(), **options), intake)
    receiver.start()
    return receiver


def free_port() -> int:
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.server_close()
    return server.server_port


def test_an_agent_delivers_to_another_one(tmp_path: Path) -> None:
    sink = KeptSink()
    receiver = http_receiver(intake_of((sink, {"metric"})), token="s3cr3t")
    url = f"http://127.0.0.1:{receiver.port}"
    sender = make_sink(SinkDescription("up", HttpSettings("http", url=url, jwt="s3cr3t")), tmp_path)
    sender.start()
    lines = b"".join(b"load,cluster=c,hostname=n%d,type=node value=1 1700000000\n" % number for number in range(100))
    for _ in range(3):
        sender.put(Batch(lines, 100))
    sender.close(10.0)
    receiver.close()
    assert sink.lines == lines * 3


def test_the_answer_to_a_batch_says_what_was_bad_as_that_of_the_backend_does() -> None:
    receiver = http_receiver(intake_of((KeptSink(), {"metric"})))
    sender = HttpSender(f"http://127.0.0.1:{receiver.port}/api/write?cluster=c")
    outcome = sender.send(b"a value=1\nbad\nb value=2\n")
    assert (outcome.kind, outcome.rejected) == (OutcomeKind.DELIVERED_PARTLY, 1)
    assert outcome.errors == ("line 2: there is no field after the series",)
    assert sender.send(b"a value=1\n").kind is OutcomeKind.DELIVERED
    sender.close()
    receiver.close()


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("POST", "/api/write", {}, 200),
        ("POST", "/api/write/", {}, 200),
        ("GET", "/api/write", {}, 405),
        ("POST", "/other", {}, 404),
        ("POST", "/in", {"path": "in"}, 200),
        ("POST", "/in", {"path": "/in/"}, 200),
        ("POST", "/api/write", {"username": "u", "password": "p"}, 401),
        ("POST", "/api/write", {"token": "t"}, 401),
    ],
)
def test_requests_are_answered_by_method_path_and_credentials(
    method: str, path: str, options: Any, status: int
) -> None:
    receiver = http_receiver(intake_of((KeptSink(), {"metric"})), **options)
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=5)
    connection.request(method, path, b"a value=1\n")
    assert connection.getresponse().status == status
    connection.close()
    receiver.close()


def test_a_receiver_that_everybody_can_use_is_warned_of() -> None:
    assert HttpReceiverSettings("http", address="127.0.0.1").advice() == ()
    assert "anybody" in HttpReceiverSettings("http").advice()[0]
    assert "can be read" in HttpReceiverSettings("http", token="t").advice()[0]
    assert HttpReceiverSettings("http", token="t", cert_file="x").advice() == ()


def test_what_is_published_is_received_also_after_the_server_was_gone(nats_servers: Any, tmp_path: Path) -> None:
    sink = KeptSink()
    with nats_servers.running_server(tmp_path) as server:
        settings = NatsReceiverSettings("nats", address="127.0.0.1", port=str(server.port), subject="hpc.*.metrics")
        receiver = NatsReceiver("r", settings, intake_of((sink, {"metric"})))
        server.kill()
        receiver.start()
        server.start()
        assert receiver.subscribed.wait(15)
        sender = NatsSender(NatsAccess((server.address,)), "hpc.a.metrics", timeout_s=5)
        assert sender.send(b"load,hostname=n1 value=1 1700000000\nbad\n").kind is OutcomeKind.DELIVERED
        wait_until(lambda: sink.batches)
        assert sink.lines == b"load,cluster=c,hostname=n1 value=1 1700000000\n"
        server.kill()
        server.start()
        wait_until(lambda: sender.send(b"late,hostname=n1 value=1 1700000001\n") and len(sink.batches) > 1)
        sender.close()
        receiver.close()


def test_a_subject_that_is_none_ends_the_start() -> None:
    receiver = NatsReceiver("r", NatsReceiverSettings("nats", subject="a b"), intake_of())
    with pytest.raises(DeliveryError, match="subject"):
        receiver.start()


def prometheus_pair(sink: KeptSink, **options: Any) -> tuple[PrometheusSink, PrometheusReceiver]:
    page = PrometheusSettings("prometheus", host="127.0.0.1", port=free_port(), **options)
    shown = PrometheusSink("p", page, clock=lambda: NOW_S + 100.0)
    shown.start()
    settings = PrometheusReceiverSettings(
        "prometheus", address="127.0.0.1", port=shown.port, interval_s=3600.0, token=options.get("token", "")
    )
    return shown, PrometheusReceiver("r", settings, intake_of((sink, {"metric"})), clock=lambda: NOW_S + 200.0)


def test_what_one_agent_shows_to_prometheus_another_one_scrapes() -> None:
    sink = KeptSink()
    shown, receiver = prometheus_pair(sink, token="t")
    lines = b"a\\ b,cluster=x,hostname=n1,type=socket,type-id=1 value=2.5 1790000000\n"
    shown.put(Batch(lines + b"load,cluster=x,hostname=n1,type=node value=1 1790000050\n", 2))
    receiver.start()
    wait_until(lambda: sink.batches)
    receiver.close()
    shown.close(1.0)
    assert sink.lines == (
        b"a_b,cluster=x,hostname=n1,type=socket,type-id=1 value=2.5 1790000000\n"
        b"load,cluster=x,hostname=n1,type=node value=1 1790000050\n"
    )


def prometheus_sink(**options: Any) -> PrometheusSink:
    settings = PrometheusSettings("prometheus", port=1, **options)
    return PrometheusSink("p", settings, clock=lambda: NOW_S + 100.0)


def test_of_each_series_the_latest_value_is_shown_until_it_expires() -> None:
    sink = prometheus_sink(expiry_s=60.0)
    sink.put(Batch(b"b,x=1 value=1 %d\nb,x=1 value=2 %d\nold value=3 %d\n" % (NOW_S + 50, NOW_S + 49, NOW_S), 3))
    sink.put(Batch(b"a value=5 %d\nb,x=2 value=4 %d\n" % (NOW_S + 60, NOW_S + 60), 2))
    assert sink.page() == (
        f"# TYPE a gauge\na 5 {NOW_S + 60}000\n"
        f'# TYPE b gauge\nb{{x="1"}} 1 {NOW_S + 50}000\nb{{x="2"}} 4 {NOW_S + 60}000\n'
    )


def test_tags_that_become_one_label_leave_a_page_that_can_be_read() -> None:
    sink = prometheus_sink()
    sink.put(Batch(b"a,x-y=1,x_y=2 value=5 %d\n" % NOW_S, 1))
    assert sink.page() == f'# TYPE a gauge\na{{x_y="1"}} 5 {NOW_S}000\n'


def test_the_group_of_a_metric_becomes_the_beginning_of_its_name(tmp_path: Path) -> None:
    sink = prometheus_sink(group_as_namespace=True)
    router = Router(sink._settings.make_processors("p"), {})
    sink.put(router.encode([(RawSeries("cpu_user", {"type": "node"}, {"group": "CPU"}), 1)], NOW_S))
    assert sink.page() == f'# TYPE CPU_cpu_user gauge\nCPU_cpu_user{{type="node"}} 1 {NOW_S}000\n'


class Page:
    """A server with one page of text, or one status."""

    def __init__(self, status: int, body: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def scraper(port: int, sink: KeptSink) -> PrometheusReceiver:
    settings = PrometheusReceiverSettings("prometheus", address="127.0.0.1", port=port, interval_s=3600.0)
    receiver = PrometheusReceiver("r", settings, intake_of((sink, {"metric"})), clock=lambda: NOW_S + 0.9)
    receiver._poller.start = lambda: None  # type: ignore[method-assign] # the test scrapes by itself
    receiver.start()
    return receiver


def test_labels_become_tags_and_samples_without_a_time_get_that_of_the_scrape() -> None:
    page, sink = Page(200, b'# HELP x\nup{type_id="0",type="socket",e=""} 1\nx 2.5 1700000000123\nbad\n'), KeptSink()
    receiver = scraper(page.server.server_port, sink)
    receiver.scrape()
    receiver.close()
    page.close()
    assert sink.lines == (
        b"up,cluster=c,hostname=relay,type=socket,type-id=0 value=1 1790000000\n"
        b"x,cluster=c,hostname=relay,type=node value=2.5 1700000000\n"
    )


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [(503, b"x 1\n", "HTTP 503"), (200, b"<html>\n<b>no</b>", "text format"), (302, b"", "HTTP 302")],
)
def test_a_scrape_that_fails_costs_only_itself(status: int, body: bytes, reason: str) -> None:
    page, sink = Page(status, body), KeptSink()
    receiver = scraper(page.server.server_port, sink)
    with pytest.raises(AgentError, match=reason):
        receiver.scrape()
    assert receiver._poller.poll_once() is False
    page.close()
    assert receiver._poller.poll_once() is False
    receiver.close()
    assert sink.batches == []


def test_a_poll_that_fails_is_logged_when_that_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    results = iter([ValueError("x"), ValueError("x"), ValueError("y"), None])

    def poll() -> None:
        result = next(results)
        if result is not None:
            raise result

    poller = Poller("r", poll, 1.0)
    with caplog.at_level("INFO"):
        assert [poller.poll_once() for _ in range(4)] == [False, False, False, True]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]


REFERENCE = {
    "in": {
        "type": "http",
        "address": "",
        "port": "8080",
        "path": "/write",
        "idle_timeout": "120s",
        "keep_alives_enabled": True,
        "username": "u",
        "password": "p",
        "process_messages": {"drop_messages": ["x"]},
    },
    "bus": {
        "type": "nats",
        "address": "nats.example.org",
        "port": "4222",
        "subject": "subject",
        "nkey_file": "",
    },
    "exporter": {
        "type": "prometheus",
        "address": "testpromhost",
        "port": "12345",
        "path": "/prometheus",
        "interval": "5s",
        "ssl": True,
    },
    "phases": {"type": "eecpt", "port": "8080", "analysis_interval": "5m"},
}


def test_receivers_of_the_reference_load_and_what_is_left_out_is_said() -> None:
    loaded = load_receivers(REFERENCE, source="receivers.json", base_directory=None, environment={})
    made = [make_receiver(description, intake_of()) for description in loaded.receivers]
    assert [type(receiver) for receiver in made] == [HttpReceiver, NatsReceiver, PrometheusReceiver]
    assert any("eecpt" in warning for warning in loaded.warnings)
    assert all(warning.startswith("receivers.json: receivers.") for warning in loaded.warnings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "htp"}, "must be one of http"),
        ({"type": "http", "prot": 1}, "did you mean 'port'"),
        ({"type": "http", "port": "eighty"}, "must be a number from 1 to 65535"),
        ({"type": "nats"}, "subject: is required"),
        ({"type": "prometheus", "address": "a", "port": 1}, "interval: is required"),
        ({"type": "http", "process_messages": {"drop_messages_if": ["name =="]}}, "receivers.r.process_messages"),
        ([], "must be an object"),
    ],
)
def test_mistakes_in_receivers_are_named(options: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_receivers({"r": options}, source="x", base_directory=None, environment={})


def configuration_of(folder: Path, **document: Any) -> AgentConfiguration:
    file = folder / "agent.json"
    file.write_text(json.dumps({"main": {"hostname": "relay", "cluster": "c"}, "collectors": {}, **document}))
    return load_configuration(AgentOptions(config=str(file)), {})


def test_rules_of_receiver_agent_and_sink_apply_in_this_order(tmp_path: Path) -> None:
    def renaming(old: str, new: str) -> Any:
        return {"rename_messages": {old: new}}

    configuration = configuration_of(
        tmp_path,
        receivers={"r": {"type": "http", "address": "127.0.0.1", "process_messages": renaming("a", "b")}},
        router={"process_messages": renaming("b", "c")},
        sinks={
            "one": {"type": "stdout", "process_messages": renaming("c", "d")},
            "two": {"type": "stdout"},
        },
    )
    kept = [KeptSink(), KeptSink()]
    (receiver,) = make_receivers(configuration, kept)
    assert isinstance(receiver, HttpReceiver)
    receiver.intake.accept_lines(b"a,type=node value=1 17")
    assert [sink.lines for sink in kept] == [
        b"d,cluster=c,hostname=relay,type=node value=1 17\n",
        b"c,cluster=c,hostname=relay,type=node value=1 17\n",
    ]


def test_a_sink_for_events_gets_no_samples_of_the_collectors(tmp_path: Path) -> None:
    configuration = configuration_of(
        tmp_path, sinks={"e": {"type": "stdout", "message_types": ["event"]}, "m": {"type": "stdout"}}
    )
    assert [output.gets_samples for output in make_routed_sinks(configuration)] == [False, True]
    with pytest.raises(SettingsError, match="no class 'events'"):
        configuration_of(tmp_path, sinks={"e": {"type": "stdout", "message_types": ["events"]}})


def test_a_pipeline_receives_and_writes_what_it_got(tmp_path: Path) -> None:
    port, target = free_port(), tmp_path / "lines"
    configuration = configuration_of(
        tmp_path,
        receivers={"r": {"type": "http", "address": "127.0.0.1", "port": port}},
        sinks={"out": {"type": "stdout", "output_file": str(target), "message_types": ["metric", "event"]}},
    )
    pipeline = start_pipeline(configuration)
    sender = HttpSender(f"http://127.0.0.1:{port}/api/write")
    assert sender.send(b'a,hostname=n value=1 17\njob,hostname=n event="x" 17\n').kind is OutcomeKind.DELIVERED
    sender.close()
    pipeline.close(1.0)
    assert target.read_bytes() == b'a,cluster=c,hostname=n value=1 17\njob,cluster=c,hostname=n event="x" 17\n'


def test_a_receiver_that_cannot_start_ends_the_start(tmp_path: Path) -> None:
    taken = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    configuration = configuration_of(
        tmp_path,
        receivers={"r": {"type": "http", "address": "127.0.0.1", "port": taken.server_port}},
        sinks={"out": {"type": "stdout"}},
    )
    with pytest.raises(AgentError, match="cannot listen"):
        start_pipeline(configuration)
    taken.server_close()
