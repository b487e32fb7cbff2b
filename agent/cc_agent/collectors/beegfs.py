"""Operations of BeeGFS clients as its servers count them, from `beegfs-ctl --clientstats`, in the background.

A line of its output is `node1  13 [sum]  5 [ack]  8 [stat]`: a client, then numbers with the names of operations; that
of all clients begins with `Sum:`. Clients that did nothing are left out by the servers.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from cc_agent.collectors.base import KernelFile, Reading, SeriesPool, Tick
from cc_agent.collectors.commands import BackgroundOptions, SlowSource, find_program, run_command
from cc_agent.collectors.counter_set import Counter, CounterForms, CounterSet, InstanceTags
from cc_agent.errors import NotPresentError
from cc_common.settings import option

_META = (
    "sum", "ack", "close", "entInf", "fndOwn", "mkdir", "create", "rddir", "refrEn", "mdsInf", "rmdir", "rmLnk",
    "mvDirIns", "mvFiIns", "open", "ren", "sChDrct", "sAttr", "sDirPat", "stat", "statfs", "trunc", "symlnk", "unlnk",
    "lookLI", "statLI", "revalLI", "openLI", "createLI", "hardlnk", "flckAp", "flckEn", "flckRg", "dirparent", "listXA",
    "getXA", "rmXA", "setXA", "mirror",
)  # fmt: skip
_STORAGE = (
    "sum", "ack", "sChDrct", "getFSize", "sAttr", "statfs", "trunc", "close", "fsync", "ops-rd", "MiB-rd/s", "ops-wr",
    "MiB-wr/s", "gendbg", "hrtbeat", "remNode", "storInf", "unlnk",
)  # fmt: skip
_TRAFFIC = (
    Counter("MiB-rd/s", "B", "bytes read", rate="beegfs_read_bw", scale=1 << 20, absolute=False),
    Counter("MiB-wr/s", "B", "bytes written", rate="beegfs_write_bw", scale=1 << 20, absolute=False),
)
_OTHER = "other"
_NUMBER = re.compile(r"(\d+)(?:\.\d+)? \[([^\]\s]{1,40})\]")
_MAX_MOUNTS = 64
_MOUNT_WORDS = 3


@dataclass(frozen=True)
class BeegfsOptions(BackgroundOptions):
    """Options of the collectors beegfs_meta and beegfs_storage."""

    beegfs_path: str = option("beegfs-ctl", "the program beegfs-ctl", key="beegfs_path")
    use_sudo: bool = option(False, "run it by `sudo -n`", key="use_sudo")
    exclude_filesystem: Tuple[str, ...] = option((), "never count these mount points", key="exclude_filesystem")
    all_clients: bool = option(
        False,
        "count what all clients do, as cc-metric-collector does, instead of this node",
        key="all_clients",
    )
    send_device_values: bool = option(
        False,
        "send each mount point too, with stype=filesystem; cc-metric-store keeps only one of them for a node",
        key="send_device_values",
    )


class BeegfsCollector:
    """Operations as counters, for storage servers also the rates of bytes, as sums over the mounted file systems."""

    def __init__(
        self,
        node_type: str,
        options: BeegfsOptions,
        root: Path = Path("/"),
        hostname: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = f"beegfs_{node_type}"
        self._options = options
        self._node_type = node_type
        self._operations = _META if node_type == "meta" else _STORAGE
        self._hostname = (hostname or os.uname().nodename).split(".", 1)[0]
        prefix = f"beegfs_c{node_type}_"
        counters = [
            Counter(operation, "requests", f"calls of the operation {operation}") for operation in self._operations
        ]
        counters.append(Counter(_OTHER, "requests", "calls of operations that are not known"))
        choice = replace(options, include_metrics=(), exclude_metrics=())
        tags = InstanceTags(stype="filesystem" if options.send_device_values else "")
        wanted = [
            counter._replace(name=prefix + counter.name)
            for counter in counters
            if counter.name not in options.exclude_metrics and options.allows(prefix + counter.name)
        ]
        self._prefix = prefix
        self._counters = CounterSet(wanted, CounterForms(absolute=True), choice, tags)
        traffic = _TRAFFIC if node_type == "storage" else ()
        self._traffic = CounterSet(traffic, CounterForms(rates=True), options, tags)
        self.metrics = self._counters.metrics + self._traffic.metrics
        group = f"Beegfs{node_type.capitalize()}"
        self._table = SeriesPool(self.metrics, source=f"{group}Collector", group=group)
        self._mounts = KernelFile(root / "proc/self/mounts")
        self._program = ""
        self._source = SlowSource(self.name, self._measure, options.interval_s, monotonic=monotonic)

    def open(self) -> None:
        """Check that a BeeGFS is mounted and the program is there."""
        self._source.close()
        self._counters.reset()
        self._traffic.reset()
        try:
            mounts = self._mount_points()
        except OSError as error:
            raise NotPresentError(f"{self._mounts.path} cannot be read: {error.strerror}", "mount /proc") from error
        if not mounts:
            raise NotPresentError("no BeeGFS is mounted", "mount one to see it")
        self._program = find_program(self._options.beegfs_path, "install beegfs-utils")

    def read(self, tick: Tick) -> List[Reading]:
        """What the servers have counted, when they have answered."""
        measured = self._source.poll(tick)
        if measured is None:
            return []
        when = self._source.tick_of(tick, measured)
        named = {
            path: {self._prefix + name: count for name, count in counts.items()}
            for path, counts in measured.value.items()
        }
        return self._counters.readings(when, named, self._table) + self._traffic.readings(
            when, measured.value, self._table
        )

    def _mount_points(self) -> List[str]:
        return [path for path in parse_mounts(self._mounts.read()) if path not in self._options.exclude_filesystem]

    def _measure(self) -> Dict[str, Dict[str, int]]:
        counts: Dict[str, Dict[str, int]] = {}
        for path in self._mount_points():
            words = ["--clientstats", f"--nodetype={self._node_type}", f"--mount={path}", "--allstats", "--names"]
            output = run_command(
                [self._program, *words], timeout_s=self._options.timeout_s, sudo=self._options.use_sudo
            )
            client = "Sum:" if self._options.all_clients else self._hostname
            found = parse_client_stats(output, client, self._operations)
            if found is not None:
                counts[path] = found
        return counts

    def close(self) -> None:
        """Drop a reading that is under way."""
        self._source.close()
        self._mounts.close()


def make_beegfs_meta(options: BeegfsOptions, root: Path = Path("/")) -> BeegfsCollector:
    """The collector of operations that metadata servers have done."""
    return BeegfsCollector("meta", options, root)


def make_beegfs_storage(options: BeegfsOptions, root: Path = Path("/")) -> BeegfsCollector:
    """The collector of operations that storage servers have done."""
    return BeegfsCollector("storage", options, root)


def parse_mounts(content: bytes) -> List[str]:
    """The mount points of BeeGFS in /proc/self/mounts."""
    rows = [line.split(" ") for line in content.decode(errors="replace").split("\n")]
    paths = [row[1].replace("\\040", " ") for row in rows if len(row) >= _MOUNT_WORDS and row[2] == "beegfs"]
    return list(dict.fromkeys(paths))[:_MAX_MOUNTS]


def parse_client_stats(content: bytes, client: str, operations: Sequence[str]) -> Optional[Dict[str, int]]:
    """What a client did, by operation and `other`, 0 for those that are not named; None if it has no line.

    Clients are compared by their names up to the first dot; `Sum:` is all of them.
    """
    for line in content.decode(errors="replace").split("\n"):
        name, _, rest = line.strip().partition(" ")
        if name != client and name.split(".", 1)[0] != client:
            continue
        counts = dict.fromkeys((*operations, _OTHER), 0)
        for number, operation in _NUMBER.findall(rest):
            counts[operation if operation in operations else _OTHER] += int(number)
        return counts
    return None
