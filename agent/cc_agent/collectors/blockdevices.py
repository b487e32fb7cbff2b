"""Which block devices to count so that each byte is counted once.

The kernel shows how devices are stacked: `/sys/block/NAME` links to the device in the device tree, and
`/sys/block/NAME/slaves` lists the devices below it. Device names are used only if /sys is not available.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Sequence, Set, Tuple

_VIRTUAL = "/devices/virtual/block/"
"""Path of devices without hardware of their own: md, dm, bcache, drbd, zvols, loop, ram, PowerPath."""

_REMOVABLE = re.compile(r"(?:sr|fd)[0-9]+")
"""Names of optical and floppy drives, which are not counted."""

_STACKED_NAME = re.compile(
    r"(?:bcache|dm-|drbd|loop|md|md_d|nbd|ram|zd|zram)[0-9]+(?:p[0-9]+)?|emcpower[a-z]+[0-9]*|(?:nvmesh|VxVM|VxDMP).*"
)
_PARTITION_NAME = re.compile(r"(.*[0-9])p[0-9]+|(.*[^0-9])[0-9]+")
"""Name of a partition: name of the disk and number, with a p between them if the name ends so."""
_NVME_PATH = re.compile(r"nvme([0-9]+)c[0-9]+n([0-9]+)")
"""Name of one path to a namespace that NVMe multipath shows as nvme<subsystem>n<namespace>."""


def whole_disks(names: Iterable[str], folder: Path, exclude: Sequence[str] = ()) -> Dict[str, Tuple[str, ...]]:
    """The devices to count, each with the hidden NVMe paths below it (none for most).

    `names` are those of /proc/diskstats, `folder` is /sys/block. Left out are devices that are stacked on others or
    have no hardware, partitions, removable media, and the names in `exclude`.
    """
    present = set(names)
    try:
        blocks = {entry.name.replace("!", "/"): entry for entry in folder.iterdir()}
    except OSError:
        kept = {name for name in present if not (_has_stacked_name(name) or _is_partition(name, present))}
    else:
        kept = {name for name in present & blocks.keys() if not _is_stacked(blocks[name])}
    kept = {name for name in kept if not _REMOVABLE.fullmatch(name)}
    paths = _nvme_paths(present)
    hidden = {path for below in paths.values() for path in below}
    disks = {name: paths.get(name, ()) for name in kept - hidden}
    return {name: below for name, below in disks.items() if name not in exclude}


def _is_stacked(entry: Path) -> bool:
    try:
        if any((entry / "slaves").iterdir()):
            return True
    except OSError:
        pass  # old kernels, and devices that cannot be stacked
    if entry.is_symlink():
        return _VIRTUAL in os.path.realpath(entry)
    return _has_stacked_name(entry.name)  # kernels with the deprecated layout have folders here


def _has_stacked_name(name: str) -> bool:
    return _STACKED_NAME.fullmatch(name) is not None


def _is_partition(name: str, present: Set[str]) -> bool:
    """Whether the name is a partition of a present device; clouds have an xvda1 without an xvda."""
    match = _PARTITION_NAME.fullmatch(name)
    return match is not None and (match.group(1) or match.group(2)) in present


def _nvme_paths(present: Set[str]) -> Mapping[str, Tuple[str, ...]]:
    """The paths of each namespace whose head is present; a path without its head is counted itself."""
    paths: Dict[str, List[str]] = {}
    for name in sorted(present):
        match = _NVME_PATH.fullmatch(name)
        if match and (head := f"nvme{match.group(1)}n{match.group(2)}") in present:
            paths.setdefault(head, []).append(name)
    return {head: tuple(below) for head, below in paths.items()}
