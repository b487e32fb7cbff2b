"""What the errors of perf_event_open(2) mean for an operator."""

from __future__ import annotations

import errno
import os
import platform
import re
from pathlib import Path
from typing import Tuple

from cc_agent.errors import NotAvailableError, NotPresentError

PARANOID_FILE = "proc/sys/kernel/perf_event_paranoid"
_CAP_SYS_ADMIN, _CAP_PERFMON = 21, 38
_PERFMON_SINCE = (5, 8)

NO_COUNTERS = frozenset((errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV, errno.ENOSYS))
"""The machine does not have the event, or not the PMU that counts it."""
CANNOT_COUNT = NO_COUNTERS | {errno.EINVAL}
OFFLINE = frozenset((errno.ESRCH, errno.ENXIO, errno.ENODEV))
"""The hardware thread went offline."""


def open_error(error: OSError, root: Path = Path("/"), release: str = "") -> NotAvailableError:
    """The error to raise for a failed perf_event_open, with advice; `release` is the kernel's, by default ours."""
    number = error.errno or 0
    if number in (errno.EACCES, errno.EPERM):
        return _not_allowed(root, release or platform.release())
    if number in CANNOT_COUNT:
        return NotPresentError("the processor offers no hardware counters, as in most virtual machines")
    if number == errno.EMFILE:
        return NotAvailableError(
            "the limit of open files is too low for the counters", "raise LimitNOFILE of the service"
        )
    if number == errno.EBUSY:
        return NotAvailableError("another program holds the counters for itself", "end it, or wait until it has ended")
    text = os.strerror(number) if number else str(error)
    return NotAvailableError(f"perf_event_open failed: {text}", "look into the kernel log")


def _not_allowed(root: Path, release: str) -> NotAvailableError:
    capability, number = _needed_capability(release)
    level = paranoid_level(root)
    if _has_capability(root, number) or level <= 0:
        return NotAvailableError(
            "perf_event_open is forbidden although the agent has the right to it",
            "allow perf_event_open in SystemCallFilter of the service, or in the seccomp profile of the container",
        )
    return NotAvailableError(
        f"needs {capability} or kernel.perf_event_paranoid <= 0, which is {level} here",
        f"add AmbientCapabilities={capability} to the service, or sysctl kernel.perf_event_paranoid=0",
    )


def _needed_capability(release: str) -> Tuple[str, int]:
    found = re.match(r"(\d+)\.(\d+)", release)
    if found and (int(found.group(1)), int(found.group(2))) < _PERFMON_SINCE:
        return "CAP_SYS_ADMIN", _CAP_SYS_ADMIN
    return "CAP_PERFMON", _CAP_PERFMON


def paranoid_level(root: Path = Path("/")) -> int:
    """The value of kernel.perf_event_paranoid; 2, the kernel's default, if it cannot be read."""
    try:
        return int((root / PARANOID_FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 2


def _has_capability(root: Path, number: int) -> bool:
    try:
        status = (root / "proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    found = re.search(r"^CapEff:\s*([0-9a-f]{1,16})$", status, re.MULTILINE)
    return bool(found and int(found.group(1), 16) >> number & 1)
