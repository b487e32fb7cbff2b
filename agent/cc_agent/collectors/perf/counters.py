"""Groups of counters on one hardware thread, read with one call and scaled for the time that they really ran."""

from __future__ import annotations

import errno
import struct
from typing import List, Optional, Sequence, Tuple

from cc_agent.collectors.perf.access import CANNOT_COUNT
from cc_agent.collectors.perf.syscall import EventCode, PerfCalls

NOT_COUNTED = float("nan")
"""The rate of an event that did not run; what is computed from it is not a number either, and not sent."""

_WORD_BITS = 64
_HEAD = 3  # number of events, time enabled, time running
_NS_PER_S = 1e9


class CounterGroup:
    """Events that are on the counters of a hardware thread together.

    After `advance`, `rates` are the events per second, and `enabled_ns` and `running_ns` the time since the last call
    in which they were to be counted and really were. If more is asked of the processor than it has counters, the kernel
    takes turns, and the rates are those of the time that was seen. `stalled`: not even the time went on, as after the
    hardware thread was offline.
    """

    __slots__ = (
        "_before",
        "_calls",
        "_decode",
        "_descriptors",
        "cpu",
        "enabled_ns",
        "rates",
        "running_ns",
        "size",
        "stalled",
    )

    def __init__(self, calls: PerfCalls, codes: Sequence[EventCode], cpu: int) -> None:
        self._calls = calls
        self._descriptors: List[int] = []
        self._before: Optional[Tuple[int, ...]] = None
        self._decode = struct.Struct(f"={_HEAD + len(codes)}Q")
        self.cpu = cpu
        self.size = len(codes)
        self.enabled_ns = 0
        self.running_ns = 0
        self.stalled = False
        self.rates = [NOT_COUNTED] * self.size
        try:
            # The leader starts disabled: the kernel (seen on 6.18) never schedules an event of another PMU, such as
            # `msr`, that joins a group which counts already.
            for index, code in enumerate(codes):
                leader = self._descriptors[0] if index else -1
                self._descriptors.append(calls.open(code.attribute(disabled=not index), cpu, leader))
            calls.enable(self._descriptors[0])
        except OSError:
            self.close()
            raise

    def advance(self) -> bool:
        """Read the counters; whether `rates` has values: not at the first call, and not if the events never ran.

        Raises OSError if the hardware thread is gone.
        """
        content = self._calls.read(self._descriptors[0], self._decode.size)
        before = self._before
        self.enabled_ns = self.running_ns = 0
        if len(content) != self._decode.size:
            raise OSError(errno.ENODATA, f"counters of hwthread {self.cpu} gave {len(content)} bytes")
        now = self._before = self._decode.unpack(content)
        if before is None:
            return False
        steps = [after - earlier for after, earlier in zip(now, before)]
        if min(steps) < 0:
            steps = [step % (1 << _WORD_BITS) for step in steps]
            if max(steps) >> (_WORD_BITS - 1):  # set back and not wrapped
                return False
        self.enabled_ns, self.running_ns = steps[1], steps[2]
        self.stalled = not self.enabled_ns
        if not self.running_ns:
            return False
        # count * enabled / running is the estimate for the whole time, which lasted `enabled`: so the time enabled
        # cancels out of the rate.
        per_s = _NS_PER_S / self.running_ns
        self.rates = [step * per_s for step in steps[_HEAD:]]
        return True

    @property
    def leader(self) -> int:
        """The descriptor of the first event."""
        return self._descriptors[0]

    def close(self) -> None:
        """Remove the events; may be called more than once."""
        descriptors, self._descriptors = self._descriptors, []
        # members first: a closed leader makes each member a group of its own, which is work for nothing
        for descriptor in reversed(descriptors):
            self._calls.close(descriptor)


def countable_groups(calls: PerfCalls, codes: Sequence[EventCode], cpu: int) -> List[List[int]]:
    """The events that this hardware thread can count, by their position, in as few groups as the kernel takes.

    Events that the processor lacks are left out. Raises OSError if counting is not allowed.
    """
    groups: List[List[int]] = []
    waiting = list(range(len(codes)))
    while waiting:
        taken: List[int] = []
        later: List[int] = []
        for index in waiting:
            failure = _try_group(calls, [codes[member] for member in (*taken, index)], cpu)
            if failure is None:
                taken.append(index)
            elif taken and failure.errno == errno.EINVAL:
                later.append(index)  # the group is full for it, or the event may not join
            elif failure.errno not in CANNOT_COUNT:
                raise failure
        if taken:
            groups.append(taken)
        waiting = later
    return groups


def _try_group(calls: PerfCalls, codes: Sequence[EventCode], cpu: int) -> Optional[OSError]:
    try:
        CounterGroup(calls, codes, cpu).close()
    except OSError as error:
        return error
    return None


def split_groups(groups: Sequence[Sequence[int]], starved: int) -> List[List[int]]:
    """The groups, with one that the kernel never put on the counters cut in two."""
    split = [list(group) for group in groups]
    middle = len(split[starved]) // 2
    split[starved : starved + 1] = [split[starved][:middle], split[starved][middle:]]
    return split
