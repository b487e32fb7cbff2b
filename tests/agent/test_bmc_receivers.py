"""Receivers that ask management controllers: a made program for IPMI, a made controller for Redfish."""

from __future__ import annotations

import base64
import http.server
import json
import math
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_agent.errors import AgentError, NotPresentError
from cc_agent.receivers.intake import Intake, IntakeOutput
from cc_agent.receivers.ipmi import IpmiReceiver, IpmiReceiverSettings, parse_sensors
from cc_agent.receivers.redfish import MAX_REQUESTS, RedfishReceiver, RedfishReceiverSettings
from cc_agent.receivers.redfish_readings import read_chassis, read_processor
from cc_agent.receivers.registry import load_receivers
from cc_agent.router import Batch, Router
from cc_common.errors import SettingsError

NOW_S = 1_790_000_000


class KeptSink:
    name = "kept"

    def __init__(self) -> None:
        self.lines = b""

    def start(self) -> None:
        pass

    def put(self, batch: Batch, /) -> None:
        self.lines += batch.lines

    def close(self, _deadline_s: float, /) -> None:
        pass


def intake_of(sink: KeptSink) -> Intake:
    return Intake("bmc", [IntakeOutput(Router([], {"cluster": "c"}), sink, frozenset({"metric"}))])


def settings_of(**options: Any) -> Any:
    loaded = load_receivers({"bmc": options}, source="x", base_directory=None, environment={})
    return loaded.receivers[0].settings


OUTPUT = b"""n1-bmc: 4,Ambient Temp,Temperature,23.00,C,'OK'
n1-bmc: 71,"PSU, left",Power Supply,180.00,W,'OK'
n1-bmc: 80,FAN MOD 1A RPM,Fan,8400.00,RPM,'OK'
n2-bmc: 4,Ambient Temp,Temperature,24.00,C,'OK'
n2-bmc: 90,12V,Voltage,12.10,V,'OK'
n2-bmc: 91,Load,Other,55.00,%,'OK'
n2-bmc: 92,Status,Discrete,N/A,N/A,'OK'
n2-bmc: 93,Broken,Temperature,nan,C,'OK'
n2-bmc: 94,Short,Temperature
other-bmc: 4,Ambient Temp,Temperature,25.00,C,'OK'
n3-bmc: session timeout
ID,Name,Type,Reading,Units,Event
"""


def test_numbers_of_sensors_are_read_and_everything_else_skipped() -> None:
    assert [tuple(reading) for reading in parse_sensors(OUTPUT)] == [
        ("n1-bmc", "Ambient Temp", 23.0, "C"),
        ("n1-bmc", "PSU, left", 180.0, "W"),
        ("n1-bmc", "FAN MOD 1A RPM", 8400.0, "RPM"),
        ("n2-bmc", "Ambient Temp", 24.0, "C"),
        ("n2-bmc", "12V", 12.1, "V"),
        ("n2-bmc", "Load", 55.0, "%"),
        ("other-bmc", "Ambient Temp", 25.0, "C"),
    ]


@given(st.binary(max_size=300))
def test_no_output_breaks_the_reader(output: bytes) -> None:
    assert all(math.isfinite(reading.value) for reading in parse_sensors(output))


@given(st.lists(st.text(max_size=10), max_size=8))
def test_no_columns_break_the_reader(columns: list[str]) -> None:
    list(parse_sensors(("n1: " + ",".join(columns)).encode("utf-8", "replace")))


@pytest.fixture
def ipmi_sensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where a made ipmi-sensors keeps its words and its configuration, and prints the file `output`."""
    program = tmp_path / "bin" / "ipmi-sensors"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
for word in "$@"; do
    echo "$word" >>{tmp_path}/words
    file=${{word#--config-file=}}
    [ "$file" = "$word" ] || {{ cat "$file" >{tmp_path}/access; stat -c %a "$file" >{tmp_path}/mode; }}
done
cat {tmp_path}/output
exit 1
"""
    )
    program.chmod(0o755)
    (tmp_path / "output").write_bytes(OUTPUT)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def ipmi_receiver(sink: KeptSink, **options: Any) -> IpmiReceiver:
    settings = settings_of(**{"type": "ipmi", "username": "monitor", "password": "geheim", "fanout": 8, **options})
    assert isinstance(settings, IpmiReceiverSettings)
    return IpmiReceiver("bmc", settings, intake_of(sink), clock=lambda: float(NOW_S))


