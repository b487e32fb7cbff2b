"""Size and fill level of the local file systems, from /proc/self/mounts and statvfs(3)."""

from __future__ import annotations

import os
import queue
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from cc_agent.collectors.base import (
    KeptFile,
    MetricChoice,
    MetricDescription,
    Reading,
    SeriesTable,
    Tick,
    chosen,
    require,
)
from cc_agent.errors import NotAvailableError
from cc_common.settings import option

_METRICS = (
    MetricDescription("disk_total", "B", "node", "Size of all local file systems.", "gauge"),
    MetricDescription("disk_free", "B", "node", "Free space of all local file systems.", "gauge"),
    MetricDescription("part_max_used", "%", "node", "Fill level of the fullest local file system.", "gauge"),
)
_MAX_STUCK = 4
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class DiskstatOptions(MetricChoice):
    """Options of the collector diskstat."""

    exclude_mounts: Tuple[str, ...] = option(
        (), "leave out mounts whose path contains one of these texts", key="exclude_mounts"
    )
    statfs_timeout_s: float = option(
        0.5,
        "leave a file system out when it does not answer within this time",
        key="statfs_timeout",
        kind="duration",
        minimum=0.01,
        maximum=10,
    )
    send_device_values: bool = option(
        False,
        "send each file system too, with stype=filesystem; cc-metric-store keeps only one of them for a node",
        key="send_device_values",
    )


class DiskstatCollector:
    """Sums over the local file systems, each counted once however often it is mounted."""

    name = "diskstat"

    def __init__(
        self, options: DiskstatOptions, root: Path = Path("/"), statvfs: Callable[[str], os.statvfs_result] = os.statvfs
    ) -> None:
        self.metrics = chosen(_METRICS, options)
        self._options = options
        self._file = KeptFile(root / "proc/self/mounts")
        self._table = SeriesTable(self.metrics, source="DiskstatCollector", group="Disk")
        self._sizes = DeadlineCalls(statvfs, options.statfs_timeout_s)
        self._known: List[str] = []

    def open(self) -> None:
        """Check that there is a local file system: diskless nodes have none."""
        mounts = require(self._file, "mount /proc")
        if not parse_mounts(mounts, self._options.exclude_mounts):
            raise NotAvailableError("no local file system is mounted", "nothing to do on a diskless node")

    def read(self, _tick: Tick) -> List[Reading]:
        """Sizes of this moment; file systems that do not answer, or vanished, are left out."""
        mounts = parse_mounts(self._file.read(), self._options.exclude_mounts)
        sizes: Dict[str, Tuple[int, int, float]] = {}
        for mount in mounts:
            answer = self._sizes(mount)
            if answer is not None and answer.f_blocks > 0:
                sizes[mount] = _measure(answer)
        for gone in set(self._known) - set(mounts):
            self._table.forget(gone)
        self._known = mounts
        return self._readings(sizes)

    def _readings(self, sizes: Dict[str, Tuple[int, int, float]]) -> List[Reading]:
        if not sizes:
            return []
        totals = {
            "disk_total": float(sum(size[0] for size in sizes.values())),
            "disk_free": float(sum(size[1] for size in sizes.values())),
            "part_max_used": max(size[2] for size in sizes.values()),
        }
        wanted = [description.name for description in self.metrics]
        readings: List[Reading] = [(self._table.get(name), totals[name]) for name in wanted]
        if self._options.send_device_values:
            for index, name in enumerate(("disk_total", "disk_free")):
                if name in wanted:
                    readings.extend(
                        (self._table.get(name, stype="filesystem", stype_id=mount), size[index])
                        for mount, size in sizes.items()
                    )
        return readings

    def close(self) -> None:
        """Release the file; a call that hangs is left behind with its thread."""
        self._file.close()
        self._sizes.close()


def _measure(answer: os.statvfs_result) -> Tuple[int, int, float]:
    """Size and free space in bytes, and the fill level in percent as df(1) shows it: without root's reserve."""
    used = answer.f_blocks - answer.f_bfree
    reachable = used + answer.f_bavail
    percent = 100.0 * used / reachable if reachable > 0 else 0.0
    return answer.f_blocks * answer.f_frsize, answer.f_bavail * answer.f_frsize, percent


def parse_mounts(content: bytes, exclude: Tuple[str, ...] = ()) -> List[str]:
    """Mount points of local file systems, the first of each device.

    Local is what has a device below /dev; loop devices and boot partitions are no place for user data.
    """
    mounts: List[str] = []
    devices = set()
    for line in content.decode(errors="surrogateescape").split("\n"):
        words = line.split(" ")
        if len(words) < 4:  # noqa: PLR2004 device, mount point, type, options
            continue
        device, mount = words[0], _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), words[1])
        if not device.startswith("/dev") or "loop" in device or "boot" in mount or device in devices:
            continue
        if any(text in mount for text in exclude):
            continue
        devices.add(device)
        mounts.append(mount)
    return mounts


class DeadlineCalls:
    """Calls a function that may hang, such as statvfs, in a thread that is left behind when it does.

    An argument whose call hangs is not asked again until that call came back; at most four calls may hang at a time.
    """

    def __init__(self, function: Callable[[str], Any], timeout_s: float) -> None:
        self._function = function
        self._timeout_s = timeout_s
        self._stuck: Dict[str, threading.Event] = {}
        self._requests: Optional[queue.SimpleQueue[Optional[_Call]]] = None

    def __call__(self, argument: str) -> Optional[Any]:
        """The answer; None when it failed or does not come in time."""
        self._stuck = {name: done for name, done in self._stuck.items() if not done.is_set()}
        if argument in self._stuck or len(self._stuck) >= _MAX_STUCK:
            return None
        if self._requests is None:
            self._requests = queue.SimpleQueue()
            threading.Thread(target=_serve, args=(self._function, self._requests), name="statvfs", daemon=True).start()
        call = _Call(argument)
        self._requests.put(call)
        if call.done.wait(self._timeout_s):
            return call.answer
        self._stuck[argument] = call.done
        self.close()
        return None

    @property
    def stuck(self) -> Tuple[str, ...]:
        """Arguments whose calls have not come back."""
        return tuple(self._stuck)

    def close(self) -> None:
        """Let the thread end when its present call is done; the next call starts another."""
        if self._requests is not None:
            self._requests.put(None)
            self._requests = None


class _Call:
    __slots__ = ("answer", "argument", "done")

    def __init__(self, argument: str) -> None:
        self.argument = argument
        self.answer: Optional[Any] = None
        self.done = threading.Event()


def _serve(function: Callable[[str], Any], requests: queue.SimpleQueue[Optional[_Call]]) -> None:
    while True:
        call = requests.get()
        if call is None:
            return
        try:
            call.answer = function(call.argument)
        except OSError:  # unmounted between the list and the call, or not ours to see
            call.answer = None
        call.done.set()
