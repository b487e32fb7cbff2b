"""CPU time by state, from /proc/stat.

Columns after the name of a processor, in clock ticks since boot (proc_stat(5)): user, nice, system, idle, iowait, irq,
softirq, steal, guest, guest_nice. Guest time is contained in user and nice time and therefore never added to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter, sub
from pathlib import Path
from typing import Dict, Iterable, List, Tuple

from cc_agent.collectors.base import (
    KernelFile,
    MetricDescription,
    MetricFilter,
    RateClock,
    RawSeries,
    Reading,
    SeriesPool,
    Tick,
    read_required,
    select_metrics,
)
from cc_common.settings import option

_STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
_EXCLUSIVE_STATES = 8
"""The first eight states exclude each other and add up to the whole time."""
_IDLE, _IOWAIT = 3, 4
_BUSY_STEPS = itemgetter(0, 1, 2, 5, 6)
_IDLE_MAY_SHRINK_TICKS = 10
_TOTAL_TOLERANCE = 0.75
"""Minimum ratio of a hardware thread's total time to the median of all.

Those that were online throughout count the same time, except for the kernel's steps of 10 ms and stolen time that a
hypervisor does not report."""

_MEANINGS = {
    "user": "time in user mode, virtual machines included",
    "nice": "time in user mode at low priority",
    "system": "time in the kernel",
    "idle": "time without work",
    "iowait": "idle time while a task of this processor waited for a disk",
    "irq": "time in interrupts",
    "softirq": "time in deferred interrupts",
    "steal": "time the hypervisor gave to others",
    "guest": "time running virtual machines; part of user time",
    "guest_nice": "time running virtual machines at low priority; part of nice time",
}


@dataclass(frozen=True)
class CpustatOptions(MetricFilter):
    """Options of the collector cpustat."""

    node_values: bool = option(True, "send the mean over all hardware threads for the node", key="node_values")
    hwthread_values: bool = option(True, "send one value for each hardware thread", key="hwthread_values")


def _describe(options: CpustatOptions) -> Tuple[MetricDescription, ...]:
    scopes = [scope for scope, on in (("node", options.node_values), ("hwthread", options.hwthread_values)) if on]
    texts = [(f"cpu_{state}", f"Share of {_MEANINGS[state]}.") for state in _STATES]
    texts.append(("cpu_used", "Share of time spent working: user, nice, system, irq and softirq."))
    described = [MetricDescription(name, "%", scope, text, "rate") for name, text in texts for scope in scopes]
    if options.node_values:
        described.append(MetricDescription("num_cpus", "hwthreads", "node", "Hardware threads online.", "gauge"))
    return select_metrics(described, options)


class CpustatCollector:
    """Shares of time in percent, 0 to 100, for each hardware thread and as their mean for the node."""

    name = "cpustat"

    def __init__(self, options: CpustatOptions, root: Path = Path("/")) -> None:
        self.metrics = _describe(options)
        self._file = KernelFile(root / "proc/stat")
        self._table = SeriesPool(self.metrics, source="CpustatCollector", group="CPU")
        self._clock = RateClock()
        self._before: Dict[bytes, List[int]] = {}
        self._series: Dict[str, Dict[bytes, RawSeries]] = {}
        self._states = [
            (index, f"cpu_{state}")
            for index, state in enumerate((*_STATES, "used"))
            if any(description.name == f"cpu_{state}" for description in self.metrics)
        ]

    def open(self) -> None:
        """Check that the file is there."""
        parse_stat(read_required(self._file, "mount /proc"))
        self._clock.reset()
        self._before = {}

    def read(self, tick: Tick) -> List[Reading]:
        """Shares since the previous call; a hardware thread that was not online throughout is left out once."""
        now = parse_stat(self._file.read())
        rates_wanted = self._clock.elapsed_s(tick) is not None
        readings: List[Reading] = []
        if self._table.declared("num_cpus", "node"):
            readings.append((self._table.get("num_cpus"), len(now)))
        if rates_wanted:
            self._append_shares(_time_shares(now, self._before), readings)
        self._before = now
        return readings

    def _append_shares(self, shares: Dict[bytes, List[float]], readings: List[Reading]) -> None:
        table = self._table
        for index, metric in self._states:
            if table.declared(metric, "hwthread"):
                series = self._series_of(metric, shares)
                readings.extend([(series[cpu], share[index]) for cpu, share in shares.items()])
            if shares and table.declared(metric, "node"):
                readings.append((table.get(metric), sum(share[index] for share in shares.values()) / len(shares)))

    def _series_of(self, metric: str, cpus: Iterable[bytes]) -> Dict[bytes, RawSeries]:
        """The series of a metric by hardware thread, those of `cpus` at least."""
        known = self._series.setdefault(metric, {})
        for cpu in cpus:
            if cpu not in known:
                known[cpu] = self._table.get(metric, "hwthread", cpu.decode())
        return known

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def parse_stat(content: bytes) -> Dict[bytes, List[int]]:
    """Clock ticks by hardware thread number; columns that an old kernel lacks are 0. Raises ValueError."""
    processors: Dict[bytes, List[int]] = {}
    for line in content.split(b"\n"):
        if not line.startswith(b"cpu"):
            if processors:
                break
            continue
        name, *columns = line.split()
        number = name[3:]
        if number:
            ticks = list(map(int, columns[: len(_STATES)]))
            if len(ticks) < len(_STATES):
                if len(ticks) <= _IDLE:
                    raise ValueError(f"/proc/stat: too few columns for {name.decode(errors='replace')}")
                ticks += [0] * (len(_STATES) - len(ticks))
            processors[number] = ticks
    if not processors:
        raise ValueError("/proc/stat has no line for a processor")
    return processors


def _time_shares(now: Dict[bytes, List[int]], before: Dict[bytes, List[int]]) -> Dict[bytes, List[float]]:
    """Percent of time in each state, then in all working states, of the hardware threads that were online throughout.

    One that was offline for a part of the interval counted less time than most, or more if the kernel adds it later.
    """
    steps = {cpu: _tick_deltas(ticks, before[cpu]) for cpu, ticks in now.items() if cpu in before}
    totals = {cpu: sum(went[:_EXCLUSIVE_STATES]) for cpu, went in steps.items() if went}
    usual = sorted(totals.values())[len(totals) // 2] if totals else 0
    return {
        cpu: _percentages(steps[cpu], total)
        for cpu, total in totals.items()
        if usual * _TOTAL_TOLERANCE <= total <= usual / _TOTAL_TOLERANCE and total > 0
    }


def _tick_deltas(now: List[int], before: List[int]) -> List[int]:
    """The increase of each counter; empty if the counters were reset."""
    steps = list(map(sub, now, before))
    if min(steps) >= 0:
        return steps
    # proc_stat(5): idle and iowait may shrink on a running system, and what one loses the other has. Before Linux 6.5
    # both begin at zero when a hardware thread comes back, while the rest goes on.
    if steps[_IDLE] + steps[_IOWAIT] < -_IDLE_MAY_SHRINK_TICKS:
        return []
    steps[_IDLE] = max(steps[_IDLE], 0)
    steps[_IOWAIT] = max(steps[_IOWAIT], 0)
    return steps if min(steps) >= 0 else []


def _percentages(steps: List[int], total: int) -> List[float]:
    """Percent of the ticks of all states, not of wall time.

    The shares of a hardware thread thereby add up to 100 although the kernel counts in steps of 10 ms.
    """
    scale = 100.0 / total
    shares = [step * scale for step in steps]
    shares.append(sum(_BUSY_STEPS(steps)) * scale)
    return shares
