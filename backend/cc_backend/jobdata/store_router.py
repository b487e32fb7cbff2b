"""Which metric store has the samples of a cluster: an external one, or the one in this process.

Looked up as `<cluster>-<subcluster>`, `<cluster>`, `*`, then the internal store. Several stores are queried at the same
time, a large query in portions of 64 hosts; one that cannot be reached does not keep back what the others have.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from cc_backend.jobdata.external_store import ExternalStore, StoreUnavailable
from cc_backend.metricstore import HostHealth, MetricStore, Query, StoredSeries

SubClusterLookup = Callable[[str], str]
"""Host -> name of its subcluster."""

_HOSTS_PER_REQUEST = 64
_CONCURRENT_REQUESTS = 8  # of one store
_LIVENESS_WINDOW_S = 1800


@dataclass(slots=True)
class RoutedResult:
    """The series of each query, in order, and for each host whose store cannot be reached the reason."""

    rows: list[list[StoredSeries]]
    unreachable: dict[str, str] = field(default_factory=dict)


class StoreRouter:
    """Sends each query to the store in charge; safe in threads."""

    def __init__(self, internal: MetricStore, external: Sequence[ExternalStore] = ()) -> None:
        self._internal = internal
        self._external = {store.scope: store for store in external}
        # each store has its own threads: one that answers late must not hold up the others
        self._pools = {
            scope: ThreadPoolExecutor(_CONCURRENT_REQUESTS, thread_name_prefix=f"external store {scope}")
            for scope in self._external
        }

    def external_store(self, cluster: str, sub_cluster: str = "") -> ExternalStore | None:
        """The external store in charge; None if the internal one is."""
        names = (f"{cluster}-{sub_cluster}", cluster, "*") if sub_cluster else (cluster, "*")
        return next((self._external[name] for name in names if name in self._external), None)

    def unreachable_reason(self, cluster: str, sub_cluster: str = "") -> str:
        """Why the last request to the store in charge failed; empty if it did not."""
        store = self.external_store(cluster, sub_cluster)
        return "" if store is None else store.fault

    def metrics_of_job(self, cluster: str, sub_cluster: str, hosts: Sequence[str], job_id: int) -> frozenset[str]:
        """The metrics that hosts sent of this one job; of an external store none is known."""
        if self.external_store(cluster, sub_cluster) is not None:
            return frozenset()
        return self._internal.metrics_of_job(cluster, hosts, job_id)

    def held_range_s(self, cluster: str, sub_cluster: str, timestep_s: int) -> tuple[int, int] | None:
        """First and last time (Unix seconds) of which the store in charge can have samples; None if it is external."""
        return self._internal.held_range_s(timestep_s) if self.external_store(cluster, sub_cluster) is None else None

    def query(
        self,
        cluster: str,
        queries: Sequence[Query],
        *,
        from_s: int,
        to_s: int,
        sub_cluster: str | SubClusterLookup = "",
    ) -> RoutedResult:
        """The series of each query on the full grid of [from_s, to_s), from the stores in charge of their hosts.

        Raises:
            InvalidInput, TooLarge: the internal store refuses the question.
        """
        gathered = RoutedResult([[] for _ in queries])
        waiting: list[tuple[list[int], Future[list[list[StoredSeries]]]]] = []
        internal: list[int] = []
        for store, positions in self._group_by_store(cluster, queries, sub_cluster):
            if store is None:
                internal = positions
                continue
            waiting += [
                (portion, self._submit(store, cluster, [queries[at] for at in portion], from_s, to_s))
                for portion in _split_by_hosts(queries, positions)
            ]
        if internal:
            mine = self._internal.query(cluster, [queries[at] for at in internal], from_s=from_s, to_s=to_s)
            _put_rows(gathered, internal, mine)
        for portion, answer in waiting:
            try:
                _put_rows(gathered, portion, answer.result())
            except StoreUnavailable as error:
                gathered.unreachable.update({queries[at].host: str(error) for at in portion})
        return gathered

    def host_health(
        self, cluster: str, sub_cluster: str, hosts: Sequence[str], metrics: Sequence[str], *, now_s: int
    ) -> Mapping[str, HostHealth]:
        """The health of hosts of one subcluster; where their store cannot be reached, all metrics count as missing."""
        store = self.external_store(cluster, sub_cluster)
        if store is None:
            return {host: self._internal.host_health(cluster, host, metrics, now_s=now_s) for host in hosts}
        try:
            found = store.host_health(cluster, hosts, metrics)
        except StoreUnavailable:
            found = {}
        unknown = HostHealth(missing=tuple(metrics), degraded=(), healthy=(), known=False)
        return {host: found.get(host, unknown) for host in hosts}

    def silent_hosts(
        self, cluster: str, sub_cluster: str, hosts: Sequence[str], metrics: Sequence[str], *, since_s: int
    ) -> list[str]:
        """Those of the hosts without a sample since a time; an external store is queried for the given metrics only.

        Hosts of a store that cannot be reached count as silent.
        """
        if self.external_store(cluster, sub_cluster) is None:
            return [host for host in hosts if (self._internal.last_seen_s(cluster, host) or 0) < since_s]
        queries = [Query(metric, host) for host in hosts for metric in metrics]
        rows = self.query(
            cluster, queries, from_s=since_s, to_s=since_s + _LIVENESS_WINDOW_S, sub_cluster=sub_cluster
        ).rows
        heard = {
            query.host
            for query, row in zip(queries, rows, strict=True)
            if any(_has_sample_since(series, since_s) for series in row)
        }
        return [host for host in hosts if host not in heard]

    def heard_s(self, cluster: str, sub_cluster: str, hosts: Sequence[str]) -> int | None:
        """The sum of the times of the newest samples of these hosts, so that it grows with each of them.

        None if their store is external, where finding that out costs as much as reading the samples.
        """
        if self.external_store(cluster, sub_cluster) is not None:
            return None
        return sum(self._internal.last_seen_s(cluster, host) or 0 for host in hosts)

    def _group_by_store(
        self, cluster: str, queries: Sequence[Query], sub_cluster: str | SubClusterLookup
    ) -> list[tuple[ExternalStore | None, list[int]]]:
        if not self._external:
            return [(None, list(range(len(queries))))]
        if isinstance(sub_cluster, str):
            return [(self.external_store(cluster, sub_cluster), list(range(len(queries))))]
        stores = {host: self.external_store(cluster, sub_cluster(host)) for host in {query.host for query in queries}}
        groups: dict[str, tuple[ExternalStore | None, list[int]]] = {}
        for at, query in enumerate(queries):
            store = stores[query.host]
            groups.setdefault("" if store is None else store.scope, (store, []))[1].append(at)
        return list(groups.values())

    def _submit(
        self, store: ExternalStore, cluster: str, queries: Sequence[Query], from_s: int, to_s: int
    ) -> "Future[list[list[StoredSeries]]]":
        return self._pools[store.scope].submit(store.query, cluster, queries, from_s=from_s, to_s=to_s)

    def close(self) -> None:
        """Close threads and connections to external stores; the internal store stays open."""
        for pool in self._pools.values():
            pool.shutdown(cancel_futures=True)
        for store in self._external.values():
            store.close()


def _split_by_hosts(queries: Sequence[Query], positions: Sequence[int]) -> list[list[int]]:
    """Positions of queries, those of a host together, a bounded number of hosts at once."""
    by_host: dict[str, list[int]] = {}
    for at in positions:
        by_host.setdefault(queries[at].host, []).append(at)
    hosts = list(by_host.values())
    return [
        [at for host in hosts[begin : begin + _HOSTS_PER_REQUEST] for at in host]
        for begin in range(0, len(hosts), _HOSTS_PER_REQUEST)
    ]


def _has_sample_since(series: StoredSeries, since_s: int) -> bool:
    """Whether there is a sample in a slot that begins at or after a time."""
    if series.error is not None:
        return False
    first = -(-(since_s - series.from_s) // series.timestep_s)
    return not bool(np.isnan(series.data[max(first, 0) :]).all())


def _put_rows(gathered: RoutedResult, positions: Sequence[int], rows: Sequence[list[StoredSeries]]) -> None:
    for at, row in zip(positions, rows, strict=True):
        gathered.rows[at] = row
