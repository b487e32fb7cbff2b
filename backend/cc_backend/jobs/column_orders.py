"""Orders and pages of jobs over the columns in memory; the same as `filters.order_terms` says in SQL."""

from collections.abc import Callable

import numpy as np

from cc_backend.errors import InvalidInput
from cc_backend.jobs.column_filters import ColumnFilter
from cc_backend.jobs.filters import FOOTPRINT_KEY, SORTABLE
from cc_backend.jobs.job_columns import Array

_ORDERS = {
    "id": "id",
    "jobId": "job_id",
    "startTime": "start_time",
    "submitTime": "submit_time",
    "cluster": "cluster",
    "subCluster": "sub_cluster",
    "partition": "partition",
    "user": "user",
    "project": "project",
    "jobName": "name",
    "state": "state",
    "jobState": "state",
    "shared": "shared",
    "arrayJobId": "array_job_id",
    "walltime": "walltime",
    "numNodes": "num_nodes",
    "numHwthreads": "num_hwthreads",
    "numHWThreads": "num_hwthreads",
    "numAcc": "num_acc",
    "energy": "energy",
    "verdict": "verdict",
    "stopTime": "stop_time",
    "duration": "duration",
}


class ColumnOrder:
    """Orders the jobs that a filter finds; only inside `JobColumns.current`."""

    def __init__(self, by_columns: ColumnFilter) -> None:
        self._columns = by_columns.columns
        self._by_columns = by_columns

    def page(self, found: Array | None, order: str, *, descending: bool, first: int, count: int | None) -> Array:
        """The database ids of `count` of the jobs found, or all, from the place `first` of the order on.

        Raises:
            InvalidInput: the order is neither a sortable column nor a footprint key.
        """
        if order == "startTime":
            places = self._by_start(found, descending=descending, end=None if count is None else first + count)
        else:
            places = self._sorted(np.arange(len(self._columns)) if found is None else np.flatnonzero(found), order,
                                  descending=descending)  # fmt: skip
        return np.asarray(self._columns.ids[places[first : None if count is None else first + count]])

    def _by_start(self, found: Array | None, *, descending: bool, end: int | None) -> Array:
        order = self._columns.start_order()
        order = order[::-1] if descending else order
        if found is None:
            return order
        if end is None:
            return np.asarray(order[found[order]])
        chosen: list[Array] = []
        count, begin, step = 0, 0, 16_384
        while begin < len(order) and count < end:  # most pages are near one end
            some = order[begin : begin + step]
            chosen.append(some[found[some]])
            count, begin, step = count + len(chosen[-1]), begin + step, 2 * step
        return np.concatenate(chosen) if chosen else order[:0]

    def _sorted(self, places: Array, order: str, *, descending: bool) -> Array:
        """The places of jobs in an order, equal ones by id."""
        if order == "verdict":  # of the same verdict the newest first, whichever way the verdicts run
            starts, ids = self._columns["start_time"][places], self._columns.ids[places]
            verdicts = self._columns["verdict"][places]
            return np.asarray(places[np.lexsort((-ids, -starts, -verdicts if descending else verdicts))])
        keys = self._keys(order)[places]
        missing = np.isnan(keys) if keys.dtype.kind == "f" else np.zeros(len(keys), bool)
        last, places, keys = places[missing], places[~missing], keys[~missing]
        ranked = np.argsort(keys, kind="stable")
        if descending:
            ranked, last = ranked[::-1], last[::-1]
        return np.concatenate((places[ranked], last))

    def _keys(self, order: str) -> Array:
        columns, name = self._columns, _ORDERS.get(order)
        if name is None and FOOTPRINT_KEY.fullmatch(order):
            return self._by_columns.footprint(order)
        if name is None:
            text = f"jobs cannot be ordered by {order[:80]!r}; use {', '.join(SORTABLE)} or a footprint key"
            raise InvalidInput(text)
        if name in columns.texts:
            return np.asarray(columns.texts[name].ranks()[columns[name]])
        special: dict[str, Callable[[], Array]] = {
            "id": lambda: columns.ids,
            "duration": self._by_columns.durations,
            "stop_time": lambda: columns["start_time"] + columns["duration"].astype(np.int64),
            "energy": lambda: np.nan_to_num(self._by_columns.energies(), nan=-1.0),
        }
        return special[name]() if name in special else columns[name]
