"""Series keys as they stand on the wire: which series they lead to, and what is remembered of that."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from cc_backend.metricstore.ingest.host_config import HostConfig
from cc_backend.metricstore.ingest.identity import Rejection, identify
from cc_backend.metricstore.ingest.key_cache import MAX_CACHED_KEY_BYTES, KeyCache, rejection_code
from cc_backend.metricstore.ingest.native_reader import KernelName, new_key_cache
from cc_backend.metricstore.ingest.new_keys import NewKeys, ScopedResolver
from cc_backend.metricstore.model import BoolArray, Identity, Int64Array, Limits, MetricTable, RejectReason
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import parse_series

MAX_KEYS_PER_SERIES = 4

_MAX_COUNTED_HOSTS = 10_000


MAX_REJECTED_KEY_BYTES = 512
"""Longer keys that are refused are not remembered: as many as may be would take 200 MB."""

MAX_CACHES = 256
"""Maximum tables of spellings: one for each default cluster and each set of clusters that a caller is bound to."""


class _CacheScope(NamedTuple):
    """What batches of one table have in common; `bound` are the clusters that their senders may write to."""

    default_cluster: str
    allowed_clusters: tuple[str, ...]


class KeyResolver:
    """Resolves keys, and remembers a bounded number of them per default cluster, per series, and of those refused."""

    def __init__(
        self,
        register: Callable[[Sequence[Identity]], Int64Array],
        metrics: MetricTable,
        host_config: HostConfig,
        limits: Limits,
        kernel: KernelName | None = None,
    ) -> None:
        self._register_series = register
        self._metrics = metrics
        self._host_config = host_config
        self._limits = limits
        self._kernel = kernel
        self._caches: dict[_CacheScope, KeyCache] = {}
        self._new: NewKeys | None = None
        self._keys_per_series = np.zeros(1024, np.uint8)
        self._rejected_count = 0
        self._unknown_hosts: set[tuple[str, str]] = set()

    def cache_for(self, default_cluster: str, allowed_clusters: Collection[str] = ()) -> KeyCache:
        """The spellings for batches with this default cluster; those that are not configured share one table.

        Callers that are bound to clusters have tables of their own, in which no key of another cluster can be.
        """
        name = default_cluster if not default_cluster or default_cluster in self._metrics else "?"
        batches = _CacheScope(name, tuple(sorted(set(allowed_clusters))))
        known = self._caches.get(batches)
        if known is None:
            if len(self._caches) >= MAX_CACHES:
                self._forget_scoped_caches()
            resolver = ScopedResolver(self, batches.allowed_clusters) if batches.allowed_clusters else self
            known = new_key_cache(resolver, name, self._kernel)
            self._caches = {**self._caches, batches: known}  # others may be counting what is remembered
        return known

    def _forget_scoped_caches(self) -> None:
        """Forget the tables of bound callers; who made so many of them has to begin anew."""
        self._caches = {batches: known for batches, known in self._caches.items() if not batches.allowed_clusters}
        self._recount_keys()

    def caches(self) -> list[KeyCache]:
        """The spellings of all default clusters."""
        return list(self._caches.values())

    def resolve(self, series: bytes, default_cluster: str) -> Identity | Rejection:
        """The identity behind a series key, or why there is none."""
        try:
            metric, tags = parse_series(series)
        except LineProtocolError as error:
            return Rejection(RejectReason.SYNTAX, str(error))
        found = identify(
            metric, tags, default_cluster=default_cluster, metrics=self._metrics, host_config=self._host_config
        )
        if not self._limits.strict_hosts or isinstance(found, Rejection):
            return found
        if self._host_config.is_configured(found.cluster, found.host):
            return found
        if len(self._unknown_hosts) < _MAX_COUNTED_HOSTS:
            self._unknown_hosts.add((found.cluster, found.host))
        return Rejection(
            RejectReason.UNKNOWN_HOST, f"host {found.host!r} is not configured for cluster {found.cluster!r}"
        )

    def intern(self, spellings: KeyCache, series: bytes, default_cluster: str) -> int:
        """The sid or refusal code of a key that is not remembered yet. What is remembered is bounded.

        While new keys are put off, it is their code that is given for a key that leads to a series.
        """
        if self._new is not None:
            code = self._new.code_of(series)
            if code is not None:
                return code
            self._new.count_resolved()
        found = self.resolve(series, default_cluster)
        if isinstance(found, Rejection):
            return self._remember(spellings, series, rejection_code(found.reason))
        if self._new is not None:
            return self._new.add(series, found)
        return self._remember(spellings, series, int(self._register_series([found])[0]))

    @contextmanager
    def deferring_registration(self) -> Iterator[NewKeys]:
        """Meanwhile no series is registered; `register` does that for those that are found fit to be stored."""
        self._new = NewKeys()
        try:
            yield self._new
        finally:
            self._new = None

    def register_deferred(self, spellings: KeyCache, codes: Int64Array) -> Int64Array:
        """The sids or refusal codes of new series of the batch, by their codes, which ascend; they are remembered."""
        new = self._new
        if new is None:
            raise LookupError("no keys were put off")
        listed: list[int] = codes.tolist()
        sids = self._register_series(new.identities(listed))
        known = dict(zip(listed, sids.tolist(), strict=True))
        for series, code in new.keys_of(known.keys()):
            self._remember(spellings, series, known[code])
        return sids

    def _remember(self, spellings: KeyCache, series: bytes, sid: int) -> int:
        """Remember a key, if there is room; its sid or refusal code."""
        if len(series) > (MAX_CACHED_KEY_BYTES if sid >= 0 else MAX_REJECTED_KEY_BYTES):
            return sid
        if sid < 0:
            if self._rejected_count >= self._limits.rejected_keys:
                self.forget_rejected()
            self._rejected_count += 1
        elif not self._reserve_key(sid):
            return sid
        spellings.remember(series, sid)
        return sid

    def _reserve_key(self, sid: int) -> bool:
        """Whether one more spelling of a series is remembered; it counts from now on."""
        if sid >= len(self._keys_per_series):
            more = np.zeros(max(sid + 1 - len(self._keys_per_series), len(self._keys_per_series) // 4), np.uint8)
            self._keys_per_series = np.concatenate([self._keys_per_series, more])
        elif self._keys_per_series[sid] >= MAX_KEYS_PER_SERIES:
            return False
        self._keys_per_series[sid] += 1
        return True

    def forget_rejected(self) -> None:
        """Look again at keys that were refused."""
        for spellings in self._caches.values():
            spellings.forget_rejected()
        self._rejected_count = 0

    def keep(self, wanted: BoolArray) -> None:
        """Forget all refusals, and the spellings of series that are not wanted; `wanted` has an entry per sid."""
        self._rejected_count = 0
        self._keys_per_series = np.zeros(len(wanted), np.uint8)
        for spellings in self._caches.values():
            spellings.keep(wanted)
        self._recount_keys()

    def _recount_keys(self) -> None:
        """Count anew how many spellings of each series are remembered."""
        self._keys_per_series[:] = 0
        for spellings in self._caches.values():
            np.add.at(self._keys_per_series, spellings.sids(), 1)

    def reload(self, metrics: MetricTable, host_config: HostConfig, wanted: BoolArray) -> None:
        """Take over new metrics and hosts, and look at all keys again but those of wanted series."""
        self._metrics, self._host_config = metrics, host_config
        self._unknown_hosts.clear()
        self.keep(wanted)
        self._caches = {
            batches: known
            for batches, known in self._caches.items()
            if batches.default_cluster in metrics or not batches.default_cluster
        }

    @property
    def unknown_hosts(self) -> int:
        """How many hosts were refused because the configuration does not have them; counted up to 10,000."""
        return len(self._unknown_hosts)

    def __len__(self) -> int:
        """How many keys are remembered."""
        return sum(len(spellings) for spellings in self._caches.values())

    @property
    def size_bytes(self) -> int:
        """Memory taken."""
        return self._keys_per_series.nbytes + sum(spellings.size_bytes for spellings in self._caches.values())
