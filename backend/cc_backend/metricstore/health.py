"""Whether the metrics of a host arrive."""

from collections.abc import Iterable

import numpy as np

from cc_backend.metricstore.model import HostHealth
from cc_backend.metricstore.series import Host, SeriesTable

STALE_SLOTS = 5
"""A series is stale once its last slot ended more than this many timesteps ago."""

FORGOTTEN_S = 3600
"""A stale series whose last sample is older than this is taken for a part that was removed, if others still report."""


def host_health(
    table: SeriesTable, cluster: str, host: Host | None, metrics: Iterable[str], *, now_s: int
) -> HostHealth:
    """Which metrics are missing (no series, not configured), degraded (some series stale) or healthy."""
    missing: list[str] = []
    degraded: list[str] = []
    healthy: list[str] = []
    for metric in metrics:
        spec = table.spec(cluster, metric) if host is None else host.specs.get(metric)
        parts = None if host is None else host.metrics.get(metric)
        if spec is None or not parts:
            missing.append(metric)
            continue
        last_s = table.last_s[np.fromiter(parts.values(), np.int64, len(parts))]
        slot_end_s = (last_s // spec.timestep_s + 1) * spec.timestep_s
        stale = now_s - slot_end_s > STALE_SLOTS * spec.timestep_s
        if not stale.all():
            stale &= now_s - last_s <= FORGOTTEN_S
        (degraded if stale.any() else healthy).append(metric)
    return HostHealth(tuple(missing), tuple(degraded), tuple(healthy), known=host is not None)
