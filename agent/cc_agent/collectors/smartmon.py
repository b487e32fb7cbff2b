"""Health of disks, from smartctl (smartmontools) once an hour, in the background."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from cc_agent.collectors.base import MetricDescription, MetricFilter, Reading, SeriesPool, Tick, select_metrics
from cc_agent.collectors.commands import BackgroundOptions, CommandError, SlowSource, find_program, run_command
from cc_common.settings import option, required, sections

_SECONDS_PER_HOUR = 3600
_MAX_DISKS = 1024
_NVME = "nvme_smart_health_information_log"


class SmartValue(NamedTuple):
    """A metric: the key of NVMe disks, the path of others, and how the values of disks become that of the node."""

    name: str
    unit: str
    nvme_key: str
    path: Tuple[str, ...]
    combine: Callable[[Iterable[float]], float]
    meaning: str
    kind: str = "counter"
    factor: int = 1


_VALUES = (
    SmartValue("smartmon_temp", "degC", "temperature", ("temperature", "current"), max, "Hottest disk.", "gauge"),
    SmartValue("smartmon_percent_used", "%", "percentage_used", (), max, "Used life of the most used disk.", "gauge"),
    SmartValue("smartmon_avail_spare", "%", "available_spare", (), min, "Minimum spare space of a disk.", "gauge"),
    SmartValue("smartmon_data_units_read", "units", "data_units_read", (), sum, "Units of 512,000 B read."),
    SmartValue("smartmon_data_units_write", "units", "data_units_written", (), sum, "Units of 512,000 B written."),
    SmartValue("smartmon_host_reads", "requests", "host_reads", (), sum, "Reads done."),
    SmartValue("smartmon_host_writes", "requests", "host_writes", (), sum, "Writes done."),
    SmartValue("smartmon_power_cycles", "events", "power_cycles", ("power_cycle_count",), sum, "Times switched on."),
    SmartValue(
        "smartmon_power_on", "s", "power_on_hours", ("power_on_time", "hours"), max, "Time that a disk was on.",
        factor=_SECONDS_PER_HOUR,
    ),
    SmartValue("smartmon_unsafe_shutdowns", "events", "unsafe_shutdowns", (), sum, "Times that power was lost."),
    SmartValue("smartmon_media_errors", "events", "media_errors", (), sum, "Data that could not be read."),
    SmartValue("smartmon_errlog_entries", "events", "num_err_log_entries", (), sum, "Entries of the error logs."),
    SmartValue("smartmon_warn_temp_time", "min", "warning_temp_time", (), sum, "Time that disks were too warm."),
    SmartValue("smartmon_crit_comp_time", "min", "critical_comp_time", (), sum, "Time that disks were far too warm."),
    SmartValue("smartmon_failing", "disks", "", ("smart_status", "passed"), sum, "Disks that say they fail.", "gauge"),
)  # fmt: skip


@dataclass(frozen=True)
class SmartDevice:
    """A disk to ask."""

    name: str = required("its path, such as /dev/nvme0")
    type: str = option("", "its type, as smartctl calls it, such as nvme; empty lets smartctl find out")


@dataclass(frozen=True)
class SmartmonOptions(BackgroundOptions):
    """Options of the collector smartmon."""

    interval_s: float = option(
        3600.0, "time between readings, which are done in the background", key="interval", kind="duration", minimum=60.0
    )
    smartctl_path: str = option("smartctl", "the program smartctl", key="smartctl_path")
    use_sudo: bool = option(False, "run it by `sudo -n`", key="use_sudo")
    exclude_devices: Tuple[str, ...] = option((), "never ask these disks, such as /dev/sda", key="exclude_devices")
    excluded: Tuple[str, ...] = option((), "old form of exclude_metrics", key="excludeMetrics")
    devices: Tuple[SmartDevice, ...] = sections(
        SmartDevice, "disks to ask; empty asks those that smartctl finds", key="devices"
    )
    send_device_values: bool = option(
        False,
        "send each disk too, with stype=disk; cc-metric-store keeps only one of them for a node",
        key="send_device_values",
    )


class SmartmonCollector:
    """The worst value of temperatures and wear over all disks, and sums of what they count."""

    name = "smartmon"

    def __init__(self, options: SmartmonOptions, _root: Path = Path("/")) -> None:
        self._options = options
        choice: MetricFilter = replace(options, exclude_metrics=options.exclude_metrics + options.excluded)
        self.metrics = select_metrics(
            [MetricDescription(value.name, value.unit, "node", value.meaning, value.kind) for value in _VALUES], choice
        )
        self._table = SeriesPool(self.metrics, source="SmartMonCollector", group="Disk")
        self._program = ""
        self._source = SlowSource("smartmon", self._measure, options.interval_s)

    def open(self) -> None:
        """Check that the program is there."""
        self._source.close()
        self._program = find_program(self._options.smartctl_path, "install smartmontools")

    def read(self, tick: Tick) -> List[Reading]:
        """The values, when all disks have been asked."""
        measured = self._source.poll(tick)
        if measured is None:
            return []
        readings: List[Reading] = []
        for value in _VALUES:
            if not self._table.declared(value.name, "node"):
                continue
            known = {disk: values[value.name] for disk, values in measured.value.items() if value.name in values}
            if known:
                readings.append((self._table.get(value.name), value.combine(known.values())))
            if self._options.send_device_values:
                readings += [(self._table.get(value.name, stype="disk", stype_id=disk), known[disk]) for disk in known]
        return readings

    def _measure(self) -> Dict[str, Dict[str, float]]:
        devices = [(device.name, device.type) for device in self._options.devices] or self._scan()
        values = {}
        for name, kind in devices[:_MAX_DISKS]:
            if name not in self._options.exclude_devices:
                found = self._ask(name, kind)
                if found:
                    values[name] = found
        return values

    def _scan(self) -> List[Tuple[str, str]]:
        return parse_scan(self._run("--scan", "--json=c"))

    def _ask(self, name: str, kind: str) -> Dict[str, float]:
        """The values of a disk; none if it cannot be asked, which costs no other."""
        words = ["--json=c", *([f"--device={kind}"] if kind else []), "--all", name]
        try:
            return parse_disk(self._run(*words))
        except (CommandError, ValueError):
            return {}

    def _run(self, *words: str) -> bytes:
        # Bits of the exit status say that a disk fails, which is what is asked for.
        return run_command(
            [self._program, *words], timeout_s=self._options.timeout_s, sudo=self._options.use_sudo, statuses=None
        )

    def close(self) -> None:
        """Drop a reading that is under way."""
        self._source.close()


def _document(content: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"smartctl does not answer with JSON: {content[:80]!r}") from error
    if not isinstance(document, dict):
        raise ValueError(  # noqa: TRY004 wrong content, as above
            f"smartctl does not answer with an object: {content[:80]!r}"
        )
    return document


def parse_scan(content: bytes) -> List[Tuple[str, str]]:
    """Name and type of the disks in the answer to `--scan`. Raises ValueError if that is not JSON."""
    devices = _document(content).get("devices")
    return [
        (device["name"], device["type"])
        for device in (devices if isinstance(devices, list) else [])
        if isinstance(device, dict) and isinstance(device.get("name"), str) and isinstance(device.get("type"), str)
    ]


def parse_disk(content: bytes) -> Dict[str, float]:
    """The values of a disk by metric, those that it has. Raises ValueError if the answer is not JSON."""
    document = _document(content)
    log = document.get(_NVME)
    values = {}
    for value in _VALUES:
        number = log.get(value.nvme_key) if isinstance(log, dict) and value.nvme_key else None
        if number is None and value.path:
            number = _at(document, value.path)
        if value.name == "smartmon_failing" and isinstance(number, bool):
            values[value.name] = float(not number)
        elif isinstance(number, (int, float)) and not isinstance(number, bool):
            values[value.name] = float(number * value.factor)
    return values


def _at(document: Mapping[str, Any], path: Tuple[str, ...]) -> Optional[Any]:
    found: Any = document
    for key in path:
        if not isinstance(found, dict):
            return None
        found = found.get(key)
    return found
