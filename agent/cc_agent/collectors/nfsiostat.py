"""Traffic of mounted NFS file systems, from /proc/self/mountstats (Linux, fs/nfs/super.c, nfs_show_stats).

The line `bytes:` has what programs read and wrote, what they read and wrote past the cache (O_DIRECT), what came from
and went to the server, and the pages of mapped files. A line of an operation has calls, transmissions, timeouts, bytes
sent, bytes received, and the ms that calls waited in the queue, for the server, and in all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Optional, Set, Tuple

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
from cc_agent.collectors.counter_set import Counter, CounterForms, CounterSet, InstanceTags
from cc_agent.errors import NotPresentError
from cc_common.settings import option

_COLUMNS = (
    ("nread", "B", "bytes that programs read"),
    ("nwrite", "B", "bytes that programs wrote"),
    ("dread", "B", "bytes read past the cache"),
    ("dwrite", "B", "bytes written past the cache"),
    ("nfsread", "B", "bytes read from servers"),
    ("nfswrite", "B", "bytes written to servers"),
    ("pageread", "4K_pages", "pages of mapped files read"),
    ("pagewrite", "4K_pages", "pages of mapped files written"),
)
_PREFIX = "nfsio_"
_OPERATIONS = ("READ", "WRITE")
_CALLS, _TRANSMISSIONS, _WAITED_MS = 0, 1, 6
_COLUMNS_OF_OPERATION = 8
_DEVICE = re.compile(rb"device (\S+) mounted on (\S+) with fstype (nfs4?)(?: |$)")
_OPERATION_LINE = re.compile(rb"\n[ \t]+(READ|WRITE): ([0-9 ]+)")
_OCTAL = re.compile(r"\\([0-7]{3})")
_MAX_MOUNTS = 4096

_LATENCIES = tuple(
    MetricDescription(
        f"nfsio_{operation}_rtt", "ms", "node", f"Mean time until servers answered a {operation}.", "rate"
    )
    for operation in ("read", "write")
)
_RETRANSMISSIONS = MetricDescription(
    "nfsio_retrans", "requests/s", "node", "Calls sent again for reads and writes.", "rate"
)


@dataclass(frozen=True)
class NfsiostatOptions(MetricFilter):
    """Options of the collector nfsiostat."""

    exclude_filesystem: Tuple[str, ...] = option((), "never count these mount points", key="exclude_filesystem")
    use_server_as_stype: bool = option(
        False,
        "with send_device_values: one value for each server instead of each mount point",
        key="use_server_as_stype",
    )
    send_abs_values: bool = option(True, "send counters", key="send_abs_values")
    send_derived_values: bool = option(False, "send rates, and how long servers took", key="send_derived_values")
    send_device_values: bool = option(
        False,
        "send each mount point too, with stype=filesystem; cc-metric-store keeps only one of them for a node",
        key="send_device_values",
    )


class NfsMount(NamedTuple):
    """Counters of a mount: bytes and pages by metric, and calls, transmissions and ms waited by operation."""

    server: str
    path: str
    counts: Mapping[str, int]
    operations: Mapping[str, Tuple[int, int, int]]


class NfsiostatCollector:
    """Counters and rates as sums over all NFS mounts, those of one file system counted once; zero without any mount."""

    name = "nfsiostat"

    def __init__(self, options: NfsiostatOptions, root: Path = Path("/")) -> None:
        self._options = options
        # Configurations of cc-metric-collector exclude columns without the prefix.
        excluded = [part for name in options.exclude_metrics for part in (name, _PREFIX + name, f"{_PREFIX}{name}_bw")]
        choice = replace(options, exclude_metrics=tuple(excluded))
        self._counters = CounterSet(
            [Counter(_PREFIX + name, unit, text, rate=f"{_PREFIX}{name}_bw") for name, unit, text in _COLUMNS],
            CounterForms(absolute=options.send_abs_values, rates=options.send_derived_values),
            choice,
            InstanceTags(stype="filesystem" if options.send_device_values else ""),
        )
        more = select_metrics((*_LATENCIES, _RETRANSMISSIONS), choice) if options.send_derived_values else ()
        self._more = frozenset(metric.name for metric in more)
        self.metrics = self._counters.metrics + more
        self._table = SeriesPool(self.metrics, source="NfsIOStatCollector", group="NFS")
        self._file = KernelFile(root / "proc/self/mountstats")
        self._filesystems = root / "proc/filesystems"
        self._clock = RateClock()
        self._operations: Dict[str, Mapping[str, Tuple[int, int, int]]] = {}

    def open(self) -> None:
        """Check that this machine can mount NFS."""
        self._counters.reset()
        self._clock.reset()
        self._operations = {}
        mounts = self._mounts(read_required(self._file, "mount /proc"))
        if not mounts and not self._kernel_has_nfs():
            raise NotPresentError(
                "no NFS file system is mounted, and the kernel has no client of NFS loaded", "mount one to see it"
            )

    def _kernel_has_nfs(self) -> bool:
        try:
            return b"nfs" in self._filesystems.read_bytes().split()
        except OSError:
            return False

    def read(self, tick: Tick) -> List[Reading]:
        """Sums over the mounts, and single ones if configured."""
        mounts = self._mounts(self._file.read())
        counts: Dict[str, Dict[str, int]] = {}
        for mount in mounts:
            name = mount.server if self._options.use_server_as_stype else mount.path
            known = counts.setdefault(name, {})
            for key, count in mount.counts.items():
                known[key] = known.get(key, 0) + count
        readings = self._counters.readings(tick, counts, self._table)
        return readings + self._latencies(tick, mounts)

    def _latencies(self, tick: Tick, mounts: List[NfsMount]) -> List[Reading]:
        elapsed_s = self._clock.elapsed_s(tick)
        before, self._operations = self._operations, {mount.path: mount.operations for mount in mounts}
        if elapsed_s is None or not self._more:
            return []
        values: Dict[str, float] = {}
        retransmissions = 0
        for operation, metric in zip(_OPERATIONS, _LATENCIES):
            calls, transmissions, waited_ms = _increase(operation, self._operations, before)
            retransmissions += max(transmissions - calls, 0)
            if calls:
                values[metric.name] = waited_ms / calls
        values[_RETRANSMISSIONS.name] = retransmissions / elapsed_s
        return [(self._table.get(name), value) for name, value in values.items() if name in self._more]

    def _mounts(self, content: bytes) -> List[NfsMount]:
        return [mount for mount in parse_mountstats(content) if mount.path not in self._options.exclude_filesystem]

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def _increase(
    operation: str,
    now: Mapping[str, Mapping[str, Tuple[int, int, int]]],
    before: Mapping[str, Mapping[str, Tuple[int, int, int]]],
) -> Tuple[int, int, int]:
    """Calls, transmissions and ms waited since the last reading, of all mounts that were not mounted anew."""
    sums = [0, 0, 0]
    for path, operations in now.items():
        new, old = operations.get(operation), before.get(path, {}).get(operation)
        if new is not None and old is not None and all(a >= b for a, b in zip(new, old)):
            sums = [total + a - b for total, a, b in zip(sums, new, old)]
    return sums[0], sums[1], sums[2]


def parse_mountstats(content: bytes) -> List[NfsMount]:
    """The NFS mounts, one for each file system: other mounts of it show the same counters."""
    mounts: List[NfsMount] = []
    seen: Set[Tuple[bytes, bytes]] = set()
    for entry in (b"\n" + content).split(b"\ndevice ")[1:]:
        first, _, rest = entry.partition(b"\n")
        match = _DEVICE.match(b"device " + first)
        if not match:
            continue
        server, _, _ = match.group(1).rpartition(b":")
        if (server, rest) in seen or len(mounts) >= _MAX_MOUNTS:
            continue
        counts = _parse_bytes(rest)
        if counts is not None:
            seen.add((server, rest))
            mounts.append(NfsMount(_decode(server), _decode(match.group(2)), counts, _parse_operations(rest)))
    return mounts


def _parse_bytes(text: bytes) -> Optional[Dict[str, int]]:
    _, _, rest = text.partition(b"\tbytes:")
    words = rest.split(b"\n", 1)[0].split()
    if len(words) < len(_COLUMNS) or not all(map(bytes.isdigit, words)):
        return None
    return {_PREFIX + name: int(word) for (name, _, _), word in zip(_COLUMNS, words)}


def _parse_operations(text: bytes) -> Dict[str, Tuple[int, int, int]]:
    found: Dict[str, Tuple[int, int, int]] = {}
    for name, rest in _OPERATION_LINE.findall(text):
        words = rest.split()
        if len(words) >= _COLUMNS_OF_OPERATION:
            numbers = [int(word) for word in words]
            found[name.decode()] = (numbers[_CALLS], numbers[_TRANSMISSIONS], numbers[_WAITED_MS])
    return found


def _decode(text: bytes) -> str:
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), text.decode(errors="replace"))
