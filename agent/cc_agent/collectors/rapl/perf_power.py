"""Energy counters through perf_event: the PMUs `power` (package, dram, cores) and `power_core` (AMD, each core).

The kernel counts in 64 bits and watches over the wrap of the registers; no root is needed (arch/x86/events/rapl.c).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence

from cc_agent.collectors.perf import CounterGroup, EventCode, PerfCalls, Pmu, countable_groups, open_error
from cc_agent.collectors.rapl.energy import CORE_POWER, CPU_POWER, MEM_POWER, EnergyDomain
from cc_agent.errors import NotPresentError
from cc_agent.topology import CpuTopology, Groups

logger = logging.getLogger(__name__)

# event: metric, name of the zone in powercap
_PACKAGE_EVENTS = {
    "energy-pkg": (CPU_POWER, ""),
    "energy-ram": (MEM_POWER, "dram"),
    "energy-cores": (CORE_POWER, "core"),
}
_CORE_EVENT = "energy-core"


class _Meter(NamedTuple):
    group: CounterGroup
    joules: float


class PerfPower:
    """Energy by the kernel's PMUs; raises like `open` of a collector."""

    name = "perf"

    def __init__(self, calls: PerfCalls, pmus: Sequence[Pmu], topology: CpuTopology, root: Path = Path("/")) -> None:
        self._calls = calls
        self._root = root
        self._meters: List[_Meter] = []
        self.domains: List[EnergyDomain] = []
        by_name = {pmu.name: pmu for pmu in pmus}
        try:
            if "power" in by_name:
                self._open_packages(by_name["power"], topology)
            if "power_core" in by_name:
                self._open_cores(by_name["power_core"], topology)
        except BaseException:
            self.close()
            raise
        if not self.domains:
            raise NotPresentError("the kernel lists no PMU of the processor's energy (power)")

    def _open_packages(self, pmu: Pmu, topology: CpuTopology) -> None:
        for cpu in pmu.cpus:
            socket = _position(topology.sockets, cpu)
            if socket is None:
                continue
            for event, (metric, zone) in _PACKAGE_EVENTS.items():
                zone_id = f"{socket}:{zone}" if zone else f"{socket}"
                domain = EnergyDomain(metric, "socket", f"{socket}", zone_id, f"package-{socket}", zone)
                self._open_event(pmu, event, cpu, domain)

    def _open_cores(self, pmu: Pmu, topology: CpuTopology) -> None:
        for cpu in pmu.cpus:
            core = _position(topology.cores, cpu)
            if core is not None:
                domain = EnergyDomain(CORE_POWER, "core", f"{core}", f"core:{core}", f"core-{core}")
                self._open_event(pmu, _CORE_EVENT, cpu, domain)

    def _open_event(self, pmu: Pmu, event: str, cpu: int, domain: EnergyDomain) -> None:
        alias = pmu.event(event)
        if alias is None:
            return
        try:
            code: EventCode = pmu.encode(alias.terms)
            if not countable_groups(self._calls, [code], cpu):
                return
            self._meters.append(_Meter(CounterGroup(self._calls, [code], cpu), alias.scale))
        except OSError as error:
            raise open_error(error, self._root) from error
        except ValueError as error:
            logger.debug("energy event not understood pmu=%s event=%s reason=%s", pmu.name, event, error)
            return
        self.domains.append(domain)

    def read(self, _elapsed_s: Optional[float], /) -> List[Optional[float]]:
        """Watts of each domain since the previous call; the kernel measures the time itself."""
        return [_power_w(group, joules) for group, joules in self._meters]

    def close(self) -> None:
        """Remove the events."""
        meters, self._meters = self._meters, []
        for meter in meters:
            meter.group.close()


def _power_w(group: CounterGroup, joules: float) -> Optional[float]:
    try:
        valid = group.advance()
    except OSError as error:
        logger.debug("energy counter lost hwthread=%d reason=%s", group.cpu, error)
        return None
    return group.rates[0] * joules if valid else None


def _position(units: Groups, cpu: int) -> Optional[int]:
    return next((index for index, cpus in enumerate(units) if cpu in cpus), None)
