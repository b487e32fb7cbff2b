"""The columns of all jobs that filters, orders and sums need, in memory, always equal to the job table.

A million jobs take about 70 MB. Every question about them, whatever its filters, is then a few passes over arrays: a
total is exact, and page 40,000 takes no longer than the first. What was changed since the last question is read again
before each one, see `job_changes`; until all jobs have been read once, `JobQueries` asks the database.
"""

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from cc_backend.db.database import Database
from cc_backend.errors import Unavailable
from cc_backend.jobs.damaged_rows import is_finite_number
from cc_backend.jobs.distinct_texts import DistinctTexts
from cc_backend.jobs.job_changes import JobChanges
from cc_backend.jobs.limits import MAX_COUNT, MAX_DURATION_S, MAX_START_S
from cc_backend.jobs.script_search import ScriptSearch
from cc_backend.jobs.tables import NOT_JUDGED, FootprintRow, JobRow, JobScriptRow
from cc_backend.model import JobState

Array = npt.NDArray[Any]

TEXTS = ("cluster", "sub_cluster", "partition", "project", "user", "name", "shared", "state")
"""Columns of texts, kept as numbers of distinct texts."""
INTEGERS = {
    "job_id": 2**63 - 1,
    "array_job_id": 2**63 - 1,
    "start_time": MAX_START_S,
    "submit_time": MAX_START_S,
    "duration": MAX_DURATION_S,
    "walltime": MAX_DURATION_S,
    "num_nodes": MAX_COUNT,
    "num_hwthreads": MAX_COUNT,
    "num_acc": MAX_COUNT,
    "verdict": NOT_JUDGED,
}
"""Columns of integers, with the maximum of each; as `damaged_rows` says, other values count as 0."""
WATCHED_COLUMNS = (*TEXTS, *INTEGERS, "energy")
_FIELDS = (JobRow.id, *(getattr(JobRow, name) for name in WATCHED_COLUMNS))
_BATCH = 900  # variables in a statement
_STEP = 4000
_LOADED_AT_ONCE = 50_000
"""Jobs that the first question itself reads: a third of a second."""
_MAX_FOOTPRINT_KEYS = 16
_FEW = 64
_MAX_SCRIPT = 2**31 - 1


