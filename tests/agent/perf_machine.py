"""A processor with counters, as files below a made root and as the kernel's answers to perf_event_open(2)."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Mapping
from pathlib import Path

from cc_agent.collectors.perf.syscall import EventCode

ATTRIBUTE = struct.Struct("=IIQQQQQIIQQ")
DISABLED, EXCLUDE_KERNEL = 1 << 0, 1 << 5
CORE_TYPES = (0, 4)

CPUINFO = {
    "skylake": "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nstepping\t: 4\n",
    "cascade lake": "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nstepping\t: 7\n",
    "ice lake": "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 106\nstepping\t: 6\n",
    "sapphire rapids": "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\nstepping\t: 8\n",
    "emerald rapids": "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 207\nstepping\t: 2\n",
    "granite rapids": "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 173\nstepping\t: 1\n",
    "zen 2": "vendor_id\t: AuthenticAMD\ncpu family\t: 23\nmodel\t\t: 49\nstepping\t: 0\n",
    "zen 3": "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nstepping\t: 1\n",
    "zen 4": "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nstepping\t: 1\n",
    "zen 5": "vendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\nstepping\t: 1\n",
    "neoverse n1": "CPU implementer\t: 0x41\nCPU part\t: 0xd0c\nCPU revision\t: 1\n",
    "neoverse v1": "CPU implementer\t: 0x41\nCPU part\t: 0xd40\nCPU revision\t: 1\n",
    "grace": "CPU implementer\t: 0x41\nCPU part\t: 0xd4f\nCPU revision\t: 0\n",
    "unknown": "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 250\nmodel name\t: Some CPU @ 2.00GHz\n",
}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def add_pmu(
    root: Path,
    name: str,
    number: int,
    *,
    formats: Mapping[str, str] = {},
    events: Mapping[str, str] = {},
    cpumask: str = "",
    cpus: str = "",
) -> None:
    folder = root / "sys/bus/event_source/devices" / name
    write(folder / "type", f"{number}\n")
    for kind, files in (("format", formats), ("events", events)):
        for file, text in files.items():
            write(folder / kind / file, f"{text}\n")
    for file, text in (("cpumask", cpumask), ("cpus", cpus)):
        if text:
            write(folder / file, f"{text}\n")


def make_processor(root: Path, kind: str, *, cpus: int = 4, sockets: int = 1, smt: bool = True) -> None:
    """A machine of this kind of processor; hardware thread n and n + cpus/2 share a core if `smt`."""
    write(root / "proc/cpuinfo", "processor\t: 0\n" + CPUINFO[kind])
    write(root / "sys/devices/system/cpu/online", f"0-{cpus - 1}\n")
    cores = cpus // 2 if smt else cpus
    for cpu in range(cpus):
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        core = cpu % cores
        write(folder / "physical_package_id", f"{core * sockets // cores}\n")
        write(folder / "core_id", f"{core}\n")
        write(folder / "core_cpus_list", f"{core},{core + cores}\n" if smt else f"{cpu}\n")
    if "implementer" in CPUINFO[kind]:
        add_pmu(root, "armv8_pmuv3_0", 8, cpus=f"0-{cpus - 1}")
    else:
        add_pmu(root, "cpu", 4, formats={"event": "config:0-7", "umask": "config:8-15"})
        add_pmu(root, "msr", 9, formats={"event": "config:0-63"})


BUSY = {
    **{(0, number): rate for number, rate in enumerate((2e9, 3e9, 1e8, 2e7, 5e8, 5e6))},
    **{(4, mask << 8 | 0xC7): 1e8 for mask in (1, 2, 4, 8, 16, 32, 64, 128)},
    (0, 9): 2e9,
    (20, 0x0F04): 1e8,
    (20, 0x3004): 5e7,
    **{(30, number): 100.0 * 2**32 for number in (1, 2, 3)},
    (31, 1): 5.0 * 2**32,
}
"""Events per second that give every metric of what `add_counters` describes."""


def add_counters(root: Path) -> None:
    """Give a made machine a processor with counters and a memory controller."""
    write(root / "proc/cpuinfo", CPUINFO["ice lake"] + "model name\t: Example CPU @ 2.50GHz\n")
    formats = {"event": "config:0-7", "umask": "config:8-15"}
    add_pmu(root, "cpu", 4, formats=formats)
    add_pmu(root, "uncore_imc_0", 20, formats=formats, cpumask="0")


def add_energy(root: Path) -> None:
    """Give a made machine energy counters and a power meter."""
    write(root / "proc/cpuinfo", CPUINFO["ice lake"] + "model name\t: Example CPU @ 2.50GHz\n")
    scaled = {"energy-cores": 1, "energy-pkg": 2, "energy-ram": 3, "energy-core": 1}
    events = {name: f"event={number}" for name, number in scaled.items()}
    events |= {f"{name}.scale": "2.3283064365386962890625e-10" for name in scaled}
    for pmu, number, cpumask in (("power", 30, "0"), ("power_core", 31, "0-1")):
        add_pmu(root, pmu, number, formats={"event": "config:0-7"}, events=events, cpumask=cpumask)
    write(root / "sys/class/hwmon/hwmon0/name", "power_meter\n")
    write(root / "sys/class/hwmon/hwmon0/power1_average", "300000000\n")


class Event:
    """An open event."""

    def __init__(self, code: EventCode, cpu: int, leader: int) -> None:
        self.code = code
        self.cpu = cpu
        self.leader = leader
        self.value = 0


class FakePerf:
    """The kernel's side of perf_event_open: decodes attributes, and counts `per_s` events while its groups run.

    `counters` is the number of general counters: a group of core events that needs more is never scheduled, as with the
    NMI watchdog. `share` is the part of the time that groups run. `refuse` maps events to the errno of their opening.
    """

    def __init__(self, per_s: Mapping[tuple[int, int], float] = {}, *, step_s: float = 0.0) -> None:
        self.per_s = dict(per_s)
        self.refuse: dict[tuple[int, int], int] = {}
        self.offline: set[int] = set()
        self.silent: set[int] = set()
        self.share: dict[int, float] = {}
        self.counters: int | None = None
        self.group_limit: int | None = None
        self.only_listed = False
        self.timer: float | None = None
        self.step_s = step_s
        self.events: dict[int, Event] = {}
        self.enabled: dict[int, list[float]] = {}
        self.opened = 0
        self._next = 100

    def open(self, attribute: bytes, cpu: int, group: int) -> int:
        kind, size, config, _, _, read_format, flags, _, _, config1, config2 = ATTRIBUTE.unpack_from(attribute)
        assert size == len(attribute)
        assert read_format == 1 | 2 | 8
        assert bool(flags & DISABLED) == (group < 0), "only a leader starts disabled"
        key = (kind, config)
        if key in self.refuse:
            raise OSError(self.refuse[key], os.strerror(self.refuse[key]))
        if self.only_listed and key not in self.per_s:
            raise OSError(errno.ENOENT, "no such event")
        if cpu in self.offline:
            raise OSError(errno.ENODEV, "offline")
        if kind not in (*CORE_TYPES, 8):
            assert not flags & EXCLUDE_KERNEL, "other PMUs refuse to exclude the kernel"
        members = [event for event in self.events.values() if event.leader == group]
        if group >= 0 and self.group_limit is not None and len(members) >= self.group_limit:
            raise OSError(errno.EINVAL, "group too large")
        descriptor = self._next = self._next + 1
        leader = group if group >= 0 else descriptor
        code = EventCode(kind, config, config1, config2, user_only=bool(flags & EXCLUDE_KERNEL))
        self.events[descriptor] = Event(code, cpu, leader)
        self.opened += 1
        return descriptor

    def enable(self, leader: int) -> None:
        self.enabled[leader] = [0.0, 0.0]

    def advance(self, seconds: float) -> None:
        for leader in list(self.enabled):
            self._advance_group(leader, seconds)

    def _advance_group(self, leader: int, seconds: float) -> None:
        members = self.members(leader)
        cpu = members[0].cpu
        if cpu in self.silent:
            return
        general = sum(event.code.type in CORE_TYPES for event in members)
        share = self.share.get(cpu, 1.0)
        if self.counters is not None and general > self.counters:
            share = 0.0
        self.enabled[leader][0] += seconds
        self.enabled[leader][1] += seconds * share
        for event in members:
            event.value += round(self.per_s.get((event.code.type, event.code.config), 0.0) * seconds * share)

    def members(self, leader: int) -> list[Event]:
        return [event for event in self.events.values() if event.leader == leader]

    def read(self, leader: int, size: int) -> bytes:
        members = self.members(leader)
        if members[0].cpu in self.offline:
            return struct.pack("=4Q", 1, 0, 0, 0)  # what is left of a group when its hardware thread goes
        if self.step_s:
            self._advance_group(leader, self.step_s)
        enabled, running = self.enabled[leader]
        values = [event.value for event in members]
        content = struct.pack(f"={3 + len(values)}Q", len(values), round(enabled * 1e9), round(running * 1e9), *values)
        assert size == len(content)
        return content

    def close(self, descriptor: int) -> None:
        del self.events[descriptor]
        self.enabled.pop(descriptor, None)

    def timer_mhz(self, leader: int) -> float | None:
        assert leader in self.events
        return self.timer

    @property
    def groups(self) -> list[list[tuple[int, int]]]:
        """The events of each open group of hardware thread 0, as (type, config)."""
        leaders = [number for number, event in self.events.items() if event.leader == number and event.cpu == 0]
        return [[(event.code.type, event.code.config) for event in self.members(leader)] for leader in leaders]
