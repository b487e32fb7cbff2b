"""One host of the store: which series it has, in one array instead of an object per series."""

import sys
from array import array
from collections.abc import Iterator, Mapping

import numpy as np

from cc_backend.metricstore.index.layout import HostLayout
from cc_backend.metricstore.model import JOB_TYPE, HostPart, Int64Array, MetricSpec

_MAX_EMPTY_PLACES = 2048  # places that a host may leave empty, 4 bytes each, beside as many as it uses
_NO_SID = -1
_SID_BYTES = 32  # a number above 256
_HOST_BYTES = 480  # the object, its name and its entries in the table


class Host:
    """One host: metric -> part -> sid, by `metrics` for people and by `find` for speed.

    `specs` are the metrics that are kept of this host; hosts of one subcluster share them. `is_configured` says whether
    the configuration names the host. Of `count` series `job_count` are of jobs.
    """

    __slots__ = (
        "_sids",
        "_unplaced",
        "_unplaced_count",
        "cluster",
        "count",
        "id",
        "is_configured",
        "job_count",
        "layout",
        "name",
        "specs"
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        cluster: str,
        name: str,
        *,
        layout: HostLayout,
        specs: Mapping[str, MetricSpec],
        is_configured: bool,
    ) -> None:
        self.id = number
        self.cluster = cluster
        self.name = name
        self.layout = layout
        self.specs = specs
        self.is_configured = is_configured
        self.count = 0
        self.job_count = 0
        self._sids = array("i")
        self._unplaced: dict[str, dict[HostPart, int]] | None = None
        self._unplaced_count = 0

    @property
    def metrics(self) -> "SeriesByMetric":
        """The metrics that the host has series of, each with part -> sid."""
        return SeriesByMetric(self)

    def find(self, metric: str, part: HostPart) -> int:
        """The sid of a series, -1 if the host has none of this metric and part."""
        place = self.layout.place_of(metric, part)
        if 0 <= place < len(self._sids):
            sid = self._sids[place]
            if sid != _NO_SID:
                return sid
        if self._unplaced is None:
            return _NO_SID
        return self._unplaced.get(metric, {}).get(part, _NO_SID)

    def find_many(self, places: Int64Array) -> Int64Array:
        """The sids of series by their places in the layout, -1 where there is none; not those kept apart."""
        sids = np.array(self._sids, np.int64)
        if not len(sids):
            return np.full(len(places), _NO_SID, np.int64)
        there = (places >= 0) & (places < len(sids))
        return np.where(there, sids[np.where(there, places, 0)], _NO_SID)

    @property
    def has_unplaced_series(self) -> bool:
        """Whether the host has series outside the layout that are not of jobs."""
        return self._unplaced_count > self.job_count

    def add(self, metric: str, part: HostPart, sid: int) -> None:
        """Take in a series that the host does not have yet."""
        self.count += 1
        place = _NO_SID
        if part.type == JOB_TYPE:
            self.job_count += 1
        else:
            place = self.layout.acquire(metric, part, below=2 * self.count + _MAX_EMPTY_PLACES)
        if place == _NO_SID:
            if self._unplaced is None:
                self._unplaced = {}
            self._unplaced.setdefault(metric, {})[part] = sid
            self._unplaced_count += 1
            return
        if place >= len(self._sids):
            self._sids.extend([_NO_SID] * (place - len(self._sids)))
            self._sids.append(sid)
        else:
            self._sids[place] = sid

    def add_many(self, places: Int64Array, sids: Int64Array) -> None:
        """Take in new series, none of a job, at places that are in use and differ and that the host `can_place`."""
        self.count += len(places)
        missing = int(places.max()) + 1 - len(self._sids)
        if missing > 0:
            self._sids.extend([_NO_SID] * missing)
        np.frombuffer(self._sids, np.intc)[places] = sids
        self.layout.acquire_many(places)

    def remove(self, metric: str, part: HostPart) -> None:
        """Let go of a series that the host has."""
        self.count -= 1
        self.job_count -= part.type == JOB_TYPE
        place = self.layout.place_of(metric, part)
        if 0 <= place < len(self._sids) and self._sids[place] != _NO_SID:
            self._sids[place] = _NO_SID
            while self._sids and self._sids[-1] == _NO_SID:
                self._sids.pop()
            self.layout.release(metric, part)
            return
        if self._unplaced is None:
            raise LookupError(f"host {self.name!r} has no such series of {metric!r}")
        parts = self._unplaced[metric]
        del parts[part]
        self._unplaced_count -= 1
        if not parts:
            del self._unplaced[metric]
            self._unplaced = self._unplaced or None

    def sids(self) -> Int64Array:
        """All series of the host."""
        placed = np.array(self._sids, np.int64)
        extra = [sid for parts in (self._unplaced or {}).values() for sid in parts.values()]
        return np.concatenate([placed[placed != _NO_SID], np.array(extra, np.int64)])

    def job_sids(self) -> list[int]:
        """Series of jobs; others that have no place in the layout are left out."""
        extra = (self._unplaced or {}).values()
        return [sid for parts in extra for part, sid in parts.items() if part.type == JOB_TYPE]

    def metrics_of_job(self, job_id: str) -> list[str]:
        """The metrics of which the host has a series of this job."""
        part = HostPart(JOB_TYPE, job_id)
        return [metric for metric, parts in (self._unplaced or {}).items() if part in parts]

    def sids_by_part(self, metric: str) -> dict[HostPart, int]:
        """The series of a metric by part, the host's own copy; empty if there are none."""
        sids = self._sids
        end = len(sids)
        places = self.layout.places.get(metric, {})
        found = {part: sids[at] for part, at in places.items() if at < end and sids[at] != _NO_SID}
        if self._unplaced is not None:
            found.update(self._unplaced.get(metric, {}))
        return found

    def metric_names(self) -> list[str]:
        """The metrics that the host has series of."""
        names = dict.fromkeys(metric for metric in self.layout.places if self.sids_by_part(metric))
        return list(names | dict.fromkeys(self._unplaced or ()))

    @property
    def size_bytes(self) -> int:
        """Memory taken by the host and the numbers of its series."""
        extra = 0
        if self._unplaced is not None:
            extra = (
                sum(map(sys.getsizeof, (self._unplaced, *self._unplaced.values()))) + _SID_BYTES * self._unplaced_count
            )
        return _HOST_BYTES + sys.getsizeof(self._sids) + extra


def can_place(count: int, places: Int64Array) -> bool:
    """Whether a host with so many series may put new ones at these places, one after the other."""
    return bool((places < 2 * np.arange(count + 1, count + 1 + len(places)) + _MAX_EMPTY_PLACES).all())


class SeriesByMetric(Mapping[str, dict[HostPart, int]]):
    """The metrics of a host as a mapping; what it gives is a copy of what the host holds at that moment."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getitem__(self, metric: str) -> dict[HostPart, int]:
        parts = self._host.sids_by_part(metric)
        if not parts:
            raise KeyError(metric)
        return parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._host.metric_names())

    def __len__(self) -> int:
        return len(self._host.metric_names())
