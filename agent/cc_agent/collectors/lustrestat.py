"""Traffic of mounted Lustre file systems, from llite/*/stats below /sys/kernel/debug/lustre or /proc/fs/lustre.

A line is `read_bytes 6 samples [bytes] 4096 1048576 5000000`: number of calls, unit, minimum, maximum, sum. Operations
that have not been called since the mount have no line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Optional

from cc_agent.collectors.base import KernelFile, MetricFilter, Reading, SeriesPool, Tick
from cc_agent.collectors.commands import SlowSource, find_program, run_command
from cc_agent.collectors.counter_set import Counter, CounterForms, CounterSet, InstanceTags
from cc_agent.errors import NotAvailableError, NotPresentError
from cc_common.settings import option

_FOLDERS = ("sys/kernel/debug/lustre/llite", "proc/fs/lustre/llite")
_OPERATIONS = ("open", "close", "setattr", "getattr", "statfs", "inode_permission")
_SEARCH_INTERVAL_S = 60.0
_MAX_FILESYSTEMS = 256
_LCTL_INTERVAL_S = 60.0
_LCTL_TIMEOUT_S = 10.0


def _transfer(name: str, rate: str, unit: str, text: str) -> Counter:
    return Counter(f"lustre_{name}", unit, text, rate=rate, difference=f"lustre_{name}_diff")


_COUNTERS = (
    _transfer("read_requests", "lustre_read_requests_rate", "requests", "reads"),
    _transfer("write_requests", "lustre_write_requests_rate", "requests", "writes"),
    _transfer("read_bytes", "lustre_read_bw", "B", "bytes read"),
    _transfer("write_bytes", "lustre_write_bw", "B", "bytes written"),
    *(_transfer(name, f"lustre_{name}_rate", "requests", f"calls of the operation {name}") for name in _OPERATIONS),
)
_NOTHING = dict.fromkeys((counter.name for counter in _COUNTERS), 0)


@dataclass(frozen=True)
class LustrestatOptions(MetricFilter):
    """Options of the collector lustrestat."""

    lctl_command: str = option(
        "",
        "read by this program (`lctl`) every minute where the kernel's files are closed to the agent; empty runs none",
        key="lctl_command",
    )
    use_sudo: bool = option(False, "run `lctl_command` by `sudo -n`", key="use_sudo")
    send_abs_values: bool = option(False, "send counters", key="send_abs_values")
    send_derived_values: bool = option(
        False, "send rates; they are sent, too, if no other form is chosen", key="send_derived_values"
    )
    send_diff_values: bool = option(
        False, "send differences between two readings, as cc-metric-collector does", key="send_diff_values"
    )
    send_device_values: bool = option(
        False,
        "send each file system too, with stype=filesystem; cc-metric-store keeps only one of them for a node",
        key="send_device_values",
    )


class LustrestatCollector:
    """Counters and rates as sums over all mounted Lustre file systems; zero while none is mounted."""

    name = "lustrestat"

    def __init__(self, options: LustrestatOptions, root: Path = Path("/")) -> None:
        self._options = options
        self._root = root
        absolute, differences = options.send_abs_values, options.send_diff_values
        rates = options.send_derived_values or not (absolute or differences)
        self._counters = CounterSet(
            _COUNTERS,
            CounterForms(absolute=absolute, rates=rates, differences=differences),
            options,
            InstanceTags(stype="filesystem" if options.send_device_values else ""),
        )
        self.metrics = self._counters.metrics
        self._table = SeriesPool(self.metrics, source="LustreCollector", group="Lustre")
        self._folder: Optional[Path] = None
        self._files: Dict[str, KernelFile] = {}
        self._searched_s: Optional[float] = None
        self._lctl: Optional[SlowSource[Dict[str, Mapping[str, int]]]] = None

    def open(self) -> None:
        """Find the files. Raises NotPresentError without Lustre, NotAvailableError if the agent may not read them."""
        self.close()
        self._counters.reset()
        self._searched_s = None
        closed: Optional[PermissionError] = None
        for name in _FOLDERS:
            folder = self._root / name
            try:
                self._find_files(folder)
            except PermissionError as error:
                closed = error
            except OSError:
                continue
            else:
                self._folder = folder
                return
        if closed is None or not self._kernel_has_lustre():
            folders = " and ".join(str(self._root / name) for name in _FOLDERS)
            raise NotPresentError(f"{folders} cannot be read", "they appear with the client of Lustre")
        if not self._options.lctl_command:
            raise NotAvailableError(
                f"{closed.filename} cannot be read: {closed.strerror}",
                'give the agent CAP_DAC_READ_SEARCH (systemd: AmbientCapabilities), or set "lctl_command"',
            )
        self._lctl = self._make_lctl()

    def _kernel_has_lustre(self) -> bool:
        try:
            return b"lustre" in (self._root / "proc/filesystems").read_bytes().split()
        except OSError:
            return False

    def read(self, tick: Tick) -> List[Reading]:
        """Sums over the file systems, and single ones if configured."""
        if self._lctl is not None:
            measured = self._lctl.poll(tick)
            if measured is None:
                return []
            return self._counters.readings(self._lctl.tick_of(tick, measured), measured.value, self._table)
        if self._searched_s is None:
            self._searched_s = tick.monotonic_s
        elif self._folder is not None and tick.monotonic_s - self._searched_s >= _SEARCH_INTERVAL_S:
            self._searched_s = tick.monotonic_s
            self._find_files(self._folder)
        counts: Dict[str, Mapping[str, int]] = {}
        for name, file in self._files.items():
            read = _read_counts(file)
            if read is not None:
                counts[name] = read
        return self._counters.readings(tick, counts, self._table)

    def _make_lctl(self) -> SlowSource[Dict[str, Mapping[str, int]]]:
        program = find_program(self._options.lctl_command, "lctl_command must name Lustre's program lctl")
        words = [program, "get_param", "llite.*.stats"]
        sudo = self._options.use_sudo
        return SlowSource(
            "lctl",
            lambda: parse_lctl(run_command(words, timeout_s=_LCTL_TIMEOUT_S, sudo=sudo)),
            max(_LCTL_INTERVAL_S, self._options.interval_s),
        )

    def _find_files(self, folder: Path) -> None:
        names = sorted(entry.name for entry in folder.iterdir())[:_MAX_FILESYSTEMS]
        for gone in self._files.keys() - set(names):
            self._files.pop(gone).close()
        for name in names:
            self._files.setdefault(name, KernelFile(folder / name / "stats"))

    def close(self) -> None:
        """Release the files."""
        for file in self._files.values():
            file.close()
        self._files = {}
        if self._lctl is not None:
            self._lctl.close()
            self._lctl = None


def _read_counts(file: KernelFile) -> Optional[Mapping[str, int]]:
    try:
        return parse_llite_stats(file.read())
    except OSError:  # unmounted
        file.close()
        return None


def parse_lctl(content: bytes) -> Dict[str, Mapping[str, int]]:
    """Counters by metric name of each file system, from the output of `lctl get_param llite.*.stats`."""
    filesystems: Dict[str, Mapping[str, int]] = {}
    for entry in (b"\n" + content).split(b"\nllite.")[1:]:
        name, found, rest = entry.partition(b".stats=")
        if found and len(filesystems) < _MAX_FILESYSTEMS:
            filesystems[name.decode(errors="replace")] = parse_llite_stats(rest)
    return filesystems


def parse_llite_stats(content: bytes) -> Mapping[str, int]:
    """Counters by metric name, 0 for operations without a line; lines of another format are skipped."""
    counts = dict(_NOTHING)
    for line in content.split(b"\n"):
        words = line.split()
        if len(words) < 3 or words[2] != b"samples" or not words[1].isdigit():  # noqa: PLR2004 name, number, word
            continue
        name = words[0].decode(errors="replace")
        if name in ("read_bytes", "write_bytes"):
            total = words[6] if len(words) > 6 else b"0"  # noqa: PLR2004 the sum, after minimum and maximum
            if total.isdigit():
                counts[f"lustre_{name[: -len('_bytes')]}_requests"] = int(words[1])
                counts[f"lustre_{name}"] = int(total)
        elif name in _OPERATIONS:
            counts[f"lustre_{name}"] = int(words[1])
    return counts
