"""Metrics computed from others of the same node at each tick, such as the sum over the hardware threads of a socket."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, Hashable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from cc_agent.aggregate_function import AggregateFunction, AggregateInput, compile_aggregate
from cc_agent.collectors.base import RawSeries, Reading
from cc_agent.errors import ExpressionError
from cc_agent.expression import Condition, compile_condition
from cc_agent.rule_input import NeedsSampleError, RuleInput
from cc_agent.topology import CpuTopology
from cc_common.errors import SettingsError
from cc_common.settings import option, required

SCOPES = ("node", "socket", "die", "memoryDomain", "core")
"""Scopes to which values of finer parts can be rolled up."""

_COPY = "<copy>"
_MAX_GROUPS = 65_536
_UNSUPPORTED = ("getCpu", "getSock", "getNuma", "getDie", "getCore")

Group = Tuple[Tuple[str, str], ...]
"""Tags that the values of a group have in common."""


@dataclass(frozen=True)
class AggregateRule:
    """A metric that is computed from others."""

    name: str = required("name of the new metric", key="name")
    function: str = required(
        "what to compute of the values: sum, min, max, avg, mean, median, len, as in `sum(values) / numSockets`",
        key="function",
    )
    condition: str = option("*", "which samples take part, under the names and tags that the rules give", key="if")
    tags: Mapping[str, str] = option({}, "tags of the new metric; `<copy>` takes that of a sample", key="tags")
    meta: Mapping[str, str] = option({}, "meta of the new metric; `<copy>` takes that of a sample", key="meta")
    scope: str = option(
        "",
        "one value for each part of this kind, from those of its hardware threads",
        key="scope",
        choices=("", *SCOPES),
    )
    group_by: Tuple[str, ...] = option((), "one value for each value of these tags", key="group_by")


class TopologyIndex:
    """The parts of the node that a hardware thread, or a finer part, lies in."""

    def __init__(self, topology: CpuTopology) -> None:
        self._parts = {
            "hwthread": tuple((cpu,) for cpu in topology.hwthreads),
            "core": topology.cores,
            "die": topology.dies,
            "socket": topology.sockets,
            "memoryDomain": topology.memory_domains,
        }
        self._first_thread: Dict[Tuple[str, str], int] = {}
        self._part_of: Dict[Tuple[str, int], str] = {}
        for scope, groups in self._parts.items():
            for position, threads in enumerate(groups):
                part_id = str(threads[0] if scope == "hwthread" else position)
                self._first_thread[scope, part_id] = threads[0]
                self._part_of.update({(scope, thread): part_id for thread in threads})
        self.constants: Dict[str, Any] = {
            "numHWThreads": len(topology.hwthreads),
            "numSockets": len(topology.sockets),
            "numNumaDomains": len(topology.memory_domains),
            "numDies": len(topology.dies),
            "smtWidth": topology.threads_per_core,
        }

    def part_id(self, tags: Mapping[str, str], scope: str) -> Optional[str]:
        """The id of the part of this scope that a series is in, "" for the node; None if it is in none or several."""
        if scope == "node":
            return ""
        kind = tags.get("type", "node")
        thread = self._first_thread.get((kind, tags.get("type-id", "")))
        if thread is None or len(self._parts[kind]) < len(self._parts[scope]):
            return None
        return self._part_of.get((scope, thread))


class _CompiledRule(NamedTuple):
    settings: AggregateRule
    condition: Condition
    function: AggregateFunction


class _Member(NamedTuple):
    """A series in a group of a rule; its values are taken times `factor`."""

    rule: int
    group: Group
    factor: float


class Aggregator:
    """Computes aggregates at each tick from the latest values of the last `keep` ticks.

    A group gets a new value at each tick at which one of its series does. `rename` gives a series as the rules of the
    router leave it, None if that is not known. Raises SettingsError for a rule that cannot be read.
    """

    def __init__(
        self,
        rules: Sequence[AggregateRule],
        index: TopologyIndex,
        *,
        rename: Callable[[RawSeries], Optional[RuleInput]],
        hostname: str = "",
        keep: int = 1,
    ) -> None:
        constants = {"hostname": hostname, **index.constants}
        self._rules = [_compile(number, rule, constants) for number, rule in enumerate(rules) if not unsupported(rule)]
        self._index = index
        self._rename = rename
        self._keep = keep
        self._tick = 0
        self._last_s = 0
        self._members: Dict[RawSeries, Optional[Tuple[_Member, ...]]] = {}
        self._values: Dict[Hashable, Dict[RawSeries, Tuple[float, int]]] = {}
        self._series: Dict[Hashable, RawSeries] = {}

    def add(self, readings: Sequence[Reading], time_s: int) -> List[Reading]:
        """The aggregates after these readings; NaN and what is not a number are left out."""
        self._tick += 1
        if len(self._members) > len(readings) + _MAX_GROUPS:  # devices came and went
            self._members, self._values, self._series = {}, {}, {}
        fresh: Dict[Tuple[int, Group], None] = {}
        for series, value in readings:
            if series not in self._members:
                self._members[series] = self._find_members(series)
            members = self._members[series]
            if members is None:
                members = self._find_members(series, value, time_s) or ()
            for rule, group, factor in members:
                fresh[rule, group] = None
                self._values.setdefault((rule, group), {})[series] = (value * factor, self._tick)
        found = [(self._series[key], self._compute(key, time_s)) for key in fresh]
        self._last_s = time_s
        return [(series, value) for series, value in found if value is not None]

    def _compute(self, key: Tuple[int, Group], time_s: int) -> Optional[float]:
        known = self._values[key]
        oldest = self._tick - self._keep
        values = []
        for series, (value, tick) in list(known.items()):
            if tick <= oldest:
                del known[series]
            elif math.isfinite(value):
                values.append(value)
        if not values:
            return None
        try:
            result = self._rules[key[0]].function(AggregateInput(values, self._last_s or time_s, time_s))
        except OverflowError:
            return None
        is_number = isinstance(result, (int, float)) and not isinstance(result, bool)
        return result if is_number and math.isfinite(result) else None

    def _find_members(
        self, series: RawSeries, value: Optional[float] = None, time_s: Optional[int] = None
    ) -> Optional[Tuple[_Member, ...]]:
        """The groups that a series is in; None if that depends on its value and there is none."""
        message = self._rename(series) or RuleInput(series.metric, series.tags, series.meta)
        message.sample_value, message.sample_time_s = value, time_s
        members = []
        try:
            for number, rule in enumerate(self._rules):
                group = self._group(rule.settings, message) if rule.condition(message) else None
                if group is not None:
                    members.append(_Member(number, group, message.factor))
                    if (number, group) not in self._series:
                        self._series[number, group] = _new_series(rule.settings, group, message)
        except NeedsSampleError:
            return None
        return tuple(members)

    def _group(self, rule: AggregateRule, message: RuleInput) -> Optional[Group]:
        common = [(tag, message.tags.get(tag, "")) for tag in rule.group_by]
        if rule.scope:
            part_id = self._index.part_id(message.tags, rule.scope)
            if part_id is None:
                return None
            common += [("type", rule.scope), ("type-id", part_id)]
        return tuple(common)


def unsupported(rule: AggregateRule) -> str:
    """The function of cc-metric-collector because of which a rule is left out; "" if it is not."""
    text = f"{rule.condition} {rule.function}"
    return next((name for name in _UNSUPPORTED if name in text), "")


def left_out_rules(rules: Sequence[AggregateRule], keep: int) -> List[str]:
    """Sentences about rules that are not applied, for the operator."""
    if rules and not keep:
        return ["router.interval_aggregates: nothing is computed while num_cache_intervals is 0; set it to 1"]
    return [
        f"router.interval_aggregates: {rule.name!r} is left out: there is no {name}...() here; 'scope' may do it"
        for rule, name in ((rule, unsupported(rule)) for rule in rules)
        if name
    ]


def _compile(number: int, rule: AggregateRule, constants: Mapping[str, Any]) -> _CompiledRule:
    key = f"router.interval_aggregates[{number}]"
    try:
        condition = compile_condition(rule.condition, constants)
    except ExpressionError as error:
        raise SettingsError(f"{key}.if", f"{key}.if: {error}") from error
    try:
        return _CompiledRule(rule, condition, compile_aggregate(rule.function, constants))
    except ExpressionError as error:
        raise SettingsError(f"{key}.function", f"{key}.function: {error}") from error


def _new_series(rule: AggregateRule, group: Group, message: RuleInput) -> RawSeries:
    tags = {**_filled(rule.tags, message.tags), **dict(group)}
    tags.setdefault("type", "node")
    return RawSeries(rule.name, {key: value for key, value in tags.items() if value}, _filled(rule.meta, message.meta))


def _filled(wanted: Mapping[str, str], source: Mapping[str, str]) -> Dict[str, str]:
    return {key: source.get(key, "") if value == _COPY else value for key, value in wanted.items()}
