from __future__ import annotations

import gc
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cc_agent.agent import Agent, Pipeline, RoutedSink, make_routed_sinks, start_pipeline, unchanged_collectors
from cc_agent.collectors.base import RawSeries, Reading, Tick
from cc_agent.control.client import ask_agent
from cc_agent.control.requests import MarkRequest, PauseRequest, StatusRequest
from cc_agent.errors import ControlError
from cc_agent.options import AgentOptions
from cc_agent.router import Batch, Router
from cc_agent.sampler import Sampler
from cc_agent.settings import load_configuration
from cc_common.errors import CockpitError, SettingsError
from cc_common.line_protocol import decode


@pytest.fixture(autouse=True)
def thaw() -> Iterator[None]:
    """The agent freezes the garbage collector; the other tests want it back."""
    yield
    gc.enable()
    gc.unfreeze()


class KeptSink:
    def __init__(self, error: OSError | None = None) -> None:
        self.name = "kept"
        self.batches: list[Batch] = []
        self.closed: list[float] = []
        self.error = error

    def start(self) -> None:
        pass

    def put(self, batch: Batch, /) -> None:
        if self.error is not None:
            raise self.error
        self.batches.append(batch)

    def close(self, deadline_s: float, /) -> None:
        self.closed.append(deadline_s)


class OneValue:
    name = "one"
    metrics = ()

    def open(self) -> None:
        pass

    def read(self, _tick: Tick, /) -> list[Reading]:
        return [(RawSeries("x", {"type": "node"}, {}), 1)]

    def close(self) -> None:
        pass


def _pipeline(*sinks: KeptSink, markers: bool = False) -> Pipeline:
    router = Router([], {"hostname": "n1"} if markers else {})
    return Pipeline(Sampler([OneValue()]), [RoutedSink(router, sink) for sink in sinks], 10, markers=markers)


def test_a_marker_ends_the_samples_of_each_tick() -> None:
    sink = KeptSink()
    pipeline = _pipeline(sink, markers=True)
    for time_s in (1000, 1010):
        pipeline.sample(time_s)
        pipeline.hand_over()
    assert [batch.lines.splitlines()[-1] for batch in sink.batches] == [
        b"ccmc-end,hostname=n1,type=node value=1 1000",
        b"ccmc-end,hostname=n1,type=node value=1 1010",
    ]


def test_lines_wait_until_they_are_handed_over() -> None:
    sink = KeptSink()
    pipeline = _pipeline(sink)
    pipeline.sample(1000)
    assert sink.batches == []
    pipeline.hand_over()
    assert sink.batches == [Batch(b"x,type=node value=1 1000\n", 1)]
    pipeline.hand_over()
    assert len(sink.batches) == 1


def test_closing_hands_over_what_waits() -> None:
    sink = KeptSink()
    pipeline = _pipeline(sink)
    pipeline.sample(1000)
    pipeline.close(3.0)
    assert len(sink.batches) == 1
    assert sink.closed == [3.0]


