"""Tables of AMD's Zen 2, 3, 4 and 5.

Event 0x03, retired SSE and AVX floating point operations, counts operations and not instructions, a fused multiply-add
twice, and takes two counters (AMD Processor Programming References of family 17h model 31h, 19h models 01h and 11h,
1Ah model 02h, PMCx003; arch/x86/events/amd/core.c of the kernel, large increments). The clock comes from APERF and
MPERF, which take none.
"""

from __future__ import annotations

from typing import Optional, Tuple

from cc_agent.collectors.perf.tables import (
    APERF,
    CLOCK_BY_APERF,
    CYCLES,
    INSTRUCTIONS,
    IPC,
    MISS_RATIOS,
    MISSES,
    MPERF,
    RAW,
    CoreEvent,
    CoreTable,
    Formula,
    Variant,
    flops,
    vector_share,
)

_FLOPS = 0x03
_OPS_BY_WIDTH = 0x08
_SOURCE = "AMD PPR, PMCx003"
_WIDTH_SOURCE = "AMD PPR, PMCx008 of Zen 4 and 5: retired operations, without weights"
_COUNTERS = 6
_MIXED = "flops_any counts an operation once whatever its precision: this processor does not tell them apart"

_BASE = (CYCLES, INSTRUCTIONS, APERF, MPERF)


def _flops_event(name: str, mask: int) -> CoreEvent:
    return CoreEvent(name, RAW, mask << 8 | _FLOPS, counters=2)


_BY_WIDTH = (
    CoreEvent("scalar_ops", RAW, 0x04 << 8 | _OPS_BY_WIDTH),
    CoreEvent("packed_ops", RAW, 0x38 << 8 | _OPS_BY_WIDTH),
)
_VECTOR_SHARE = vector_share(("packed_ops",), ("scalar_ops",), _WIDTH_SOURCE)


def _table(name: str, sets: Tuple[Tuple[CoreEvent, ...], ...], formulas: Tuple[Formula, ...], remark: str) -> CoreTable:
    variant = Variant((_BASE, *sets, MISSES), (IPC, CLOCK_BY_APERF, *formulas, *MISS_RATIOS))
    return CoreTable(name, (variant,), _COUNTERS, _COUNTERS, remark)


_ALL_FLOPS = flops("flops_any", {"flops": 1.0}, _SOURCE)

ZEN_2 = _table("AMD Zen 2", ((_flops_event("flops", 0x0F),),), (_ALL_FLOPS,), _MIXED)
ZEN_3 = _table("AMD Zen 3", ((_flops_event("flops", 0x0F),),), (_ALL_FLOPS,), _MIXED)
ZEN_4 = _table("AMD Zen 4", ((_flops_event("flops", 0x1F),), _BY_WIDTH), (_ALL_FLOPS, _VECTOR_SHARE), _MIXED)
ZEN_5 = _table(
    "AMD Zen 5",
    (
        (_flops_event("scalar_sp", 0x4F), _flops_event("packed_sp", 0x6F)),
        (_flops_event("scalar_dp", 0x8F), _flops_event("packed_dp", 0xAF)),
        _BY_WIDTH,
    ),
    (
        flops("flops_any", {"scalar_sp": 1.0, "packed_sp": 1.0, "scalar_dp": 2.0, "packed_dp": 2.0}, _SOURCE),
        flops("flops_dp", {"scalar_dp": 1.0, "packed_dp": 1.0}, _SOURCE),
        flops("flops_sp", {"scalar_sp": 1.0, "packed_sp": 1.0}, _SOURCE),
        _VECTOR_SHARE,
    ),
    "",
)

# family, first and last model (arch/x86/kernel/cpu/amd.c of the kernel, bsp_determine_snp and init_amd_zen*)
_RANGES = (
    (0x17, 0x30, 0x4F, ZEN_2),
    (0x17, 0x60, 0x7F, ZEN_2),
    (0x17, 0x90, 0x91, ZEN_2),
    (0x17, 0xA0, 0xAF, ZEN_2),
    (0x19, 0x00, 0x0F, ZEN_3),
    (0x19, 0x20, 0x5F, ZEN_3),
    (0x19, 0x10, 0x1F, ZEN_4),
    (0x19, 0x60, 0xAF, ZEN_4),
    (0x1A, 0x00, 0x2F, ZEN_5),
    (0x1A, 0x40, 0x4F, ZEN_5),
    (0x1A, 0x60, 0x7F, ZEN_5),
)


def table_for(family: int, model: int) -> Optional[CoreTable]:
    """The table of a processor; None if there is none."""
    return next((table for of, first, last, table in _RANGES if of == family and first <= model <= last), None)
