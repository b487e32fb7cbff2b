"""Which PMUs and events count the traffic of memory controllers, by processor.

Where the kernel names the events in sysfs, its names, scales and units are taken. Documents: Intel uncore performance
monitoring reference manuals (IMC, CAS_COUNT: one cache line of 64 bytes each) and arch/x86/events/intel/uncore_snbep.c
of the kernel; AMD Processor Programming References (data fabric events 0x07 and 0x1F + 0x40 per channel, UMC event
0x0A) and arch/x86/events/amd/uncore.c; Documentation/admin-guide/perf/nvidia-pmu.rst for Grace.
"""

from __future__ import annotations

from typing import NamedTuple, Tuple

from cc_agent.collectors.perf.cpu_model import CpuModel

_LINE_BYTES = 64.0
READ, WRITE, BOTH = "read", "write", ""


class TrafficEvent(NamedTuple):
    """An event, by its terms or by the kernel's name, what it counts and how many bytes that is."""

    terms: str
    direction: str
    bytes: float = _LINE_BYTES


class MemorySource(NamedTuple):
    """A kind of memory controller: the names of its PMUs as a pattern, and its events.

    `aliases` are events that the kernel may name, which are taken instead of `events`. A group has at most `counters`
    events. `models` has vendor, family and models; empty means every processor.
    """

    name: str
    pmus: str
    aliases: Tuple[TrafficEvent, ...] = ()
    events: Tuple[TrafficEvent, ...] = ()
    counters: int = 4
    vendor: str = ""
    family: int = 0
    models: Tuple[int, ...] = ()

    def fits(self, processor: CpuModel) -> bool:
        """Whether it is for this processor."""
        if not self.vendor:
            return True
        if (processor.vendor, processor.family) != (self.vendor, self.family):
            return False
        return not self.models or processor.model in self.models


_CAS_NAMES = tuple(
    TrafficEvent(f"cas_count_{direction}{channel}", direction)
    for channel in ("", "_sch0", "_sch1")
    for direction in (READ, WRITE)
)


def _intel(name: str, models: Tuple[int, ...], *events: TrafficEvent) -> MemorySource:
    return MemorySource(name, r"uncore_imc_\d+", _CAS_NAMES, events, vendor="GenuineIntel", family=6, models=models)


def _fabric(name: str, family: int, models: Tuple[int, ...], *events: TrafficEvent) -> MemorySource:
    return MemorySource(name, "amd_df", (), events, vendor="AuthenticAMD", family=family, models=models)


def _channels(first_event: int, count: int, masks: Tuple[Tuple[int, str], ...]) -> Tuple[TrafficEvent, ...]:
    return tuple(
        TrafficEvent(f"event={first_event + 0x40 * channel:#x},umask={mask:#x}", direction)
        for channel in range(count)
        for mask, direction in masks
    )


_ZEN_2_CHANNELS = _channels(0x07, 8, ((0x38, BOTH),))
_ZEN_4_CHANNELS = _channels(0x1F, 12, ((0xFFE, READ), (0xFFF, WRITE)))

MEMORY_SOURCES: Tuple[MemorySource, ...] = (
    _intel(
        "Intel IMC of Broadwell to Cooper Lake",
        (0x4F, 0x56, 0x55),
        TrafficEvent("event=0x04,umask=0x03", READ),
        TrafficEvent("event=0x04,umask=0x0c", WRITE),
    ),
    _intel(
        "Intel IMC of Ice Lake-SP",
        (0x6A, 0x6C),
        TrafficEvent("event=0x04,umask=0x0f", READ),
        TrafficEvent("event=0x04,umask=0x30", WRITE),
    ),
    _intel(
        "Intel IMC of Sapphire and Emerald Rapids",
        (0x8F, 0xCF),
        TrafficEvent("event=0x05,umask=0xcf", READ),
        TrafficEvent("event=0x05,umask=0xf0", WRITE),
    ),
    _intel(
        "Intel IMC of Granite Rapids and Sierra Forest",
        (0xAD, 0xAE, 0xAF),
        TrafficEvent("event=0x05,umask=0xcf", READ),
        TrafficEvent("event=0x05,umask=0xf0", WRITE),
        TrafficEvent("event=0x06,umask=0xcf", READ),
        TrafficEvent("event=0x06,umask=0xf0", WRITE),
    ),
    MemorySource("Intel IMC as the kernel names it", r"uncore_imc_\d+", _CAS_NAMES),
    MemorySource(
        "Intel IMC, free running",
        r"uncore_imc_free_running(_\d+)?",
        (
            TrafficEvent("read", READ),
            TrafficEvent("write", WRITE),
            TrafficEvent("data_read", READ),
            TrafficEvent("data_write", WRITE),
        ),
    ),
    MemorySource(
        "Intel IMC of clients",
        r"uncore_imc",
        (TrafficEvent("data_reads", READ), TrafficEvent("data_writes", WRITE)),
    ),
    MemorySource(
        "AMD UMC",
        r"amd_umc_\d+",
        (),
        (TrafficEvent("event=0x0a,rdwrmask=1", READ), TrafficEvent("event=0x0a,rdwrmask=2", WRITE)),
    ),
    _fabric("AMD data fabric of Zen 2", 0x17, (*range(0x30, 0x50), *range(0x60, 0x80), 0x90, 0x91), *_ZEN_2_CHANNELS),
    _fabric("AMD data fabric of Zen 3", 0x19, (*range(0x10), *range(0x20, 0x60)), *_ZEN_2_CHANNELS),
    _fabric("AMD data fabric of Zen 4", 0x19, (*range(0x10, 0x20), *range(0xA0, 0xB0)), *_ZEN_4_CHANNELS),
    MemorySource(
        "NVIDIA Grace SCF",
        r"nvidia_scf_pmu_\d+",
        (),
        (TrafficEvent("event=0x1a5", READ, 32.0), TrafficEvent("event=0x1db", WRITE, 1.0)),
    ),
)
"""In the order in which they are tried."""