def test_a_sink_that_fails_costs_only_its_own_samples(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    bad, good = KeptSink(OSError(28, "No space left on device")), KeptSink()
    pipeline = _pipeline(bad, good)
    pipeline.sample(1000)
    pipeline.hand_over()
    assert len(good.batches) == 1
    assert "samples lost sink=kept samples=1 reason=No space left on device" in caplog.text


def test_garbage_is_collected_between_ticks_only() -> None:
    pipeline = _pipeline(KeptSink())
    pipeline.rest()
    assert not gc.isenabled()
    pipeline.close(0.0)
    assert gc.isenabled()


def _configuration(folder: Path, document: dict[str, Any]) -> Any:
    path = folder / "agent.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return load_configuration(AgentOptions(config=str(path), hostname="n01"), {})


def test_sinks_without_rules_of_their_own_share_a_router(tmp_path: Path) -> None:
    document = {
        "sinks": {
            "a": {"type": "stdout"},
            "b": {"type": "stdout"},
            "c": {"type": "stdout", "process_messages": {"drop_messages": ["cpu_load"]}},
        }
    }
    first, second, third = make_routed_sinks(_configuration(tmp_path, document))
    assert first.router is second.router
    assert third.router is not first.router


def test_an_agent_with_nowhere_to_send_to_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no sink to send to"):
        start_pipeline(_configuration(tmp_path, {}))


def test_the_collector_of_the_agent_knows_what_waits_in_the_sinks(tmp_path: Path) -> None:
    document = {"collectors": {"self": {}}, "sinks": {"away": {"type": "http", "url": "http://127.0.0.1:9"}}}
    pipeline = start_pipeline(_configuration(tmp_path, document))
    try:
        pipeline.sample(1_000_000_000)
        pipeline.hand_over()
        readings = pipeline.sampler.sample(1_000_000_010, 10)
    finally:
        pipeline.close(0.0)
    values = {series.metric: value for series, value in readings}
    assert values["agent_queue"] == 1
    assert values["agent_queue_size"] > 0
    assert values["agent_dropped"] == 0


def test_if_one_sink_cannot_start_the_others_are_closed(tmp_path: Path) -> None:
    document = {
        "sinks": {
            "a": {"type": "http", "url": "http://127.0.0.1:9"},
            "b": {"type": "stdout", "output_file": str(tmp_path / "none" / "x")},
        }
    }
    before = threading.active_count()
    with pytest.raises(CockpitError, match="cannot be written"):
        start_pipeline(_configuration(tmp_path, document))
    assert threading.active_count() <= before


class Receiver(ThreadingHTTPServer):
    daemon_threads = True
    lines = b""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes samples on an ephemeral port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        server: Receiver

        def do_POST(self) -> None:
            self.server.lines += self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = Receiver(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        threading.Event().wait(0.02)


def test_an_agent_samples_sends_reloads_and_stops(tmp_path: Path, receiver: Receiver) -> None:
    path = tmp_path / "agent.json"
    document = {
        "main": {"interval": "1s", "cluster": "demo"},
        "sinks": {"s": {"type": "http", "url": f"http://127.0.0.1:{receiver.server_address[1]}"}},
        "collectors": {"loadavg": {}},
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    agent = Agent(AgentOptions(config=str(path), hostname="n01"), {})
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        _until(lambda: b"load_one,cluster=demo" in receiver.lines)
        path.write_text("{", encoding="utf-8")
        agent.reload()
        seen = len(receiver.lines)
        _until(lambda: len(receiver.lines) > seen)
        path.write_text(json.dumps({**document, "main": {"interval": "1s", "cluster": "other"}}), encoding="utf-8")
        agent.reload()
        _until(lambda: b"load_one,cluster=other" in receiver.lines)
    finally:
        agent.stop()
        thread.join(20)
    assert not thread.is_alive()
    points, errors = decode(receiver.lines, received_s=0)
    assert not errors
    times = [(point.metric, point.tags["cluster"], point.time_s) for point in points]
    assert len(set(times)) == len(times)


def test_a_configuration_that_can_be_read_but_not_started_leaves_the_old_one_in_effect(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "agent.json"
    port = receiver.server_address[1]
    document: dict[str, Any] = {
        "main": {"interval": "1s", "cluster": "demo", "spool-directory": str(tmp_path / "spool")},
        "sinks": {"s": {"type": "http", "url": f"http://127.0.0.1:{port}"}},
        "collectors": {"loadavg": {}},
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    agent = Agent(AgentOptions(config=str(path), hostname="n01"), {})
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        _until(lambda: b"load_one" in receiver.lines)
        document["receivers"] = {"r": {"type": "http", "address": "127.0.0.1", "port": port}}
        path.write_text(json.dumps(document), encoding="utf-8")
        agent.reload()
        _until(lambda: "the old one stays in effect" in caplog.text)
        seen = len(receiver.lines)
        _until(lambda: len(receiver.lines) > seen)
    finally:
        agent.stop()
        thread.join(20)
    assert "cannot be started" in caplog.text


def test_signals_are_not_touched_by_an_agent_in_a_thread() -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_running_agent_tells_its_status_takes_marks_and_keeps_counters_over_a_reload(
    tmp_path: Path, receiver: Receiver
) -> None:
    path, control = tmp_path / "agent.json", tmp_path / "control.sock"
    document = {
        "main": {"interval": "1s", "cluster": "demo", "control-directory": str(tmp_path)},
        "sinks": {"s": {"type": "http", "url": f"http://127.0.0.1:{receiver.server_address[1]}"}},
        "collectors": {"netstat": {"send_abs_values": False, "send_derived_values": True}, "loadavg": {}},
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    agent = Agent(AgentOptions(config=str(path), hostname="n01"), {})
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        _until(lambda: b"net_bytes_in_bw" in receiver.lines)
        before = ask_agent(control, StatusRequest())
        assert [collector["state"] for collector in before["collectors"]] == ["works", "works"]
        assert (before["hostname"], before["cluster"], before["sinks"]) == ("n01", "demo", ["s"])
        assert ask_agent(control, PauseRequest(60.0)) == {"collectors": []}
        with pytest.raises(ControlError, match="in no job"):
            ask_agent(control, MarkRequest({"step": 1.0}))
        document["collectors"]["loadavg"] = {"exclude_metrics": ["load_five"]}
        path.write_text(json.dumps(document), encoding="utf-8")
        agent.reload()
        _until(lambda: _readings(control, "loadavg") < _readings(control, "netstat"))
    finally:
        agent.stop()
        thread.join()
    assert not control.exists()


def _readings(control: Path, name: str) -> int:
    try:
        collectors = ask_agent(control, StatusRequest())["collectors"]
    except ControlError:  # it is just being reloaded
        return 0
    return next(collector["readings"] for collector in collectors if collector["name"] == name)


def test_collectors_with_the_same_options_are_handed_over_at_a_reload(tmp_path: Path) -> None:
    old = _configuration(tmp_path, {"collectors": {"loadavg": {}, "netstat": {}, "memstat": {}}})
    new = _configuration(
        tmp_path, {"collectors": {"loadavg": {}, "netstat": {"include_devices": ["lo"]}, "iostat": {}}}
    )
    assert unchanged_collectors(old, new) == ["loadavg"]
