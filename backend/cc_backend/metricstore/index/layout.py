"""Where the series of a host stand among each other: one layout for all hosts of a cluster, so that none has its own.

The nodes of a cluster have the same metrics of the same parts. What differs from host to host is only the numbers of
the series, and those fit in one array per host; metric and part of each place in it are kept once.
"""

import heapq
import sys
from array import array

import numpy as np

from cc_backend.metricstore.model import HostPart, Int64Array

_INTEGER_BYTES = 32  # of a number above 256, as the allocator rounds it
_PART_BYTES = 88  # a tuple of four with what the garbage collector adds
_TEXT_BYTES = 56  # a short text


class HostLayout:
    """The series that hosts of one cluster have, each at the same place in every host.

    A place that no host uses any more is given to the next series that is new. `places` says metric -> part -> place,
    `freed_count` grows whenever one of these is gone.
    """

    __slots__ = ("_free", "_users", "freed_count", "places")

    def __init__(self) -> None:
        self.places: dict[str, dict[HostPart, int]] = {}
        self.freed_count = 0
        self._users = array("i")
        self._free: list[int] = []  # a heap: the lowest place is taken first

    def place_of(self, metric: str, part: HostPart) -> int:
        """The place of a series, -1 if it has none."""
        parts = self.places.get(metric)
        return -1 if parts is None else parts.get(part, -1)

    def acquire(self, metric: str, part: HostPart, *, below: int) -> int:
        """The place of a series, with one user more; -1 if only places from `below` on are left for it."""
        place = self.place_of(metric, part)
        if place >= 0:
            if place >= below:
                return -1
            self._users[place] += 1
            return place
        if self._free:
            if self._free[0] >= below:
                return -1
            place = heapq.heappop(self._free)
            self._users[place] = 1
        else:
            place = len(self._users)
            if place >= below:
                return -1
            self._users.append(1)
        self.places.setdefault(metric, {})[part] = place
        return place

    def add(self, metric: str, part: HostPart) -> int:
        """A place for a series that has none, still without users: `acquire_many` must follow."""
        if self._free:
            place = heapq.heappop(self._free)
        else:
            place = len(self._users)
            self._users.append(0)
        self.places.setdefault(metric, {})[part] = place
        return place

    def next_places(self, count: int) -> Int64Array:
        """The places that so many calls of `add` would give."""
        free = heapq.nsmallest(count, self._free)
        begin = len(self._users)
        return np.array([*free, *range(begin, begin + count - len(free))], np.int64)

    def acquire_many(self, places: Int64Array) -> None:
        """One user more of each of these places, which are in use and differ."""
        np.frombuffer(self._users, np.intc)[places] += 1

    def release(self, metric: str, part: HostPart) -> None:
        """One user less."""
        parts = self.places[metric]
        place = parts[part]
        self._users[place] -= 1
        if not self._users[place]:
            del parts[part]
            if not parts:
                del self.places[metric]
            self.freed_count += 1
            heapq.heappush(self._free, place)

    def user_count(self) -> int:
        """How many series all hosts have in this layout; for tests."""
        return sum(self._users)

    @property
    def size_bytes(self) -> int:
        """Memory taken, the parts themselves left out."""
        dicts = sum(sys.getsizeof(parts) for parts in self.places.values())
        integers = _INTEGER_BYTES * len(self._users)
        return dicts + integers + sum(map(sys.getsizeof, (self.places, self._users, self._free)))


class MetricNames:
    """Names of metrics by number. They stay: there are as many as were ever configured."""

    __slots__ = ("_numbers", "_texts")

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._texts: list[str] = []

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, number: int) -> str:
        return self._texts[number]

    def intern(self, text: str) -> int:
        """The number of a name, a new one if need be."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return number


class PartTable:
    """Parts of hosts by number; each is kept once, as long as there is a series of it."""

    __slots__ = ("_free", "_numbers", "_parts", "_texts", "_users", "text_bytes")

    def __init__(self) -> None:
        self._numbers: dict[HostPart, int] = {}
        self._parts: list[HostPart | None] = []
        self._users = array("i")
        self._free = array("i")
        self._texts: dict[str, str] = {}  # kinds of parts; there are few
        self.text_bytes = 0

    def __getitem__(self, number: int) -> HostPart:
        part = self._parts[number]
        if part is None:
            raise LookupError(f"there is no part {number}")
        return part

    def acquire(self, part: HostPart) -> int:
        """The number of a part, with one user more."""
        number = self._numbers.get(part)
        if number is not None:
            self._users[number] += 1
            return number
        kind, subtype = self._intern_text(part.type), self._intern_text(part.subtype)
        part = HostPart(kind, part.type_id, subtype, part.subtype_id)
        if self._free:
            number = self._free.pop()
            self._parts[number] = part
            self._users[number] = 1
        else:
            number = len(self._parts)
            self._parts.append(part)
            self._users.append(1)
        self._numbers[part] = number
        self.text_bytes += _text_bytes(part)
        return number

    def intern(self, part: HostPart) -> int:
        """The number of a part; one that is new has no users yet: `acquire_many` must follow."""
        number = self._numbers.get(part)
        if number is None:
            number = self.acquire(part)
            self._users[number] = 0
        return number

    def number_of(self, part: HostPart) -> int:
        """The number of a part that a series is of; raises KeyError."""
        return self._numbers[part]

    def acquire_many(self, numbers: Int64Array) -> None:
        """One user more for each of these numbers, which are in use; one may stand there several times."""
        np.add.at(np.frombuffer(self._users, np.intc), numbers, 1)

    def _intern_text(self, text: str) -> str:
        """A text equal to this one that is kept once, unless a sender makes up types of parts without end."""
        if len(self._texts) > 1000:  # noqa: PLR2004 any limit will do
            self._texts.clear()
        return self._texts.setdefault(text, text)

    def release(self, number: int) -> None:
        """One user less."""
        self._users[number] -= 1
        if not self._users[number]:
            part = self[number]
            del self._numbers[part]
            self._parts[number] = None
            self._free.append(number)
            self.text_bytes -= _text_bytes(part)

    def user_count(self) -> int:
        """How many series there are in all; for tests."""
        return sum(self._users)

    @property
    def size_bytes(self) -> int:
        """Memory taken."""
        containers = sum(map(sys.getsizeof, (self._numbers, self._parts, self._users, self._free)))
        return containers + self.text_bytes + (_PART_BYTES + _INTEGER_BYTES) * len(self._numbers)


def _text_bytes(part: HostPart) -> int:
    return sum(_TEXT_BYTES + len(text) - len(text) % 8 for text in (part.type_id, part.subtype_id) if len(text) > 1)
