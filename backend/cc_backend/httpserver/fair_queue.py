"""Fair queue: known and unknown callers take turns, and among each kind all senders take turns."""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection
from typing import NamedTuple

_UNKNOWN_CALLERS = ""


class Sender(NamedTuple):
    """The sender of work: the name of a known caller, else a network address."""

    name: str
    is_known: bool


class WorkItem(NamedTuple):
    """A function to run for a sender, and one to call instead if the queue is full. Neither may raise."""

    sender: Sender
    run: Callable[[], None]
    refuse: Callable[[], None]


class FairQueue:
    """Waiting work. Not thread-safe: the caller locks it.

    At most `max_running` items of one known caller run at a time, and at most as many of all unknown callers together.
    """

    def __init__(self, *, max_waiting: int, max_running: int) -> None:
        self._max_waiting, self._max_running = max_waiting, max_running
        self._known, self._unknown = _RoundRobin(), _RoundRobin()
        self._running: Counter[str] = Counter()
        self._full: set[str] = set()
        self._known_next = True

    def add(self, work: WorkItem) -> WorkItem | None:
        """Add work. Beyond `max_waiting` items, remove and return the latest one of the sender with most items.

        Known and unknown callers have a limit each, so that the unknown never displace the known.
        """
        ring = self._known if work.sender.is_known else self._unknown
        ring.add(work)
        return ring.drop_latest() if ring.size > self._max_waiting else None

    def next_item(self) -> WorkItem | None:
        """The next item that may run now, None without one; call `finish_item` when it is done."""
        may_be_unknown = _UNKNOWN_CALLERS not in self._full
        work = (
            self._known.next_item(self._full) if self._known_next or not may_be_unknown else self._unknown.next_item(())
        )
        if work is None and may_be_unknown:
            work = self._unknown.next_item(()) if self._known_next else self._known.next_item(self._full)
        if work is not None:
            self._known_next = not work.sender.is_known
            share = _share_name(work)
            self._running[share] += 1
            if self._running[share] >= self._max_running:
                self._full.add(share)
        return work

    def finish_item(self, work: WorkItem) -> None:
        """Record that an item from `next_item` is done."""
        share = _share_name(work)
        self._full.discard(share)
        self._running[share] -= 1
        if not self._running[share]:
            del self._running[share]


def _share_name(work: WorkItem) -> str:
    return work.sender.name if work.sender.is_known else _UNKNOWN_CALLERS


class _RoundRobin:
    """Items of several senders, which take turns."""

    def __init__(self) -> None:
        self.size = 0
        self._waiting: OrderedDict[str, deque[WorkItem]] = OrderedDict()

    def add(self, work: WorkItem) -> None:
        waiting = self._waiting.get(work.sender.name)
        if waiting is None:
            waiting = self._waiting[work.sender.name] = deque()
        waiting.append(work)
        self.size += 1

    def next_item(self, skipped: Collection[str]) -> WorkItem | None:
        name = next((name for name in self._waiting if name not in skipped), None)
        if name is None:
            return None
        waiting = self._waiting[name]
        work = waiting.popleft()
        if waiting:
            self._waiting.move_to_end(name)
        else:
            del self._waiting[name]
        self.size -= 1
        return work

    def drop_latest(self) -> WorkItem:
        name, waiting = max(self._waiting.items(), key=lambda item: len(item[1]))
        work = waiting.pop()
        if not waiting:
            del self._waiting[name]
        self.size -= 1
        return work
