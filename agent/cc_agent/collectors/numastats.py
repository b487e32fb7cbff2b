"""Where memory was allocated, from /sys/devices/system/node/nodeN/numastat.

Source: Linux, Documentation/admin-guide/numastat.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

from cc_agent.collectors.base import KernelFile, MetricFilter, Reading, SeriesPool, Tick
from cc_agent.collectors.counter_set import Counter, CounterForms, CounterSet, InstanceTags
from cc_agent.errors import NotPresentError
from cc_agent.topology import NODE_FOLDER, memory_domains
from cc_common.settings import option

_KEYS = (
    ("numa_hit", "pages allocated here as intended"),
    ("numa_miss", "pages allocated here because another NUMA domain was full"),
    ("numa_foreign", "pages intended for here and allocated elsewhere"),
    ("interleave_hit", "interleaved pages allocated here as intended"),
    ("local_node", "pages allocated here for a task running here"),
    ("other_node", "pages allocated here for a task running elsewhere"),
)
_PREFIX = "numastats_"


@dataclass(frozen=True)
class NumastatsOptions(MetricFilter):
    """Options of the collector numastats."""

    send_abs_values: bool = option(True, "send counters", key="send_abs_values")
    send_derived_values: bool = option(False, "send rates", key="send_derived_values")


class NumastatsCollector:
    """Pages allocated in each NUMA domain."""

    name = "numastats"

    def __init__(self, options: NumastatsOptions, root: Path = Path("/")) -> None:
        self._counters = CounterSet(
            [Counter(_PREFIX + key, "pages", text, rate=f"{_PREFIX}{key}_rate") for key, text in _KEYS],
            CounterForms(absolute=options.send_abs_values, rates=options.send_derived_values),
            options,
            InstanceTags("memoryDomain"),
        )
        self.metrics = self._counters.metrics
        self._root = root
        self._table = SeriesPool(self.metrics, source="NUMAStatsCollector", group="NUMA")
        self._files: List[Tuple[str, KernelFile]] = []

    def open(self) -> None:
        """Find the NUMA domains."""
        self.close()
        self._counters.reset()
        folder = self._root / NODE_FOLDER
        self._files = [
            (str(index), KernelFile(folder / f"node{domain.number}" / "numastat"))
            for index, domain in enumerate(memory_domains(self._root))
        ]
        if not self._read_counters():
            raise NotPresentError(f"{folder}/node*/numastat cannot be read", "needs a kernel with CONFIG_NUMA")

    def read(self, tick: Tick) -> List[Reading]:
        """Counters and rates of each NUMA domain that can be read."""
        return self._counters.readings(tick, self._read_counters(), self._table)

    def _read_counters(self) -> Dict[str, Dict[str, int]]:
        domains = {}
        for index, file in self._files:
            try:
                counters = parse_numastat(file.read())
            except OSError:  # memory was taken offline
                continue
            if counters:
                domains[index] = counters
        return domains

    def close(self) -> None:
        """Release the files."""
        for _, file in self._files:
            file.close()


def parse_numastat(content: bytes) -> Dict[str, int]:
    """Counters by metric name; lines of another format are skipped."""
    counters = {}
    known = {key for key, _ in _KEYS}
    for line in content.decode(errors="replace").split("\n"):
        words = line.split()
        if len(words) == 2 and words[0] in known and words[1].isdigit():  # noqa: PLR2004 key and number
            counters[_PREFIX + words[0]] = int(words[1])
    return counters
