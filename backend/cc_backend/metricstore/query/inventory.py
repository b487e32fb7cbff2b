"""Inventory of the store, for people who inspect it: clusters, hosts, series and the extent of their samples."""

import threading
from collections.abc import Sequence
from typing import Any

from cc_backend.metricstore.blocks.two_phase_read import TimeExtent
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import HostPart


def describe_path(table: SeriesTable, path: Sequence[str], lock: "threading.RLock") -> dict[str, Any] | None:
    """What lies below a path; None if the path does not exist.

    () gives clusters with their number of hosts; (cluster,) hosts with number of series and time of the newest sample;
    (cluster, host) metric -> extents of the host's own samples, and one more level for each part such as `socket1`;
    further names lead into parts. A part with the name of a metric is listed as `part <name>`. `lock` is held for
    moments only, so that ingest goes on.
    """
    with lock:
        if not path:
            return {cluster: {"hosts": len(hosts)} for cluster, hosts in table.clusters.items()}
        if path[0] not in table.clusters:
            return None
        if len(path) == 1:
            return {
                name: {"series": len(host.sids()), "last": int(table.columns.host_last_s[host.id])}
                for name, host in table.clusters[path[0]].items()
            }
    found = _describe_host(table, path[0], path[1], lock)
    for name in path[2:]:
        below = (found or {}).get(name)
        found = below if isinstance(below, dict) else None
    return found


def _describe_host(table: SeriesTable, cluster: str, name: str, lock: "threading.RLock") -> dict[str, Any] | None:
    with lock:
        host = table.host(cluster, name)
        if host is None:
            return None
        series = [(metric, part) for metric, parts in host.metrics.items() for part in parts]
    found: dict[str, Any] = {}
    metrics = {metric for metric, _ in series}
    for metric, part in series:
        with lock:
            sid = host.find(metric, part)
            if sid < 0:  # removed meanwhile
                continue
            grid = table.columns.grids[int(table.columns.grid_of[sid])]
            reading = grid.start_extent(int(table.columns.row_of[sid]))
        level = found
        for child in _part_levels(part):
            level = level.setdefault(f"part {child}" if child in metrics else child, {})
        level[metric] = _extents(reading.complete(), grid.timestep_s)
    return found


def _part_levels(part: HostPart) -> list[str]:
    return [kind + number for kind, number in ((part.type, part.type_id), (part.subtype, part.subtype_id)) if kind]


def _extents(reach: TimeExtent | None, step_s: int) -> list[dict[str, int]]:
    """Begin, end, slots and number of samples of a series; empty without samples."""
    if reach is None:
        return []
    begin, end, samples = reach
    return [{"start": begin * step_s, "end": end * step_s, "len": end - begin, "samples": samples}]
