"""All series of the store by number (sid), by identity, and by each spelling of their key on the wire."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from cc_backend.metricstore.grid import Grid
from cc_backend.metricstore.model import Flags, Identity, Ids, Limits, MetricSpec, MetricTable, Part, Reason
from cc_backend.metricstore.naming import Refusal, identify
from cc_backend.metricstore.spellings import MAX_SPELLING_BYTES, DictSpellings, Spellings, refusal_code
from cc_backend.model import Samples
from cc_common.errors import LineProtocolError
from cc_common.lineprotocol import parse_series

MAX_SPELLINGS_PER_SERIES = 4
_JOB = "job"
_NO_PLACE = -1


@dataclass(slots=True)
class Host:
    """One host: metric -> part -> sid."""

    id: int
    cluster: str
    name: str
    metrics: dict[str, dict[Part, int]] = field(default_factory=dict)

    def sids(self) -> Ids:
        """All series of the host."""
        return np.array([sid for parts in self.metrics.values() for sid in parts.values()], np.int64)


@dataclass(slots=True)
class Series:
    """What a sid stands for."""

    host: Host
    metric: str
    part: Part


class SeriesTable:
    """Registers series and says where their samples lie. `lock` guards what readers see."""

    def __init__(self, metrics: MetricTable, limits: Limits, lock: "threading.RLock") -> None:
        self.metrics = metrics
        self.clusters: dict[str, dict[str, Host]] = {}
        self.grids: list[Grid] = []
        self.count = 0
        self.host_count = 0
        self.job_count = 0
        self._limits = limits
        self._lock = lock
        self._spellings: dict[str, Spellings] = {}
        self._refused = 0
        self._series: list[Series | None] = []
        self._free: list[int] = []
        self._free_hosts: list[int] = []
        self._parts: dict[Part, Part] = {}
        self._names: dict[str, str] = {}
        # One entry per sid, except the last, which has one per host.
        self.grid_of = np.full(1024, _NO_PLACE, np.int64)
        self.row_of = np.full(1024, _NO_PLACE, np.int64)
        self.host_of = np.full(1024, _NO_PLACE, np.int64)
        self.last_s = np.zeros(1024, np.int64)
        self.spelt = np.zeros(1024, np.uint8)
        self.host_last_s = np.zeros(1024, np.int64)

    # Keys of the wire

    def spellings(self, default_cluster: str) -> Spellings:
        """The spellings for batches with this default cluster; those that are not configured share one table."""
        name = default_cluster if not default_cluster or default_cluster in self.metrics else "?"
        known = self._spellings.get(name)
        if known is None:
            known = self._spellings[name] = DictSpellings(self, name)
        return known

    @property
    def spelling_count(self) -> int:
        """How many raw keys are remembered."""
        return sum(len(spellings) for spellings in self._spellings.values())

    def resolve(self, series: bytes, default_cluster: str) -> Identity | Refusal:
        """The identity behind a series key, or why there is none."""
        try:
            metric, tags = parse_series(series)
        except LineProtocolError as error:
            return Refusal(Reason.SYNTAX, str(error))
        return identify(metric, tags, default_cluster=default_cluster, metrics=self.metrics)

    def resolve_and_remember(self, spellings: Spellings, series: bytes, default_cluster: str) -> int:
        """The sid or refusal code of a key that is not remembered yet. What is remembered is bounded."""
        found = self.resolve(series, default_cluster)
        sid = refusal_code(found.reason) if isinstance(found, Refusal) else self.register(found)
        if len(series) > MAX_SPELLING_BYTES:
            return sid
        if sid < 0:
            if self._refused >= self._limits.refused_spellings:
                self.forget_refusals()
            self._refused += 1
        elif self.spelt[sid] >= MAX_SPELLINGS_PER_SERIES:
            return sid
        else:
            self.spelt[sid] += 1
        spellings.remember(series, sid)
        return sid

    def _keep_spellings(self, wanted: Flags) -> None:
        self._refused = 0
        self.spelt[:] = 0
        for spellings in self._spellings.values():
            spellings.keep(wanted)
            np.add.at(self.spelt, spellings.sids(), 1)

    # Series

    def register(self, identity: Identity) -> int:
        """The sid of an identity, new if need be; a refusal code where a limit is reached."""
        cluster, name, metric, part = identity
        host = self.clusters.get(cluster, {}).get(name)
        if host is not None:
            sid = host.metrics.get(metric, {}).get(part)
            if sid is not None:
                return sid
        elif self.host_count >= self._limits.hosts:
            return refusal_code(Reason.HOST_LIMIT)
        is_job = part.type == _JOB
        if self.job_count >= self._limits.job_series if is_job else self.count >= self._limits.series:
            return refusal_code(Reason.SERIES_LIMIT)
        with self._lock:
            if host is None:
                host = self._new_host(cluster, name)
            return self._new_series(host, self._names.setdefault(metric, metric), self._parts.setdefault(part, part))

    def _new_host(self, cluster: str, name: str) -> Host:
        if self._free_hosts:
            number = self._free_hosts.pop()
        else:
            number = self.host_count
            if number >= len(self.host_last_s):
                self.host_last_s = _doubled(self.host_last_s, 0)
        self.host_last_s[number] = 0
        self.host_count += 1
        host = Host(number, cluster, name)
        self.clusters.setdefault(cluster, {})[name] = host
        return host

    def _new_series(self, host: Host, metric: str, part: Part) -> int:
        series = Series(host, metric, part)
        if self._free:
            sid = self._free.pop()
            self._series[sid] = series
        else:
            sid = len(self._series)
            self._series.append(series)
            if sid >= len(self.row_of):
                self._grow()
        if part.type == _JOB:
            self.job_count += 1
        else:
            self.count += 1
        host.metrics.setdefault(metric, {})[part] = sid
        self.host_of[sid], self.last_s[sid], self.spelt[sid] = host.id, 0, 0
        self._place(sid, self.metrics[host.cluster][metric].timestep_s)
        return sid

    def _place(self, sid: int, timestep_s: int) -> None:
        index = self.grid_index(timestep_s)
        self.grid_of[sid] = index
        self.row_of[sid] = self.grids[index].allocate(int(self.host_of[sid]))

    def grid_index(self, timestep_s: int) -> int:
        """The position of the grid of a timestep, made if need be."""
        for index, grid in enumerate(self.grids):
            if grid.timestep_s == timestep_s:
                return index
        self.grids.append(Grid(timestep_s))
        return len(self.grids) - 1

    def _grow(self) -> None:
        self.grid_of = _doubled(self.grid_of, _NO_PLACE)
        self.row_of = _doubled(self.row_of, _NO_PLACE)
        self.host_of = _doubled(self.host_of, _NO_PLACE)
        self.last_s = _doubled(self.last_s, 0)
        self.spelt = np.concatenate([self.spelt, np.zeros_like(self.spelt)])

    # Questions

    def host(self, cluster: str, name: str) -> Host | None:
        """A host that has series, or None."""
        return self.clusters.get(cluster, {}).get(name)

    def spec(self, cluster: str, metric: str) -> MetricSpec | None:
        """How a metric is kept, or None if it is not."""
        return self.metrics.get(cluster, {}).get(metric)

    def identity(self, sid: int) -> Identity:
        """The identity of a registered series."""
        series = self._series[sid]
        if series is None:
            raise LookupError(f"there is no series {sid}")
        return Identity(series.host.cluster, series.host.name, series.metric, series.part)

    def by_grid(self, sids: Ids) -> list[tuple[Grid, Ids | slice]]:
        """The grids in which series lie, each with the positions of its series in `sids`."""
        indexes = self.grid_of[sids]
        first = int(indexes[0])
        if bool((indexes == first).all()):
            return [(self.grids[first], slice(0, len(sids)))]
        return [(self.grids[index], np.flatnonzero(indexes == index)) for index in np.unique(indexes).tolist()]

    def put(self, sids: Ids, values: Samples, times_s: int | Ids) -> None:
        """Store one sample per sid given; of several in one slot the last one counts."""
        rows = self.row_of[sids]
        for grid, where in self.by_grid(sids):
            times = times_s if isinstance(times_s, int) else times_s[where]
            grid.scatter(rows[where], grid.slots(times), values[where])
        self._seen(sids, times_s)

    def _seen(self, sids: Ids, times_s: int | Ids) -> None:
        """Keep the newest sample time of series and hosts."""
        hosts = self.host_of[sids]
        if isinstance(times_s, int):
            # With one time for all, several writes to one place write the same.
            self.last_s[sids] = np.maximum(self.last_s[sids], times_s)
            self.host_last_s[hosts] = np.maximum(self.host_last_s[hosts], times_s)
        else:
            np.maximum.at(self.last_s, sids, times_s)
            np.maximum.at(self.host_last_s, hosts, times_s)

    # Changes

    def silent(self, before_s: int, protected: Mapping[str, Iterable[str]]) -> Ids:
        """Series without a sample since `before_s`, those of protected hosts excepted."""
        number = len(self._series)
        old = (self.last_s[:number] < before_s) & (self.row_of[:number] != _NO_PLACE)
        for cluster, names in protected.items():
            for name in names:
                host = self.host(cluster, name)
                if host is not None:
                    old[host.sids()] = False
        return np.flatnonzero(old)

    def remove(self, sids: Ids) -> None:
        """Forget series, their samples and spellings; hosts without series go too."""
        self._release(sids)
        for sid in sids.tolist():
            series = self._series[sid]
            if series is None:
                continue
            self._series[sid] = None
            if series.part.type == _JOB:
                self.job_count -= 1
            else:
                self.count -= 1
            host = series.host
            del host.metrics[series.metric][series.part]
            if not host.metrics[series.metric]:
                del host.metrics[series.metric]
            if not host.metrics:
                self._remove_host(host)
        self._free.extend(sids.tolist())
        self._keep_spellings(self.row_of != _NO_PLACE)

    def _remove_host(self, host: Host) -> None:
        del self.clusters[host.cluster][host.name]
        if not self.clusters[host.cluster]:
            del self.clusters[host.cluster]
        self.host_count -= 1
        self._free_hosts.append(host.id)

    def _release(self, sids: Ids) -> None:
        for grid, where in self.by_grid(sids):
            members = sids[where]
            owners = self.host_of[members]
            for owner in np.unique(owners).tolist():
                grid.release(owner, self.row_of[members[owners == owner]])
        self.row_of[sids] = _NO_PLACE

    def forget_refusals(self) -> None:
        """Look again at keys that were refused: there may be room for them now."""
        for spellings in self._spellings.values():
            spellings.forget_refused()
        self._refused = 0

    def reload(self, metrics: MetricTable) -> int:
        """Take over a new metric table; returns how many series changed their timestep.

        Series of a metric that is gone stay as they are, unseen, until their samples are freed.
        """
        self.metrics = metrics
        wanted = np.zeros(len(self.row_of), np.bool_)
        moving: list[tuple[int, int]] = []
        for sid, series in enumerate(self._series):
            spec = None if series is None else self.spec(series.host.cluster, series.metric)
            if spec is not None:
                wanted[sid] = True
                if self.grids[int(self.grid_of[sid])].timestep_s != spec.timestep_s:
                    moving.append((sid, spec.timestep_s))
        self._keep_spellings(wanted)
        self._spellings = {name: known for name, known in self._spellings.items() if name in metrics or not name}
        for sid, timestep_s in moving:
            self._move(sid, timestep_s)
        return len(moving)

    def _move(self, sid: int, timestep_s: int) -> None:
        """Carry a series over to another timestep; of several old slots in a new one the last one counts."""
        old = self.grids[int(self.grid_of[sid])]
        row = self.row_of[sid : sid + 1].copy()
        slots, values = old.samples_of(int(row[0]))
        old.release(int(self.host_of[sid]), row)
        self._place(sid, timestep_s)
        if len(slots):
            new = self.grids[int(self.grid_of[sid])]
            rows = np.full(len(slots), self.row_of[sid])
            new.scatter(rows, new.slots(slots * old.timestep_s), values)

    def validate(self) -> None:
        """Raise AssertionError if the table contradicts itself; for tests."""
        live = [sid for sid, series in enumerate(self._series) if series is not None]
        _check(len(live) == self.count + self.job_count, "series do not add up")
        _check(sorted(self._free) == [s for s, x in enumerate(self._series) if x is None], "free sids do not add up")
        hosts = [host for cluster in self.clusters.values() for host in cluster.values()]
        _check(len(hosts) == self.host_count, "hosts do not add up")
        _check(len({host.id for host in hosts}) == len(hosts), "two hosts share a number")
        _check(sorted(sid for host in hosts for sid in host.sids().tolist()) == live, "hosts hold other series")
        places = {(int(self.grid_of[sid]), int(self.row_of[sid])) for sid in live}
        _check(len(places) == len(live), "two series share a row")
        for index, grid in enumerate(self.grids):
            grid.validate()
            _check(not grid.idle_rows() & {row for at, row in places if at == index}, "a free row is in use")
        for spellings in self._spellings.values():
            _check(all(self._series[sid] is not None for sid in spellings.sids().tolist()), "stale spelling")


def _doubled(column: Ids, fill: int) -> Ids:
    return np.concatenate([column, np.full(len(column), fill, np.int64)])


def _check(right: bool, text: str) -> None:  # noqa: FBT001 reads like assert, which is stripped with -O
    if not right:
        raise AssertionError(text)
