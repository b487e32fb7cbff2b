"""Which events to count for the metrics asked for, and how to divide them into groups that fit the counters."""

from __future__ import annotations

from typing import Collection, Dict, List, NamedTuple, Sequence, Tuple

from cc_agent.collectors.perf.pmu import Pmu
from cc_agent.collectors.perf.syscall import TYPE_HARDWARE, TYPE_RAW, EventCode
from cc_agent.collectors.perf.tables import HARDWARE, MSR, CoreEvent, CoreTable, Formula, Variant

_EXTENDED_TYPE_SHIFT = 32
"""On hybrid chips the number of the PMU stands above a hardware event (perf_event_open(2), PERF_PMU_TYPE_SHIFT)."""


class CountingPlan(NamedTuple):
    """Formulas for the metrics asked for, and the groups of events that they need."""

    formulas: Tuple[Formula, ...]
    groups: List[List[CoreEvent]]


def make_plan(table: CoreTable, metrics: Collection[str], *, smt: bool, watchdog: bool) -> CountingPlan:
    """The events and formulas for as many of the metrics as the table has.

    With `smt` hardware threads share a core; the NMI `watchdog` of the kernel occupies one counter.
    """
    variant = _cheapest_variant(table, metrics)
    formulas = tuple(formula for formula in variant.formulas if formula.metric in metrics)
    needed = {name for formula in formulas for name in formula.events}
    free = (table.counters if smt else table.counters_without_smt) - watchdog
    groups: List[List[CoreEvent]] = []
    room: List[int] = []
    for whole_set in variant.event_sets:
        wanted = [event for event in whole_set if event.name in needed]
        takes = sum(event.counters for event in wanted)
        place = next((index for index, left in enumerate(room) if takes <= left), None)
        if not wanted:
            continue
        if place is None:
            groups.append(wanted)
            room.append(free - takes)
        else:
            groups[place] += wanted
            room[place] -= takes
    return CountingPlan(formulas, groups)


def _cheapest_variant(table: CoreTable, metrics: Collection[str]) -> Variant:
    offered = {metric for variant in table.variants for metric in variant.metrics}
    wanted = offered.intersection(metrics)
    return next((variant for variant in table.variants if wanted <= set(variant.metrics)), table.variants[-1])


def table_metrics(table: CoreTable) -> Tuple[str, ...]:
    """The metrics that a processor has, by one variant or another."""
    return tuple(dict.fromkeys(metric for variant in table.variants for metric in variant.metrics))


def event_code(event: CoreEvent, pmu: Pmu, msr_type: int, *, user_only: bool) -> EventCode:
    """The event for the kernel on this core PMU; `msr` counts user and kernel, whatever is asked."""
    if event.kind == MSR:
        return EventCode(msr_type, event.config)
    if event.kind == HARDWARE:
        hybrid = pmu.name in ("cpu_core", "cpu_atom")
        extended = pmu.type << _EXTENDED_TYPE_SHIFT if hybrid else 0
        return EventCode(TYPE_HARDWARE, extended | event.config, user_only=user_only)
    return EventCode(pmu.type if pmu.cpus else TYPE_RAW, event.config, user_only=user_only)


class BoundFormula(NamedTuple):
    """A formula over the list of all event rates of a hardware thread."""

    metric: str
    numerator: Tuple[Tuple[int, float], ...]
    denominator: Tuple[Tuple[int, float], ...]
    factor: float
    minimum_per_s: float

    def evaluate(self, rates: Sequence[float]) -> float:
        """The value; not a number if an event did not run or the denominator is too small."""
        total = 0.0
        for index, weight in self.numerator:
            total += rates[index] * weight
        if not self.denominator:
            return total * self.factor
        base = 0.0
        for index, weight in self.denominator:
            base += rates[index] * weight
        # written so that a base which is not a number fails
        return total * self.factor / base if base >= self.minimum_per_s else float("nan")

    def is_idle(self, rates: Sequence[float]) -> bool:
        """Whether there are too few events for a value, and not just none counted."""
        return sum(rates[index] * weight for index, weight in self.denominator) < self.minimum_per_s


def bind(formulas: Sequence[Formula], events: Sequence[str], clock_mhz: float) -> List[BoundFormula]:
    """The formulas whose events are counted, the first of each metric; `clock_mhz` 0 leaves out the clock."""
    places: Dict[str, int] = {name: index for index, name in enumerate(events)}
    bound: Dict[str, BoundFormula] = {}
    for formula in formulas:
        if (
            formula.metric in bound
            or not places.keys() >= set(formula.events)
            or (formula.times_clock and not clock_mhz)
        ):
            continue
        bound[formula.metric] = BoundFormula(
            formula.metric,
            tuple((places[name], weight) for name, weight in formula.numerator.items()),
            tuple((places[name], weight) for name, weight in formula.denominator.items()),
            formula.factor * (clock_mhz if formula.times_clock else 1.0),
            formula.minimum_per_s,
        )
    return list(bound.values())
