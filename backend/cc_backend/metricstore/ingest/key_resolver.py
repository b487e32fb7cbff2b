"""Series keys as they stand on the wire: which series they lead to, and the caches that remember it."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np

from cc_backend.errors import NotAllowed
from cc_backend.metricstore.ingest.host_config import HostConfig
from cc_backend.metricstore.ingest.identity import Rejection, identify
from cc_backend.metricstore.ingest.key_cache import MAX_CACHED_KEY_BYTES, KeyCache, rejection_code
from cc_backend.metricstore.ingest.native_reader import KernelName, new_key_cache
from cc_backend.metricstore.ingest.new_keys import NewKeys, NewSeries, SeriesKinds
from cc_backend.metricstore.model import BoolArray, Identity, Int64Array, Limits, MetricTable, RejectReason
from cc_common.error_codes import ErrorCode
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import parse_series

MAX_KEYS_PER_SERIES = 4
"""Maximum keys that are cached of one series; senders may order its tags differently."""

MAX_REJECTED_KEY_BYTES = 512
"""Longer keys that are rejected are not cached: as many as may be would take 200 MB."""

MAX_CACHES = 256
"""Maximum caches: one for each default cluster and each set of clusters that a sender may write to."""

MAX_KINDS = 20_000
"""With more kinds of series than this, what is remembered of kinds is forgotten; jobs are parts that come and go."""

_MAX_COUNTED_HOSTS = 10_000
_KIND_BYTES = 250  # of the entries for a kind of new series

CheckKey = Callable[[bytes, str], None]
"""Looks at a key, with the default cluster of its batch; raises if its sender may not write there."""


class Registry(Protocol):
    """What gives series their numbers: the series table."""

    def register_many(self, identities: Sequence[Identity]) -> Int64Array:
        """The sids of identities, or rejection codes, in their order."""

    def register_new(self, series: NewSeries) -> Int64Array:
        """The sids of series of a batch, or rejection codes, in their order; faster than one by one."""


class _CacheScope(NamedTuple):
    """What batches with one cache have in common; their senders may write to `allowed_clusters`, empty for all."""

    default_cluster: str
    allowed_clusters: tuple[str, ...]


class KeyResolver:
    """Resolves keys, and caches a bounded number of them per default cluster, per series, and of those rejected."""

    def __init__(
        self,
        registry: Registry,
        metrics: MetricTable,
        host_config: HostConfig,
        limits: Limits,
        kernel: KernelName | None = None,
    ) -> None:
        self._registry = registry
        self._metrics = metrics
        self._host_config = host_config
        self._limits = limits
        self._kernel = kernel
        self._caches: dict[_CacheScope, KeyCache] = {}
        self._new: NewKeys | None = None
        self._kinds = SeriesKinds()
        self._keys_per_series = np.zeros(1024, np.uint8)
        self._rejected_count = 0
        self._unknown_hosts: set[tuple[str, str]] = set()

    def cache_for(self, default_cluster: str, allowed_clusters: Collection[str] = ()) -> KeyCache:
        """The cache for batches with this default cluster; those that are not configured share one.

        Senders that may write to some clusters only have caches of their own, which hold no key of another cluster.
        """
        name = default_cluster if not default_cluster or default_cluster in self._metrics else "?"
        scope = _CacheScope(name, tuple(sorted(set(allowed_clusters))))
        known = self._caches.get(scope)
        if known is None:
            if len(self._caches) >= MAX_CACHES:
                self._forget_scoped_caches()
            resolver = ScopedResolver(self, scope.allowed_clusters) if scope.allowed_clusters else self
            known = new_key_cache(resolver, name, self._kernel)
            self._caches = {**self._caches, scope: known}  # others may be counting what is cached
        return known

    def _forget_scoped_caches(self) -> None:
        """Forget the caches of senders that may write to some clusters only; they begin anew."""
        self._caches = {scope: known for scope, known in self._caches.items() if not scope.allowed_clusters}
        self._recount_keys()

    def caches(self) -> list[KeyCache]:
        """The caches of all default clusters and senders."""
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
        text = f"host {found.host!r} is not configured for cluster {found.cluster!r}"
        return Rejection(RejectReason.UNKNOWN_HOST, text)

    def intern(self, cache: KeyCache, series: bytes, default_cluster: str, check: CheckKey | None = None) -> int:
        """The sid or rejection code of a key that is not cached yet; it is cached if there is room.

        While registration is deferred, a key of a series that is not rejected gets a code of `NewKeys` instead. What
        `check` raises passes through; keys with tags that it let pass in this batch are not checked again.
        """
        new = self._new
        if new is not None:
            code = new.find(series)
            if code is not None:
                return code
        if check is not None:
            check(series, default_cluster)
        if new is not None:
            new.count()
        found = self.resolve(series, default_cluster)
        if isinstance(found, Rejection):
            return self._remember(cache, series, rejection_code(found.reason))
        if new is not None:
            cluster_metrics = self._metrics[found.cluster]
            host_metrics = self._host_config.metric_specs(found.cluster, found.host)
            return new.add(series, found, cluster_metrics=cluster_metrics, host_metrics=host_metrics)
        return self._remember(cache, series, int(self._registry.register_many([found])[0]))

    @contextmanager
    def deferring_registration(self, default_cluster: str) -> Iterator[NewKeys]:
        """Meanwhile no series is registered; `register_deferred` does that for those that are fit to be stored.

        All keys until then are of batches with this default cluster.
        """
        if len(self._kinds) > MAX_KINDS:
            self._kinds = SeriesKinds()
        self._new = NewKeys(self._kinds, default_cluster)
        try:
            yield self._new
        finally:
            self._new = None

    def register_deferred(self, cache: KeyCache, codes: Int64Array) -> Int64Array:
        """The sids or rejection codes of new series of the batch, by their codes, which ascend; their keys are cached.

        Raises:
            LookupError: registration was not deferred.
        """
        new = self._new
        if new is None:
            raise LookupError("no keys were deferred")
        sids = self._registry.register_new(new.series(codes))
        keys, positions = new.keys_of(codes)
        self._remember_many(cache, keys, sids[positions])
        return sids

    def _remember(self, cache: KeyCache, series: bytes, sid: int) -> int:
        """Cache a key, if there is room; its sid or rejection code."""
        if len(series) > (MAX_CACHED_KEY_BYTES if sid >= 0 else MAX_REJECTED_KEY_BYTES):
            return sid
        if sid < 0:
            if self._rejected_count >= self._limits.rejected_keys:
                self.forget_rejected()
            self._rejected_count += 1
        elif not self._reserve_key(sid):
            return sid
        cache.remember(series, sid)
        return sid

    def _remember_many(self, cache: KeyCache, keys: list[bytes], sids: Int64Array) -> None:
        """Cache keys in their order; all at once where each leads to another series, as nearly always."""
        self._make_room(int(sids.max()))
        is_plain = int(sids.min()) >= 0 and max(map(len, keys)) <= MAX_CACHED_KEY_BYTES
        if is_plain and int(self._keys_per_series[sids].max()) < MAX_KEYS_PER_SERIES:
            ascending = np.sort(sids)
            if not bool((ascending[1:] == ascending[:-1]).any()):
                self._keys_per_series[sids] += 1
                cache.remember_many(keys, sids)
                return
        for series, sid in zip(keys, sids.tolist(), strict=True):
            self._remember(cache, series, sid)

    def _reserve_key(self, sid: int) -> bool:
        """Whether one more key of a series is cached; it counts from now on."""
        self._make_room(sid)
        if self._keys_per_series[sid] >= MAX_KEYS_PER_SERIES:
            return False
        self._keys_per_series[sid] += 1
        return True

    def _make_room(self, sid: int) -> None:
        """Make room to count the keys of a series."""
        missing = sid + 1 - len(self._keys_per_series)
        if missing > 0:
            more = np.zeros(max(missing, len(self._keys_per_series) // 4), np.uint8)
            self._keys_per_series = np.concatenate([self._keys_per_series, more])

    def forget_rejected(self) -> None:
        """Look again at keys that were rejected."""
        for cache in self._caches.values():
            cache.forget_rejected()
        self._rejected_count = 0

    def keep(self, wanted: BoolArray) -> None:
        """Forget all rejections, and the keys of series that are not wanted; `wanted` has an entry per sid."""
        self._rejected_count = 0
        self._keys_per_series = np.zeros(len(wanted), np.uint8)
        for cache in self._caches.values():
            cache.keep(wanted)
        self._recount_keys()

    def _recount_keys(self) -> None:
        """Count anew how many keys of each series are cached."""
        self._keys_per_series[:] = 0
        for cache in self._caches.values():
            np.add.at(self._keys_per_series, cache.sids(), 1)

    def reload(self, metrics: MetricTable, host_config: HostConfig, wanted: BoolArray) -> None:
        """Take over new metrics and hosts, and look at all keys again but those of wanted series."""
        self._metrics, self._host_config = metrics, host_config
        self._unknown_hosts.clear()
        self._kinds = SeriesKinds()
        self.keep(wanted)
        self._caches = {
            scope: known
            for scope, known in self._caches.items()
            if scope.default_cluster in metrics or not scope.default_cluster
        }

    @property
    def unknown_hosts(self) -> int:
        """How many hosts were rejected because the configuration does not have them; counted up to 10,000."""
        return len(self._unknown_hosts)

    def __len__(self) -> int:
        """How many keys are cached."""
        return sum(len(cache) for cache in self._caches.values())

    @property
    def size_bytes(self) -> int:
        """Memory taken."""
        caches = sum(cache.size_bytes for cache in self._caches.values())
        return self._keys_per_series.nbytes + _KIND_BYTES * len(self._kinds) + caches


class ScopedResolver:
    """Resolves keys for a sender who may write to some clusters only: a key of another one ends the batch.

    Such keys are cached nowhere, and nothing of their batch is stored.
    """

    def __init__(self, resolver: KeyResolver, allowed_clusters: Collection[str]) -> None:
        self._resolver = resolver
        self._allowed_clusters = frozenset(allowed_clusters)

    def resolve(self, series: bytes, default_cluster: str) -> Identity | Rejection:
        """The identity behind a series key, or why there is none.

        Raises:
            NotAllowed: the key is of another cluster.
        """
        self._check_cluster(series, default_cluster)
        return self._resolver.resolve(series, default_cluster)

    def intern(self, cache: KeyCache, series: bytes, default_cluster: str) -> int:
        """The code of a key that is not cached yet, as `KeyResolver.intern`.

        Raises:
            NotAllowed: the key is of another cluster.
        """
        return self._resolver.intern(cache, series, default_cluster, self._check_cluster)

    def _check_cluster(self, series: bytes, default_cluster: str) -> None:
        try:
            _, tags = parse_series(series)
        except LineProtocolError:
            return  # a key that cannot be read is of no cluster
        cluster = tags.get("cluster") or default_cluster
        if cluster and cluster not in self._allowed_clusters:
            text = f"this token is not for cluster {cluster[:60]!r}"
            raise NotAllowed(text, code=ErrorCode.CLUSTER_NOT_ALLOWED)
