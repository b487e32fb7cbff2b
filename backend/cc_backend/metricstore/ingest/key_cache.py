"""Caches of series keys as they stand on the wire: key -> series number, or the reason why it is rejected."""

import re
from typing import Protocol

import numpy as np

from cc_backend.metricstore.ingest.identity import Rejection
from cc_backend.metricstore.model import BoolArray, Identity, Int64Array, RejectReason

MAX_CACHED_KEY_BYTES = 2048
"""Maximum length of a cached key; longer ones are read, but resolved each time."""

REASONS = tuple(RejectReason)
_BLANK = re.compile(rb"(?<!\\) ")


def rejection_code(reason: RejectReason) -> int:
    """The negative number that stands for a rejected key where a sid would stand."""
    return -1 - REASONS.index(reason)


def rejection_reason(code: int) -> RejectReason:
    """The reason behind a negative number."""
    return REASONS[-1 - code]


def is_cacheable_key(series: bytes) -> bool:
    """Whether a line can begin with this key, and it is not too long to be remembered."""
    if not 0 < len(series) <= MAX_CACHED_KEY_BYTES or series[:1] in (b" ", b"\t", b"\r", b"#"):
        return False
    return not series.endswith(b"\\") and b"\n" not in series and not _BLANK.search(series)


class IrregularKeyError(Exception):
    """Bytes where a key was expected are not a key that the fast path may read."""


class Resolver(Protocol):
    """Finds the series behind keys: the series table."""

    def resolve(self, series: bytes, default_cluster: str) -> Identity | Rejection:
        """The identity behind a series key, or why there is none."""

    def intern(self, cache: "KeyCache", series: bytes, default_cluster: str) -> int:
        """The sid or rejection code of a key that is not remembered yet; remembers it if there is room."""


class KeyCache(Protocol):
    """Raw key -> sid or rejection code, for batches with one default cluster.

    A key is the bytes of a line up to its first blank without a backslash before it, escapes and all.
    """

    def find(self, series: bytes) -> int:
        """The sid or rejection code of a key; a key that is not cached is resolved."""

    def remember(self, series: bytes, sid: int) -> None:
        """Remember a key; ValueError for one that is known, too long or not a key (`is_cacheable_key`)."""

    def remember_many(self, keys: list[bytes], sids: Int64Array) -> None:
        """Remember keys, each with its sid; ValueError as from `remember`, with the keys before it remembered."""

    def forget_rejected(self) -> None:
        """Forget the keys that lead to no series."""

    def keep(self, wanted: BoolArray) -> None:
        """Forget all rejected keys, and the keys of series that are not wanted."""

    def sids(self) -> Int64Array:
        """The sid of each key that leads to a series, in no order; a series comes once for each of its keys."""

    def rejection_text(self, series: bytes) -> str:
        """Why a key is rejected, for people."""

    def __len__(self) -> int:
        """How many keys are cached, rejected ones included."""

    @property
    def size_bytes(self) -> int:
        """Memory, all overheads in."""


class DictKeyCache(dict[bytes, int]):
    """The key cache of the Python kernel.

    Inside, keys have a newline before them, which is how the fast path cuts them out of a batch: a key that is found
    is thereby proven to stand at the begin of a line. Indexing with such a key resolves an unknown one.
    """

    def __init__(self, resolver: Resolver, default_cluster: str) -> None:
        super().__init__()
        self._resolver = resolver
        self._default_cluster = default_cluster
        self._rejected: list[bytes] = []
        self._key_bytes = 0

    def __missing__(self, key: bytes) -> int:
        # Comments, blanks around a line and escapes are for the slow path.
        if not key.startswith(b"\n") or key[1:2] in (b"", b"#", b" ", b"\t", b"\r") or b"\\" in key:
            raise IrregularKeyError
        return self._resolver.intern(self, key[1:], self._default_cluster)

    def find(self, series: bytes) -> int:
        """The sid or rejection code of a key; a key that is not cached is resolved."""
        known = self.get(b"\n" + series)
        if known is not None:
            return known
        return self._resolver.intern(self, series, self._default_cluster)

    def remember(self, series: bytes, sid: int) -> None:
        """Remember a key; ValueError for one that is known, too long or not a key (`is_cacheable_key`)."""
        key = b"\n" + series
        if key in self or not is_cacheable_key(series):
            raise ValueError("no line can begin with the key, or it is too long, or remembered already")
        self[key] = sid
        self._key_bytes += key.__sizeof__()
        if sid < 0:
            self._rejected.append(key)

    def remember_many(self, keys: list[bytes], sids: Int64Array) -> None:
        """Remember keys, each with its sid; ValueError as from `remember`, with the keys before it remembered."""
        for series, sid in zip(keys, sids.tolist(), strict=True):
            self.remember(series, sid)

    def forget_rejected(self) -> None:
        """Forget the keys that lead to no series."""
        for key in self._rejected:
            del self[key]
            self._key_bytes -= key.__sizeof__()
        self._rejected.clear()

    def keep(self, wanted: BoolArray) -> None:
        """Forget all rejected keys, and the keys of series that are not wanted."""
        flags = wanted.tolist()
        kept = {key: sid for key, sid in self.items() if sid >= 0 and flags[sid]}
        self.clear()
        self.update(kept)
        self._rejected.clear()
        self._key_bytes = sum(key.__sizeof__() for key in kept)

    def sids(self) -> Int64Array:
        """The sid of each key that leads to a series, in no order; a series comes once for each of its keys."""
        sids = np.fromiter(self.values(), np.int64, len(self))
        return sids[sids >= 0]

    def rejection_text(self, series: bytes) -> str:
        """Why a key is rejected, for people."""
        return rejection_text_of(self._resolver, series, self._default_cluster)

    @property
    def size_bytes(self) -> int:
        """Memory, all overheads in but those of the numbers, which series share."""
        return self.__sizeof__() + self._key_bytes + self._rejected.__sizeof__()


def rejection_text_of(resolver: Resolver, series: bytes, default_cluster: str) -> str:
    """Why a key is rejected, for people; empty if it is not."""
    found = resolver.resolve(series, default_cluster)
    return found.text if isinstance(found, Rejection) else ""