class _Column:
    """A growing array; integers take 16, 32 or 64 bits, as the largest value needs."""

    def __init__(self, dtype: Any) -> None:
        self._data: Array = np.zeros(0, dtype)
        self._size = 0

    @property
    def values(self) -> Array:
        return self._data[: self._size]

    def reserve(self, count: int) -> None:
        """Make room for so many values at once: growing step by step leaves holes in the memory of the process."""
        grown = np.zeros(count + count // 16, self._data.dtype)
        grown[: self._size] = self.values
        self._data = grown

    def extend(self, new: Array) -> None:
        self._widen(new)
        end = self._size + len(new)
        if end > len(self._data):
            grown = np.zeros(end + (end // 16 if self._size else 0), self._data.dtype)
            grown[: self._size] = self.values
            self._data = grown
        self._data[self._size : end] = new
        self._size = end

    def put(self, places: Array, new: Array) -> None:
        self._widen(new)
        self._data[places] = new

    def take(self, places: Array) -> None:
        self._data = self.values[places]
        self._size = len(self._data)

    def _widen(self, new: Array) -> None:
        if self._data.dtype.kind == "i" and len(new):
            needed = np.result_type(np.min_scalar_type(-int(new.max()) - 1), self._data.dtype)
            if needed != self._data.dtype:
                self._data = self._data.astype(needed)


class JobColumns:
    """The columns of all jobs. Arrays may only be used inside `current`, and must not be changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changes = JobChanges(database)
        self.script_search = ScriptSearch(database)
        self._lock = threading.RLock()
        self._clear()

    def _clear(self) -> None:
        self._is_loaded = False
        self._seen = 0
        self._start_order: Array | None = None
        self._ids = _Column(np.int32)
        self._columns = {name: _Column(np.int16) for name in (*TEXTS, *INTEGERS)} | {"energy": _Column(np.float64)}
        self.texts = {name: DistinctTexts() for name in TEXTS}
        self._footprints: dict[str, _Column] = {}
        self._scripts: _Column | None = None

    def reset(self) -> None:
        """Forget everything: the file of the database was replaced."""
        with self._lock:
            self._clear()
            self.script_search.reset()

    @contextmanager
    def current(self, *, wait: bool = False) -> Iterator["JobColumns | None"]:
        """The columns as the database is now, for the block only.

        None while they are first read, while a damaged page of the database cannot be read, and inside a transaction,
        which may still be undone; with `wait` the block begins when they have been read.

        Raises:
            Unavailable: with `wait`, the database cannot be read.
        """
        with self._lock:
            if self._database.in_transaction() and not wait:
                yield None
                return
            try:
                self._bring_up_to_date(wait=wait)
            except Unavailable:
                if wait:
                    raise
                self._clear()
            yield self if self._is_loaded else None

    def _bring_up_to_date(self, *, wait: bool) -> None:
        if self._is_loaded:
            self._refresh()
        elif wait or self._are_few():
            self.load()

    def _are_few(self) -> bool:
        row = self._database.first_row("SELECT MAX(id) - MIN(id) FROM job")
        return row is None or row[0] is None or row[0] < _LOADED_AT_ONCE

    def load(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Read all jobs, if that was not done yet; ends early when `stopping` returns True."""
        while not stopping() and not self._load_step():
            pass

    def _load_step(self) -> bool:
        """Read the next jobs, and return whether all have been read."""
        with self._lock:
            if self._is_loaded:
                return True
            if not len(self):
                self._seen = self._changes.newest()  # what changes while we read is read again afterwards
                count = self._database.first_row("SELECT COUNT(*) FROM job")
                for column in (self._ids, *self._columns.values()):
                    column.reserve(int(count[0]) if count else 0)
            last = int(self.ids[-1]) if len(self) else -1
            query = JobRow.select(*_FIELDS).where(JobRow.id > last).order_by(JobRow.id).limit(_STEP)
            rows = self._rows(query)
            if rows:
                self._append(rows)
            self._is_loaded = len(rows) < _STEP
            return self._is_loaded

    def maintain(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Read all jobs once, and keep the log of changes short; for a periodic task."""
        self.load(stopping)
        with self.current() as columns:
            if columns is not None:
                columns.scripts()  # or the first search would wait for it
        self._changes.prune()

    # What there is

    def __len__(self) -> int:
        return len(self._ids.values)

    @property
    def ids(self) -> Array:
        """The database id of each job, ascending."""
        return self._ids.values

    def __getitem__(self, name: str) -> Array:
        """One value per job: of a text column its number in `texts`."""
        return self._columns[name].values

    def places(self, ids: Array) -> Array:
        """The places of the jobs with these ids; unknown ones are left out."""
        places, known = self._find(ids)
        return np.asarray(places[known])

    def _find(self, ids: Array) -> tuple[Array, Array]:
        """For each id a place, and whether it is that of the job."""
        if not len(self):
            return np.zeros(len(ids), np.intp), np.zeros(len(ids), bool)
        places = np.minimum(np.searchsorted(self.ids, ids.astype(self.ids.dtype)), len(self) - 1)
        return places, np.asarray(self.ids[places] == ids)

    def running(self) -> Array:
        """Whether each job is running."""
        return np.asarray(self["state"] == self.texts["state"].number(str(JobState.RUNNING)))

    def durations(self, now_s: int) -> Array:
        """The duration of each job in seconds, of a running one until `now_s`."""
        found = self["duration"].astype(np.int64)
        places = np.flatnonzero(self.running())
        found[places] = np.maximum(0, now_s - self["start_time"][places].astype(np.int64))
        return found

    def start_order(self) -> Array:
        """The places of all jobs by start time, then id."""
        if self._start_order is None:
            self._start_order = np.argsort(self["start_time"], kind="stable").astype(np.int32)
        return self._start_order

    def footprint(self, key: str) -> Array:
        """The footprint value of each job for a key such as `mem_used_max`, NaN without one."""
        if key not in self._footprints:
            while len(self._footprints) >= _MAX_FOOTPRINT_KEYS:
                self._footprints.pop(next(iter(self._footprints)))
            column = _Column(np.float64)
            column.extend(np.full(len(self), np.nan))
            self._put_footprints({key: column})
            self._footprints[key] = column
        return self._footprints[key].values

    def scripts(self) -> Array:
        """The number of the script of each job, 0 without one."""
        if self._scripts is None:
            column = _Column(np.int16)
            column.extend(np.zeros(len(self), np.int64))
            self._put_scripts(column)
            self._scripts = column
        return self._scripts.values

    def _put_scripts(self, column: _Column, *conditions: Any) -> None:
        query = JobScriptRow.select(JobScriptRow.job, JobScriptRow.script)
        cursor: Any = self._database.raw_rows(query.where(*conditions) if conditions else query)
        while some := cursor.fetchmany(_STEP):
            jobs, scripts = zip(*some, strict=True)
            places, known = self._find(_integers(jobs, 2**63 - 1, -1))
            column.put(places[known], _integers(scripts, _MAX_SCRIPT, 0)[known])

    def _put_footprints(self, columns: dict[str, _Column], *conditions: Any) -> None:
        for key, column in columns.items():
            query = FootprintRow.select(FootprintRow.job, FootprintRow.value)
            cursor: Any = self._database.raw_rows(query.where(FootprintRow.key == key, *conditions))
            while some := cursor.fetchmany(_STEP):  # a list of all of them would take 200 MB
                jobs, values = zip(*some, strict=True)
                places, known = self._find(_integers(jobs, 2**63 - 1, -1))  # others are of damaged rows
                column.put(places[known], _finite(values, np.nan)[known])

    # Changes

    def _refresh(self) -> None:
        changes = self._changes.since(self._seen)
        if changes is None or len(changes.ids) > max(_LOADED_AT_ONCE, len(self) // 4):
            self._clear()
            self.load()
            return
        for begin in range(0, len(changes.ids), _BATCH):
            self._read_again(changes.ids[begin : begin + _BATCH])
        self._seen = changes.newest

    def _read_again(self, ids: Sequence[int]) -> None:
        rows = self._rows(JobRow.select(*_FIELDS).where(JobRow.id.in_(ids)).order_by(JobRow.id))
        present = np.array([row[0] for row in rows], np.int64)
        gone = self.places(np.setdiff1d(np.array(ids, np.int64), present))
        if len(gone):
            self._take(np.setdiff1d(np.arange(len(self)), gone))
        places, known = self._find(present)
        changed = [row for row, is_known in zip(rows, known, strict=True) if is_known]
        if changed:
            places = places[known]
            starts = self["start_time"][places]
            for name, values in self._converted(changed).items():
                self._columns[name].put(places, values)
            if not np.array_equal(starts, self["start_time"][places]):
                self._start_order = None
        new = [row for row, is_known in zip(rows, known, strict=True) if not is_known]
        if new:
            self._append(new)
        if self._footprints and rows:
            places = self.places(present)
            for column in self._footprints.values():
                column.put(places, np.full(len(places), np.nan))
            self._put_footprints(self._footprints, FootprintRow.job.in_(ids))
        if self._scripts is not None and rows:
            places = self.places(present)
            self._scripts.put(places, np.zeros(len(places), np.int64))
            self._put_scripts(self._scripts, JobScriptRow.job.in_(ids))

    def _rows(self, query: Any) -> list[tuple[Any, ...]]:
        """All rows of a query as stored, at once: a million one by one take seconds more."""
        cursor: Any = self._database.raw_rows(query)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def _append(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add jobs, in the order of their ids."""
        first = len(self)
        last_id = int(self.ids[-1]) if first else -1
        self._ids.extend(np.array([row[0] for row in rows], np.int64))
        for name, values in self._converted(rows).items():
            self._columns[name].extend(values)
        for column in self._footprints.values():
            column.extend(np.full(len(rows), np.nan))
        if self._scripts is not None:
            self._scripts.extend(np.zeros(len(rows), np.int64))
        if rows[0][0] < last_id:  # committed behind a job with a higher id
            self._take(np.argsort(self.ids, kind="stable"))
        elif len(rows) > _FEW:
            self._start_order = None
        elif self._start_order is not None:
            starts, order = self["start_time"], self._start_order
            new = first + np.argsort(starts[first:], kind="stable")
            behind = [bisect_right(order, starts[place], key=lambda other: starts[other]) for place in new]
            self._start_order = np.insert(order, behind, new.astype(np.int32))

    def _take(self, places: Array) -> None:
        """Keep the jobs at these places, in this order."""
        scripts = () if self._scripts is None else (self._scripts,)
        for column in (self._ids, *self._columns.values(), *self._footprints.values(), *scripts):
            column.take(places)
        self._start_order = None

    def _converted(self, rows: Sequence[Sequence[Any]]) -> dict[str, Array]:
        _, *columns = zip(*rows, strict=True)
        found: dict[str, Array] = {}
        for name, values in zip(WATCHED_COLUMNS, columns, strict=True):
            if name in TEXTS:
                found[name] = self.texts[name].numbers(values)
            elif name == "energy":
                found[name] = _finite(values, 0.0)
            else:
                found[name] = _integers(values, INTEGERS[name], NOT_JUDGED if name == "verdict" else 0)
        return found


def _finite(values: Sequence[Any], empty: float) -> Array:
    """The finite numbers, and `empty` for everything else."""
    if not all(type(value) is float for value in values):
        values = [float(value) if is_finite_number(value) else empty for value in values]
    found = np.array(values, np.float64)
    return np.where(np.isfinite(found), found, empty)


def _integers(values: Sequence[Any], maximum: int, empty: int) -> Array:
    """The integers from 0 to `maximum`, and `empty` for everything else."""
    try:
        found = np.array(values)
    except (ValueError, OverflowError):
        found = np.array(values, object)
    if found.dtype.kind != "i":
        found = np.array([value if type(value) is int else -1 for value in values], np.int64)
    return np.where((found >= 0) & (found <= maximum), found, empty)