def test_sensors_of_many_nodes_are_read_by_one_program(ipmi_sensors: Path) -> None:
    sink = KeptSink()
    nodes = {"host_list": "n[1-3]", "cli_options": ["--workaround-flags=x"]}
    ipmi_receiver(sink, client_config=[nodes], exclude_metrics=["voltage"]).read_all()

    def line(metric: str, host: str, sensor: str, value: int) -> str:
        name = sensor.replace(" ", "\\ ").replace(",", "\\,")
        tags = f"cluster=c,hostname={host},name={name},stype=sensor,stype-id={name},type=node"
        return f"{metric},{tags} value={value} {NOW_S}"

    assert sink.lines.decode().splitlines() == [
        line("temperature", "n1", "Ambient Temp", 23),
        line("power", "n1", "PSU, left", 180),
        line("fan_speed", "n1", "FAN MOD 1A RPM", 8400),
        line("temperature", "n2", "Ambient Temp", 24),
        line("utilization", "n2", "Load", 55),
    ]
    words = (ipmi_sensors / "words").read_text().split()
    assert {"--hostname=n1-bmc,n2-bmc,n3-bmc", "--fanout=8", "--driver-type=LAN_2_0", "--workaround-flags=x"} <= {
        *words
    }


def test_the_password_is_in_a_file_of_its_own_which_is_gone_afterwards(ipmi_sensors: Path) -> None:
    ipmi_receiver(KeptSink(), client_config=[{"host_list": "n1"}]).read_all()
    assert "geheim" not in (ipmi_sensors / "words").read_text()
    assert (ipmi_sensors / "access").read_text() == "username monitor\npassword geheim\n"
    assert (ipmi_sensors / "mode").read_text() == "600\n"
    assert list(ipmi_sensors.glob("cc-agent-ipmi-*")) == []


def test_nodes_that_cannot_be_read_cost_only_themselves(ipmi_sensors: Path) -> None:
    sink = KeptSink()
    receiver = ipmi_receiver(sink, client_config=[{"host_list": "x[1-2]"}, {"host_list": "n1", "password": "own"}])
    with pytest.raises(AgentError, match="no sensor of x1 and 1 others"):
        receiver.read_all()
    assert sink.lines.count(b"\n") == 3
    assert (ipmi_sensors / "access").read_text() == "username monitor\npassword own\n"


def test_without_the_program_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotPresentError, match="ipmi-sensors"):
        ipmi_receiver(KeptSink()).start()


