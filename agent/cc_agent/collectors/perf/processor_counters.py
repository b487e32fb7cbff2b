"""Counters of all hardware threads: groups of events on each of them, and the metrics computed from their rates."""

from __future__ import annotations

import logging
import resource
from pathlib import Path
from typing import Collection, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from cc_agent.collectors.perf.access import CANNOT_COUNT, OFFLINE, open_error
from cc_agent.collectors.perf.arm import TIMER_CYCLES
from cc_agent.collectors.perf.counters import NOT_COUNTED, CounterGroup, countable_groups, split_groups
from cc_agent.collectors.perf.cpu_model import CpuModel, base_clock_mhz
from cc_agent.collectors.perf.plan import BoundFormula, CountingPlan, bind, event_code, make_plan
from cc_agent.collectors.perf.pmu import Pmu, named
from cc_agent.collectors.perf.syscall import EventCode, PerfCalls
from cc_agent.errors import NotAvailableError, NotPresentError

logger = logging.getLogger(__name__)

CORE_PMUS = r"cpu|cpu_core|cpu_atom|armv[89]_\w+"
WATCHDOG_FILE = "proc/sys/kernel/nmi_watchdog"
STARVED_READINGS = 2
"""A group that never ran on most hardware threads, for this many readings in a row, is cut in two."""
_SPARE_DESCRIPTORS = 256


class HwthreadRates(NamedTuple):
    """The event rates of a hardware thread since the last reading, and the formulas for them.

    `counted_percent` is the time that the events ran of that in which they were to run, the smallest of all groups.
    """

    cpu: int
    rates: List[float]
    formulas: List[BoundFormula]
    counted_percent: float


class _Layout:
    """The groups that all hardware threads of one PMU have: events by position in `events`."""

    def __init__(self, pmu: Pmu, events: List[str], codes: List[EventCode], groups: List[List[int]]) -> None:
        self.pmu = pmu
        self.events = events
        self.codes = codes
        self.groups = groups
        self.formulas: List[BoundFormula] = []
        self.starved: Dict[int, int] = {}

    @property
    def event_order(self) -> List[str]:
        """The events in the order of the rates."""
        return [self.events[index] for group in self.groups for index in group]


