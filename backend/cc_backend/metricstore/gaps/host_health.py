"""Health of a host: which of the expected metrics arrive, and since when others do not."""

from collections.abc import Iterable, Mapping

import numpy as np

from cc_backend.metricstore.index.hosts import Host
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import JOB_TYPE, HostHealth, HostPart, MetricFault

STALE_SLOTS = 5
"""A series is stale if its last slot ended more than this many timesteps ago."""

REMOVED_AFTER_S = 3600
"""A stale series whose last sample is older counts as a part that was removed, if other parts still report."""

MIN_PEERS = 3
"""With fewer other hosts in its subcluster, a host is expected to send all configured metrics."""

EXPECTED_SHARE = 0.5
"""If at least this share of the other hosts send a metric, it is expected of a host that never sent it."""

_MAX_PEERS = 64
_CACHE_S = 600


class ExpectedMetrics:
    """The metrics that are expected of a host: those it ever sent, and those most hosts of its subcluster send.

    A metric that is configured for a whole subcluster, but that only some of its hosts have the hardware for, is not
    missing from the others.
    """

    def __init__(self) -> None:
        self._cached: dict[tuple[str, str | None, str], tuple[int, bool]] = {}

    def expects(self, table: SeriesTable, host: Host, metric: str, *, now_s: int) -> bool:
        """Whether a host that never sent a metric should; cached for ten minutes for all hosts of its subcluster."""
        kind = table.host_config.subcluster(host.cluster, host.name)
        key = host.cluster, kind, metric
        until_s, expected = self._cached.get(key, (0, True))
        if now_s < until_s <= now_s + _CACHE_S:
            return expected
        expected = _do_most_peers_send(table, host, kind, metric)
        self._cached[key] = now_s + _CACHE_S, expected
        return expected

    def clear(self) -> None:
        """Forget cached results, because the configuration has changed."""
        self._cached.clear()


def check_host_health(
    table: SeriesTable,
    cluster: str,
    host: Host | None,
    metrics: Iterable[str],
    *,
    now_s: int,
    expectations: ExpectedMetrics | None = None,
) -> HostHealth:
    """The metrics of a host that are missing (no series), degraded (some series stale) or healthy, and since when.

    Without `expectations` all of the metrics are expected.
    """
    missing: list[str] = []
    healthy: list[str] = []
    unexpected: list[str] = []
    faults: dict[str, MetricFault] = {}
    for metric in metrics:
        spec = table.spec(cluster, metric) if host is None else host.specs.get(metric)
        parts = {} if host is None else host.sids_by_part(metric)
        if spec is not None and parts:
            fault = _find_fault(table, parts, spec.timestep_s, now_s)
            if fault is None:
                healthy.append(metric)
            else:
                faults[metric] = fault
        elif host is None or spec is None or expectations is None:
            missing.append(metric)
        else:
            expected = expectations.expects(table, host, metric, now_s=now_s)
            (missing if expected else unexpected).append(metric)
    return HostHealth(
        tuple(missing),
        tuple(faults),
        tuple(healthy),
        known=host is not None,
        faults=faults | dict.fromkeys(missing, MetricFault(None)),
        unexpected=tuple(unexpected),
    )


def _find_fault(table: SeriesTable, parts: Mapping[HostPart, int], timestep_s: int, now_s: int) -> MetricFault | None:
    """The fault of a metric of a host, None without one; series of jobs end with their jobs, which is not a fault."""
    lasting = [(part, sid) for part, sid in parts.items() if part.type != JOB_TYPE]
    if not lasting:
        return None
    last_s = table.columns.last_s[np.array([sid for _, sid in lasting], np.int64)]
    slot_end_s = (last_s // timestep_s + 1) * timestep_s
    stale = now_s - slot_end_s > STALE_SLOTS * timestep_s
    if not stale.all():
        stale &= now_s - last_s <= REMOVED_AFTER_S
    if not stale.any():
        return None
    named = () if stale.all() else tuple(lasting[at][0] for at in np.flatnonzero(stale).tolist())
    return MetricFault(int(last_s[stale].max()), named)


def _do_most_peers_send(table: SeriesTable, host: Host, kind: str | None, metric: str) -> bool:
    """Whether most other hosts of a subcluster have a metric; of very many hosts, a sample is checked."""
    others = (other for other in table.clusters.get(host.cluster, {}).values() if other is not host)
    peers = [other for other in others if table.host_config.subcluster(other.cluster, other.name) == kind]
    if len(peers) < MIN_PEERS:
        return True
    checked = peers[:: -(-len(peers) // _MAX_PEERS)]
    return sum(bool(peer.sids_by_part(metric)) for peer in checked) >= EXPECTED_SHARE * len(checked)
