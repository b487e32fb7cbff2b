"""The programs that take most processor time, from /proc/PID/stat, in the background.

cc-metric-collector sends names as text, for which a store refuses the batch. Here the sample is a number, the processor
time of the program, and the name a tag.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, FrozenSet, List, NamedTuple, Optional, Tuple

from cc_agent.collectors.base import MetricDescription, RawSeries, Reading, SeriesPool, Tick, select_metrics
from cc_agent.collectors.commands import BackgroundOptions, SlowSource
from cc_agent.errors import NotAvailableError
from cc_common.settings import option

_MAX_PROGRAMS = 10
_MAX_PROCESSES = 65536
_STAT_BYTES = 1024
_UTIME, _STIME, _START = 11, 12, 19
"""Fields of /proc/PID/stat after the name, from 0 (proc_pid_stat(5): utime 14, stime 15, starttime 22)."""
_UNWANTED = re.compile(r"[^A-Za-z0-9_.+:@/-]")

ProcessTimes = Dict[Tuple[int, int], Tuple[str, int]]
"""Name and clock ticks of a process, by its number and start."""


@dataclass(frozen=True)
class TopprocsOptions(BackgroundOptions):
    """Options of the collector topprocs."""

    num_procs: int = option(2, "number of programs to send", key="num_procs", minimum=1, maximum=_MAX_PROGRAMS)
    send_names: bool = option(
        True, "send the name of the program with stype=process; off sends the numbers only", key="send_names"
    )


class ProgramLoad(NamedTuple):
    """A program and the time of processors that all processes of its name took, 100 for one processor."""

    name: str
    percent: float


class TopprocsCollector:
    """Processor time since the last reading of the programs that took most, in the order of it."""

    name = "topprocs"

    def __init__(
        self, options: TopprocsOptions, root: Path = Path("/"), monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.metrics = select_metrics(
            [
                MetricDescription(
                    f"topproc{rank}", "%", "node", f"Time of processors of the program of rank {rank}.", "rate"
                )
                for rank in range(1, options.num_procs + 1)
            ],
            options,
        )
        self._options = options
        self._folder = root / "proc"
        self._table = SeriesPool(self.metrics, source="TopProcsCollector", group="TopProcs")
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._before: Optional[Tuple[float, ProcessTimes]] = None
        self._names: FrozenSet[str] = frozenset()
        self._source = SlowSource(
            "topprocs", lambda: read_processes(self._folder), options.interval_s, monotonic=monotonic
        )

    def open(self) -> None:
        """Check that processes can be seen."""
        self._source.close()
        self._before = None
        if not any(entry.isdigit() for entry in _list(self._folder)):
            raise NotAvailableError(f"{self._folder} has no processes or cannot be read", "mount /proc")

    def read(self, tick: Tick) -> List[Reading]:
        """The programs that took most, when a reading is done; from the second one on."""
        measured = self._source.poll(tick)
        if measured is None:
            return []
        before, self._before = self._before, (measured.monotonic_s, measured.value)
        if before is None or measured.monotonic_s <= before[0]:
            return []
        elapsed_s = measured.monotonic_s - before[0]
        loads = top_programs(measured.value, before[1], elapsed_s * self._ticks_per_s, self._options.num_procs)
        for gone in self._names.difference(load.name for load in loads):
            self._table.forget(gone)
        self._names = frozenset(load.name for load in loads)
        return [
            (self._series(f"topproc{rank}", load.name), load.percent)
            for rank, load in enumerate(loads, 1)
            if self._table.declared(f"topproc{rank}", "node")
        ]

    def _series(self, metric: str, program: str) -> RawSeries:
        if not self._options.send_names:
            return self._table.get(metric)
        return self._table.get(metric, stype="process", stype_id=program)

    def close(self) -> None:
        """Drop a reading that is under way."""
        self._source.close()


def _list(folder: Path) -> List[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 names of thousands of processes
    except OSError:
        return []


def read_processes(folder: Path) -> ProcessTimes:
    """Name and clock ticks of all processes; those that end meanwhile are left out."""
    times: ProcessTimes = {}
    for entry in _list(folder):
        if entry.isdigit() and len(times) < _MAX_PROCESSES:
            parsed = parse_process_stat(_read(f"{folder}/{entry}/stat"))
            if parsed is not None:
                name, ticks, start = parsed
                times[int(entry), start] = (name, ticks)
    return times


def _read(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _STAT_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def parse_process_stat(content: bytes) -> Optional[Tuple[str, int, int]]:
    """Name, clock ticks of processors, and start of a process; None for another format.

    The name is in parentheses and may have some itself.
    """
    before, found, after = content.rpartition(b")")
    fields = after.split()
    name = before.partition(b"(")[2]
    if not found or not name or len(fields) <= _START:
        return None
    numbers = fields[_UTIME], fields[_STIME], fields[_START]
    if not all(map(bytes.isdigit, numbers)):
        return None
    return program_name(name.decode(errors="replace")), int(numbers[0]) + int(numbers[1]), int(numbers[2])


def program_name(name: str) -> str:
    """The name with `_` for whatever could be trouble in a tag; those of kernel threads without their number."""
    return _UNWANTED.sub("_", name.partition("/")[0] if name.startswith("kworker") else name) or "_"


def top_programs(now: ProcessTimes, before: ProcessTimes, available_ticks: float, count: int) -> List[ProgramLoad]:
    """The `count` programs that took most since `before`; fewer if not as many took any time.

    Processes that began since then count with all their time.
    """
    sums: Dict[str, int] = {}
    for key, (name, ticks) in now.items():
        went = ticks - (before[key][1] if key in before else 0)
        if went > 0:
            sums[name] = sums.get(name, 0) + went
    ranked = sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:count]
    return [ProgramLoad(name, 100.0 * ticks / available_ticks) for name, ticks in ranked]
