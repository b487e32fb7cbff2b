"""Tables of Intel's servers: Skylake-SP, Cascade and Cooper Lake, Ice Lake-SP, Sapphire, Emerald and Granite Rapids.

FP_ARITH_INST_RETIRED is event 0xC7; each bit of the unit mask is a class of instructions, and a counter may add up
several classes. A fused multiply-add counts twice, x87 and AMX not at all (Intel perfmon event files of these
processors, as in tools/perf/pmu-events/arch/x86 of the kernel; SDM 3B, chapter on performance monitoring events).
"""

from __future__ import annotations

from typing import Dict, Optional, Tuple

from cc_agent.collectors.perf.tables import (
    CLOCK_BY_REFERENCE,
    CYCLES,
    HARDWARE,
    INSTRUCTIONS,
    IPC,
    MISS_RATIOS,
    MISSES,
    RAW,
    CoreEvent,
    CoreTable,
    Variant,
    flops,
    vector_share,
)

_FP_ARITH = 0xC7
_SOURCE = "Intel perfmon, FP_ARITH_INST_RETIRED"

# fixed counters of their own
_BASE = (INSTRUCTIONS._replace(counters=0), CYCLES._replace(counters=0), CoreEvent("ref-cycles", HARDWARE, 9, 0))


def _class(name: str, mask: int) -> CoreEvent:
    return CoreEvent(name, RAW, mask << 8 | _FP_ARITH)


_DOUBLE = (_class("scalar_dp", 0x01), _class("128_dp", 0x04), _class("256_dp", 0x10), _class("512_dp", 0x40))
_SINGLE = (_class("scalar_sp", 0x02), _class("128_sp", 0x08), _class("256_sp", 0x20), _class("512_sp", 0x80))
_DOUBLE_OPS = {"scalar_dp": 1.0, "128_dp": 2.0, "256_dp": 4.0, "512_dp": 8.0}
_SINGLE_OPS = {"scalar_sp": 1.0, "128_sp": 4.0, "256_sp": 8.0, "512_sp": 16.0}

# In single precision equivalents both precisions of a width weigh the same, so one counter serves for both.
_BY_WIDTH = (
    _class("scalar_dp", 0x01),
    _class("scalar_sp", 0x02),
    _class("128", 0x0C),
    _class("256", 0x30),
    _class("512", 0xC0),
)
_WIDTH_OPS = {"scalar_dp": 2.0, "scalar_sp": 1.0, "128": 4.0, "256": 8.0, "512": 16.0}

_ANY_BY_CLASS = {**{name: 2.0 * ops for name, ops in _DOUBLE_OPS.items()}, **_SINGLE_OPS}

_BY_WIDTH_VARIANT = Variant(
    (_BASE, _BY_WIDTH, MISSES),
    (
        IPC,
        CLOCK_BY_REFERENCE,
        flops("flops_any", _WIDTH_OPS, _SOURCE),
        vector_share(("128", "256", "512"), ("scalar_dp", "scalar_sp"), _SOURCE),
        *MISS_RATIOS,
    ),
)
_BY_CLASS_VARIANT = Variant(
    (_BASE, _DOUBLE, _SINGLE, MISSES),
    (
        IPC,
        CLOCK_BY_REFERENCE,
        flops("flops_any", _ANY_BY_CLASS, _SOURCE),
        flops("flops_dp", _DOUBLE_OPS, _SOURCE),
        flops("flops_sp", _SINGLE_OPS, _SOURCE),
        vector_share(("128_dp", "256_dp", "512_dp", "128_sp", "256_sp", "512_sp"), ("scalar_dp", "scalar_sp"), _SOURCE),
        *MISS_RATIOS,
    ),
)
_VARIANTS = (_BY_WIDTH_VARIANT, _BY_CLASS_VARIANT)


def _table(name: str, counters: int) -> CoreTable:
    # With four counters both ways take two turns, and the one by class has more metrics.
    fits_by_width = counters >= len(_BY_WIDTH)
    return CoreTable(name, _VARIANTS if fits_by_width else (_BY_CLASS_VARIANT,), counters, 8)


_SKYLAKE_SP, _ICE_LAKE_SP = _table("Intel Skylake-SP", 4), _table("Intel Ice Lake-SP", 8)
_CASCADE_LAKE, _COOPER_LAKE = _table("Intel Cascade Lake", 4), _table("Intel Cooper Lake", 4)

TABLES: Dict[Tuple[int, int], CoreTable] = {
    (6, 0x55): _SKYLAKE_SP,
    (6, 0x6A): _ICE_LAKE_SP,
    (6, 0x6C): _ICE_LAKE_SP,
    (6, 0x8F): _table("Intel Sapphire Rapids", 8),
    (6, 0xCF): _table("Intel Emerald Rapids", 8),
    (6, 0xAD): _table("Intel Granite Rapids", 8),
    (6, 0xAE): _table("Intel Granite Rapids", 8),
}
"""By family and model (arch/x86/include/asm/intel-family.h of the kernel)."""


def table_for(family: int, model: int, stepping: int) -> Optional[CoreTable]:
    """The table of a processor; None if there is none. Model 0x55 is three processors, by stepping."""
    table = TABLES.get((family, model))
    if table is _SKYLAKE_SP and stepping >= 5:  # noqa: PLR2004 the first stepping of Cascade Lake
        return _COOPER_LAKE if stepping >= 10 else _CASCADE_LAKE  # noqa: PLR2004 the first of Cooper Lake
    return table
