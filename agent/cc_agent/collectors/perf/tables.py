"""The parts of a processor's table: events, sets of events that belong together, and formulas over their rates."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Tuple

NOTHING: Mapping[str, float] = {}
MIN_CYCLES_PER_S = 1e6
"""Minimum cycles per second for ipc and clock: an idle hardware thread has only noise."""
MIN_EVENTS_PER_S = 1e5
"""Minimum of the denominator of other ratios."""

HARDWARE, RAW, MSR = "hardware", "raw", "msr"
"""Where an event is counted: by a number that the kernel translates, by one of the processor, by the PMU `msr`."""

FLOPS_UNIT = "GFlops/s"
_TO_GIGA = 1e-9
_TO_PERCENT = 100.0


class CoreEvent(NamedTuple):
    """An event of a hardware thread; `counters` are the general ones it takes, 0 if it has one of its own."""

    name: str
    kind: str
    config: int
    counters: int = 1


class Formula(NamedTuple):
    """A metric: weighted sum of event rates, over another one if `denominator` is given, times `factor`.

    It is not sent while the denominator is below `minimum_per_s`. `times_clock`: the result is a multiple of the
    reference clock. `source` is the document that says what the events count.
    """

    metric: str
    numerator: Mapping[str, float]
    denominator: Mapping[str, float] = NOTHING
    factor: float = 1.0
    minimum_per_s: float = 0.0
    times_clock: bool = False
    source: str = ""

    @property
    def events(self) -> Tuple[str, ...]:
        """The names of the events that it needs."""
        return (*self.numerator, *(name for name in self.denominator if name not in self.numerator))


class Variant(NamedTuple):
    """A way to measure metrics: sets of events, each to be counted together if they fit, and formulas.

    If there are several formulas for a metric, the first counts whose events the machine has.
    """

    event_sets: Tuple[Tuple[CoreEvent, ...], ...]
    formulas: Tuple[Formula, ...]

    @property
    def metrics(self) -> Tuple[str, ...]:
        """The names of the metrics."""
        return tuple(dict.fromkeys(formula.metric for formula in self.formulas))


class CoreTable(NamedTuple):
    """The table of one kind of processor; of the variants, the first that has all metrics asked for is taken.

    `counters` are the general counters of a hardware thread, `counters_without_smt` those if it has its core to itself.
    `remark` says in what the numbers differ from those of other processors.
    """

    name: str
    variants: Tuple[Variant, ...]
    counters: int
    counters_without_smt: int
    remark: str = ""


CYCLES = CoreEvent("cycles", HARDWARE, 0, counters=1)
INSTRUCTIONS = CoreEvent("instructions", HARDWARE, 1, counters=1)
APERF = CoreEvent("aperf", MSR, 0x01, counters=0)
MPERF = CoreEvent("mperf", MSR, 0x02, counters=0)
MISSES = (
    CoreEvent("cache-references", HARDWARE, 2),
    CoreEvent("cache-misses", HARDWARE, 3),
    CoreEvent("branches", HARDWARE, 4),
    CoreEvent("branch-misses", HARDWARE, 5),
)

IPC = Formula(
    "ipc",
    {"instructions": 1.0},
    {"cycles": 1.0},
    minimum_per_s=MIN_CYCLES_PER_S,
    source="perf_event_open(2), PERF_COUNT_HW_INSTRUCTIONS and PERF_COUNT_HW_CPU_CYCLES",
)
CLOCK_BY_REFERENCE = Formula(
    "clock",
    {"cycles": 1.0},
    {"ref-cycles": 1.0},
    minimum_per_s=MIN_CYCLES_PER_S,
    times_clock=True,
    source="Intel SDM 3B, CPU_CLK_UNHALTED.REF_TSC counts at the rate of the time stamp counter",
)
CLOCK_BY_APERF = Formula(
    "clock",
    {"aperf": 1.0},
    {"mperf": 1.0},
    minimum_per_s=MIN_CYCLES_PER_S,
    times_clock=True,
    source="AMD APM 2, effective frequency interface; Intel SDM 3B, IA32_APERF and IA32_MPERF",
)
MISS_RATIOS = (
    Formula(
        "cache_miss_ratio",
        {"cache-misses": 1.0},
        {"cache-references": 1.0},
        factor=_TO_PERCENT,
        minimum_per_s=MIN_EVENTS_PER_S,
        source="perf_event_open(2): last level cache on Intel and Arm, L2 on AMD",
    ),
    Formula(
        "branch_miss_ratio",
        {"branch-misses": 1.0},
        {"branches": 1.0},
        factor=_TO_PERCENT,
        minimum_per_s=MIN_EVENTS_PER_S,
        source="perf_event_open(2), PERF_COUNT_HW_BRANCH_MISSES and PERF_COUNT_HW_BRANCH_INSTRUCTIONS",
    ),
)


def flops(metric: str, weights: Mapping[str, float], source: str) -> Formula:
    """A rate of floating point operations, from events and the operations that one of each stands for."""
    return Formula(metric, weights, factor=_TO_GIGA, source=source)


def vector_share(packed: Tuple[str, ...], scalar: Tuple[str, ...], source: str) -> Formula:
    """The vectorization ratio: packed floating point instructions of all, in percent."""
    return Formula(
        "vectorization_ratio",
        dict.fromkeys(packed, 1.0),
        dict.fromkeys((*packed, *scalar), 1.0),
        factor=_TO_PERCENT,
        minimum_per_s=MIN_EVENTS_PER_S,
        source=source,
    )
