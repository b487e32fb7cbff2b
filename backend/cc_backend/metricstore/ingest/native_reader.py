"""Which kernel reads batches: the one in C, or where the extension was not built, the one in Python.

Both cache keys of the wire (`KeyCache`), read plain lines at once, and accept, count and name the same lines. The C
kernel keeps its keys in a table with a keyed hash (SipHash-1-3, a seed per table), so that senders cannot choose keys
that collide.
"""

import os
from typing import Literal, NamedTuple

import numpy as np

from cc_backend.metricstore.ingest.batch import too_many_slow_lines
from cc_backend.metricstore.ingest.key_cache import DictKeyCache, KeyCache, Resolver, rejection_text_of
from cc_backend.metricstore.model import BoolArray, Int64Array

try:
    from cc_backend.metricstore import _kernel
except ImportError:  # built without a C compiler
    HAS_NATIVE = False
else:
    HAS_NATIVE = True

KernelName = Literal["c", "python"]
"""Which of the two; None where it may be named means the faster one there is."""

_SEED_BYTES = 16


class NativeBatch(NamedTuple):
    """What the C kernel read: arrays (int64, float32) as bytes, counts by rejection code, and the other lines.

    `times_s` is one time where all samples have it; `positions` is None where they are 0, 1, 2 and so on. Rejections
    are codes with how many lines, and the positions of the first of them.
    """

    sids: bytearray
    values: bytearray
    times_s: int | bytearray
    positions: bytearray | None
    rejected: list[tuple[int, int, list[int]]]
    slow: list[tuple[int, bytes]]


class NativeKeyCache:
    """The key cache of the C kernel."""

    def __init__(self, resolver: Resolver, default_cluster: str) -> None:
        self._table = _kernel.Table(os.urandom(_SEED_BYTES))
        self._resolver = resolver
        self._default_cluster = default_cluster

    def read_batch(self, batch: bytes, received_s: int) -> NativeBatch:
        """The plain lines of a batch. Gives up the interpreter's lock; not for several threads at once.

        Raises:
            TooLarge: too many lines are not plain.
        """
        found = self._table.decode(batch, received_s, self._resolve)
        if found is None:
            raise too_many_slow_lines()
        return NativeBatch(*found)

    def _resolve(self, series: bytes) -> int:
        return self._resolver.intern(self, series, self._default_cluster)

    def find(self, series: bytes) -> int:
        """The sid or rejection code of a key; a key that is not cached is resolved."""
        known = self._table.find(series)
        return self._resolve(series) if known is None else known

    def remember(self, series: bytes, sid: int) -> None:
        """Remember a key; ValueError for one that is known, too long or not a key (`is_cacheable_key`)."""
        self._table.remember(series, sid)

    def remember_many(self, keys: list[bytes], sids: Int64Array) -> None:
        """Remember keys, each with its sid; ValueError as from `remember`, with the keys before it remembered."""
        self._table.remember_many(keys, np.ascontiguousarray(sids, np.int64))

    def forget_rejected(self) -> None:
        """Forget the keys that lead to no series."""
        self._table.forget_rejected()

    def keep(self, wanted: BoolArray) -> None:
        """Forget all rejected keys, and the keys of series that are not wanted."""
        self._table.keep(np.ascontiguousarray(wanted))

    def sids(self) -> Int64Array:
        """The sid of each key that leads to a series, in no order; a series comes once for each of its keys."""
        return np.frombuffer(self._table.codes(), np.int64)

    def rejection_text(self, series: bytes) -> str:
        """Why a key is rejected, for people."""
        return rejection_text_of(self._resolver, series, self._default_cluster)

    def __len__(self) -> int:
        """How many keys are cached, rejected ones included."""
        return len(self._table)

    @property
    def size_bytes(self) -> int:
        """Memory, all overheads in."""
        return self._table.size_bytes


def new_key_cache(resolver: Resolver, default_cluster: str, kernel: KernelName | None = None) -> KeyCache:
    """An empty key cache; its kind decides which kernel reads batches. ImportError for a kernel that was not built."""
    if kernel == "c" and not HAS_NATIVE:
        raise ImportError("the C kernel of the metric store was not built")
    if kernel == "python" or not HAS_NATIVE:
        return DictKeyCache(resolver, default_cluster)
    return NativeKeyCache(resolver, default_cluster)
