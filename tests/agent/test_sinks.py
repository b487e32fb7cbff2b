import json
import os
from pathlib import Path
from typing import Any, Dict

import pytest

from cc_agent.agent import make_routed_sinks
from cc_agent.collectors.base import RawSeries
from cc_agent.errors import AgentError
from cc_agent.options import AgentOptions
from cc_agent.router import Batch
from cc_agent.settings import AgentConfiguration, load_configuration
from cc_agent.sinks.http import HttpSettings, make_sender, write_url
from cc_agent.sinks.nats import NatsSettings
from cc_agent.sinks.network import NetworkSink, sink_spool_folder
from cc_agent.sinks.registry import SinkDescription, load_sinks, make_sink
from cc_agent.sinks.stdout import StdoutSettings, StdoutSink
from cc_common.delivery import Outbox
from cc_common.errors import DeliveryError, SettingsError

BATCH = Batch(b"x,type=node value=1 7\n", 1)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host:8080", "http://host:8080/api/write"),
        ("https://host/", "https://host/api/write"),
        ("http://host?cluster=a", "http://host/api/write?cluster=a"),
        ("http://host/own/path?cluster=a", "http://host/own/path?cluster=a"),
        ("host:8080", "host:8080"),
        ("ftp://host", "ftp://host"),
    ],
)
def test_an_address_without_a_path_gets_the_usual_one(url: str, expected: str) -> None:
    assert write_url(url) == expected


def test_user_and_password_become_a_header() -> None:
    sender = make_sender(HttpSettings("http", url="http://host", username="u", password="p"))
    assert sender._headers["Authorization"] == "Basic dTpw"
    assert make_sender(HttpSettings("http", url="http://h", jwt="abc"))._headers["Authorization"] == "Bearer abc"


def test_an_address_that_cannot_work_is_rejected_at_the_start() -> None:
    with pytest.raises(DeliveryError, match="must begin with http:"):
        make_sink(SinkDescription("x", HttpSettings("http", url="nonsense")), None).start()


def test_what_cannot_be_sent_is_on_disk_after_the_end(tmp_path: Path) -> None:
    sink = make_sink(SinkDescription("my sink", HttpSettings("http", url="http://127.0.0.1:9")), tmp_path)
    sink.start()
    sink.put(BATCH)
    sink.put(Batch(b"", 0))
    sink.close(0.2)
    sink.close(0.2)
    outbox = Outbox(tmp_path / "my_sink")
    ticket = outbox.lease()
    outbox.close()
    assert ticket is not None
    assert ticket.batch == BATCH.lines


def test_each_sink_has_a_spool_folder_of_its_own() -> None:
    assert sink_spool_folder(Path("/spool"), "../evil") == Path("/spool/___evil")
    assert sink_spool_folder(None, "x") is None


def test_lines_go_to_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for target in ("stdout", "stderr"):
        sink = StdoutSink("out", StdoutSettings("stdout", output_file=target))
        sink.start()
        sink.put(BATCH)
        sink.close(1.0)
    captured = capfdbinary.readouterr()
    assert captured.out == BATCH.lines
    assert captured.err == BATCH.lines


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    target = tmp_path / "lines"
    target.write_bytes(b"before\n")
    sink = StdoutSink("out", StdoutSettings("stdout", output_file=str(target)))
    sink.start()
    sink.put(BATCH)
    sink.close(1.0)
    assert target.read_bytes() == b"before\n" + BATCH.lines


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    sink = StdoutSink("out", StdoutSettings("stdout", output_file=str(tmp_path / "none" / "lines")))
    with pytest.raises(AgentError, match=r"sink out: .*lines cannot be written: No such file"):
        sink.start()


def _load(document: "dict[str, Any]", **environment: str) -> "tuple[list[SinkDescription], list[str]]":
    loaded = load_sinks(document, source="test", base_directory=None, environment=environment)
    return loaded.sinks, loaded.warnings


def test_descriptions_become_sinks() -> None:
    sinks, _ = _load({"a": {"type": "http", "url": "http://x"}, "b": {"type": "stdout"}})
    assert [type(make_sink(sink, None)) for sink in sinks] == [NetworkSink, StdoutSink]


def test_types_of_the_reference_that_are_missing_are_left_out() -> None:
    sinks, warnings = _load({"a": {"type": "libganglia", "anything": 1}, "b": {"type": "questdb"}})
    assert sinks == []
    assert len(warnings) == 2


def test_meta_is_turned_into_tags_as_before() -> None:
    ((_, settings),), _ = _load({"a": {"type": "stdout", "meta_as_tags": ["unit"]}})
    processors = [processor for processor in settings.make_processors("a") if processor]
    assert len(processors) == 1


def test_settings_do_not_show_their_secrets() -> None:
    ((_, settings),), _ = _load({"a": {"type": "http", "url": "http://x"}}, CC_AGENT_TOKEN="geheim")
    assert isinstance(settings, HttpSettings)
    assert settings.jwt == "geheim"
    assert "geheim" not in repr(settings)
    assert os.environ.get("CC_AGENT_TOKEN") != "geheim"


def _nats(**options: Any) -> NatsSettings:
    ((_, settings),), _ = _load({"n": {"type": "nats", "host": "broker", "subject": "hpc.metrics", **options}})
    assert isinstance(settings, NatsSettings)
    return settings


def test_a_nats_sink_takes_the_keys_of_the_reference() -> None:
    settings = _nats(port=4223, user="u", password="geheim", flush_delay="5s", precision="ns")
    assert settings.access(settings.host, settings.port).peer == "nats://broker:4223"
    assert settings.time_precision == "ns"
    assert "geheim" not in repr(settings)
    assert "geheim" not in repr(settings.access("x", 1))


def test_several_servers_and_encryption_are_given_in_the_host() -> None:
    settings = _nats(host="a, b:5 ,tls://c,[::1]")
    assert settings.access(settings.host, settings.port).peer == "tls://a:4222,tls://b:5,tls://c:4222,tls://[::1]:4222"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": "u"}, "'password' must be given together"),
        ({"user": "u", "password": "p", "token": "t"}, "keep one"),
        ({"token": "t", "nkey_file": "f"}, "keep one"),
        ({"database": "x"}, "no such setting"),
        ({"port": 0}, "port"),
    ],
)
def test_a_nats_sink_with_contradictions_is_rejected(options: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        _nats(**options)


def test_samples_arrive_over_nats_with_the_rules_and_precision_of_the_sink(
    nats_servers: Any, nats_listener: Any, tmp_path: Path
) -> None:
    with nats_servers.running_server(tmp_path) as server, nats_listener(server.address) as listener:
        configuration = load_configuration_of(
            {
                "main": {"hostname": "n1", "cluster": "c"},
                "sinks": {
                    "broker": {
                        "type": "nats",
                        "host": server.address,
                        "subject": "hpc.metrics",
                        "precision": "ms",
                        "meta_as_tags": ["unit"],
                    }
                },
            },
            tmp_path,
        )
        ((router, sink, _),) = make_routed_sinks(configuration)
        sink.start()
        sink.put(router.encode([(RawSeries("load", {"type": "node"}, {"unit": "1"}), 2.5)], 17))
        sink.close(5.0)
        assert listener.sees() == [b"load,cluster=c,hostname=n1,type=node,unit=1 value=2.5 17000\n"]


def load_configuration_of(document: Dict[str, Any], folder: Path) -> AgentConfiguration:
    file = folder / "agent.json"
    file.write_text(json.dumps(document))
    return load_configuration(AgentOptions(config=str(file)), {})
