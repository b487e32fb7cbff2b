"""Load of each hardware thread, from /proc/schedstat (Linux, Documentation/scheduler/sched-stats.rst).

In the line of a hardware thread the seventh number is the time its tasks ran, the eighth the time they waited to run,
both in ns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List

from cc_agent.collectors.base import (
    KernelFile,
    MetricDescription,
    MetricFilter,
    RateClock,
    Reading,
    SeriesPool,
    Tick,
    select_metrics,
)
from cc_agent.errors import NotPresentError

_METRICS = (
    MetricDescription(
        "cpu_load_core", "load", "hwthread", "Tasks running or waiting for the hardware thread, mean.", "rate"
    ),
)
_RUNNING, _WAITING = 7, 8
_NS_PER_S = 1e9


@dataclass(frozen=True)
class SchedstatOptions(MetricFilter):
    """Options of the collector schedstat."""


class SchedstatCollector:
    """The load of each hardware thread that is online."""

    name = "schedstat"

    def __init__(self, options: SchedstatOptions, root: Path = Path("/")) -> None:
        self.metrics = select_metrics(_METRICS, options)
        self._file = KernelFile(root / "proc/schedstat")
        self._table = SeriesPool(self.metrics, source="SchedstatCollector", group="SCHEDSTAT")
        self._clock = RateClock()
        self._before: Dict[bytes, int] = {}

    def open(self) -> None:
        """Check that the kernel keeps these statistics."""
        self._clock.reset()
        self._before = {}
        try:
            parse_schedstat(self._file.read())
        except OSError as error:
            raise NotPresentError(
                f"{self._file.path} cannot be read: {error.strerror or error}", "needs a kernel with CONFIG_SCHEDSTATS"
            ) from error

    def read(self, tick: Tick) -> List[Reading]:
        """The load since the previous reading; from the second reading on."""
        now = parse_schedstat(self._file.read())
        elapsed_s = self._clock.elapsed_s(tick)
        before, self._before = self._before, now
        if elapsed_s is None or not self.metrics:
            return []
        scale = 1.0 / (_NS_PER_S * elapsed_s)
        get = self._table.get
        return [
            (get("cpu_load_core", "hwthread", cpu.decode()), (busy_ns - before[cpu]) * scale)
            for cpu, busy_ns in now.items()
            if busy_ns >= before.get(cpu, busy_ns + 1)  # offline for a while, or new
        ]

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def parse_schedstat(content: bytes) -> Dict[bytes, int]:
    """Time in ns that tasks ran or waited to run, by the number of the hardware thread. Raises ValueError."""
    busy_ns: Dict[bytes, int] = {}
    for line in content.split(b"\ncpu")[1:]:
        words = line.split(None, _WAITING + 1)
        if len(words) > _WAITING and words[0].isdigit():
            busy_ns[words[0]] = int(words[_RUNNING]) + int(words[_WAITING])
    if not busy_ns:
        raise ValueError(f"/proc/schedstat has an unknown form: {content[:80]!r}")
    return busy_ns
