"""Whose work is next, where much waits: known callers and strangers take turns, and among them each sender does."""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple


class Sender(NamedTuple):
    """Whose work it is: a caller by name, or as long as nobody is known an address."""

    name: str
    is_known: bool


class Work(NamedTuple):
    """What a thread shall do for a sender, or what is done instead if it cannot wait any longer. Neither may raise."""

    sender: Sender
    run: Callable[[], None]
    refuse: Callable[[], None]


class Turns:
    """Work that waits. Knows no threads: its caller lets one at a time in."""

    def __init__(self, *, max_waiting: int, strangers_at_once: int) -> None:
        self._max_waiting = max_waiting
        self._strangers_left = strangers_at_once
        self._known, self._strangers = _Ring(), _Ring()
        self._known_next = True

    def add(self, work: Work) -> Work | None:
        """What has to go, if too much waits: the latest work of the sender who has most of it, maybe this.

        Known callers never give way to strangers: each kind has as much room.
        """
        ring = self._known if work.sender.is_known else self._strangers
        ring.add(work)
        return ring.give_up() if ring.size > self._max_waiting else None

    def take(self) -> Work | None:
        """The next work, if there is some that may begin now; `end` must be told when it is done."""
        known, stranger = self._known.size, self._strangers.size if self._strangers_left else 0
        if known and (self._known_next or not stranger):
            self._known_next = False
            return self._known.take()
        if not stranger:
            return None
        self._known_next = True
        self._strangers_left -= 1
        return self._strangers.take()

    def end(self, work: Work) -> None:
        """Work that was taken is done."""
        if not work.sender.is_known:
            self._strangers_left += 1


class _Ring:
    """Work of several senders, one after the other."""

    def __init__(self) -> None:
        self.size = 0
        self._waiting: OrderedDict[str, deque[Work]] = OrderedDict()

    def add(self, work: Work) -> None:
        waiting = self._waiting.get(work.sender.name)
        if waiting is None:
            waiting = self._waiting[work.sender.name] = deque()
        waiting.append(work)
        self.size += 1

    def take(self) -> Work:
        name, waiting = next(iter(self._waiting.items()))
        work = waiting.popleft()
        if waiting:
            self._waiting.move_to_end(name)
        else:
            del self._waiting[name]
        self.size -= 1
        return work

    def give_up(self) -> Work:
        name, waiting = max(self._waiting.items(), key=lambda item: len(item[1]))
        work = waiting.pop()
        if not waiting:
            del self._waiting[name]
        self.size -= 1
        return work
