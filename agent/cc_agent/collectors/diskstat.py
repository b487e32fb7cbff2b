"""Size and fill level of the local file systems, from /proc/self/mounts and statvfs(3)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Set, Tuple

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
from cc_common.deadline import DeadlineCalls
from cc_common.settings import option

_METRICS = (
    MetricDescription("disk_total", "B", "node", "Size of all local file systems.", "gauge"),
    MetricDescription("disk_free", "B", "node", "Free space of all local file systems.", "gauge"),
    MetricDescription("part_max_used", "%", "node", "Fill level of the fullest local file system.", "gauge"),
)
_MOST_BLOCKED = 4
_WORDS = 4
"""Device, mount point, type and options of a line of /proc/self/mounts; dump and pass follow."""
_LOOP = re.compile(r"/dev/loop[0-9]+(?:p[0-9]+)?")
_FULL_BY_DESIGN = ("cramfs", "erofs", "iso9660", "romfs", "squashfs", "udf")
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
        self._statvfs = statvfs
        self._calls = DeadlineCalls("statvfs", options.statfs_timeout_s, most_blocked=_MOST_BLOCKED)
        self._known: List[str] = []

    def open(self) -> None:
        """Check that there is a local file system: diskless nodes have none."""
        mounts = require(self._file, "mount /proc")
        if not parse_mounts(mounts, self._options.exclude_mounts):
            raise NotAvailableError("no local file system is mounted", "nothing to do on a diskless node")

    def read(self, _tick: Tick) -> List[Reading]:
        """Sizes of this moment; file systems that do not answer, or vanished, are left out."""
        mounts = local_mounts(self._file.read(), self._options.exclude_mounts)
        sizes: Dict[str, _Size] = {}
        pools: Dict[str, str] = {}
        for mount in mounts:
            answer = self._size_of(mount.path)
            if answer is None or answer.f_blocks <= 0:
                continue
            size, first = _measure(answer), mount.path
            if mount.pool:
                first = pools.setdefault(mount.pool, mount.path)
            sizes[first] = _together(sizes[first], size) if first in sizes else size
        paths = [mount.path for mount in mounts]
        for gone in set(self._known) - set(paths):
            self._table.forget(gone)
        self._known = paths
        return self._readings(sizes)

    def _size_of(self, path: str) -> Optional[os.statvfs_result]:
        try:
            return self._calls.run(path, lambda: self._statvfs(path))
        except OSError:  # unmounted between the list and the call, or not ours to see
            return None

    def _readings(self, sizes: Dict[str, _Size]) -> List[Reading]:
        if not sizes:
            return []
        totals = {
            "disk_total": float(sum(size.total_bytes for size in sizes.values())),
            "disk_free": float(sum(size.free_bytes for size in sizes.values())),
            "part_max_used": max(size.used_percent for size in sizes.values()),
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
        self._calls.close()


class _Size(NamedTuple):
    total_bytes: int
    free_bytes: int
    used_percent: float
    used_bytes: int


def _measure(answer: os.statvfs_result) -> _Size:
    """Size and free space, and the fill level as df(1) shows it: without root's reserve."""
    used = answer.f_blocks - answer.f_bfree
    reachable = used + answer.f_bavail
    percent = 100.0 * used / reachable if reachable > 0 else 0.0
    unit = answer.f_frsize
    return _Size(answer.f_blocks * unit, answer.f_bavail * unit, percent, used * unit)


def _together(pool: _Size, more: _Size) -> _Size:
    """Two file systems of a pool: what they use adds up, what is free is shared; a quota may fill one of them alone."""
    used, free = pool.used_bytes + more.used_bytes, max(pool.free_bytes, more.free_bytes)
    percent = 100.0 * used / (used + free) if used + free > 0 else 0.0
    return _Size(used + free, free, max(percent, pool.used_percent, more.used_percent), used)


class Mount(NamedTuple):
    """A mounted file system; `pool` names the storage that several file systems share, empty where it is alone."""

    path: str
    pool: str = ""


def parse_mounts(content: bytes, exclude: Tuple[str, ...] = ()) -> List[str]:
    """Mount points of local file systems that can fill up, the first of each device."""
    return [mount.path for mount in local_mounts(content, exclude)]


def local_mounts(content: bytes, exclude: Tuple[str, ...] = ()) -> List[Mount]:
    """Local file systems that can fill up: one mount of each device, all mounted file systems of a ZFS pool.

    Local is what has a device below /dev, or is ZFS. Left out are loop devices, the boot partitions, file systems that
    are full by design (images, portals), what is mounted only for reading, and mounts whose path contains one of the
    texts in `exclude`. The subvolumes of a btrfs show the same device, so that one of them stands for all.
    """
    mounts: List[Mount] = []
    devices: Set[str] = set()
    for line in content.decode(errors="surrogateescape").split("\n"):
        words = line.split(" ")
        if len(words) < _WORDS:
            continue
        device, path, kind, options = words[0], _unescaped(words[1]), words[2], words[3].split(",")
        if device in devices or not _can_fill_up(device, path, kind, options) or any(text in path for text in exclude):
            continue
        devices.add(device)
        mounts.append(Mount(path, device.split("/", 1)[0] if kind == "zfs" else ""))
    return mounts


def _can_fill_up(device: str, path: str, kind: str, options: List[str]) -> bool:
    if kind != "zfs" and (not device.startswith("/dev/") or device == "/dev/fuse" or _LOOP.fullmatch(device)):
        return False
    if kind in _FULL_BY_DESIGN or kind.startswith("fuse.") or "ro" in options:
        return False
    return path != "/boot" and not path.startswith("/boot/")


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), text)
