"""The collector `perf`: instructions, clock, floating point operations and memory traffic, from hardware counters."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from cc_agent.collectors.base import (
    MetricDescription,
    MetricFilter,
    RateClock,
    RawSeries,
    Reading,
    SeriesPool,
    Tick,
)
from cc_agent.collectors.perf.cpu_model import CpuModel, read_cpu_model
from cc_agent.collectors.perf.memory_traffic import MemoryTraffic, SocketTraffic
from cc_agent.collectors.perf.outputs import (
    CORE_METRICS,
    HWTHREAD_METRICS,
    MISS_METRICS,
    MULTIPLEX_METRIC,
    SOCKET_METRICS,
    Output,
    native_outputs,
)
from cc_agent.collectors.perf.ownership import CounterOwnership
from cc_agent.collectors.perf.plan import BoundFormula
from cc_agent.collectors.perf.pmu import Pmu, read_pmus, socket_of_cpu
from cc_agent.collectors.perf.processor_counters import HwthreadRates, ProcessorCounters
from cc_agent.collectors.perf.syscall import LinuxPerf, PerfCalls
from cc_agent.errors import CpuTopologyError, NotPresentError
from cc_agent.topology import CpuTopology, Groups, online_cpus, read_topology
from cc_common.settings import option

logger = logging.getLogger(__name__)

UPKEEP_PERIOD_S = 60.0
_TO_GIGA = 1e-9


@dataclass(frozen=True)
class CounterOptions(MetricFilter):
    """Options of the collectors that use hardware counters."""

    lockfile_path: str = option(
        "/var/run/likwid.lock",
        "while this file belongs to another user than root and the agent's, the counters are left to that user",
        key="lockfile_path",
        kind="path",
    )


@dataclass(frozen=True)
class PerfOptions(CounterOptions):
    """Options of the collector perf."""

    exclude_kernel: bool = option(
        True, "count only what runs in user mode, as LIKWID does; the clock of AMD has both", key="exclude_kernel"
    )
    send_miss_ratios: bool = option(
        False,
        "send cache_miss_ratio and branch_miss_ratio; they take four counters, so that all may have to take turns",
        key="send_miss_ratios",
    )
    send_core_total_values: bool = option(False, "also send values of cores", key="send_core_total_values")
    send_socket_total_values: bool = option(False, "also send values of sockets", key="send_socket_total_values")
    send_node_total_values: bool = option(False, "also send values of the node", key="send_node_total_values")


def perf_outputs(options: PerfOptions) -> List[Output]:
    """What the collector sends with these options, if the machine has it."""
    names = [*HWTHREAD_METRICS, *(MISS_METRICS if options.send_miss_ratios else ()), MULTIPLEX_METRIC, *SOCKET_METRICS]
    scopes = (
        ("core", options.send_core_total_values),
        ("socket", options.send_socket_total_values),
        ("node", options.send_node_total_values),
    )
    chosen = [name for name in names if options.allows(name)]
    return native_outputs(chosen, tuple(scope for scope, wanted in scopes if wanted))


class _Slot(NamedTuple):
    """A formula, and where its value goes."""

    formula: BoundFormula
    series: RawSeries
    factor: float


class CounterSampler:
    """Values of hardware counters for a list of outputs; the part that the collectors perf and likwid share.

    `pause` and `resume` may be called from any thread; `pause` acts at once.
    """

    def __init__(
        self,
        outputs: Sequence[Output],
        options: CounterOptions,
        root: Path = Path("/"),
        calls: Optional[PerfCalls] = None,
        *,
        source: str = "PerfCollector",
        user_only: bool = True,
        invalid_to_zero: bool = False,
    ) -> None:
        self._outputs = list(outputs)
        self._root = root
        self._calls: PerfCalls = calls or LinuxPerf()
        self._user_only = user_only
        self._invalid_to_zero = invalid_to_zero
        self._pool = SeriesPool([output.description for output in outputs], source=source, group="PerfCounter")
        self._clock = RateClock()
        self._lock = threading.Lock()
        self._ownership = CounterOwnership(root / options.lockfile_path.lstrip("/"), root)
        self._core: Optional[ProcessorCounters] = None
        self._memory: Optional[MemoryTraffic] = None
        self._topology: Optional[CpuTopology] = None
        self._waiting_for = ""
        self._upkeep_due_s = 0.0
        self._slots: Dict[Tuple[str, str], Tuple[List[BoundFormula], List[_Slot]]] = {}

    def open(self) -> List[Output]:
        """Open the counters; the outputs that this machine has. Raises NotAvailableError, NotPresentError."""
        with self._lock:
            self._open_counters(read_pmus(self._root))
            found = set(self._core.metrics) | {MULTIPLEX_METRIC} if self._core else set()
            if self._memory:
                found |= set(SOCKET_METRICS) if self._memory.has_directions else {"mem_bw"}
            outputs = [output for output in self._outputs if output.metric in found]
            if not outputs:
                self._close_counters()
                raise NotPresentError("this processor counts none of the metrics that are asked for")
            self._waiting_for = self._ownership.reason_to_wait(time.monotonic())
            if self._waiting_for:
                self._close_counters()
            return outputs

    def _open_counters(self, pmus: Sequence[Pmu]) -> None:
        processor = read_cpu_model(self._root)
        try:
            self._topology = topology = read_topology(self._root)
        except CpuTopologyError as error:
            raise NotPresentError(str(error), "mount /sys") from error
        wanted = {output.metric for output in self._outputs}
        reasons = []
        try:
            if wanted & set(CORE_METRICS):
                try:
                    self._core = ProcessorCounters(
                        self._calls,
                        pmus,
                        processor,
                        wanted,
                        topology.hwthreads,
                        smt=topology.threads_per_core > 1,
                        user_only=self._user_only,
                        root=self._root,
                    )
                except NotPresentError as error:
                    reasons.append(str(error))
            if wanted & set(SOCKET_METRICS):
                self._open_memory(pmus, processor, topology, reasons)
        except BaseException:
            self._close_counters()
            raise
        if self._core is None and self._memory is None:
            raise NotPresentError("; ".join(reasons) or "no metric is asked for")
        self._clock.reset()
        self._slots = {}

    def _open_memory(self, pmus: Sequence[Pmu], processor: CpuModel, topology: CpuTopology, reasons: List[str]) -> None:
        try:
            sockets = socket_of_cpu(topology.sockets)
            self._memory = MemoryTraffic(self._calls, pmus, processor, sockets, self._root)
        except NotPresentError as error:
            reasons.append(str(error))

    def read(self, tick: Tick) -> List[Reading]:
        """The values since the last reading; none while the counters belong to somebody else."""
        with self._lock:
            reason = self._ownership.reason_to_wait(tick.monotonic_s)
            if bool(reason) != bool(self._waiting_for):
                self._change_owner(reason)
            self._waiting_for = reason
            if reason:
                return []
            if tick.monotonic_s >= self._upkeep_due_s:
                self._upkeep_due_s = tick.monotonic_s + UPKEEP_PERIOD_S
                self._follow_hotplug()
            hwthreads = self._core.read() if self._core else []
            sockets = self._memory.read() if self._memory else []
            if self._clock.elapsed_s(tick) is None:
                return []
            readings: List[Reading] = []
            self._append_hwthreads(hwthreads, readings)
            self._append_totals(hwthreads, readings)
            self._append_sockets(sockets, readings)
            return readings

    def _change_owner(self, reason: str) -> None:
        if reason:
            logger.info("hardware counters given away reason=%s", reason)
            self._close_counters()
        else:
            logger.info("hardware counters taken back")
            self._open_counters(read_pmus(self._root))

    def _follow_hotplug(self) -> None:
        try:
            cpus = online_cpus(self._root)
            if self._topology is None or cpus != self._topology.hwthreads or (self._memory and self._memory.stalled):
                logger.info("hardware threads changed, counters are opened anew online=%d", len(cpus))
                self._close_counters()
                self._open_counters(read_pmus(self._root))
            elif self._core is not None:
                self._core.follow_hotplug(cpus)
        except CpuTopologyError as error:
            logger.debug("online hardware threads unknown reason=%s", error)

    def _append_hwthreads(self, hwthreads: Sequence[HwthreadRates], readings: List[Reading]) -> None:
        multiplex = [output for output in self._outputs if output.metric == MULTIPLEX_METRIC]
        for cpu, rates, formulas, counted_percent in hwthreads:
            for formula, series, factor in self._slots_for("hwthread", str(cpu), formulas):
                value = formula.evaluate(rates)
                if value == value:  # noqa: PLR0124 false for what is not a number: an event that did not run
                    readings.append((series, value * factor))
                elif self._invalid_to_zero and formula.is_idle(rates):
                    readings.append((series, 0.0))
            for output in multiplex:
                series = self._pool.get(output.name, output.scope, str(cpu))
                readings.append((series, counted_percent))

    def _append_totals(self, hwthreads: Sequence[HwthreadRates], readings: List[Reading]) -> None:
        scopes = {output.scope for output in self._outputs if output.metric not in SOCKET_METRICS} - {"hwthread"}
        if not scopes or self._topology is None:
            return
        by_cpu = {hwthread.cpu: hwthread for hwthread in hwthreads}
        for scope in sorted(scopes):
            for type_id, cpus in enumerate(_units(self._topology, scope)):
                members = [by_cpu[cpu] for cpu in cpus if cpu in by_cpu]
                # Cores of two kinds in one unit have different events, which have no sum.
                if len(members) < len(cpus) or any(member.formulas is not members[0].formulas for member in members):
                    continue
                rates = [sum(column) for column in zip(*(member.rates for member in members))]
                name = "" if scope == "node" else str(type_id)
                for formula, series, factor in self._slots_for(scope, name, members[0].formulas):
                    value = formula.evaluate(rates)
                    if value == value:  # noqa: PLR0124 see above
                        readings.append((series, value * factor))

    def _slots_for(self, scope: str, type_id: str, formulas: List[BoundFormula]) -> List[_Slot]:
        known = self._slots.get((scope, type_id))
        if known is not None and known[0] is formulas:
            return known[1]
        slots = [
            _Slot(formula, self._pool.get(output.name, scope, type_id), output.factor)
            for formula in formulas
            for output in self._outputs
            if output.metric == formula.metric and output.scope == scope
        ]
        self._slots[scope, type_id] = (formulas, slots)
        return slots

    def _append_sockets(self, sockets: Sequence[SocketTraffic], readings: List[Reading]) -> None:
        names = [output for output in self._outputs if output.metric in SOCKET_METRICS]
        whole = self._topology is not None and len(sockets) == len(self._topology.sockets)
        for output in names:
            values = [_direction(traffic, output.metric) for traffic in sockets]
            factor = _TO_GIGA * output.factor
            if output.scope == "node":
                known = [value for value in values if value is not None]
                if whole and len(known) == len(values):
                    readings.append((self._pool.get(output.name), sum(known) * factor))
                continue
            for traffic, value in zip(sockets, values):
                if value is not None:
                    readings.append((self._pool.get(output.name, output.scope, str(traffic.socket)), value * factor))

    def pause(self, seconds: float = 0.0, job: str = "", /, *, now_s: Optional[float] = None) -> None:
        """Close the counters at once, for so many seconds (0: until `resume`), or until a job has ended.

        Raises AgentError for a duration or a job that means nothing.
        """
        moment_s = time.monotonic() if now_s is None else now_s
        with self._lock:
            self._ownership.pause(moment_s, duration_s=seconds, job=job)
            if not self._waiting_for:
                self._waiting_for = self._ownership.reason_to_wait(moment_s)
                logger.info("hardware counters given away reason=%s", self._waiting_for)
                self._close_counters()

    def resume(self) -> None:
        """End a pause: the next reading opens the counters again."""
        with self._lock:
            self._ownership.resume()

    @property
    def waiting_for(self) -> str:
        """Why the counters are closed at present; empty if they are not."""
        return self._waiting_for

    def _close_counters(self) -> None:
        core, self._core = self._core, None
        memory, self._memory = self._memory, None
        for part in (core, memory):
            if part is not None:
                part.close()

    def close(self) -> None:
        """Close the counters."""
        with self._lock:
            self._close_counters()
            self._upkeep_due_s = 0.0


def _units(topology: CpuTopology, scope: str) -> Groups:
    if scope == "node":
        return (topology.hwthreads,)
    return {"core": topology.cores, "socket": topology.sockets, "memoryDomain": topology.memory_domains}[scope]


def _direction(traffic: SocketTraffic, metric: str) -> Optional[float]:
    if metric == "mem_bw":
        return traffic.total
    return traffic.reads if metric == "mem_read" else traffic.writes


class PerfCollector:
    """Hardware counters of hardware threads and memory controllers.

    `pause` and `resume` give the counters away and take them back, as the control socket asks for.
    """

    name = "perf"

    def __init__(self, options: PerfOptions, root: Path = Path("/"), calls: Optional[PerfCalls] = None) -> None:
        outputs = perf_outputs(options)
        self.metrics: Tuple[MetricDescription, ...] = tuple(output.description for output in outputs)
        self._sampler = CounterSampler(outputs, options, root, calls, user_only=options.exclude_kernel)
        self.pause = self._sampler.pause
        self.resume = self._sampler.resume

    def open(self) -> None:
        """Open the counters; `metrics` are those of this machine from then on."""
        self.metrics = tuple(output.description for output in self._sampler.open())

    def read(self, tick: Tick) -> List[Reading]:
        """The values since the last reading."""
        return self._sampler.read(tick)

    @property
    def waiting_for(self) -> str:
        """Why the counters are closed at present, such as `paused for job 17`; empty if they are not."""
        return self._sampler.waiting_for

    def close(self) -> None:
        """Close the counters."""
        self._sampler.close()
