"""What the agent itself takes and how it gets on: processor time, memory, lateness, queues, cost of each collector."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Protocol, Tuple, runtime_checkable

from cc_agent.collectors.base import (
    KernelFile,
    MetricDescription,
    MetricFilter,
    RateClock,
    Reading,
    SeriesPool,
    Tick,
    read_required,
    select_metrics,
)
from cc_common.settings import option

_RESIDENT = 1
"""Column of /proc/self/statm."""

_METRICS = (
    MetricDescription("agent_cpu", "%", "node", "Time of one processor that the agent takes.", "rate"),
    MetricDescription("agent_rss", "B", "node", "Memory that the agent holds.", "gauge"),
    MetricDescription("agent_lateness", "s", "node", "Time from a tick to its readings.", "gauge"),
    MetricDescription("agent_failing", "collectors", "node", "Collectors that cannot work now.", "gauge"),
    MetricDescription("agent_queue", "batches", "node", "Batches that wait to be sent.", "gauge"),
    MetricDescription("agent_queue_size", "B", "node", "Memory and disk space of batches that wait.", "gauge"),
    MetricDescription("agent_dropped", "batches", "node", "Batches given up since the start.", "counter"),
)
_COLLECTOR_CPU = MetricDescription(
    "agent_collector_cpu", "s", "node", "Processor time of the last reading of all collectors.", "gauge"
)
_RUSAGE = (
    ("rusage_user_time", "s", "ru_utime", "processor time in user mode"),
    ("rusage_system_time", "s", "ru_stime", "processor time in the kernel"),
    ("rusage_vol_ctx_switch", "events", "ru_nvcsw", "context switches to wait"),
    ("rusage_invol_ctx_switch", "events", "ru_nivcsw", "context switches for others"),
    ("rusage_signals", "events", "ru_nsignals", "signals received"),
    ("rusage_major_pgfaults", "events", "ru_majflt", "page faults that had to wait for storage"),
    ("rusage_minor_pgfaults", "events", "ru_minflt", "page faults"),
)


class CollectorCost(NamedTuple):
    """What the last reading of a collector took, and whether it fails."""

    name: str
    cpu_s: float
    fails: bool


class Backlog(NamedTuple):
    """Batches of a sink that wait, their bytes in memory and on disk, and batches given up since the start."""

    batches: int
    size_bytes: int
    dropped: int


@runtime_checkable
class QueueingSink(Protocol):
    """A sink with a queue of batches."""

    @property
    def backlog(self) -> Backlog:
        """What waits in the queue, and what was given up."""


@dataclass(frozen=True)
class AgentstatOptions(MetricFilter):
    """Options of the collector self."""

    read_rusage: bool = option(
        False,
        "send what the kernel counts of the agent: processor time, page faults, context switches",
        key="read_rusage",
    )
    send_collector_values: bool = option(
        False,
        "send the cost of each collector too, with stype=collector; cc-metric-store keeps only one of them for a node",
        key="send_collector_values",
    )
    read_mem_stats: bool = option(
        False, "accepted for compatibility: the agent has no runtime of Go", key="read_mem_stats"
    )
    read_goroutines: bool = option(
        False, "accepted for compatibility: the agent has no runtime of Go", key="read_goroutines"
    )
    read_cgo_calls: bool = option(
        False, "accepted for compatibility: the agent has no runtime of Go", key="read_cgo_calls"
    )


class AgentstatCollector:
    """Figures of the process, and of collectors and sinks once these are attached."""

    name = "self"

    def __init__(
        self, options: AgentstatOptions, root: Path = Path("/"), now_s: Callable[[], float] = time.time
    ) -> None:
        self._options = options
        rusage = [
            MetricDescription(name, unit, "node", f"All {text} of the agent.", "counter")
            for name, unit, _, text in _RUSAGE
        ]
        self.metrics = select_metrics([*_METRICS, _COLLECTOR_CPU, *(rusage if options.read_rusage else ())], options)
        self._now_s = now_s
        self._memory = KernelFile(root / "proc/self/statm")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._clock = RateClock()
        self._cpu_s: Optional[float] = None
        self._table = SeriesPool(self.metrics, source="SelfCollector", group="Self")
        self._costs: Callable[[], Iterable[CollectorCost]] = tuple
        self._backlogs: Callable[[], Iterable[Backlog]] = tuple

    def attach_collectors(self, costs: Callable[[], Iterable[CollectorCost]]) -> None:
        """Take figures of the collectors from this function."""
        self._costs = costs

    def attach_sinks(self, backlogs: Callable[[], Iterable[Backlog]]) -> None:
        """Take figures of the sinks from this function."""
        self._backlogs = backlogs

    def open(self) -> None:
        """Begin to count."""
        self._clock.reset()
        self._cpu_s = None
        read_required(self._memory, "mount /proc")

    def read(self, tick: Tick) -> List[Reading]:
        """The figures of now; processor time since the previous reading, from the second on."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        costs = list(self._costs())
        backlogs = list(self._backlogs())
        values: Dict[str, float] = {
            "agent_rss": self._resident_bytes(),
            "agent_lateness": max(self._now_s() - tick.time_s, 0.0),
            "agent_failing": sum(1 for cost in costs if cost.fails),
            "agent_queue": sum(backlog.batches for backlog in backlogs),
            "agent_queue_size": sum(backlog.size_bytes for backlog in backlogs),
            "agent_dropped": sum(backlog.dropped for backlog in backlogs),
            "agent_collector_cpu": sum(cost.cpu_s for cost in costs),
            **{name: getattr(usage, field) for name, _, field, _ in _RUSAGE},
        }
        elapsed_s = self._clock.elapsed_s(tick)
        before_s, self._cpu_s = self._cpu_s, usage.ru_utime + usage.ru_stime
        if elapsed_s is not None and before_s is not None:
            values["agent_cpu"] = 100.0 * (self._cpu_s - before_s) / elapsed_s
        readings: List[Reading] = [
            (self._table.get(metric.name), values[metric.name]) for metric in self.metrics if metric.name in values
        ]
        if self._options.send_collector_values and self._table.declared(_COLLECTOR_CPU.name, "node"):
            readings += [
                (self._table.get(_COLLECTOR_CPU.name, stype="collector", stype_id=cost.name), cost.cpu_s)
                for cost in costs
            ]
        return readings

    def _resident_bytes(self) -> float:
        words: Tuple[bytes, ...] = tuple(self._memory.read().split())
        return int(words[_RESIDENT]) * self._page_bytes

    def close(self) -> None:
        """Release the file."""
        self._memory.close()
