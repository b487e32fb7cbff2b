"""Who has which row of a grid. Rows are handed out in extents per owner, so that a host's series lie together."""

import heapq

import numpy as np
import numpy.typing as npt

from cc_backend.metricstore.model import BoolArray, Int64Array

_MIN_EXTENT = 8
_EXTENT_SHARE = 8  # an extent is at most this share of what the owner has: at most 1/8 of the rows idle
_FREE, _SPARE, _USED = 0, 1, 2


class RowAllocator:
    """The rows of one grid, numbered from 0 without gaps. An owner is a host's number."""

    def __init__(self) -> None:
        self.count = 0
        self._state: npt.NDArray[np.uint8] = np.zeros(1024, np.uint8)
        self._spare: dict[int, list[int]] = {}  # per owner the rest of its extents, descending
        self._owned: dict[int, int] = {}
        self._free: list[int] = []  # a heap; entries whose row is no longer free are passed over

    @property
    def size_bytes(self) -> int:
        """Bytes of this bookkeeping, about."""
        return self._state.nbytes + 40 * len(self._free) + 300 * len(self._spare)

    def allocate(self, owner: int) -> int:
        """A row for a new series of this owner."""
        spare = self._spare.setdefault(owner, [])
        owned = self._owned.get(owner, 0)
        if not spare:
            spare.extend(self._new_extent(max(_MIN_EXTENT, owned // _EXTENT_SHARE)))
        self._owned[owner] = owned + 1
        row = spare.pop()
        self._state[row] = _USED
        return row

    def allocate_many(self, owner: int, count: int) -> Int64Array:
        """Rows for so many new series of this owner, neighbours as far as there are any."""
        spare = self._spare.setdefault(owner, [])
        owned = self._owned.get(owner, 0)
        if len(spare) < count:
            wanted = count - len(spare)
            spare[:0] = self._new_extent(max(_MIN_EXTENT, wanted + (owned + wanted) // _EXTENT_SHARE))
            while len(spare) < count:  # what was free has come to an end
                spare[:0] = self._new_extent(count - len(spare))
        rows = np.array(spare[len(spare) - count :][::-1], np.int64)
        del spare[len(spare) - count :]
        self._owned[owner] = owned + count
        self._state[rows] = _USED
        return rows

    def _new_extent(self, size: int) -> list[int]:
        """Rows that nobody has, descending: the lowest that are free, fewer than asked for if that is all, or new."""
        reused: list[int] = []
        while self._free and len(reused) < size:
            row = heapq.heappop(self._free)
            if self._state[row] == _FREE:
                reused.append(row)
                self._state[row] = _SPARE
        if reused:
            return reused[::-1]
        begin = self.count
        self._ensure_count(begin + size)
        self._state[begin : self.count] = _SPARE
        return list(range(self.count - 1, begin - 1, -1))

    def _ensure_count(self, count: int) -> None:
        """Have so many rows; the new ones are free, and no entry of the heap says so yet."""
        if count > len(self._state):
            more = np.zeros(max(count - len(self._state), len(self._state)), np.uint8)
            self._state = np.concatenate([self._state, more])
        self.count = max(self.count, count)

    def claim_many(self, rows: Int64Array, owners: Int64Array) -> BoolArray:
        """Take these very rows (each named once), each for its owner; says which of them nobody had."""
        if not len(rows):
            return np.zeros(0, np.bool_)
        begin, end = self.count, int(rows.max()) + 1
        self._ensure_count(end)
        taken: BoolArray = self._state[rows] == _FREE
        for at in np.flatnonzero(self._state[rows] == _SPARE).tolist():
            spare = self._spare.get(int(owners[at]), [])
            if int(rows[at]) in spare:
                spare.remove(int(rows[at]))
                taken[at] = True
        self._state[rows[taken]] = _USED
        for row in (begin + np.flatnonzero(self._state[begin:end] == _FREE)).tolist():
            heapq.heappush(self._free, row)
        for owner, count in zip(*(c.tolist() for c in np.unique(owners[taken], return_counts=True)), strict=True):
            self._owned[owner] = self._owned.get(owner, 0) + count
            self._spare.setdefault(owner, [])
        return taken

    def release(self, owner: int, rows: Int64Array) -> None:
        """Take rows back; the extents of an owner without rows are free for others."""
        spare = self._spare.setdefault(owner, [])
        spare.extend(rows.tolist())
        spare.sort(reverse=True)
        self._state[rows] = _SPARE
        self._owned[owner] -= len(rows)
        if not self._owned[owner]:
            self._state[spare] = _FREE
            for row in spare:
                heapq.heappush(self._free, row)
            del self._owned[owner], self._spare[owner]

    def idle_rows(self) -> set[int]:
        """Rows that belong to no series; for tests."""
        return set(np.flatnonzero(self._state[: self.count] != _USED).tolist())

    def validate(self) -> None:
        """Raise AssertionError if the books do not agree; for tests."""
        state = self._state[: self.count]
        spare = [row for rows in self._spare.values() for row in rows]
        free = set(np.flatnonzero(state == _FREE).tolist())
        _check(len(set(spare)) == len(spare), "a row is spare twice")
        _check(set(np.flatnonzero(state == _SPARE).tolist()) == set(spare), "spare rows do not add up")
        _check(free <= set(self._free), "a free row would never be found again")
        _check(np.count_nonzero(state == _USED) == sum(self._owned.values()), "rows do not add up")
        _check(set(self._spare) >= set(self._owned), "an owner has no extent")
        _check(not self._state[self.count :].any(), "a row beyond the last one is in use")


def _check(right: bool, text: str) -> None:  # noqa: FBT001 reads like assert, which is stripped with -O
    if not right:
        raise AssertionError(text)
