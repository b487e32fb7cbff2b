"""What the store holds, for people who look into it: clusters, hosts, series and how far their samples reach."""

import threading
from collections.abc import Sequence
from typing import Any

from cc_backend.metricstore.memory.series import SeriesTable
from cc_backend.metricstore.model import Part


def describe(table: SeriesTable, path: Sequence[str], lock: "threading.RLock") -> dict[str, Any] | None:
    """What lies below a path, None if there is nothing of that name. Nothing is made by asking.

    () gives clusters with their number of hosts; (cluster,) hosts with number of series and time of the newest sample;
    (cluster, host) metric -> extents of the host's own samples, and the same below each part such as `socket1`; further
    names lead into parts. `lock` is taken for moments only, so that ingest goes on.
    """
    with lock:
        if not path:
            return {cluster: {"hosts": len(hosts)} for cluster, hosts in table.clusters.items()}
        if path[0] not in table.clusters:
            return None
        if len(path) == 1:
            return {
                name: {"series": len(host.sids()), "last": int(table.host_last_s[host.id])}
                for name, host in table.clusters[path[0]].items()
            }
    found = _host(table, path[0], path[1], lock)
    for name in path[2:]:
        below = (found or {}).get(name)
        found = below if isinstance(below, dict) else None
    return found


def _host(table: SeriesTable, cluster: str, name: str, lock: "threading.RLock") -> dict[str, Any] | None:
    with lock:
        host = table.host(cluster, name)
        if host is None:
            return None
        series = [(metric, part, sid) for metric, parts in host.metrics.items() for part, sid in parts.items()]
    found: dict[str, Any] = {}
    for metric, part, sid in series:
        level = found
        for child in _levels(part):
            level = level.setdefault(child, {})
        with lock:
            level[metric] = _extents(table, sid)
    return found


def _levels(part: Part) -> list[str]:
    return [kind + number for kind, number in ((part.type, part.type_id), (part.subtype, part.subtype_id)) if kind]


def _extents(table: SeriesTable, sid: int) -> list[dict[str, int]]:
    """From the first to the last sample, in slots; empty for a series without samples."""
    grid = table.grids[int(table.grid_of[sid])]
    slots, _ = grid.samples_of(int(table.row_of[sid]))
    if not len(slots):
        return []
    first, last = int(slots[0]), int(slots[-1])
    step_s = grid.timestep_s
    return [{"start": first * step_s, "end": (last + 1) * step_s, "len": last + 1 - first, "samples": len(slots)}]
