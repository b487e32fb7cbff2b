"""Traffic of the memory controllers of each socket, from the PMUs outside the cores."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from cc_agent.collectors.perf.access import CANNOT_COUNT, open_error
from cc_agent.collectors.perf.counters import CounterGroup, countable_groups
from cc_agent.collectors.perf.cpu_model import CpuModel
from cc_agent.collectors.perf.memory_tables import MEMORY_SOURCES, MemorySource, TrafficEvent
from cc_agent.collectors.perf.pmu import Pmu, named
from cc_agent.collectors.perf.syscall import EventCode, PerfCalls
from cc_agent.errors import NotPresentError

logger = logging.getLogger(__name__)

_UNIT_BYTES = {"": 1.0, "B": 1.0, "Bytes": 1.0, "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3}


class SocketTraffic(NamedTuple):
    """Bytes per second between a socket and its memory; reads and writes are None if they are counted as one."""

    socket: int
    total: float
    reads: Optional[float]
    writes: Optional[float]


class _Counted(NamedTuple):
    """A group on one controller; for each event the direction and the bytes of one count."""

    socket: int
    group: CounterGroup
    weights: Tuple[Tuple[str, float], ...]


class MemoryTraffic:
    """The counters of all memory controllers of the first kind that this machine has; raises like `open`."""

    def __init__(
        self,
        calls: PerfCalls,
        pmus: Sequence[Pmu],
        processor: CpuModel,
        sockets: Mapping[int, int],
        root: Path = Path("/"),
    ) -> None:
        self._calls = calls
        self._sockets = sockets
        self._counted: List[_Counted] = []
        self._lost = False
        self.source = ""
        try:
            for source in MEMORY_SOURCES:
                if source.fits(processor) and self._open(source, named(list(pmus), source.pmus), root):
                    self.source = source.name
                    return
        except BaseException:
            self.close()
            raise
        raise NotPresentError("the kernel lists no counters of the memory controllers")

    @property
    def has_directions(self) -> bool:
        """Whether reads and writes are counted apart."""
        return all(direction for counted in self._counted for direction, _ in counted.weights)

    def _open(self, source: MemorySource, pmus: Sequence[Pmu], root: Path) -> bool:
        for pmu in pmus:
            events = _find_events(source, pmu)
            for cpu in pmu.cpus:
                socket = self._sockets.get(cpu)
                if socket is None or not events:
                    continue
                for first in range(0, len(events), source.counters):
                    self._open_group(events[first : first + source.counters], cpu, socket, root)
        return bool(self._counted)

    def _open_group(self, events: Sequence[Tuple[EventCode, str, float]], cpu: int, socket: int, root: Path) -> None:
        codes = [code for code, _, _ in events]
        try:
            for members in countable_groups(self._calls, codes, cpu):
                group = CounterGroup(self._calls, [codes[index] for index in members], cpu)
                self._counted.append(
                    _Counted(socket, group, tuple((events[index][1], events[index][2]) for index in members))
                )
        except OSError as error:
            if error.errno not in CANNOT_COUNT:
                raise open_error(error, root) from error
            logger.debug("no memory counters hwthread=%d reason=%s", cpu, error)

    def read(self) -> List[SocketTraffic]:
        """The traffic of each socket since the last reading; none of a socket with a controller that did not count."""
        sums: Dict[int, Dict[str, float]] = {}
        incomplete = set()
        for socket, group, weights in self._counted:
            try:
                valid = group.advance()
            except OSError as error:
                logger.debug("memory counters lost socket=%d reason=%s", socket, error)
                valid = False
                self._lost = True
            if not valid:
                incomplete.add(socket)
                continue
            directions = sums.setdefault(socket, {})
            for rate, (direction, size) in zip(group.rates, weights):
                directions[direction] = directions.get(direction, 0.0) + rate * size
        return [_traffic(socket, sums[socket]) for socket in sorted(sums) if socket not in incomplete]

    @property
    def stalled(self) -> bool:
        """Whether a controller counts no longer, because the hardware thread that reads it went offline."""
        return self._lost or any(counted.group.stalled for counted in self._counted)

    def close(self) -> None:
        """Remove all events."""
        counted, self._counted = self._counted, []
        for controller in counted:
            controller.group.close()


def _traffic(socket: int, directions: Mapping[str, float]) -> SocketTraffic:
    total = sum(directions.values())
    if "" in directions:
        return SocketTraffic(socket, total, None, None)
    return SocketTraffic(socket, total, directions.get("read"), directions.get("write"))


def _find_events(source: MemorySource, pmu: Pmu) -> List[Tuple[EventCode, str, float]]:
    """Code, direction and bytes of a count for the events that this PMU has; the kernel's own names come first."""
    found = [_find_alias(pmu, event) for event in source.aliases]
    events = [event for event in found if event is not None]
    if events:
        return events
    try:
        return [(pmu.encode(event.terms), event.direction, event.bytes) for event in source.events]
    except ValueError as error:
        logger.debug("memory events not understood pmu=%s reason=%s", pmu.name, error)
        return []


def _find_alias(pmu: Pmu, event: TrafficEvent) -> Optional[Tuple[EventCode, str, float]]:
    alias = pmu.event(event.terms)
    if alias is None:
        return None
    unit = _UNIT_BYTES.get(re.sub(r"\s", "", alias.unit))
    size = event.bytes if unit is None or not alias.unit else alias.scale * unit
    try:
        return pmu.encode(alias.terms), event.direction, size
    except ValueError as error:
        logger.debug("memory event not understood pmu=%s event=%s reason=%s", pmu.name, event.terms, error)
        return None
