import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.base import Tick
from cc_agent.collectors.tempstat import TempstatCollector, TempstatOptions, metric_name
from cc_agent.errors import NotPresentError

Write = Callable[[str, str], None]


@pytest.fixture
def add_chip(tmp_path: Path, write: Write) -> Callable[..., None]:
    """A chip of a device, with labels and temperatures in m degC of its sensors."""

    def add(number: int, name: str, device: str, *sensors: tuple[str, int]) -> None:
        folder = f"sys/class/hwmon/hwmon{number}"
        write(f"{folder}/name", f"{name}\n")
        for index, (label, value) in enumerate(sensors, 1):
            write(f"{folder}/temp{index}_input", f"{value}\n")
            if label:
                write(f"{folder}/temp{index}_label", f"{label}\n")
        target = tmp_path / "sys/devices" / device
        target.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "device").symlink_to(target)

    return add


@pytest.fixture
def two_sockets(tmp_path: Path, add_cpu: Callable[..., None], write: Write) -> Path:
    write("sys/devices/system/cpu/online", "0-1\n")
    add_cpu(0, socket=0, core_id=0)
    add_cpu(1, socket=1, core_id=0)
    return tmp_path


def _temperatures(root: Path, **options: Any) -> dict[tuple[str, ...], float]:
    collector = TempstatCollector(TempstatOptions(**options), root)
    collector.open()
    readings = collector.read(Tick(0, 5.0, 10.0))
    assert {(series.metric, series.tags["type"]) for series, _ in readings} == {
        (metric.name, metric.scope) for metric in collector.metrics
    }
    collector.close()
    return {(series.metric, *series.tags.values()): value for series, value in readings}


def test_sensors_of_processors_belong_to_their_socket(two_sockets: Path, add_chip: Callable[..., None]) -> None:
    add_chip(3, "coretemp", "platform/coretemp.0", ("Package id 0", 51_500), ("Core 0", 50_000))
    add_chip(2, "coretemp", "platform/coretemp.1", ("Package id 1", 61_000), ("Core 0", 60_000))
    assert _temperatures(two_sockets) == {
        ("temp_package_id_0", "socket", "0"): 51.5,
        ("temp_core_0", "socket", "0"): 50.0,
        ("temp_package_id_1", "socket", "1"): 61.0,
        ("temp_core_0", "socket", "1"): 60.0,
    }


def test_sensors_of_processors_may_be_sent_for_the_node_as_the_maximum(
    two_sockets: Path, add_chip: Callable[..., None]
) -> None:
    add_chip(0, "coretemp", "platform/coretemp.0", ("Core 0", 50_000))
    add_chip(1, "coretemp", "platform/coretemp.1", ("Core 0", 60_000))
    assert _temperatures(two_sockets, send_socket_values=False) == {("temp_core_0", "node"): 60.0}
    assert _temperatures(two_sockets, send_socket_values=False, send_device_values=True) == {
        ("temp_core_0", "node"): 60.0,
        ("temp_core_0", "node", "sensor", "coretemp:coretemp.0:temp1"): 50.0,
        ("temp_core_0", "node", "sensor", "coretemp:coretemp.1:temp1"): 60.0,
    }


def test_amd_processors_are_in_the_order_of_their_addresses(two_sockets: Path, add_chip: Callable[..., None]) -> None:
    add_chip(0, "k10temp", "pci0000:00/0000:00:19.3", ("Tctl", 45_000))
    add_chip(1, "k10temp", "pci0000:00/0000:00:18.3", ("Tctl", 44_000))
    assert _temperatures(two_sockets) == {("k10temp_tctl", "socket", "0"): 44.0, ("k10temp_tctl", "socket", "1"): 45.0}


def test_chips_that_are_more_than_sockets_belong_to_the_node(two_sockets: Path, add_chip: Callable[..., None]) -> None:
    for number in range(4):
        add_chip(number, "k10temp", f"pci0000:00/0000:00:1{number}.3", ("Tdie", 40_000 + number * 1000))
    assert _temperatures(two_sockets) == {("k10temp_tdie", "node"): 43.0}


