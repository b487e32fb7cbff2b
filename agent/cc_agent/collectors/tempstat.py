"""Temperatures of processors, disks and boards, from /sys/class/hwmon (Linux, Documentation/hwmon/sysfs-interface.rst).

The numbers of hwmon folders change between boots: sensors are known by chip and label, processors by their device.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from cc_agent.collectors.base import (
    KernelFile,
    MetricDescription,
    MetricFilter,
    Reading,
    SeriesPool,
    Tick,
    read_integer,
)
from cc_agent.errors import CpuTopologyError, NotPresentError
from cc_agent.topology import read_topology
from cc_common.settings import option

logger = logging.getLogger(__name__)

_FOLDER = "sys/class/hwmon"
_INPUT = re.compile(r"(temp[0-9]+)_input")
_PROCESSOR_CHIPS = ("coretemp", "k10temp", "zenpower")
_TAGS = ("type", "type-id", "stype", "stype-id")
_MILLI = 1e-3
_MAX_SENSORS = 4096
_SEARCH_INTERVAL_S = 300.0


@dataclass(frozen=True)
class TempstatOptions(MetricFilter):
    """Options of the collector tempstat."""

    tag_override: Mapping[str, Mapping[str, str]] = option(
        {},
        "part of the path of a sensor's file, or of its device -> tags of its samples: type, type-id, stype, stype-id",
        key="tag_override",
    )
    report_max_temperature: bool = option(
        False, "send the temperature up to which each sensor is at ease, too", key="report_max_temperature"
    )
    report_critical_temperature: bool = option(
        False, "send the critical temperature of each sensor, too", key="report_critical_temperature"
    )
    send_socket_values: bool = option(
        True,
        "send sensors of processors as those of their socket; off sends them for the node, as cc-metric-collector does",
        key="send_socket_values",
    )
    send_device_values: bool = option(
        False,
        "send each sensor with stype=sensor too, if several have one name; without it only their maximum is sent",
        key="send_device_values",
    )


class Sensor(NamedTuple):
    """A temperature file; `device` is the path of the device, `limits` the files beside it by `max` and `crit`."""

    metric: str
    chip: str
    device: str
    path: Path
    limits: Mapping[str, Path]


class _Channel(NamedTuple):
    metric: str
    tags: Tuple[str, str, str, str]
    sensor_id: str
    file: KernelFile


class TempstatCollector:
    """Temperatures in degrees Celsius: the maximum of the sensors that have one name."""

    name = "tempstat"

    def __init__(self, options: TempstatOptions, root: Path = Path("/")) -> None:
        self._options = options
        self._root = root
        self._channels: List[_Channel] = []
        self._searched_s = 0.0
        self._known: List[Path] = []
        scopes = ["node"] + (["socket"] if options.send_socket_values else [])
        self.metrics: Tuple[MetricDescription, ...] = tuple(
            MetricDescription("*temp*", "degC", scope, "Temperature of a sensor.", "gauge") for scope in scopes
        )
        self._table = SeriesPool((), source="TempCollector", group="IPMI")

    def open(self) -> None:
        """Find the sensors. Raises NotPresentError if there is none."""
        self.close()
        self._find_channels()
        if not self._channels:
            raise NotPresentError(
                f"{self._root / _FOLDER} cannot be read or has no temperature",
                "virtual machines have no sensors; on others load the driver of the processor (coretemp, k10temp)",
            )

    def read(self, tick: Tick) -> List[Reading]:
        """The temperatures of all sensors that can be read now."""
        if tick.monotonic_s - self._searched_s >= _SEARCH_INTERVAL_S:
            self._searched_s = tick.monotonic_s
            if [sensor.path for sensor in find_sensors(self._root)] != self._known:
                self._find_channels()
        hottest: Dict[Tuple[str, Tuple[str, str, str, str]], float] = {}
        readings: List[Reading] = []
        for channel in self._channels:
            value = read_integer(channel.file)
            if value is None:  # a disk that sleeps, a sensor without a value
                continue
            temperature = value * _MILLI
            key = (channel.metric, channel.tags)
            hottest[key] = max(temperature, hottest.get(key, temperature))
            if channel.sensor_id:
                series = self._table.get(channel.metric, channel.tags[0], channel.tags[1], "sensor", channel.sensor_id)
                readings.append((series, temperature))
        readings += [(self._table.get(metric, *tags), value) for (metric, tags), value in hottest.items()]
        return readings

    def _find_channels(self) -> None:
        sensors = find_sensors(self._root)
        self._known = [sensor.path for sensor in sensors]
        sockets = _socket_ids(sensors, self._root) if self._options.send_socket_values else {}
        self._close_files()
        channels = [channel for sensor in sensors for channel in self._channels_of(sensor, sockets)]
        names = [(channel.metric, channel.tags) for channel in channels]
        shared = {name for name in names if names.count(name) > 1} if self._options.send_device_values else set()
        self._channels = [
            channel if (channel.metric, channel.tags) in shared else channel._replace(sensor_id="")
            for channel in channels
        ]
        found = {(channel.metric, channel.tags[0]) for channel in self._channels}
        self.metrics = tuple(
            MetricDescription(metric, "degC", scope, f"Temperature of the sensor {metric}.", "gauge")
            for metric, scope in sorted(found)
        )
        for description in self.metrics:
            self._table.declare(description)

    def _channels_of(self, sensor: Sensor, sockets: Mapping[str, str]) -> List[_Channel]:
        tags = self._tags_of(sensor, sockets)
        files = {sensor.metric: sensor.path}
        if self._options.report_max_temperature and "max" in sensor.limits:
            files[sensor.metric.replace("temp", "max_temp", 1)] = sensor.limits["max"]
        if self._options.report_critical_temperature and "crit" in sensor.limits:
            files[sensor.metric.replace("temp", "crit_temp", 1)] = sensor.limits["crit"]
        sensor_id = f"{sensor.chip}:{Path(sensor.device).name}:{sensor.path.name[: -len('_input')]}"
        return [
            _Channel(metric, tags, sensor_id, KernelFile(path))
            for metric, path in files.items()
            if self._options.allows(metric)
        ]

    def _tags_of(self, sensor: Sensor, sockets: Mapping[str, str]) -> Tuple[str, str, str, str]:
        for text, tags in self._options.tag_override.items():
            if text in str(sensor.path) or text in sensor.device:
                unknown = sorted(tags.keys() - set(_TAGS))
                if unknown:
                    logger.warning("tags left out collector=tempstat tag_override=%s tags=%s", text, ",".join(unknown))
                scope = tags.get("type", "node")
                type_id = "" if scope == "node" else tags.get("type-id", "")
                return scope, type_id, tags.get("stype", ""), tags.get("stype-id", "")
        if sensor.device in sockets:
            return "socket", sockets[sensor.device], "", ""
        return "node", "", "", ""

    def close(self) -> None:
        """Release the files."""
        self._close_files()

    def _close_files(self) -> None:
        for channel in self._channels:
            channel.file.close()


def find_sensors(root: Path) -> List[Sensor]:
    """The temperature files of all chips, in a fixed order; sensors without chip and label have no name: left out."""
    sensors: List[Sensor] = []
    try:
        folders = sorted((root / _FOLDER).iterdir(), key=_natural_key)
    except OSError:
        return []
    for folder in folders:
        # Drivers of before 2012 keep their files in the folder of the device.
        for place in (folder, folder / "device"):
            inputs = _inputs(place)
            if not inputs:
                continue
            chip = _text(place / "name")
            device = os.path.realpath(folder / "device")
            for prefix in inputs:
                metric = metric_name(chip, _text(place / f"{prefix}_label"))
                limits = {name: place / f"{prefix}_{name}" for name in ("max", "crit")}
                if metric and len(sensors) < _MAX_SENSORS:
                    existing = {name: path for name, path in limits.items() if path.exists()}
                    sensors.append(Sensor(metric, chip, device, place / f"{prefix}_input", existing))
            break
    return sensors


def _inputs(folder: Path) -> List[str]:
    try:
        matches = [_INPUT.fullmatch(entry.name) for entry in folder.iterdir()]
    except OSError:
        return []
    return sorted((match.group(1) for match in matches if match), key=lambda name: int(name[4:]))


def _natural_key(path: Path) -> Tuple[int, str]:
    digits = re.sub(r"\D", "", path.name)
    return int(digits or 0), path.name


def metric_name(chip: str, label: str) -> str:
    """The name of a temperature, such as `temp_core_0` or `k10temp_tctl`; empty without chip and label."""
    if chip == "coretemp":
        name = f"temp_{label}" if label else "temp_coretemp"
    else:
        name = "_".join(part for part in (chip, label) if part)
    name = re.sub(r"[\s,=\x00-\x1f\x7f]+", "_", name.strip().lower())
    return name if not name or "temp" in name else f"temp_{name}"


def _socket_ids(sensors: Sequence[Sensor], root: Path) -> Dict[str, str]:
    """The sockets of processor chips by device, if there is one chip for each socket."""
    try:
        sockets = len(read_topology(root).sockets)
    except CpuTopologyError:
        return {}
    ids: Dict[str, str] = {}
    for chip in _PROCESSOR_CHIPS:
        devices = sorted({sensor.device for sensor in sensors if sensor.chip == chip}, key=_device_key)
        if len(devices) == sockets:
            ids.update({device: str(index) for index, device in enumerate(devices)})
    return ids


def _device_key(device: str) -> Tuple[str, Optional[int]]:
    """coretemp.2 before coretemp.10; addresses of PCI devices as texts."""
    stem, dot, number = device.rpartition(".")
    if dot and number.isdigit() and stem.endswith("coretemp"):
        return stem, int(number)
    return device, 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()[:80]
    except OSError:
        return ""
