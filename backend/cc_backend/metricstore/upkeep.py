"""What the store does with its memory from time to time: forgets what is too old, compresses what is no longer new."""

import numpy as np

from cc_backend.metricstore.grid import Lock
from cc_backend.metricstore.model import Ids
from cc_backend.metricstore.series import Protected, SeriesTable


def free_samples(table: SeriesTable, before_s: int, protected: Protected) -> int:
    """Drop blocks of windows that ended by `before_s`, those with rows of protected hosts excepted; bytes freed."""
    sids, kept_from_s = _protected_series(table, protected)
    freed = 0
    for index, grid in enumerate(table.grids):
        here = table.grid_of[sids] == index
        freed += grid.free(before_s, table.rows(sids[here]), kept_from_s[here])
    return freed


def _protected_series(table: SeriesTable, protected: Protected) -> tuple[Ids, Ids]:
    """The series of protected hosts, and from when on their samples are needed."""
    sids: list[Ids] = [np.empty(0, np.int64)]
    times: list[Ids] = [np.empty(0, np.int64)]
    for cluster, hosts in protected.items():
        for name, from_s in hosts.items():
            host = table.host(cluster, name)
            if host is not None:
                sids.append(host.sids())
                times.append(np.full(len(sids[-1]), from_s))
    return np.concatenate(sids), np.concatenate(times)


def forget_silent(table: SeriesTable, before_s: int, protected: Protected) -> Ids:
    """Forget series without samples since `before_s` that nobody protects, and old refusals; returns their numbers."""
    silent = table.silent(before_s, protected)
    if len(silent):
        table.remove(silent)
    table.forget_refusals()
    return silent


def freeze(table: SeriesTable, lock: Lock, *, before_s: int, mantissa_bits: int = 0) -> int:
    """Compress windows that ended by `before_s`; the lock of the table is taken for moments only. Bytes saved."""
    with lock:
        grids = list(table.grids)
    return sum(grid.freeze(before_s // grid.timestep_s, lock, mantissa_bits=mantissa_bits) for grid in grids)
