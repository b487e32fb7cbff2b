"""The collector `likwid` of cc-metric-collector: its settings, served by the counters and energy sources of this agent.

An event set there says which registers to program, and formulas over them. Here the metrics are taken by their names:
the kernel counts all the time, and the tables of processors know the events.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from cc_agent.collectors.base import MetricDescription, RawSeries, Reading, Tick
from cc_agent.collectors.perf import (
    ALL_METRICS,
    SOCKET_METRICS,
    CounterOptions,
    CounterSampler,
    LinuxPerf,
    Output,
    PerfCalls,
)
from cc_agent.collectors.rapl import RaplCollector, RaplOptions
from cc_agent.errors import CpuTopologyError, NotAvailableError
from cc_agent.topology import Groups, read_topology
from cc_common.errors import UnitError
from cc_common.settings import option, required, sections
from cc_common.units import convert, parse_unit

_SCOPES = ("hwthread", "core", "socket", "memoryDomain", "node")
_POWER_METRICS = {"cpu_power": ("socket",), "mem_power": ("socket",), "core_power": ("core", "socket", "hwthread")}
_OTHER_NAMES = {
    "pwr_pkg": "cpu_power",
    "pwr_dram": "mem_power",
    "pwr_core": "core_power",
    "rapl_power": "cpu_power",
    "mem_bw_read": "mem_read",
    "mem_bw_write": "mem_write",
    "mem_read_bw": "mem_read",
    "mem_write_bw": "mem_write",
}


@dataclass(frozen=True)
class LikwidMetric:
    """A metric of an event set."""

    name: str = required("the name; metrics are known by it, see the metrics of perf and rapl")
    calc: str = option("", "accepted for compatibility: the formula follows from the name and the processor")
    type: str = option("hwthread", "what there is a value of", choices=_SCOPES)
    publish: bool = option(False, "send it; the others were parts of formulas")
    unit: str = option("", "the unit to send it in, such as MBytes/s; empty means that of perf or rapl")
    send_core_total_values: bool = option(False, "also send the value of cores", key="send_core_total_values")
    send_socket_total_values: bool = option(False, "also send the value of sockets", key="send_socket_total_values")
    send_node_total_values: bool = option(False, "also send the value of the node", key="send_node_total_values")


@dataclass(frozen=True)
class LikwidEventset:
    """Events that LIKWID counts together."""

    events: Mapping[str, str] = option(
        {}, "counter -> event; accepted for compatibility: the events follow from the metrics and the processor"
    )
    metrics: Tuple[LikwidMetric, ...] = sections(LikwidMetric, "The metrics of this set.")


@dataclass(frozen=True)
class LikwidOptions(CounterOptions):
    """Options of the collector likwid, for configurations of cc-metric-collector; new ones take perf and rapl."""

    eventsets: Tuple[LikwidEventset, ...] = sections(LikwidEventset, "Sets of events, and the metrics of each.")
    globalmetrics: Tuple[LikwidMetric, ...] = sections(LikwidMetric, "Metrics over several sets.")
    invalid_to_zero: bool = option(
        False, "send 0 for what has no value while a hardware thread is idle", key="invalid_to_zero"
    )
    force_overwrite: bool = option(
        False, "accepted for compatibility: the kernel shares the counters", key="force_overwrite"
    )
    access_mode: str = option("direct", "accepted for compatibility: the kernel is asked", key="access_mode")
    accessdaemon_path: str = option("", "accepted for compatibility: none is needed", key="accessdaemon_path")
    liblikwid_path: str = option("", "accepted for compatibility: none is needed", key="liblikwid_path")

    @property
    def published(self) -> Iterator[LikwidMetric]:
        """The metrics to be sent."""
        for metrics in (*(eventset.metrics for eventset in self.eventsets), self.globalmetrics):
            for metric in metrics:
                if metric.publish and self.allows(metric.name):
                    yield metric


class _PowerOutput(NamedTuple):
    """A metric of the collector rapl, and how it is to be sent."""

    metric: str
    scope: str
    name: str
    unit: str
    factor: float


class LikwidMapping(NamedTuple):
    """What the settings mean here, and texts for what they cannot mean."""

    counters: List[Output]
    power: List[_PowerOutput]
    warnings: List[str]


def map_metrics(options: LikwidOptions) -> LikwidMapping:
    """The metrics of the settings by their names, with their scopes and units."""
    mapping = LikwidMapping([], [], [])
    for metric in options.published:
        ours = _OTHER_NAMES.get(metric.name, metric.name)
        if ours in ALL_METRICS:
            unit, factor = _unit(metric, ALL_METRICS[ours][0], mapping.warnings)
            scopes = _counter_scopes(metric, ours, mapping.warnings)
            mapping.counters.extend(Output(ours, scope, metric.name, unit, factor) for scope in scopes)
        elif ours in _POWER_METRICS:
            unit, factor = _unit(metric, "W", mapping.warnings)
            scope = metric.type if metric.type in _POWER_METRICS[ours] else _POWER_METRICS[ours][0]
            if scope != metric.type:
                mapping.warnings.append(f"{metric.name} is sent for type {scope}, as it is measured")
            mapping.power.append(_PowerOutput(ours, scope, metric.name, unit, factor))
        else:
            mapping.warnings.append(f"{metric.name} is not known and left out; known are {_known_names()}")
    return mapping


def _known_names() -> str:
    return ", ".join(sorted({*ALL_METRICS, *_POWER_METRICS}))


def _counter_scopes(metric: LikwidMetric, ours: str, warnings: List[str]) -> List[str]:
    totals = (
        ("core", metric.send_core_total_values),
        ("socket", metric.send_socket_total_values),
        ("node", metric.send_node_total_values),
    )
    scopes = dict.fromkeys([metric.type, *(scope for scope, wanted in totals if wanted)])
    if ours not in SOCKET_METRICS:
        return list(scopes)
    if not {"socket", "node"} >= set(scopes):
        warnings.append(f"{metric.name} is sent for type socket, as it is measured")
    return list(dict.fromkeys(scope if scope == "node" else "socket" for scope in scopes))


def _unit(metric: LikwidMetric, native: str, warnings: List[str]) -> Tuple[str, float]:
    """The unit to send, and the factor that converts to it."""
    if not metric.unit:
        return native, 1.0
    try:
        return metric.unit, convert(1.0, parse_unit(native), parse_unit(metric.unit))
    except UnitError:
        if metric.unit != native:
            warnings.append(f"{metric.name} is sent in {native}, which cannot be converted to {metric.unit!r}")
        return native, 1.0


def likwid_warnings(options: LikwidOptions) -> List[str]:
    """What of the settings cannot be done, by name."""
    return map_metrics(options).warnings


class LikwidCollector:
    """The metrics of LIKWID event sets, counted by the kernel."""

    name = "likwid"

    def __init__(self, options: LikwidOptions, root: Path = Path("/"), calls: Optional[PerfCalls] = None) -> None:
        mapping = map_metrics(options)
        asked = calls or LinuxPerf()
        self._root = root
        self._outputs = mapping.power
        self._sampler = CounterSampler(
            mapping.counters,
            options,
            root,
            asked,
            source="LikwidCollector",
            invalid_to_zero=options.invalid_to_zero,
        )
        self._rapl = RaplCollector(
            RaplOptions(include_metrics=tuple({output.metric for output in mapping.power})), root, asked
        )
        self._counters = mapping.counters
        self.metrics: Tuple[MetricDescription, ...] = tuple(
            [output.description for output in mapping.counters] + [_describe(output) for output in mapping.power]
        )
        self._cores: Groups = ()
        self._renamed: Dict[int, List[Tuple[RawSeries, float]]] = {}
        self._open_parts: Tuple[bool, bool] = (False, False)
        self.pause = self._sampler.pause
        self.resume = self._sampler.resume

    def open(self) -> None:
        """Open counters and energy sources; `metrics` are those of this machine from then on."""
        self.close()
        if not self._counters and not self._outputs:
            raise NotAvailableError("no known metric is published", f"publish some of {_known_names()}")
        failures: List[NotAvailableError] = []
        found = self._open_counters(failures)
        power = self._open_power(failures)
        if failures and not found and not power:
            raise failures[0]
        self.metrics = tuple([output.description for output in found] + [_describe(output) for output in power])
        self._open_parts = (bool(found), bool(power))

    def _open_counters(self, failures: List[NotAvailableError]) -> List[Output]:
        try:
            return self._sampler.open() if self._counters else []
        except NotAvailableError as error:
            failures.append(error)
            return []

    def _open_power(self, failures: List[NotAvailableError]) -> List[_PowerOutput]:
        if not self._outputs:
            return []
        try:
            self._cores = read_topology(self._root).cores
            self._rapl.open()
        except CpuTopologyError as error:
            failures.append(NotAvailableError(str(error), "mount /sys"))
            return []
        except NotAvailableError as error:
            failures.append(error)
            return []
        measured = {(metric.name, metric.scope) for metric in self._rapl.metrics}
        return [output for output in self._outputs if (output.metric, _measured_scope(output.scope)) in measured]

    def read(self, tick: Tick) -> List[Reading]:
        """The values since the last reading."""
        counters, power = self._open_parts
        readings = self._sampler.read(tick) if counters else []
        if power:
            for series, value in self._rapl.read(tick):
                readings += [(renamed, value * factor) for renamed, factor in self._rename(series)]
        return readings

    def _rename(self, series: RawSeries) -> List[Tuple[RawSeries, float]]:
        """The series under which a value of rapl is sent."""
        known = self._renamed.get(id(series))
        if known is None:
            known = [
                (self._renamed_series(series, output), output.factor)
                for output in self._outputs
                if (output.metric, _measured_scope(output.scope)) == (series.metric, series.tags["type"])
            ]
            self._renamed[id(series)] = known
        return known

    def _renamed_series(self, series: RawSeries, output: _PowerOutput) -> RawSeries:
        tags = dict(series.tags)
        if output.scope == "hwthread":  # the first one stands for its core, so that sums are right
            tags = {"type": "hwthread", "type-id": f"{self._cores[int(tags['type-id'])][0]}"}
        return RawSeries(output.name, tags, {**series.meta, "unit": output.unit, "source": "LikwidCollector"})

    @property
    def waiting_for(self) -> str:
        """Why the counters are closed at present; empty if they are not."""
        return self._sampler.waiting_for

    def close(self) -> None:
        """Close counters and energy sources."""
        self._sampler.close()
        self._rapl.close()
        self._open_parts = (False, False)


def _measured_scope(scope: str) -> str:
    return "core" if scope == "hwthread" else scope


def _describe(output: _PowerOutput) -> MetricDescription:
    return MetricDescription(output.name, output.unit, output.scope, "Power, from energy counters.", "rate")