@pytest.mark.parametrize(
    ("kind", "client", "message"),
    [
        ("ipmi", {"host_list": "n[1-"}, "host list"),
        ("ipmi", {"host_list": "@all"}, "host list"),
        ("ipmi", {"host_list": "n[1-99999999]"}, "host list"),
        ("ipmi", {"host_list": "n1", "endpoint": "ipmi-sensors://-x"}, "endpoint"),
        ("ipmi", {"host_list": "n1", "endpoint": "ipmi-sensors://a b"}, "endpoint"),
        ("ipmi", {"host_list": "n1", "endpoint": "https://n1"}, "endpoint"),
        ("ipmi", {"host_list": "n[1-2]", "endpoint": "ipmi-sensors://bmc"}, "needs %h"),
        ("ipmi", {"host_list": "n1", "password": 'a"b'}, "FreeIPMI cannot read"),
        ("ipmi", {"host_list": "n1", "password": "a\nusername root"}, "FreeIPMI cannot read"),
        ("ipmi", {}, "host_list: is required"),
        ("redfish", {"host_list": "n1", "endpoint": "file:///etc/passwd"}, "must begin with https"),
        ("redfish", {"host_list": "n1", "typo": 1}, "no such setting"),
    ],
)
def test_mistakes_in_lists_of_nodes_are_named(kind: str, client: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings_of(type=kind, client_config=[client])


def links(*paths: str) -> Any:
    return {"Members": [{"@odata.id": path} for path in paths]}


ROOT = "/redfish/v1"
CONTROLLER = {
    f"{ROOT}/Chassis": links(f"{ROOT}/Chassis/1", f"{ROOT}/Chassis/off"),
    f"{ROOT}/Chassis/1": {
        "Id": "1",
        "Name": "Main",
        "Status": {"State": "Enabled"},
        "Power": {"@odata.id": f"{ROOT}/Chassis/1/Power"},
        "Thermal": {"@odata.id": f"{ROOT}/Chassis/1/Thermal"},
        "Sensors": {"@odata.id": f"{ROOT}/Chassis/1/Sensors"},
    },
    f"{ROOT}/Chassis/off": {"Id": "off", "Status": {"State": "Disabled"}},
    f"{ROOT}/Chassis/1/Power": {
        "PowerControl": [
            {
                "MemberId": "0",
                "Name": "System",
                "PowerConsumedWatts": 412,
                "PowerMetrics": {"AverageConsumedWatts": 400, "MinConsumedWatts": 300, "MaxConsumedWatts": 500.5},
            },
            {"MemberId": "1", "Name": "Off", "PowerConsumedWatts": 1, "Status": {"State": "Absent"}},
        ]
    },
    f"{ROOT}/Chassis/1/Thermal": {
        "Temperatures": [
            {"MemberId": "0", "Name": "Inlet", "ReadingCelsius": 24},
            {"Name": "None", "ReadingCelsius": None},
        ],
        "Fans": [{"MemberId": "0", "FanName": "Fan1", "Reading": 30, "ReadingUnits": "Percent"}],
    },
    f"{ROOT}/Chassis/1/Sensors": links(f"{ROOT}/Chassis/1/Sensors/a", f"{ROOT}/Chassis/1/Sensors/b"),
    f"{ROOT}/Chassis/1/Sensors/a": {
        "Id": "a",
        "Name": "Board",
        "ReadingType": "Power",
        "Reading": 33.5,
        "ReadingUnits": "W",
    },
    f"{ROOT}/Chassis/1/Sensors/b": {"Id": "b", "Name": "Sound", "ReadingType": "Noise", "Reading": 60},
    f"{ROOT}/Systems": links(f"{ROOT}/Systems/1"),
    f"{ROOT}/Systems/1": {"Processors": {"@odata.id": f"{ROOT}/Systems/1/Processors"}},
    f"{ROOT}/Systems/1/Processors": links(*(f"{ROOT}/Systems/1/Processors/{name}" for name in ("c0", "gpu", "c1"))),
    **{
        f"{ROOT}/Systems/1/Processors/{name}": {
            "Id": name,
            "ProcessorType": "GPU" if name == "gpu" else "CPU",
            "Metrics": {"@odata.id": f"{ROOT}/Systems/1/Processors/{name}/ProcessorMetrics"},
        }
        for name in ("c0", "gpu", "c1")
    },
    **{
        f"{ROOT}/Systems/1/Processors/{name}/ProcessorMetrics": {"ConsumedPowerWatt": watts, "TemperatureCelsius": 50}
        for name, watts in (("c0", 120), ("gpu", 300), ("c1", 130))
    },
}


class MadeController:
    """A controller with documents by their path; bytes are given as they are."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = dict(CONTROLLER)
        self.requests: list[tuple[str, str]] = []
        made = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536  # head and body in one piece: else each waits for an acknowledgement

            def do_GET(self) -> None:
                made.requests.append((self.path, self.headers.get("Authorization", "")))
                document = made.documents.get(self.path)
                body = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(404 if document is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def controller() -> Iterator[MadeController]:
    made = MadeController()
    yield made
    made.close()


def read_redfish(sink: KeptSink, endpoint: str, hosts: str = "n1", **options: Any) -> None:
    settings = settings_of(
        **{
            "type": "redfish",
            "username": "monitor",
            "password": "geheim",
            "client_config": [{"host_list": hosts, "endpoint": endpoint}],
            "http_timeout": "2s",
            **options,
        }
    )
    assert isinstance(settings, RedfishReceiverSettings)
    receiver = RedfishReceiver("bmc", settings, intake_of(sink), clock=lambda: float(NOW_S))
    receiver.open()
    try:
        receiver.read_all()
    finally:
        receiver.close()


def short(lines: bytes) -> list[tuple[str, str, str, float]]:
    """Metric, type with id, sensor and value of each line."""
    found = []
    for line in lines.decode().splitlines():
        series, fields, _ = line.replace("\\ ", "_").split(" ")
        metric, *pairs = series.split(",")
        tags = dict(pair.split("=") for pair in pairs)
        part = tags["type"] + tags.get("type-id", "")
        found.append((metric, part, tags.get("stype-id", ""), float(fields.removeprefix("value="))))
    return found


EXPECTED = [
    ("consumed_watts", "node", "1:System", 412.0),
    ("average_consumed_watts", "node", "1:System", 400.0),
    ("min_consumed_watts", "node", "1:System", 300.0),
    ("max_consumed_watts", "node", "1:System", 500.5),
    ("temperature", "node", "1:Inlet", 24.0),
    ("fan_speed", "node", "1:Fan1", 30.0),
    ("power", "node", "1:Board", 33.5),
    ("consumed_power", "socket0", "", 120.0),
    ("temperature", "socket0", "", 50.0),
    ("consumed_power", "socket1", "", 130.0),
    ("temperature", "socket1", "", 50.0),
]


def test_power_temperatures_fans_sensors_and_processors_of_a_node_are_read(controller: MadeController) -> None:
    sink = KeptSink()
    read_redfish(sink, controller.endpoint)
    assert short(sink.lines) == EXPECTED
    assert b"chassis_id=1,chassis_name=Main" in sink.lines
    assert b"hostname=n1" in sink.lines
    basic = "Basic " + base64.b64encode(b"monitor:geheim").decode()
    assert {authorization for _, authorization in controller.requests} == {basic}


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"disable_power_metrics": True}, EXPECTED[4:]),
        ({"disable_thermal_metrics": True}, EXPECTED[:4] + EXPECTED[6:]),
        ({"disable_sensors": True}, EXPECTED[:6] + EXPECTED[7:]),
        ({"disable_processor_metrics": True}, EXPECTED[:7]),
        ({"exclude_metrics": ["temperature"]}, [entry for entry in EXPECTED if entry[0] != "temperature"]),
    ],
)
def test_parts_that_are_not_wanted_are_not_asked_for(controller: MadeController, options: Any, left: Any) -> None:
    sink = KeptSink()
    read_redfish(sink, controller.endpoint, **options)
    assert short(sink.lines) == left


@pytest.mark.parametrize(
    ("path", "document", "reason"),
    [
        (f"{ROOT}/Chassis/1/Sensors", b"not json", "is not JSON"),
        (f"{ROOT}/Chassis/1/Sensors", b"[" * 100_000, "is not JSON"),
        (f"{ROOT}/Chassis/1/Sensors", [], "is not an object"),
        (f"{ROOT}/Chassis/1/Sensors", b" " * (5 << 20), "is longer than"),
        (f"{ROOT}/Chassis/1/Sensors", None, "HTTP 404"),
    ],
)
def test_a_document_that_is_none_costs_the_rest_of_that_controller_only(
    controller: MadeController, path: str, document: Any, reason: str
) -> None:
    controller.documents[path] = document
    sink = KeptSink()
    with pytest.raises(AgentError, match=f"1 of 1 controllers cannot be read, the first: n1: .*{reason}"):
        read_redfish(sink, controller.endpoint)
    assert short(sink.lines) in ([], EXPECTED[:6])


def test_a_controller_that_leads_elsewhere_or_around_is_not_followed(controller: MadeController) -> None:
    for link in ("http://evil/redfish/v1/x", "//evil/", f"{ROOT}/../../secret", "/etc/passwd", f"{ROOT}/a b", 17, None):
        controller.documents[f"{ROOT}/Chassis/1"] = {"Id": "1", "Power": {"@odata.id": link}}
        read_redfish(KeptSink(), controller.endpoint)
    assert {path for path, _ in controller.requests} <= {*CONTROLLER}
    controller.documents[f"{ROOT}/Chassis/1/Sensors"] = links(*[f"{ROOT}/Chassis/1/Sensors/a"] * 10_000)
    controller.documents[f"{ROOT}/Chassis"] = links(*[f"{ROOT}/Chassis/1"] * 10_000)
    controller.documents[f"{ROOT}/Chassis/1"] = CONTROLLER[f"{ROOT}/Chassis/1"]
    controller.requests.clear()
    with pytest.raises(AgentError, match=f"more than {MAX_REQUESTS} requests"):
        read_redfish(KeptSink(), controller.endpoint)
    assert len(controller.requests) == MAX_REQUESTS


def test_a_controller_that_takes_its_time_with_each_answer_does_not_hold_up_the_others(
    controller: MadeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([0.0, *range(0, 3600, 9)])
    monkeypatch.setattr("cc_agent.receivers.redfish.time", SimpleNamespace(monotonic=lambda: next(moments)))
    with pytest.raises(AgentError, match="n1: AgentError: it takes longer than 30 s"):
        read_redfish(KeptSink(), controller.endpoint, interval="30s")
    assert len(controller.requests) == 4


def test_a_controller_that_is_away_costs_only_itself(controller: MadeController) -> None:
    sink = KeptSink()
    clients = [
        {"host_list": "n1", "endpoint": "http://127.0.0.1:9"},
        {"host_list": "n2", "endpoint": controller.endpoint},
    ]
    with pytest.raises(AgentError, match="1 of 2 controllers cannot be read, the first: n1: ConnectError"):
        read_redfish(sink, "", client_config=clients)
    assert sink.lines.count(b"hostname=n2") == len(EXPECTED)


def test_certificates_are_checked_unless_that_is_switched_off_which_is_warned_of() -> None:
    assert settings_of(type="redfish").http_insecure is False
    loaded = load_receivers(
        {"bmc": {"type": "redfish", "http_insecure": True}}, source="x", base_directory=None, environment={}
    )
    assert any("not checked" in warning for warning in loaded.warnings)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [*("PowerControl", "Temperatures", "Fans", "Status", "Name", "Id", "PowerMetrics", "Reading", "ReadingType")]
)


@settings(max_examples=40)
@given(st.dictionaries(KEYS, JSON), st.dictionaries(KEYS, st.lists(st.dictionaries(KEYS, JSON), max_size=3) | JSON))
def test_no_document_breaks_the_reader(chassis: Any, document: Any) -> None:
    readings = [*read_chassis(chassis, {"Power": document, "Thermal": document}, [document])]
    readings += read_processor(0, chassis, document)
    assert all(math.isfinite(reading.value) for reading in readings)


REFERENCE = {
    "ipmi": {
        "type": "ipmi",
        "interval": "30s",
        "fanout": 256,
        "username": "u",
        "password": "p",
        "endpoint": "ipmi-sensors://%h-bmc",
        "exclude_metrics": ["fan_speed", "voltage"],
        "client_config": [
            {"host_list": "n[1,2-4]"},
            {"host_list": "n[5-6]", "driver_type": "LAN", "cli_options": ["--workaround-flags=x"], "password": "q"},
        ],
    },
    "redfish": {
        "type": "redfish",
        "username": "u",
        "password": "p",
        "endpoint": "https://%h-bmc",
        "exclude_metrics": ["min_consumed_watts"],
        "client_config": [{"host_list": "n[1-4]"}, {"host_list": "n5", "disable_power_metrics": True}],
    },
}


def test_receivers_of_the_reference_load_without_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "receivers.json"
    file.write_text(json.dumps(REFERENCE))
    file.chmod(stat.S_IRUSR)
    loaded = load_receivers(REFERENCE, source="receivers.json", base_directory=tmp_path, environment={})
    assert loaded.warnings == []
    assert [name for name, _ in loaded.receivers] == ["ipmi", "redfish"]
