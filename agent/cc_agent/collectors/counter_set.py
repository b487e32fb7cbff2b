"""Counters of one or several instances (devices, file systems, NUMA domains) as the metrics of a collector.

A collector reads the counters; this says which of them are sent: as they are, as rates per second, or as differences
between two readings, for each instance and as sums over all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from cc_agent.collectors.base import (
    MetricDescription,
    MetricFilter,
    RateClock,
    Reading,
    SeriesPool,
    Tick,
    select_metrics,
)

Counts = Mapping[str, int]
"""The counters of an instance by name; one that the instance does not have is left out."""


class Counter(NamedTuple):
    """A counter: `meaning` goes on after "Number of" or "Rate of".

    `rate` and `difference` are the names of those metrics; they are not sent if these are empty. `scale` is the number
    of units in one count. `sum_of` names the counters that this one is the sum of; else the source has it.
    """

    name: str
    unit: str
    meaning: str
    rate: str = ""
    difference: str = ""
    scale: int = 1
    sum_of: Tuple[str, ...] = ()
    rate_unit: str = ""
    absolute: bool = True


@dataclass(frozen=True)
class CounterForms:
    """In which forms counters are sent."""

    absolute: bool = False
    rates: bool = False
    differences: bool = False


@dataclass(frozen=True)
class InstanceTags:
    """How instances are tagged: as `scope` with the instance as type-id, or as `stype` of the node.

    `totals` are sums over all instances at the scope node. Without `stype` instances of the node are not sent.
    """

    scope: str = "node"
    stype: str = ""
    totals: bool = True


NODE_ONLY = InstanceTags()


class CounterSet:
    """The readings of counters; those of an instance that was reset or has just appeared begin with the next reading.

    A total is left out at a reading at which one of its instances was reset. With `wrap_bits` a counter that falls from
    the upper quarter of its range to the lower one has wrapped, and went on.
    """

    def __init__(
        self,
        counters: Sequence[Counter],
        forms: CounterForms,
        choice: MetricFilter,
        tags: InstanceTags = NODE_ONLY,
        *,
        wrap_bits: int = 0,
    ) -> None:
        self._counters = tuple(counters)
        self._by_name = {counter.name: counter for counter in counters}
        self._forms = forms
        self._tags = tags
        self._wrap = 1 << wrap_bits if wrap_bits else 0
        self.metrics = select_metrics(self._describe(), choice)
        self._sent = frozenset(metric.name for metric in self.metrics)
        self._clock = RateClock()
        self._before: Dict[str, Counts] = {}

    def _describe(self) -> List[MetricDescription]:
        scope, described = self._tags.scope, []
        for counter in self._counters:
            text = counter.meaning
            per_s = counter.rate_unit or f"{counter.unit}/s"
            if self._forms.absolute and counter.absolute:
                described.append(MetricDescription(counter.name, counter.unit, scope, f"Number of {text}.", "counter"))
            if self._forms.rates and counter.rate:
                described.append(MetricDescription(counter.rate, per_s, scope, f"Rate of {text}.", "rate"))
            if self._forms.differences and counter.difference:
                meaning = f"Number of {text} since the last reading."
                described.append(MetricDescription(counter.difference, counter.unit, scope, meaning, "rate"))
        return described

    def reset(self) -> None:
        """Forget the previous reading."""
        self._clock.reset()
        self._before = {}

    def readings(self, tick: Tick, now: Mapping[str, Counts], pool: SeriesPool) -> List[Reading]:
        """The readings for the counters of all instances; rates and differences from the second call on."""
        elapsed_s = self._clock.elapsed_s(tick)
        found: List[Reading] = []
        if self._forms.absolute:
            for counter in self._counters:
                if counter.absolute and counter.name in self._sent:
                    values = {name: self._value(counter, counts) for name, counts in now.items()}
                    self._append(counter.name, values, found, pool)
        if elapsed_s is not None and (self._forms.rates or self._forms.differences):
            steps = {
                name: self._increase(counts, self._before[name]) for name, counts in now.items() if name in self._before
            }
            # Without any instance there is no such traffic; that of a new one begins with the next reading.
            complete = None not in steps.values() and (bool(steps) or not now)
            known = {name: went for name, went in steps.items() if went is not None}
            self._append_steps(known, elapsed_s, found, pool, complete=complete)
        for gone in self._before.keys() - now.keys():
            if self._tags.scope == "node":
                pool.forget(gone)
            else:
                pool.forget(type_id=gone)
        self._before = dict(now)
        return found

    def _append_steps(
        self,
        steps: Mapping[str, Counts],
        elapsed_s: float,
        found: List[Reading],
        pool: SeriesPool,
        *,
        complete: bool,
    ) -> None:
        for counter in self._counters:
            values = {name: self._value(counter, went) for name, went in steps.items()}
            if self._forms.rates and counter.rate in self._sent:
                rates = {name: None if value is None else value / elapsed_s for name, value in values.items()}
                self._append(counter.rate, rates, found, pool, complete=complete)
            if self._forms.differences and counter.difference in self._sent:
                self._append(counter.difference, values, found, pool, complete=complete)

    def _append(
        self,
        metric: str,
        values: Mapping[str, Optional[float]],
        found: List[Reading],
        pool: SeriesPool,
        *,
        complete: bool = True,
    ) -> None:
        there = {name: value for name, value in values.items() if value is not None}
        scope, stype = self._tags.scope, self._tags.stype
        if scope != "node":
            found.extend((pool.get(metric, scope, name), value) for name, value in there.items())
            return
        if self._tags.totals and complete and (there or not values):
            found.append((pool.get(metric), sum(there.values())))
        if stype:
            found.extend((pool.get(metric, stype=stype, stype_id=name), value) for name, value in there.items())

    def _value(self, counter: Counter, counts: Counts) -> Optional[int]:
        """The value in units; None if the instance does not have the counter."""
        if not counter.sum_of:
            count = counts.get(counter.name)
            return None if count is None else count * counter.scale
        parts = [self._value(self._by_name[name], counts) for name in counter.sum_of]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    def _increase(self, now: Counts, before: Counts) -> Optional[Counts]:
        """The increase of each counter that was there before; None if one was reset."""
        steps: Dict[str, int] = {}
        for name, count in now.items():
            if name not in before:
                continue
            step = count - before[name]
            if step < 0:
                if not self._wrap or before[name] < self._wrap // 4 * 3 or count >= self._wrap // 4:
                    return None
                step += self._wrap
            steps[name] = step
        return steps
