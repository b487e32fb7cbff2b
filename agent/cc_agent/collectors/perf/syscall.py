"""perf_event_open(2) and the calls on its descriptors; no libc has a function for it, so it goes through ctypes.

Layout and numbers: linux/perf_event.h and the system call tables of the architectures.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import struct
from typing import Callable, NamedTuple, Optional, Protocol, Tuple

TYPE_HARDWARE = 0
TYPE_SOFTWARE = 1
TYPE_RAW = 4

_ATTRIBUTE = struct.Struct("=IIQQQQQIIQQ")  # up to config2, PERF_ATTR_SIZE_VER1
_SIZE_VER5 = 112
_SIZE_VER8 = 136
_CONFIG3_OFFSET = 128

_FORMAT_ENABLED, _FORMAT_RUNNING, _FORMAT_GROUP = 1, 2, 8
READ_FORMAT = _FORMAT_ENABLED | _FORMAT_RUNNING | _FORMAT_GROUP
"""What a read of a group gives: number of events, time enabled, time running, then a value of each event."""

_DISABLED = 1 << 0
_EXCLUDE_KERNEL = 1 << 5
_EXCLUDE_HYPERVISOR = 1 << 6

_ANY_PROCESS = -1
_CLOSE_ON_EXEC = 8
_WHOLE_GROUP = 1

# machine: number of the system call, ioctl PERF_EVENT_IOC_ENABLE
_NUMBERS = {
    "x86_64": (298, 0x2400),
    "aarch64": (241, 0x2400),
    "riscv64": (241, 0x2400),
    "ppc64le": (319, 0x20002400),
}

_TIME_PAGE = struct.Struct("=40xQHHI")  # capabilities, pmc_width, time_shift, time_mult of perf_event_mmap_page
_CAPABLE_OF_USER_TIME = 1 << 3


class EventCode(NamedTuple):
    """An event as the kernel takes it; `user_only` leaves out kernel and hypervisor, which only core events allow."""

    type: int
    config: int
    config1: int = 0
    config2: int = 0
    config3: int = 0
    user_only: bool = False

    def attribute(self, *, disabled: bool) -> bytes:
        """The struct perf_event_attr for counting; 112 bytes, which every kernel since 4.8 takes without asking."""
        flags = (_EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR if self.user_only else 0) | (_DISABLED if disabled else 0)
        size = _SIZE_VER8 if self.config3 else _SIZE_VER5
        head = _ATTRIBUTE.pack(self.type, size, self.config, 0, 0, READ_FORMAT, flags, 0, 0, self.config1, self.config2)
        content = head.ljust(size, b"\0")
        return content[:_CONFIG3_OFFSET] + struct.pack("=Q", self.config3) if self.config3 else content


class PerfCalls(Protocol):
    """The calls that counting needs; all raise OSError."""

    def open(self, attribute: bytes, cpu: int, group: int) -> int:
        """A descriptor of an event that counts all processes of one hardware thread; `group` is its leader or -1."""

    def enable(self, leader: int) -> None:
        """Start all events of a group."""

    def read(self, leader: int, size: int) -> bytes:
        """The counters of a group, as READ_FORMAT describes; fewer bytes if it has none."""

    def close(self, descriptor: int) -> None:
        """Remove an event."""

    def timer_mhz(self, leader: int) -> Optional[float]:
        """The rate of the processor's constant timer, which is the unit of reference cycles; None if unknown."""


class LinuxPerf:
    """The real calls."""

    def __init__(self) -> None:
        self._call: Optional[Callable[..., int]] = None
        self._number, self._enable = _NUMBERS.get(platform.machine(), (-1, -1))

    def open(self, attribute: bytes, cpu: int, group: int) -> int:
        """A descriptor of an event."""
        if self._number < 0:
            raise OSError(errno.ENOSYS, f"perf_event_open is not known for {platform.machine()}")
        if self._call is None:
            self._call = ctypes.CDLL(None, use_errno=True).syscall
        buffer = ctypes.create_string_buffer(attribute, len(attribute))
        arguments: Tuple[int, ...] = (
            self._number,
            ctypes.addressof(buffer),
            _ANY_PROCESS,
            cpu,
            group,
            _CLOSE_ON_EXEC,
        )
        descriptor = self._call(*map(ctypes.c_long, arguments))
        if descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return descriptor

    def enable(self, leader: int) -> None:
        """Start all events of a group."""
        fcntl.ioctl(leader, self._enable, _WHOLE_GROUP)

    def read(self, leader: int, size: int) -> bytes:
        """The counters of a group."""
        return os.read(leader, size)

    def close(self, descriptor: int) -> None:
        """Remove an event."""
        os.close(descriptor)

    def timer_mhz(self, leader: int) -> Optional[float]:
        """The rate of the processor's constant timer, from the page that the kernel shows of each event."""
        try:
            with mmap.mmap(leader, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ) as page:
                return timer_mhz_of_page(page[: _TIME_PAGE.size])
        except (OSError, ValueError):
            return None


def timer_mhz_of_page(page: bytes) -> Optional[float]:
    """The rate in a struct perf_event_mmap_page: nanoseconds = (ticks * time_mult) >> time_shift."""
    if len(page) < _TIME_PAGE.size:
        return None
    capabilities, _, shift, multiplier = _TIME_PAGE.unpack_from(page)
    if not capabilities & _CAPABLE_OF_USER_TIME or not multiplier or shift > 63:  # noqa: PLR2004 bits of a long
        return None
    return 1000.0 * float(1 << shift) / float(multiplier)
