from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_files import finish_thread

from cc_agent.collectors.base import Tick
from cc_agent.collectors.ipmistat import IpmistatCollector, IpmistatOptions, parse_ipmi_sensors, parse_ipmitool
from cc_agent.errors import NotPresentError

Write = Callable[[str, str], None]

SENSORS = (
    "4,CPU Temp,Temperature,45.00,C,'OK'\n71,FAN 1,Fan,4200.00,RPM,'OK'\n140,12V,Voltage,12.06,V,'OK'\n"
    "9,Total Power,Current,N/A,W,N/A\n10,Temp,Temperature,30.00,C,'OK'\n11,Temp,Temperature,31.00,C,'OK'\n"
)
TABLE = (
    "CPU Temp         | 45.000     | degrees C  | ok    | 0.000     | 0.000     | 0.000     | 95.000 \n"
    "Inlet Temp       | na         |            | na    | na        | na        | na        | na     \n"
    "Chassis Intru    | 0x0        | discrete   | 0x0000| na        | na        | na        | na     \n"
    "Pwr Consumption  | 266.000    | Watts      | ok    | na        | na        | na        | 896.000\n"
)


def _program(root: Path, write: Write, name: str, script: str) -> str:
    write(f"bin/{name}", f'#!/bin/sh\necho "$*" >> {root}/calls\n{script}\n')
    (root / "bin" / name).chmod(0o700)
    return str(root / "bin" / name)


def _readings(**options: Any) -> dict[str, tuple[float, str]]:
    collector = IpmistatCollector(IpmistatOptions(**options))
    collector.open()
    assert collector.read(Tick(0, 1000.0, 10.0)) == []
    finish_thread("ipmistat")
    readings = collector.read(Tick(10, 1010.0, 10.0))
    collector.close()
    return {series.metric: (value, series.meta["unit"]) for series, value in readings}


def test_ipmi_sensors_is_preferred_and_keeps_its_list_of_sensors(tmp_path: Path, write: Write) -> None:
    write("out", SENSORS)
    program = _program(tmp_path, write, "ipmi-sensors", f"cat {tmp_path}/out")
    assert _readings(ipmisensors_path=program, sdr_cache="/var/cache/x") == {
        "cpu_temp": (45.0, "degC"),
        "fan_1": (4200.0, "RPM"),
        "12v": (12.06, "Volts"),
        "temp": (30.0, "degC"),
        "temp_2": (31.0, "degC"),
    }
    calls = (tmp_path / "calls").read_text()
    assert "--sdr-cache-recreate" not in calls
    assert "--sdr-cache-directory=/var/cache/x" in calls


def test_ipmitool_stands_in_and_reads_its_list_of_sensors_once(tmp_path: Path, write: Write) -> None:
    write("out", TABLE)
    script = f'case "$*" in "sdr dump "*) touch "$3" ;; *) cat {tmp_path}/out ;; esac'
    program = _program(tmp_path, write, "ipmitool", script)
    options = {"ipmisensors_path": str(tmp_path / "none"), "ipmitool_path": program, "sdr_cache": str(tmp_path)}
    expected = {"cpu_temp": (45.0, "degC"), "pwr_consumption": (266.0, "Watts")}
    assert _readings(**options) == expected
    assert _readings(**options) == expected
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [f"sdr dump {tmp_path}/sdr", *[f"-S {tmp_path}/sdr sensor"] * 2]


def test_only_the_sensors_that_are_wanted_are_sent(tmp_path: Path, write: Write) -> None:
    write("out", SENSORS)
    program = _program(tmp_path, write, "ipmi-sensors", f"cat {tmp_path}/out")
    assert _readings(ipmisensors_path=program, include_metrics=("fan_1",)).keys() == {"fan_1"}


def test_a_controller_that_does_not_answer_is_a_failure(tmp_path: Path, write: Write) -> None:
    program = _program(tmp_path, write, "ipmi-sensors", "sleep 600")
    with pytest.raises(OSError, match="takes longer than 1 s"):
        _readings(ipmisensors_path=program, timeout_s=1.0)


def test_a_machine_without_the_programs_is_not_at_fault(tmp_path: Path) -> None:
    options = IpmistatOptions(ipmisensors_path=str(tmp_path / "a"), ipmitool_path=str(tmp_path / "b"))
    with pytest.raises(NotPresentError, match="cannot be executed"):
        IpmistatCollector(options).open()


@pytest.mark.parametrize(
    "text", [b"", b",,,,", b"1,a,b,nan,C,ok", b"1,a,b,inf,C,ok", b"1, ,b,5,C,ok", b"a|b", b"a|x|C|", b"\xff|"]
)
def test_lines_of_another_form_are_skipped(text: bytes) -> None:
    assert parse_ipmi_sensors(text) == []
    assert parse_ipmitool(text) == []


@given(st.from_regex(r"[A-Z][a-zA-Z0-9 ]{0,15}", fullmatch=True), st.integers(-(10**6), 10**6))
def test_what_is_written_is_read(name: str, hundredths: int) -> None:
    metric = "_".join(name.lower().split())
    value = hundredths / 100
    assert parse_ipmi_sensors(f"1,{name},Type,{value:.2f},C,'OK'".encode()) == [(metric, value, "degC")]
    assert parse_ipmitool(f"{name:<16} | {value:.3f} | degrees C | ok".encode()) == [(metric, value, "degC")]
