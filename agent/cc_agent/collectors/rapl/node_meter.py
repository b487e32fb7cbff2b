"""Power of the node, and of sockets that have no energy counter, from meters that the kernel shows in /sys/class/hwmon.

The ACPI power meter (chip `power_meter`) measures the node where it is the only one; several are told apart by label:
on NVIDIA Grace `Module Power Socket N` adds up to the node (NVIDIA Grace performance tuning guide, power telemetry).
Values are microwatts (Documentation/hwmon/sysfs-interface.rst).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import List, Mapping, NamedTuple, Optional, Sequence

from cc_agent.collectors.base import KernelFile, Tick
from cc_agent.collectors.rapl.energy import CPU_POWER, EnergyDomain
from cc_agent.errors import NotPresentError

_FOLDER = "sys/class/hwmon"
_VALUE = re.compile(r"(power\d{1,3})_(average|input)")
_ACPI_CHIP = "power_meter"
_WHOLE_NODE = re.compile(r"(system|node|chassis|total|module) power( socket \d+)?", re.IGNORECASE)
_CPU_SOCKET = re.compile(r"cpu power socket (\d{1,3})", re.IGNORECASE)
_TO_WATTS = 1e-6
_MAX_NODE_W = 1e5
_MAX_METERS = 4096


class Meter(NamedTuple):
    """A power sensor, by its chip and label."""

    chip: str
    label: str
    path: Path


def find_meters(root: Path = Path("/")) -> List[Meter]:
    """All power sensors, averages rather than momentary values where a sensor has both."""
    meters: List[Meter] = []
    for chip in sorted((root / _FOLDER).glob("hwmon*"))[:_MAX_METERS]:
        names = {path.name for folder in (chip, chip / "device") if folder.is_dir() for path in folder.iterdir()}
        sensors = {}
        for name in sorted(names, reverse=True):  # average replaces input
            match = _VALUE.fullmatch(name)
            if match:
                sensors[match.group(1)] = name
        for sensor, name in sorted(sensors.items()):
            folder = chip if (chip / name).exists() else chip / "device"
            label = _read_text(folder / f"{sensor}_label") or _read_text(folder / f"{sensor}_oem_info")
            meters.append(Meter(_read_text(chip / "name") or _read_text(chip / "device/name"), label, folder / name))
    return meters


def meters_of_node(meters: List[Meter]) -> List[Meter]:
    """The meters whose sum is the power of the node: those that say so, else the only ACPI meter."""
    whole = [meter for meter in meters if _WHOLE_NODE.fullmatch(meter.label)]
    if whole:
        return whole
    acpi = [meter for meter in meters if meter.chip == _ACPI_CHIP]
    return acpi if len(acpi) == 1 and not _CPU_SOCKET.fullmatch(acpi[0].label) else []


class SocketMeters:
    """The power of sockets without energy counters, as of NVIDIA Grace; raises NotPresentError if there is none."""

    name = "hwmon"

    def __init__(self, sockets: Mapping[int, int], root: Path = Path("/")) -> None:
        self.domains: List[EnergyDomain] = []
        self._files: List[KernelFile] = []
        for meter in find_meters(root):
            match = _CPU_SOCKET.fullmatch(meter.label)
            package = int(match.group(1)) if match else -1
            if package in sockets:
                socket = f"{sockets[package]}"
                self.domains.append(EnergyDomain(CPU_POWER, "socket", socket, f"{package}", f"package-{package}"))
                self._files.append(KernelFile(meter.path))
        if not self._files:
            raise NotPresentError("no meter of a socket's power in /sys/class/hwmon")

    def read(self, _elapsed_s: Optional[float], /) -> List[Optional[float]]:
        """Watts of each socket, as the meter averages them."""
        return [_read_watts([file]) for file in self._files]

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


class NodeMeter:
    """The power of the node. Raises NotPresentError if no meter measures it."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._files = [KernelFile(meter.path) for meter in meters_of_node(find_meters(root))]
        if not self._files or _read_watts(self._files) is None:
            self.close()
            raise NotPresentError("no meter of the node's power in /sys/class/hwmon")

    def read_w(self, _tick: Tick, /) -> Optional[float]:
        """Watts; None if a meter gives no value now."""
        return _read_watts(self._files)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


def _read_watts(files: Sequence[KernelFile]) -> Optional[float]:
    """The sum of meters; None if one of them gives no value now."""
    try:
        power_w = sum(int(file.read()) for file in files) * _TO_WATTS
    except (OSError, ValueError):
        return None
    return power_w if 0.0 < power_w <= _MAX_NODE_W else None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()[:64]
    except OSError:
        return ""
