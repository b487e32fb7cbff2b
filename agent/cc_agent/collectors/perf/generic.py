"""The table of a processor that has none of its own: the events that the kernel translates itself."""

from __future__ import annotations

from cc_agent.collectors.perf.tables import (
    APERF,
    CLOCK_BY_APERF,
    CLOCK_BY_REFERENCE,
    CYCLES,
    HARDWARE,
    INSTRUCTIONS,
    IPC,
    MISS_RATIOS,
    MISSES,
    MPERF,
    CoreEvent,
    CoreTable,
    Variant,
)

_FEWEST_COUNTERS = 4

GENERIC = CoreTable(
    "generic",
    (
        Variant(
            ((INSTRUCTIONS, CYCLES, CoreEvent("ref-cycles", HARDWARE, 9), APERF, MPERF), MISSES),
            (IPC, CLOCK_BY_REFERENCE, CLOCK_BY_APERF, *MISS_RATIOS),
        ),
    ),
    _FEWEST_COUNTERS,
    _FEWEST_COUNTERS,
    "no floating point rates: this processor is not in the tables",
)
