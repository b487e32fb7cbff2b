"""The collector `rapl`: power of sockets, memory and cores from energy counters, and of the node from its meters."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple, Union

from cc_agent.collectors.base import (
    MetricDescription,
    MetricFilter,
    RateClock,
    RawSeries,
    Reading,
    SeriesPool,
    Tick,
    select_metrics,
)
from cc_agent.collectors.perf import LinuxPerf, PerfCalls, read_cpu_model, read_pmus
from cc_agent.collectors.rapl.energy import (
    CORE_POWER,
    CPU_POWER,
    MEM_POWER,
    EnergyDomain,
    EnergyProvider,
    socket_ids,
)
from cc_agent.collectors.rapl.node_command import NodeCommand
from cc_agent.collectors.rapl.node_meter import NodeMeter, SocketMeters
from cc_agent.collectors.rapl.perf_power import PerfPower
from cc_agent.collectors.rapl.powercap import Powercap
from cc_agent.collectors.rapl.pyrapl_provider import PyRapl
from cc_agent.errors import CpuTopologyError, NotAvailableError, NotPresentError
from cc_agent.topology import CPU_FOLDER, CpuTopology, read_topology
from cc_common.settings import option

logger = logging.getLogger(__name__)

PROVIDERS = ("auto", "perf", "powercap", "pyrapl")
_SILENT_READINGS = 3
"""After so many readings without any value the counters are opened anew, as after their driver was loaded again."""
_NODE_POWER, _ZONE_POWER = "node_power", "rapl_average_power"
_AMD = ("AuthenticAMD", "HygonGenuine")
_DESCRIPTIONS = (
    MetricDescription(CPU_POWER, "W", "socket", "Power of the processor.", "rate"),
    MetricDescription(MEM_POWER, "W", "socket", "Power of the memory at this socket.", "rate"),
    MetricDescription(CORE_POWER, "W", "socket", "Power of all cores of the processor.", "rate"),
    MetricDescription(CORE_POWER, "W", "core", "Power of the core.", "rate"),
    MetricDescription(_NODE_POWER, "W", "node", "Power of the node, by its meter.", "gauge"),
)
_ZONE_DESCRIPTION = MetricDescription(_ZONE_POWER, "W", "node", "Power of a zone (tags id, zone_name).", "rate")


@dataclass(frozen=True)
class RaplOptions(MetricFilter):
    """Options of the collector rapl."""

    provider: str = option(
        "auto",
        "where energy is read: perf (the PMU power), powercap, or pyrapl (the Python library, to be installed); "
        "auto takes perf, else powercap",
        choices=PROVIDERS,
    )
    exclude_device_by_id: Tuple[str, ...] = option(
        (), "zones of powercap to leave out by number, such as 0 or 0:1", key="exclude_device_by_id"
    )
    exclude_device_by_name: Tuple[str, ...] = option(
        (), "zones to leave out by name, such as dram or package-1", key="exclude_device_by_name"
    )
    node_power_command: Tuple[str, ...] = option(
        (),
        "program that asks the BMC for the power of the node, with its arguments, such as "
        '["ipmi-dcmi", "--get-system-power-statistics"] or ["ipmitool", "dcmi", "power", "reading"]; once a minute',
        key="node_power_command",
    )
    send_zone_values: bool = option(
        False,
        "also send rapl_average_power of each zone, with the tags of cc-metric-collector: id, zone_name, sub_zone_name",
        key="send_zone_values",
    )


class RaplCollector:
    """Power of sockets, their memory and cores, and of the node."""

    name = "rapl"

    def __init__(self, options: RaplOptions, root: Path = Path("/"), calls: Optional[PerfCalls] = None) -> None:
        self._options = options
        self._root = root
        self._calls: PerfCalls = calls or LinuxPerf()
        possible = [*_DESCRIPTIONS, *([_ZONE_DESCRIPTION] if options.send_zone_values else [])]
        self.metrics: Tuple[MetricDescription, ...] = select_metrics(possible, options)
        self._wanted = self.metrics
        self._pool = SeriesPool(self.metrics, source="RAPLCollector", group="energy")
        self._clock = RateClock()
        self._silent_readings = 0
        self._provider: Optional[EnergyProvider] = None
        self._node: Union[NodeMeter, NodeCommand, None] = None
        self._domains: List[EnergyDomain] = []
        self._zone_series: Dict[str, RawSeries] = {}

    def open(self) -> None:
        """Find energy counters and meters; `metrics` are those of this machine from then on."""
        self.close()
        wanted = {metric.name for metric in self._wanted}
        failure: Optional[NotAvailableError] = None
        if wanted - {_NODE_POWER}:
            try:
                self._provider = self._open_provider()
            except NotAvailableError as error:
                failure = error
        if _NODE_POWER in wanted:
            try:
                command = self._options.node_power_command
                self._node = NodeCommand(command) if command else NodeMeter(self._root)
            except NotPresentError as error:
                failure = failure or error
        if failure is not None and self._provider is None and self._node is None:
            raise failure
        if failure is not None and not isinstance(failure, NotPresentError):
            logger.warning("power of the node only: %s", failure)
        self._domains = [self._unless_excluded(domain) for domain in self._provider.domains] if self._provider else []
        found = {(domain.metric, domain.scope) for domain in self._domains}
        found |= {(_NODE_POWER, "node")} if self._node else set()
        found |= {(_ZONE_POWER, "node")} if self._domains else set()
        self.metrics = tuple(metric for metric in self._wanted if (metric.name, metric.scope) in found)
        self._clock.reset()

    def _unless_excluded(self, domain: EnergyDomain) -> EnergyDomain:
        options = self._options
        name = domain.sub_zone_name or domain.zone_name
        excluded = domain.zone_id in options.exclude_device_by_id or name in options.exclude_device_by_name
        return domain._replace(metric="", zone_id="") if excluded else domain

    def _open_provider(self) -> EnergyProvider:
        try:
            topology = read_topology(self._root)
        except CpuTopologyError as error:
            raise NotPresentError(f"{self._root / CPU_FOLDER} cannot be read: {error}", "mount /sys") from error
        makers: Dict[str, Callable[[CpuTopology], EnergyProvider]] = {
            "perf": lambda topology: PerfPower(self._calls, read_pmus(self._root), topology, self._root),
            "powercap": self._open_powercap,
            "hwmon": lambda topology: SocketMeters(socket_ids(topology, self._root), self._root),
            "pyrapl": lambda topology: PyRapl(socket_ids(topology, self._root)),
        }
        chosen = ("perf", "powercap", "hwmon") if self._options.provider == "auto" else (self._options.provider,)
        failures: List[NotAvailableError] = []
        for name in chosen:
            provider = _unless_missing(partial(makers[name], topology), failures)
            if provider is not None:
                logger.debug("energy provider=%s domains=%d", provider.name, len(provider.domains))
                return provider
        # What somebody can mend comes before what the machine does not have.
        raise next((error for error in failures if not isinstance(error, NotPresentError)), failures[0])

    def _open_powercap(self, topology: CpuTopology) -> EnergyProvider:
        # On AMD the zone `core` has the energy of one core.
        core_zones = read_cpu_model(self._root).vendor not in _AMD
        return Powercap(socket_ids(topology, self._root), self._root, core_zones=core_zones)

    def read(self, tick: Tick) -> List[Reading]:
        """Watts since the previous reading."""
        readings: List[Reading] = []
        elapsed_s = self._clock.elapsed_s(tick)
        if self._provider is not None:
            watts = self._provider.read(elapsed_s)
            if elapsed_s is not None:
                self._note_silence(watts)
                self._append_domains(watts, readings)
                if self._options.send_zone_values:
                    self._append_zones(watts, readings)
        if self._node is not None:
            power_w = self._node.read_w(tick)
            if power_w is not None:
                readings.append((self._pool.get(_NODE_POWER), power_w))
        return readings

    def _note_silence(self, watts: Sequence[Optional[float]]) -> None:
        """Raises OSError, whereupon the collector is opened anew, if no counter has had a value for a while."""
        silent = all(power_w is None for power_w in watts)
        self._silent_readings = self._silent_readings + 1 if silent else 0
        if self._silent_readings >= _SILENT_READINGS:
            self._silent_readings = 0
            raise OSError("the energy counters give no values any more")

    def _append_domains(self, watts: Sequence[Optional[float]], readings: List[Reading]) -> None:
        """A package of several dies is one socket, and has a value only if all dies have."""
        sums: Dict[Tuple[str, str, str], Optional[float]] = {}
        for domain, power_w in zip(self._domains, watts):
            key = (domain.metric, domain.scope, domain.type_id)
            so_far = sums.get(key, 0.0)
            sums[key] = None if power_w is None or so_far is None else so_far + power_w
        for (metric, scope, type_id), power_w in sums.items():
            if power_w is not None and self._pool.declared(metric, scope):
                readings.append((self._pool.get(metric, scope, type_id), power_w))

    def _append_zones(self, watts: Sequence[Optional[float]], readings: List[Reading]) -> None:
        if not self._pool.declared(_ZONE_POWER, "node"):
            return
        for domain, power_w in zip(self._domains, watts):
            if power_w is None or not domain.zone_id:
                continue
            series = self._zone_series.get(domain.zone_id)
            if series is None:
                tags = {"id": domain.zone_id, "zone_name": domain.zone_name, "sub_zone_name": domain.sub_zone_name}
                meta = {"source": "RAPLCollector", "group": "energy", "unit": "W", "kind": "rate"}
                series = RawSeries(_ZONE_POWER, {name: value for name, value in tags.items() if value}, meta)
                self._zone_series[domain.zone_id] = series
            readings.append((series, power_w))

    def close(self) -> None:
        """Release counters and files."""
        provider, self._provider = self._provider, None
        node, self._node = self._node, None
        for part in (provider, node):
            if part is not None:
                part.close()


def _unless_missing(make: Callable[[], EnergyProvider], failures: List[NotAvailableError]) -> Optional[EnergyProvider]:
    try:
        return make()
    except NotAvailableError as error:
        failures.append(error)
        return None