def test_tags_can_be_overridden_by_a_part_of_the_path(
    two_sockets: Path, add_chip: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    add_chip(0, "coretemp", "platform/coretemp.0", ("Core 0", 50_000))
    add_chip(1, "bmc", "platform/bmc.7", ("Inlet", 25_000))
    override = {"hwmon0": {"type": "socket", "type-id": "1"}, "bmc.7": {"type": "node", "type-id": "9", "rack": "5"}}
    with caplog.at_level(logging.WARNING):
        found = _temperatures(two_sockets, tag_override=override)
    assert found == {("temp_core_0", "socket", "1"): 50.0, ("temp_bmc_inlet", "node"): 25.0}
    assert "tags=rack" in caplog.text


def test_limits_are_sent_on_request(machine: Path) -> None:
    found = _temperatures(machine, report_max_temperature=True, report_critical_temperature=True)
    assert found["max_temp_package_id_0", "socket", "0"] == 90.0
    assert found["crit_temp_package_id_0", "socket", "0"] == 100.0


def test_excluded_metrics_are_neither_read_nor_described(machine: Path) -> None:
    found = _temperatures(machine, exclude_metrics=("temp_core_0", "temp_nvme_composite"))
    assert {metric for metric, *_ in found} == {"temp_package_id_0"}


@pytest.mark.parametrize("text", ["", "hot\n", "\0\0", "1 2\n"])
def test_a_sensor_without_a_value_costs_no_other(machine: Path, write: Write, text: str) -> None:
    collector = TempstatCollector(TempstatOptions(), machine)
    collector.open()
    write("sys/class/hwmon/hwmon1/temp1_input", text)
    assert {series.metric for series, _ in collector.read(Tick(0, 5.0, 10.0))} == {"temp_package_id_0", "temp_core_0"}
    collector.close()


def test_a_chip_that_appears_is_found_after_a_while(machine: Path, write: Write) -> None:
    collector = TempstatCollector(TempstatOptions(), machine)
    collector.open()
    collector.read(Tick(0, 1000.0, 10.0))
    write("sys/class/hwmon/hwmon9/name", "drivetemp\n")
    write("sys/class/hwmon/hwmon9/temp1_input", "-5000\n")
    assert "drivetemp" not in {series.metric for series, _ in collector.read(Tick(10, 1010.0, 10.0))}
    later = {series.metric: value for series, value in collector.read(Tick(300, 1300.0, 10.0))}
    collector.close()
    assert later["drivetemp"] == -5.0


def test_a_machine_without_sensors_is_not_at_fault(tmp_path: Path) -> None:
    with pytest.raises(NotPresentError, match="has no temperature"):
        TempstatCollector(TempstatOptions(), tmp_path).open()


@pytest.mark.parametrize(
    ("chip", "label", "name"),
    [
        ("coretemp", "Core 12", "temp_core_12"),
        ("coretemp", "", "temp_coretemp"),
        ("nvme", "Sensor 1", "temp_nvme_sensor_1"),
        ("k10temp", "Tctl", "k10temp_tctl"),
        ("acpitz", "", "temp_acpitz"),
        ("", "CPU Temp", "cpu_temp"),
        ("", "", ""),
        ("a b", "c,d=e\n", "temp_a_b_c_d_e"),
    ],
)
def test_names_are_those_of_the_reference(chip: str, label: str, name: str) -> None:
    assert metric_name(chip, label) == name


@given(st.text(max_size=20), st.text(max_size=20))
def test_every_name_says_that_it_is_a_temperature_and_fits_into_a_line(chip: str, label: str) -> None:
    name = metric_name(chip, label)
    assert not name or "temp" in name
    assert not set(name) & set(" ,=\n\t")
