"""Present clock of the cores, from /sys/devices/system/cpu/cpuN/cpufreq or from /proc/cpuinfo.

A clock of the kernel is that of the last tick before the reading. Where hardware counters can be read, the mean
over the interval is better.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

from cc_agent.collectors.base import (
    KernelFile,
    MetricDescription,
    MetricFilter,
    Reading,
    SeriesPool,
    Tick,
    read_integer,
    select_metrics,
)
from cc_agent.errors import CpuTopologyError, NotPresentError
from cc_agent.topology import CPU_FOLDER, read_topology

_HZ_PER_KHZ = 1000
_MEANING = "Present clock of the core, at its first hardware thread."


@dataclass(frozen=True)
class CpufreqOptions(MetricFilter):
    """Options of the collector cpufreq."""


@dataclass(frozen=True)
class CpufreqCpuinfoOptions(MetricFilter):
    """Options of the collector cpufreq_cpuinfo."""


class CpufreqCollector:
    """The clock of each core in Hz, from the frequency driver."""

    name = "cpufreq"

    def __init__(self, options: CpufreqOptions, root: Path = Path("/")) -> None:
        self.metrics = select_metrics([MetricDescription("cpufreq", "Hz", "hwthread", _MEANING, "gauge")], options)
        self._root = root
        self._table = SeriesPool(self.metrics, source="CPUFreqCollector", group="CPU")
        self._online = KernelFile(root / CPU_FOLDER / "online")
        self._online_text = b""
        self._files: List[Tuple[str, KernelFile]] = []

    def open(self) -> None:
        """Find the cores whose clock can be read."""
        self._find_cores()
        if not self._files:
            raise NotPresentError(
                f"{self._root / CPU_FOLDER}/cpu*/cpufreq cannot be read",
                "virtual machines often have no frequency driver",
            )

    def read(self, _tick: Tick) -> List[Reading]:
        """The clocks of all cores that are online."""
        try:
            if self._online.read() != self._online_text:
                self._find_cores()
        except OSError:  # kernels without hotplug
            pass
        readings: List[Reading] = []
        for cpu, file in self._files if self.metrics else ():
            clock_khz = read_integer(file)
            if clock_khz is not None:  # going offline, or `<unknown>`
                readings.append((self._table.get("cpufreq", "hwthread", cpu), clock_khz * _HZ_PER_KHZ))
        return readings

    def _find_cores(self) -> None:
        self._close_files()
        try:
            self._online_text = self._online.read()
        except OSError:
            self._online_text = b""
        folder = self._root / CPU_FOLDER
        files = [(str(cpu), folder / f"cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in first_hwthreads(self._root)]
        self._files = [(cpu, KernelFile(path)) for cpu, path in files if path.exists()]

    def close(self) -> None:
        """Release the files."""
        self._online.close()
        self._close_files()

    def _close_files(self) -> None:
        for _, file in self._files:
            file.close()


class CpufreqCpuinfoCollector:
    """The clock of each core in MHz, from /proc/cpuinfo, which costs more to read than the files of the driver."""

    name = "cpufreq_cpuinfo"

    def __init__(self, options: CpufreqCpuinfoOptions, root: Path = Path("/")) -> None:
        self.metrics = select_metrics([MetricDescription("cpufreq", "MHz", "hwthread", _MEANING, "gauge")], options)
        self._root = root
        self._table = SeriesPool(self.metrics, source="CPUFreqCpuInfoCollector", group="CPU")
        self._file = KernelFile(root / "proc/cpuinfo")
        self._first: Dict[int, bool] = {}

    def open(self) -> None:
        """Check that the file has clocks, which it has on x86 only."""
        try:
            clocks = parse_cpuinfo_clocks(self._file.read())
        except OSError as error:
            raise NotPresentError(
                f"{self._file.path} cannot be read: {error.strerror or error}", "mount /proc"
            ) from error
        if not clocks:
            raise NotPresentError(f"{self._file.path} has no clock", "only x86 has it; use cpufreq")

    def read(self, _tick: Tick) -> List[Reading]:
        """The clocks of all cores that are online."""
        clocks = parse_cpuinfo_clocks(self._file.read())
        if clocks.keys() != self._first.keys():
            first = frozenset(first_hwthreads(self._root))
            self._first = {cpu: cpu in first for cpu in clocks}
        if not self.metrics:
            return []
        return [
            (self._table.get("cpufreq", "hwthread", str(cpu)), clock)
            for cpu, clock in clocks.items()
            if self._first[cpu]
        ]

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def first_hwthreads(root: Path) -> List[int]:
    """The first hardware thread of each core that is online; none if the kernel does not say."""
    try:
        return [core[0] for core in read_topology(root).cores]
    except CpuTopologyError:
        return []


def parse_cpuinfo_clocks(content: bytes) -> Dict[int, float]:
    """Clocks in MHz by the number of the hardware thread; entries of another format are skipped."""
    clocks: Dict[int, float] = {}
    for entry in content.split(b"\n\n"):
        cpu, clock = -1, 0.0
        for line in entry.split(b"\n"):
            if line.startswith((b"processor", b"cpu MHz")):
                key, _, value = line.partition(b":")
                try:
                    if key.strip() == b"processor":
                        cpu = int(value)
                    elif key.strip() == b"cpu MHz":
                        clock = float(value)
                except ValueError:
                    continue
        if cpu >= 0 and 0.0 < clock < float("inf"):
            clocks[cpu] = clock
    return clocks
