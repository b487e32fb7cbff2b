"""Time that tasks waited for processors, memory and storage, from /proc/pressure.

`some` is the share of time in which at least one task waited, `full` that in which all tasks with work to do waited
(Linux, Documentation/accounting/psi.rst).
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

_RESOURCES = ("cpu", "memory", "io")
_WAITED_FOR = {"cpu": "a processor", "memory": "memory", "io": "storage"}
_WHO = {"some": "a task", "full": "every task with work to do"}
_US_PER_PERCENT_S = 1e4


def _describe() -> List[MetricDescription]:
    return [
        MetricDescription(
            f"psi_{resource}_{kind}", "%", "node", f"Time in which {who} waited for {_WAITED_FOR[resource]}.", "rate"
        )
        for resource in _RESOURCES
        for kind, who in _WHO.items()
    ]


@dataclass(frozen=True)
class PressureOptions(MetricFilter):
    """Options of the collector pressure."""


class PressureCollector:
    """Shares of time, from the kernel's totals: means over the whole interval."""

    name = "pressure"

    def __init__(self, options: PressureOptions, root: Path = Path("/")) -> None:
        self.metrics = select_metrics(_describe(), options)
        self._table = SeriesPool(self.metrics, source="PressureCollector", group="Pressure")
        wanted = {description.name.split("_")[1] for description in self.metrics}
        self._folder = root / "proc/pressure"
        self._files = {name: KernelFile(self._folder / name) for name in _RESOURCES if name in wanted}
        self._clock = RateClock()
        self._before: Dict[str, int] = {}

    def open(self) -> None:
        """Check that the kernel measures pressure."""
        self._clock.reset()
        self._before = {}
        if not self._read_totals():
            raise NotPresentError(
                f"{self._folder} cannot be read", "needs Linux 4.20 with CONFIG_PSI; some need psi=1 at boot"
            )

    def read(self, tick: Tick) -> List[Reading]:
        """Shares of the time since the previous reading."""
        now = self._read_totals()
        elapsed_s = self._clock.elapsed_s(tick)
        before, self._before = self._before, now
        if elapsed_s is None:
            return []
        return [
            (self._table.get(name), min((total - before[name]) / (_US_PER_PERCENT_S * elapsed_s), 100.0))
            for name, total in now.items()
            if total >= before.get(name, total + 1) and self._table.declared(name, "node")
        ]

    def _read_totals(self) -> Dict[str, int]:
        totals: Dict[str, int] = {}
        for resource, file in self._files.items():
            try:
                content = file.read()
            except OSError:  # not measured by this kernel
                continue
            totals.update({f"psi_{resource}_{kind}": total for kind, total in parse_pressure(content).items()})
        return totals

    def close(self) -> None:
        """Release the files."""
        for file in self._files.values():
            file.close()


def parse_pressure(content: bytes) -> Dict[str, int]:
    """Microseconds waited since boot by `some` and `full`; lines of another format are skipped."""
    totals = {}
    for line in content.split(b"\n"):
        kind, _, total = line.rpartition(b" total=")
        word = kind.split(b" ", 1)[0].decode(errors="replace")
        if word in _WHO and total.isdigit():
            totals[word] = int(total)
    return totals
