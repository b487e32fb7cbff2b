"""What providers of energy counters have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Protocol

from cc_agent.topology import CPU_FOLDER, CpuTopology

CPU_POWER, MEM_POWER, CORE_POWER = "cpu_power", "mem_power", "core_power"


class EnergyDomain(NamedTuple):
    """A part of the machine whose energy is counted, with the metric, scope and id that it belongs to.

    `metric` is empty for what belongs to none, such as psys, which covers the whole platform and would count the
    processors twice. `zone_id`, `zone_name` and `sub_zone_name` are the tags of cc-metric-collector.
    """

    metric: str
    scope: str
    type_id: str
    zone_id: str
    zone_name: str
    sub_zone_name: str = ""


class EnergyProvider(Protocol):
    """A source of energy counters, open from its construction on."""

    name: str
    domains: List[EnergyDomain]

    def read(self, elapsed_s: Optional[float], /) -> List[Optional[float]]:
        """Watts of each domain since the previous call; None where there is no value, as without `elapsed_s`."""

    def close(self) -> None:
        """Release the source."""


def socket_ids(topology: CpuTopology, root: Path) -> Dict[int, int]:
    """The id of each socket by the kernel's number of the package."""
    return {
        _package(root / CPU_FOLDER / f"cpu{cpus[0]}" / "topology" / "physical_package_id", socket): socket
        for socket, cpus in enumerate(topology.sockets)
    }


def _package(file: Path, default: int) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return default