class ProcessorCounters:
    """The groups of all online hardware threads that have a core PMU; raises like `open` of a collector."""

    def __init__(
        self,
        calls: PerfCalls,
        pmus: Sequence[Pmu],
        processor: CpuModel,
        metrics: Collection[str],
        cpus: Sequence[int],
        *,
        smt: bool,
        user_only: bool,
        root: Path = Path("/"),
    ) -> None:
        self._calls = calls
        self._root = root
        self._processor = processor
        self._cpus: Dict[int, Tuple[_Layout, List[CounterGroup]]] = {}
        self._layouts: List[_Layout] = []
        core = named(list(pmus), CORE_PMUS)
        if not core:
            raise NotPresentError("the kernel lists no PMU of the processor, as in most virtual machines")
        msr_type = next((pmu.type for pmu in pmus if pmu.name == "msr"), -1)
        self._plan: CountingPlan = make_plan(processor.table, metrics, smt=smt, watchdog=watchdog_is_on(root))
        try:
            for pmu in core:
                own = [cpu for cpu in cpus if not pmu.cpus or cpu in pmu.cpus]
                layout = self._find_layout(pmu, own, msr_type, user_only=user_only) if own else None
                if layout is not None:
                    self._layouts.append(layout)
                    self._open_cpus(layout, own)
        except BaseException:
            self.close()
            raise
        if not self._cpus:
            raise NotPresentError("the processor offers no hardware counters, as in most virtual machines")

    @property
    def metrics(self) -> List[str]:
        """The names of the metrics that are measured on some hardware thread."""
        return list(dict.fromkeys(formula.metric for layout in self._layouts for formula in layout.formulas))

    @property
    def cpus(self) -> List[int]:
        """The hardware threads that are counted."""
        return sorted(self._cpus)

    @property
    def groups(self) -> List[List[str]]:
        """The events by group, of all kinds of core."""
        return [[layout.events[index] for index in group] for layout in self._layouts for group in layout.groups]

    def _find_layout(self, pmu: Pmu, cpus: Sequence[int], msr_type: int, *, user_only: bool) -> Optional[_Layout]:
        """The groups as the first hardware thread can count them; None if it can count nothing."""
        planned = [[event for event in group if msr_type >= 0 or event.kind != "msr"] for group in self._plan.groups]
        events = [event for group in planned for event in group]
        codes = [event_code(event, pmu, msr_type, user_only=user_only) for event in events]
        groups: List[List[int]] = []
        first = 0
        for group in planned:
            try:
                found = countable_groups(self._calls, codes[first : first + len(group)], cpus[0])
            except OSError as error:
                raise open_error(error, self._root) from error
            groups += [[first + index for index in members] for members in found]
            first += len(group)
        if not groups:
            return None
        return _Layout(pmu, [event.name for event in events], codes, groups)

    def _open_cpus(self, layout: _Layout, cpus: Iterable[int]) -> None:
        chosen = list(cpus)
        allow_descriptors(len(chosen) * len(layout.event_order))
        for cpu in chosen:
            groups = self._open_cpu(layout, cpu)
            if groups:
                self._cpus[cpu] = (layout, groups)
                if not layout.formulas:
                    self._bind(layout, groups[0].leader)

    def _open_cpu(self, layout: _Layout, cpu: int) -> List[CounterGroup]:
        """The groups of one hardware thread; none if it went offline meanwhile."""
        opened: List[CounterGroup] = []
        try:
            for group in layout.groups:
                opened.append(CounterGroup(self._calls, [layout.codes[index] for index in group], cpu))  # noqa: PERF401 what was opened before an error is to be closed
        except OSError as error:
            for made in opened:
                made.close()
            if error.errno in OFFLINE or error.errno in CANNOT_COUNT:
                logger.debug("no counters hwthread=%d reason=%s", cpu, error)
                return []
            raise open_error(error, self._root) from error
        return opened

    def _bind(self, layout: _Layout, leader: int) -> None:
        clock_mhz = self._calls.timer_mhz(leader)
        if clock_mhz is None and TIMER_CYCLES.name not in layout.events:
            clock_mhz = base_clock_mhz(self._processor, self._root)
        layout.formulas = bind(self._plan.formulas, layout.event_order, clock_mhz or 0.0)

    def read(self) -> List[HwthreadRates]:
        """The rates of each hardware thread since the last reading; none from one that came back meanwhile."""
        result: List[HwthreadRates] = []
        gone: List[int] = []
        starved: Dict[Tuple[int, int], int] = {}
        for cpu, (layout, groups) in self._cpus.items():
            rates: List[float] = []
            counted = 1.0
            enabled = False
            try:
                for index, group in enumerate(groups):
                    if group.advance():
                        counted = min(counted, group.running_ns / (group.enabled_ns or group.running_ns))
                        rates += group.rates
                    else:
                        counted = 0.0
                        rates += [NOT_COUNTED] * group.size
                        if group.enabled_ns:
                            key = (id(layout), index)
                            starved[key] = starved.get(key, 0) + 1
                    enabled = enabled or group.enabled_ns > 0
            except OSError as error:
                logger.debug("counters lost hwthread=%d reason=%s", cpu, error)
                gone.append(cpu)
                continue
            if enabled:
                result.append(HwthreadRates(cpu, rates, layout.formulas, 100.0 * counted))
        for cpu in gone:
            self._close_cpu(cpu)
        for layout in self._layouts:
            self._note_starved(layout, {index: count for (key, index), count in starved.items() if key == id(layout)})
        return result

    def _note_starved(self, layout: _Layout, counts: Dict[int, int]) -> None:
        """Cut a group in two that, at two readings in a row, never ran on most hardware threads."""
        members = [cpu for cpu, (own, _) in self._cpus.items() if own is layout]
        layout.starved = {
            index: layout.starved.get(index, 0) + 1 for index, count in counts.items() if 2 * count > len(members)
        }
        worst = next((index for index, readings in layout.starved.items() if readings >= STARVED_READINGS), None)
        if worst is None or len(layout.groups[worst]) == 1:
            return
        names = ",".join(layout.events[index] for index in layout.groups[worst])
        logger.info("too few counters for a group, it is split pmu=%s events=%s", layout.pmu.name, names)
        layout.groups = split_groups(layout.groups, worst)
        layout.formulas = []
        layout.starved = {}
        for cpu in members:
            self._close_cpu(cpu)
        self._open_cpus(layout, members)

    def follow_hotplug(self, cpus: Sequence[int]) -> None:
        """Close what is offline, and open what is online and not counted."""
        online = set(cpus)
        for cpu, (_, groups) in list(self._cpus.items()):
            # one that was away for a moment has the same number, and counters that stand still
            if cpu not in online or any(group.stalled for group in groups):
                self._close_cpu(cpu)
        for layout in self._layouts:
            own = [cpu for cpu in cpus if not layout.pmu.cpus or cpu in layout.pmu.cpus]
            self._open_cpus(layout, [cpu for cpu in own if cpu not in self._cpus])

    def _close_cpu(self, cpu: int) -> None:
        for group in self._cpus.pop(cpu)[1]:
            group.close()

    def close(self) -> None:
        """Remove all events."""
        for cpu in list(self._cpus):
            self._close_cpu(cpu)


def watchdog_is_on(root: Path = Path("/")) -> bool:
    """Whether the kernel's NMI watchdog holds a counter."""
    try:
        return (root / WATCHDOG_FILE).read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False


def allow_descriptors(needed: int) -> None:
    """Raise the limit of open files of this process as far as allowed. Raises NotAvailableError if that is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed + _SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise NotAvailableError(
            f"the counters need {wanted} open files, and the limit is {hard}",
            f"set LimitNOFILE={wanted} of the service",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
