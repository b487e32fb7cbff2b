"""Load and number of processes, from /proc/loadavg."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List

from cc_agent.collectors.base import (
    KernelFile,
    MetricDescription,
    MetricFilter,
    Reading,
    SeriesPool,
    Tick,
    read_required,
    select_metrics,
)

_METRICS = (
    MetricDescription("load_one", "load", "node", "Tasks running or waiting for a processor, mean of 1 min.", "gauge"),
    MetricDescription("load_five", "load", "node", "Tasks running or waiting for a processor, mean of 5 min.", "gauge"),
    MetricDescription(
        "load_fifteen", "load", "node", "Tasks running or waiting for a processor, mean of 15 min.", "gauge"
    ),
    MetricDescription("proc_run", "tasks", "node", "Tasks that can run now.", "gauge"),
    MetricDescription("proc_total", "tasks", "node", "Tasks that exist.", "gauge"),
)
_FIELDS = 4


@dataclass(frozen=True)
class LoadavgOptions(MetricFilter):
    """Options of the collector loadavg."""


class LoadavgCollector:
    """The three load averages and the task counts of the node."""

    name = "loadavg"

    def __init__(self, options: LoadavgOptions, root: Path = Path("/")) -> None:
        self.metrics = select_metrics(_METRICS, options)
        self._file = KernelFile(root / "proc/loadavg")
        self._table = SeriesPool(self.metrics, source="LoadavgCollector", group="LOAD")

    def open(self) -> None:
        """Check that the file is there."""
        parse_loadavg(read_required(self._file, "mount /proc"))

    def read(self, _tick: Tick) -> List[Reading]:
        """The current values."""
        values = parse_loadavg(self._file.read())
        return [(self._table.get(description.name), values[description.name]) for description in self.metrics]

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def parse_loadavg(content: bytes) -> Dict[str, float]:
    """Values by metric name. Raises ValueError for an unknown format."""
    fields = content.split()
    if len(fields) < _FIELDS or b"/" not in fields[3]:
        raise ValueError(f"/proc/loadavg has an unknown form: {content[:80]!r}")
    running, total = fields[3].split(b"/", 1)
    return {
        "load_one": float(fields[0]),
        "load_five": float(fields[1]),
        "load_fifteen": float(fields[2]),
        "proc_run": int(running),
        "proc_total": int(total),
    }
