"""Tables of Arm's Neoverse N1, N2, V1 and V2 (Altra, Graviton, Grace).

Floating point events are counted at issue ("speculative"), and thereby also on paths that are not taken. FP_FIXED_OPS
counts operations of scalar and Advanced SIMD instructions, FP_SCALE_OPS those of SVE for a vector of 128 bits (Arm
Architecture Reference Manual, PMU events 0x80C0 and 0x80C1; PMU guides of Neoverse N1, V1 and V2).
"""

from __future__ import annotations

from typing import Dict, Tuple

from cc_agent.collectors.perf.tables import (
    CYCLES,
    INSTRUCTIONS,
    IPC,
    MIN_CYCLES_PER_S,
    MISS_RATIOS,
    MISSES,
    RAW,
    CoreEvent,
    CoreTable,
    Formula,
    Variant,
    flops,
    vector_share,
)

_ARM = 0x41
_COUNTERS = 6
_SOURCE = "Arm ARM, FP_FIXED_OPS_SPEC and FP_SCALE_OPS_SPEC"
_REMARK = "flops_any counts an operation once whatever its precision, and also those that are not retired"

_CYCLES = CYCLES._replace(counters=0)  # a counter of its own
_SCALAR, _SIMD = CoreEvent("scalar", RAW, 0x75), CoreEvent("simd", RAW, 0x74)
_SVE = CoreEvent("sve", RAW, 0x8006)
_FIXED, _SCALABLE = CoreEvent("fixed_ops", RAW, 0x80C1), CoreEvent("scalable_ops", RAW, 0x80C0)

TIMER_CYCLES = CoreEvent("timer_cycles", RAW, 0x4004)
_CLOCK = Formula(
    "clock",
    {"cycles": 1.0},
    {"timer_cycles": 1.0},
    minimum_per_s=MIN_CYCLES_PER_S,
    times_clock=True,
    source="Arm ARM, CNT_CYCLES counts at the rate of the system counter, and halts with the core",
)

_N1 = CoreTable(
    "Arm Neoverse N1",
    (
        Variant(
            ((_CYCLES, INSTRUCTIONS), (_SCALAR, _SIMD), MISSES),
            (IPC, vector_share(("simd",), ("scalar",), "Arm Neoverse N1 PMU guide, VFP_SPEC, ASE_SPEC"), *MISS_RATIOS),
        ),
    ),
    _COUNTERS,
    _COUNTERS,
    "this processor does not count floating point operations",
)


def _table(name: str, vector_bits: int) -> CoreTable:
    """The table of a core with SVE vectors of this length."""
    variant = Variant(
        ((_CYCLES, INSTRUCTIONS, TIMER_CYCLES), (_FIXED, _SCALABLE), (_SCALAR, _SIMD, _SVE), MISSES),
        (
            IPC,
            _CLOCK,
            flops("flops_any", {"fixed_ops": 1.0, "scalable_ops": vector_bits / 128}, _SOURCE),
            vector_share(("simd", "sve"), ("scalar",), "Arm ARM, VFP_SPEC, ASE_SPEC and SVE_INST_SPEC"),
            *MISS_RATIOS,
        ),
    )
    return CoreTable(name, (variant,), _COUNTERS, _COUNTERS, _REMARK)


TABLES: Dict[Tuple[int, int], CoreTable] = {
    (_ARM, 0xD0C): _N1,
    (_ARM, 0xD40): _table("Arm Neoverse V1", 256),
    (_ARM, 0xD49): _table("Arm Neoverse N2", 128),
    (_ARM, 0xD4F): _table("Arm Neoverse V2", 128),
}
"""By implementer and part (arch/arm64/include/asm/cputype.h of the kernel)."""
