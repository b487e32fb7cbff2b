"""Size and fill level of the local file systems, from /proc/self/mountinfo and statvfs(3).

/proc/self/mounts mixes the options of the file system with those of the mount: in a systemd service with ProtectSystem=
all mounts are read-only. /proc/self/mountinfo separates the two, and shows which lines are the same file system.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

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
from cc_agent.errors import NotPresentError
from cc_common.deadline import DeadlineCalls
from cc_common.settings import option

_METRICS = (
    MetricDescription("disk_total", "B", "node", "Size of all local file systems.", "gauge"),
    MetricDescription("disk_free", "B", "node", "Free space of all local file systems.", "gauge"),
    MetricDescription("part_max_used", "%", "node", "Fill level of the fullest local file system.", "gauge"),
)
_MAX_BLOCKED = 4
_MIN_MOUNT_WORDS = 4
"""A line of /proc/self/mounts has device, mount point, type and options; dump and pass follow."""
_MOUNTINFO_LINE = re.compile(r"\d+ \d+ (\d+:\d+) \S+ (\S+) \S+ (?:\S+ )*?- (\S+) (\S*) (\S+)")
"""A line of /proc/self/mountinfo; groups: file system number, mount point, type, device, options."""
_LOOP = re.compile(r"/dev/loop[0-9]+(?:p[0-9]+)?")
_FULL_BY_DESIGN = ("cramfs", "erofs", "iso9660", "romfs", "squashfs", "udf")
_SHARED = ("gfs2", "gpfs", "ocfs2")
"""File systems that a whole cluster shares and that have a device below /dev."""
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class DiskstatOptions(MetricFilter):
    """Options of the collector diskstat."""

    exclude_mounts: Tuple[str, ...] = option(
        (), "leave out mounts whose path contains one of these texts", key="exclude_mounts"
    )
    statfs_timeout_s: float = option(
        0.5,
        "leave a file system out if it does not respond within this time",
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
        self.metrics = select_metrics(_METRICS, options)
        self._options = options
        info = root / "proc/self/mountinfo"
        self._file = KernelFile(info if info.exists() else root / "proc/self/mounts")
        self._table = SeriesPool(self.metrics, source="DiskstatCollector", group="Disk")
        self._statvfs = statvfs
        self._calls = DeadlineCalls("statvfs", options.statfs_timeout_s, max_blocked=_MAX_BLOCKED)
        self._known: List[str] = []

    def open(self) -> None:
        """Check that there is a local file system. Raises NotPresentError on diskless nodes."""
        mounts = read_required(self._file, "mount /proc")
        if not parse_mounts(mounts, self._options.exclude_mounts):
            raise NotPresentError("no local file system is mounted", "nothing to do on a diskless node")

    def read(self, _tick: Tick) -> List[Reading]:
        """The current sizes; file systems that block or were unmounted are left out."""
        mounts = local_mounts(self._file.read(), self._options.exclude_mounts)
        sizes: Dict[str, _FilesystemSize] = {}
        pools: Dict[str, str] = {}
        for mount in mounts:
            answer = self._size_of(mount.path)
            if answer is None or answer.f_blocks <= 0:
                continue
            size, first = _size_from_statvfs(answer), mount.path
            if mount.pool:
                first = pools.setdefault(mount.pool, mount.path)
            sizes[first] = _add_to_pool(sizes[first], size) if first in sizes else size
        paths = [mount.path for mount in mounts]
        for gone in set(self._known) - set(paths):
            self._table.forget(gone)
        self._known = paths
        return self._readings(sizes)

    def _size_of(self, path: str) -> Optional[os.statvfs_result]:
        try:
            return self._calls.run(path, lambda: self._statvfs(path))
        except OSError:  # unmounted between the list and the call, or no permission
            return None

    def _readings(self, sizes: Dict[str, _FilesystemSize]) -> List[Reading]:
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
        """Close the file; a blocked call is abandoned with its thread."""
        self._file.close()
        self._calls.close()


class _FilesystemSize(NamedTuple):
    total_bytes: int
    free_bytes: int
    used_percent: float
    used_bytes: int


def _size_from_statvfs(answer: os.statvfs_result) -> _FilesystemSize:
    """Size and free space, and the fill level as df(1) shows it: without root's reserve."""
    used = answer.f_blocks - answer.f_bfree
    reachable = used + answer.f_bavail
    percent = 100.0 * used / reachable if reachable > 0 else 0.0
    unit = answer.f_frsize
    return _FilesystemSize(answer.f_blocks * unit, answer.f_bavail * unit, percent, used * unit)


def _add_to_pool(pool: _FilesystemSize, more: _FilesystemSize) -> _FilesystemSize:
    """The size of two file systems of a pool: used space adds up, free space is shared; a quota may fill one alone."""
    used, free = pool.used_bytes + more.used_bytes, max(pool.free_bytes, more.free_bytes)
    percent = 100.0 * used / (used + free) if used + free > 0 else 0.0
    return _FilesystemSize(used + free, free, max(percent, pool.used_percent, more.used_percent), used)


class Mount(NamedTuple):
    """A mounted file system; `pool` names the storage that several file systems share, empty if it is not shared."""

    path: str
    pool: str = ""


class _MountLine(NamedTuple):
    """A mount; `storage` is the same for all mounts of one file system."""

    device: str
    path: str
    kind: str
    options: List[str]
    storage: str


def parse_mounts(content: bytes, exclude: Tuple[str, ...] = ()) -> List[str]:
    """Mount points of local file systems that can fill up, the first of each device."""
    return [mount.path for mount in local_mounts(content, exclude)]


def local_mounts(content: bytes, exclude: Tuple[str, ...] = ()) -> List[Mount]:
    """Local file systems that can fill up: one mount of each, all mounted file systems of a ZFS pool.

    `content` is that of /proc/self/mountinfo or /proc/self/mounts. Local are ZFS and devices below /dev. Left out are
    loop devices, boot partitions, file systems that are full by design (images, portals), read-only or shared by a
    whole cluster, mounts hidden by another at the same path, and mounts whose path contains a string of `exclude`.
    Subvolumes of a btrfs are one file system.
    """
    lines = list(_parse_lines(content))
    shown = {line.path: index for index, line in enumerate(lines)}
    mounts: List[Mount] = []
    known: Set[str] = set()
    for index, line in enumerate(lines):
        if line.storage in known or shown[line.path] != index or not _can_fill_up(line):
            continue
        if any(text in line.path for text in exclude):
            continue
        known.add(line.storage)
        mounts.append(Mount(line.path, line.device.split("/", 1)[0] if line.kind == "zfs" else ""))
    return mounts


def _parse_lines(content: bytes) -> Iterator[_MountLine]:
    for text in content.decode(errors="surrogateescape").split("\n"):
        info = _MOUNTINFO_LINE.fullmatch(text)
        if info:
            storage, path, kind, device, options = info.groups()
            yield _MountLine(device, _unescape_octal(path), kind, options.split(","), storage)
            continue
        words = text.split(" ")
        if len(words) >= _MIN_MOUNT_WORDS:
            yield _MountLine(words[0], _unescape_octal(words[1]), words[2], words[3].split(","), words[0])


def _can_fill_up(line: _MountLine) -> bool:
    device, kind = line.device, line.kind
    if kind != "zfs" and (not device.startswith("/dev/") or device == "/dev/fuse" or _LOOP.fullmatch(device)):
        return False
    if kind in _FULL_BY_DESIGN or kind in _SHARED or kind.startswith("fuse.") or "ro" in line.options:
        return False
    return line.path != "/boot" and not line.path.startswith("/boot/")


def _unescape_octal(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), text)
