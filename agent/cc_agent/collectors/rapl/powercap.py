"""Energy counters of the powercap framework, /sys/class/powercap (Documentation/power/powercap/powercap.rst).

energy_uj counts microjoules and wraps after max_energy_range_uj: at 250 W within a quarter of an hour. Since the fix of
CVE-2020-8694 only root may read it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

from cc_agent.collectors.base import KernelFile, read_integer
from cc_agent.collectors.rapl.energy import CORE_POWER, CPU_POWER, MEM_POWER, EnergyDomain
from cc_agent.errors import NotAvailableError, NotPresentError

_FOLDER = "sys/class/powercap"
_ZONE = re.compile(r"(intel-rapl|intel-rapl-tpmi|intel-rapl-mmio|amd-rapl):(\d+)(?::(\d+))?")
_CONTROL_TYPES = ("intel-rapl", "amd-rapl", "intel-rapl-tpmi", "intel-rapl-mmio")
"""In the order in which they are taken: several may count the same package."""
_PACKAGE = re.compile(r"package-(\d+)(?:-die-\d+)?")
MAX_ZONE_W = 5000.0
"""More than any package takes: what looks like it is a counter that was reset, and not one that wrapped."""
_TO_JOULES = 1e-6


class _Zone(NamedTuple):
    file: KernelFile
    range_uj: int


class Powercap:
    """Energy by the zones of powercap; raises like `open` of a collector.

    `core_zones`: whether a zone `core` has all cores of its package, which is not so on AMD.
    """

    name = "powercap"

    def __init__(self, sockets: Mapping[int, int], root: Path = Path("/"), *, core_zones: bool = True) -> None:
        self._zones: List[_Zone] = []
        self._before: List[Optional[int]] = []
        self.domains: List[EnergyDomain] = []
        refused = ""
        for path, domain in _find_zones(root, sockets, core_zones=core_zones):
            zone = _Zone(KernelFile(path / "energy_uj"), _read_number(path / "max_energy_range_uj"))
            try:
                int(zone.file.read())
            except OSError as error:
                refused = refused or f"{path / 'energy_uj'} cannot be read: {error.strerror}"
                continue
            except ValueError:
                continue
            self._zones.append(zone)
            self.domains.append(domain)
        self._before = [None] * len(self._zones)
        if refused and not self.domains:
            raise NotAvailableError(
                refused, "add AmbientCapabilities=CAP_PERFMON to the service (kernel 5.8), or CAP_DAC_READ_SEARCH"
            )
        if not self.domains:
            raise NotPresentError(f"{root / _FOLDER} has no energy counter")

    def read(self, elapsed_s: Optional[float], /) -> List[Optional[float]]:
        """Watts of each domain since the previous call."""
        watts: List[Optional[float]] = []
        for index, (file, range_uj) in enumerate(self._zones):
            before = self._before[index]
            now = self._before[index] = read_integer(file)
            watts.append(None if now is None else _power_w(now, before, range_uj, elapsed_s))
        return watts

    def close(self) -> None:
        """Close the files."""
        for zone in self._zones:
            zone.file.close()


def _power_w(now_uj: int, before_uj: Optional[int], range_uj: int, elapsed_s: Optional[float]) -> Optional[float]:
    if before_uj is None or not elapsed_s:
        return None
    step_uj = now_uj - before_uj
    if step_uj < 0:
        step_uj += range_uj + 1
    power_w = step_uj * _TO_JOULES / elapsed_s
    return power_w if 0.0 <= power_w <= MAX_ZONE_W else None


def _find_zones(root: Path, sockets: Mapping[int, int], *, core_zones: bool) -> List[Tuple[Path, EnergyDomain]]:
    """The zones, each domain once: from the first control type that has it."""
    found: Dict[Tuple[str, str], Tuple[Path, EnergyDomain]] = {}
    try:
        matches = [_ZONE.fullmatch(path.name) for path in (root / _FOLDER).iterdir()]
    except OSError:
        return []
    known = [match for match in matches if match]
    known.sort(key=lambda match: (_CONTROL_TYPES.index(match.group(1)), int(match.group(2)), int(match.group(3) or -1)))
    for match in known:
        control, zone, sub_zone = match.groups()
        path = root / _FOLDER / match.group()
        name = _read_text(path / "name")
        zone_name = name if sub_zone is None else _read_text(root / _FOLDER / f"{control}:{zone}" / "name")
        package = _PACKAGE.fullmatch(zone_name)
        socket = sockets.get(int(package.group(1))) if package else None
        metric = _metric(name, core_zones=core_zones) if socket is not None else ""
        zone_id = zone if sub_zone is None else f"{zone}:{sub_zone}"
        domain = EnergyDomain(
            metric,
            "socket",
            "" if socket is None else f"{socket}",
            zone_id,
            zone_name,
            "" if sub_zone is None else name,
        )
        if name:
            found.setdefault((zone_name, domain.sub_zone_name), (path, domain))
    return list(found.values())


def _metric(name: str, *, core_zones: bool) -> str:
    if _PACKAGE.fullmatch(name):
        return CPU_POWER
    if name == "dram":
        return MEM_POWER
    return CORE_POWER if name == "core" and core_zones else ""


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()[:64]
    except OSError:
        return ""


def _read_number(path: Path) -> int:
    try:
        return max(int(_read_text(path)), 0)
    except ValueError:
        return 0
