"""Sensors of the board's management controller, from ipmi-sensors (FreeIPMI) or ipmitool, in the background.

The kernel's own sensors (`tempstat`) cost less, where it has a driver for them. A controller takes a second or so to
answer, and far longer to list its sensors: the list (SDR) is kept in a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from cc_agent.collectors.base import MetricDescription, Reading, SeriesPool, Tick
from cc_agent.collectors.commands import BackgroundOptions, SlowSource, find_program, run_command
from cc_agent.errors import NotPresentError
from cc_common.settings import option

_MAX_SENSORS = 1024
_UNITS = {"C": "degC", "degrees C": "degC", "F": "degF", "degrees F": "degF", "V": "Volts", "W": "Watts"}
_UNWANTED = re.compile(r"[\s,=\x00-\x1f\x7f]+")
_CSV_COLUMNS = 5
_TABLE_COLUMNS = 3


class SensorValue(NamedTuple):
    """A sensor's value, with its unit."""

    metric: str
    value: float
    unit: str


@dataclass(frozen=True)
class IpmistatOptions(BackgroundOptions):
    """Options of the collector ipmistat."""

    timeout_s: float = option(
        30.0, "stop a program that takes longer", key="timeout", kind="duration", minimum=1.0, maximum=600.0
    )
    ipmisensors_path: str = option(
        "ipmi-sensors", "the program ipmi-sensors, which is preferred", key="ipmisensors_path"
    )
    ipmitool_path: str = option("ipmitool", "the program ipmitool", key="ipmitool_path")
    use_sudo: bool = option(False, "run it by `sudo -n`", key="use_sudo")
    sdr_cache: str = option(
        "",
        "folder for the list of sensors; empty leaves it to the program: ipmi-sensors keeps it in the home folder, "
        "ipmitool asks for it each time",
        key="sdr_cache",
        kind="path",
    )


class IpmistatCollector:
    """The sensors that have a number, by their names in lower case with `_` for blanks."""

    name = "ipmistat"

    def __init__(self, options: IpmistatOptions, _root: Path = Path("/")) -> None:
        self.metrics: Tuple[MetricDescription, ...] = (
            MetricDescription("*", "as given", "node", "A sensor of the board's management controller.", "gauge"),
        )
        self._options = options
        self._program = ""
        self._is_freeipmi = True
        self._table = SeriesPool((), source="IpmiCollector", group="IPMI")
        self._units: Dict[str, str] = {}
        self._source = SlowSource("ipmistat", self._measure, options.interval_s)

    def open(self) -> None:
        """Find one of the programs. Raises NotPresentError if there is none."""
        self._source.close()
        try:
            self._program, self._is_freeipmi = find_program(self._options.ipmisensors_path, ""), True
        except NotPresentError:
            self._program = find_program(self._options.ipmitool_path, "install freeipmi-tools or ipmitool")
            self._is_freeipmi = False

    def read(self, tick: Tick) -> List[Reading]:
        """The values, when the controller has answered."""
        measured = self._source.poll(tick)
        if measured is None:
            return []
        readings: List[Reading] = []
        for sensor in measured.value:
            if self._options.allows(sensor.metric):
                if self._units.get(sensor.metric) != sensor.unit:
                    self._units[sensor.metric] = sensor.unit
                    description = MetricDescription(sensor.metric, sensor.unit, "node", "A sensor.", "gauge")
                    self._table.declare(description)
                readings.append((self._table.get(sensor.metric), sensor.value))
        return readings

    def _measure(self) -> List[SensorValue]:
        return (
            parse_ipmi_sensors(self._run_ipmi_sensors()) if self._is_freeipmi else parse_ipmitool(self._run_ipmitool())
        )

    def _run_ipmi_sensors(self) -> bytes:
        words = [
            "--comma-separated-output",
            "--no-header-output",
            "--quiet-cache",
            "--ignore-not-available-sensors",
        ]
        if self._options.sdr_cache:
            words.append(f"--sdr-cache-directory={self._options.sdr_cache}")
        return self._run(*words)

    def _run_ipmitool(self) -> bytes:
        if not self._options.sdr_cache:
            return self._run("sensor")
        cache = Path(self._options.sdr_cache) / "sdr"
        if not cache.exists():
            self._run("sdr", "dump", str(cache))
        return self._run("-S", str(cache), "sensor")

    def _run(self, *words: str) -> bytes:
        return run_command([self._program, *words], timeout_s=self._options.timeout_s, sudo=self._options.use_sudo)

    def close(self) -> None:
        """Drop a reading that is under way."""
        self._source.close()


def parse_ipmi_sensors(content: bytes) -> List[SensorValue]:
    """The sensors with a number in `ID,Name,Type,Reading,Units,Event`; other lines are skipped."""
    rows = [line.split(",") for line in content.decode(errors="replace").split("\n")]
    return _distinct([(row[1], row[3], row[4]) for row in rows if len(row) >= _CSV_COLUMNS])


def parse_ipmitool(content: bytes) -> List[SensorValue]:
    """The sensors with a number in `CPU Temp | 45.000 | degrees C | ok | …`; other lines are skipped."""
    rows = [line.split("|") for line in content.decode(errors="replace").split("\n")]
    return _distinct([(row[0], row[1], row[2]) for row in rows if len(row) >= _TABLE_COLUMNS])


def _distinct(rows: List[Tuple[str, str, str]]) -> List[SensorValue]:
    """The rows whose value is a number; a name that repeats gets a number from the second on."""
    sensors: List[SensorValue] = []
    seen: Dict[str, int] = {}
    for name, text, unit in rows:
        metric = _UNWANTED.sub("_", name.strip().lower())
        value = _number(text.strip())
        if not metric or value is None or len(sensors) >= _MAX_SENSORS:
            continue
        seen[metric] = seen.get(metric, 0) + 1
        numbered = metric if seen[metric] == 1 else f"{metric}_{seen[metric]}"
        sensors.append(SensorValue(numbered, value, _UNITS.get(unit.strip(), unit.strip())))
    return sensors


def _number(text: str) -> Optional[float]:
    try:
        value = float(text)
    except ValueError:  # na, N/A, 0x0
        return None
    return value if abs(value) < float("inf") else None
