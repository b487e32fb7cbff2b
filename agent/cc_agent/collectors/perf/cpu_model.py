"""Which processor this is, according to /proc/cpuinfo, its table, and the rate of its reference clock."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, NamedTuple, Optional

from cc_agent.collectors.perf import amd, arm, intel
from cc_agent.collectors.perf.generic import GENERIC
from cc_agent.collectors.perf.tables import CoreTable
from cc_agent.topology import CPU_FOLDER

_MAX_CPUINFO_BYTES = 65536
_ADVERTISED = re.compile(r"@\s*([0-9.]{1,8})\s*GHz")


class CpuModel(NamedTuple):
    """The first processor of the machine; Arm has implementer and part for vendor and model."""

    vendor: str
    family: int
    model: int
    stepping: int
    name: str

    @property
    def table(self) -> CoreTable:
        """Its events and formulas."""
        found: Optional[CoreTable] = None
        if self.vendor == "GenuineIntel":
            found = intel.table_for(self.family, self.model, self.stepping)
        elif self.vendor in ("AuthenticAMD", "HygonGenuine"):
            found = amd.table_for(self.family, self.model)
        elif self.vendor == "ARM":
            found = arm.TABLES.get((self.family, self.model))
        return found or GENERIC


def read_cpu_model(root: Path = Path("/")) -> CpuModel:
    """The first processor of /proc/cpuinfo; what is missing is empty or 0."""
    try:
        with (root / "proc/cpuinfo").open("rb") as file:
            content = file.read(_MAX_CPUINFO_BYTES)
    except OSError:
        content = b""
    return parse_cpuinfo(content.decode("utf-8", "replace"))


def parse_cpuinfo(text: str) -> CpuModel:
    """The first processor of a /proc/cpuinfo."""
    values: Dict[str, str] = {}
    for line in text.split("\n"):
        key, colon, value = line.partition(":")
        if colon:
            values.setdefault(key.strip().lower(), value.strip())
    if "cpu implementer" in values:
        implementer, part = _number(values["cpu implementer"]), _number(values.get("cpu part", ""))
        revision = _number(values.get("cpu revision", ""))
        return CpuModel("ARM", implementer, part, revision, values.get("model name", ""))
    return CpuModel(
        values.get("vendor_id", ""),
        _number(values.get("cpu family", "")),
        _number(values.get("model", "")),
        _number(values.get("stepping", "")),
        values.get("model name", ""),
    )


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0


def base_clock_mhz(processor: CpuModel, root: Path = Path("/")) -> Optional[float]:
    """The nominal clock, which is the rate of reference cycles to about a percent; None if the machine does not say."""
    folder = root / CPU_FOLDER / "cpu0"
    for name, divisor in (("cpufreq/base_frequency", 1e3), ("acpi_cppc/nominal_freq", 1.0)):
        try:
            value = int((folder / name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        if value > 0:
            return value / divisor
    advertised = _ADVERTISED.search(processor.name)
    try:
        return float(advertised.group(1)) * 1e3 if advertised else None
    except ValueError:
        return None
