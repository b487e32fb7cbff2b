"""Page faults, swapping, out-of-memory kills and context switches, from /proc/vmstat and /proc/stat."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List

from cc_agent.collectors.base import KernelFile, MetricFilter, Reading, SeriesPool, Tick, read_required
from cc_agent.collectors.counter_set import Counter, CounterForms, CounterSet
from cc_common.settings import option

_CONTEXT_SWITCHES = "vm_context_switches"
_COUNTERS = (
    ("vm_page_faults", "pgfault", "events", "page faults"),
    ("vm_major_faults", "pgmajfault", "events", "page faults that had to wait for storage"),
    ("vm_swap_in", "pswpin", "B", "bytes read from swap space"),
    ("vm_swap_out", "pswpout", "B", "bytes written to swap space"),
    ("vm_oom_kills", "oom_kill", "events", "processes killed for lack of memory"),
    (_CONTEXT_SWITCHES, "", "events", "context switches"),
)
_NAMES = {key.encode(): name for name, key, _, _ in _COUNTERS if key}


@dataclass(frozen=True)
class VmstatOptions(MetricFilter):
    """Options of the collector vmstat."""

    send_abs_values: bool = option(
        False, "send counters since boot too, each with `_total` after its name", key="send_abs_values"
    )


class VmstatCollector:
    """Rates of events of the memory management and of context switches of the node."""

    name = "vmstat"

    def __init__(self, options: VmstatOptions, root: Path = Path("/"), page_bytes: int = 0) -> None:
        page = page_bytes or os.sysconf("SC_PAGE_SIZE")
        self._counters = CounterSet(
            [
                Counter(f"{name}_total", unit, text, rate=name, scale=page if unit == "B" else 1)
                for name, _, unit, text in _COUNTERS
            ],
            CounterForms(absolute=options.send_abs_values, rates=True),
            options,
        )
        self.metrics = self._counters.metrics
        self._table = SeriesPool(self.metrics, source="VmstatCollector", group="Memory")
        self._file = KernelFile(root / "proc/vmstat")
        # The kernel sums up all interrupts of all processors for this file: it is read only if it is needed.
        needs_stat = any(metric.name.startswith(_CONTEXT_SWITCHES) for metric in self.metrics)
        self._stat = KernelFile(root / "proc/stat") if needs_stat else None

    def open(self) -> None:
        """Check that the files are there."""
        self._counters.reset()
        parse_vmstat(read_required(self._file, "mount /proc"))

    def read(self, tick: Tick) -> List[Reading]:
        """The rates since the previous reading; kernels before 4.13 do not count out-of-memory kills."""
        counts = parse_vmstat(self._file.read())
        if self._stat is not None:
            counts[f"{_CONTEXT_SWITCHES}_total"] = parse_context_switches(self._stat.read())
        return self._counters.readings(tick, {"": counts}, self._table)

    def close(self) -> None:
        """Release the files."""
        self._file.close()
        if self._stat is not None:
            self._stat.close()


def parse_vmstat(content: bytes) -> Dict[str, int]:
    """Counters by metric name; lines of another format are skipped. Raises ValueError if there is none."""
    counts = {}
    for line in content.split(b"\n"):
        key, _, value = line.partition(b" ")
        name = _NAMES.get(key)
        if name is not None and value.isdigit():
            counts[f"{name}_total"] = int(value)
    if not counts:
        raise ValueError(f"/proc/vmstat has an unknown form: {content[:80]!r}")
    return counts


def parse_context_switches(content: bytes) -> int:
    """Context switches since boot, from /proc/stat. Raises ValueError."""
    _, found, rest = content.partition(b"\nctxt ")
    number = rest.split(b"\n", 1)[0]
    if not found or not number.isdigit():
        raise ValueError("/proc/stat has no line of context switches")
    return int(number)
