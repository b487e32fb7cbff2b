"""All series of the store by number (sid), by identity, and by each spelling of their key on the wire.

What is known of a series stands in columns, 27 bytes in all, and in the array of its host: no series has an object.
"""

import threading
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cc_backend.metricstore.grid import Grid
from cc_backend.metricstore.hosts import JOB, Host
from cc_backend.metricstore.layout import Layout, Names, Parts
from cc_backend.metricstore.model import Flags, Identity, Ids, Limits, MetricSpec, MetricTable, Part, Reason
from cc_backend.metricstore.moves import expected_timesteps, move
from cc_backend.metricstore.naming import Refusal, identify
from cc_backend.metricstore.nodes import Nodes, NodeTable
from cc_backend.metricstore.spellings import MAX_SPELLING_BYTES, DictSpellings, Spellings, refusal_code
from cc_backend.model import Samples
from cc_common.errors import LineProtocolError
from cc_common.lineprotocol import parse_series

__all__ = ("Host", "Protected", "SeriesTable")

_Number = TypeVar("_Number", bound=np.generic)

Protected = Mapping[str, Mapping[str, int]]
"""Cluster -> host -> from when on its samples are needed."""

MAX_SPELLINGS_PER_SERIES = 4
JOB_SILENCE_S = 3600
"""With half of the places for series of jobs taken, those that were silent for longer than this are forgotten."""

_NO_PLACE = -1
_LEAST_ROOM = 1024
_NAMED_STRANGERS = 10_000


class SeriesTable:
    """Registers series and says where their samples lie. `lock` guards what readers see.

    Columns by sid: `host_of`, `metric_of`, `part_of` (numbers of these), `grid_of` and `row_of` (where its samples
    lie, -1 if there is no such series), `last_s` (newest sample, 0 if none), `spelt` (spellings remembered). Columns by
    number of the host: `host_last_s`, `host_unlisted`. They are contiguous, and others take their place when they grow.

    `changes` grows whenever a row gets another series or none, `removals` whenever a sid may stand for another series.
    """

    def __init__(
        self, metrics: MetricTable, limits: Limits, lock: "threading.RLock", nodes: NodeTable | None = None
    ) -> None:
        self.metrics = metrics
        self.nodes = Nodes(metrics, nodes)
        self.clusters: dict[str, dict[str, Host]] = {}
        self.grids: list[Grid] = []
        self.count = 0
        self.host_count = 0
        self.job_count = 0
        self.unlisted_hosts = 0
        self.changes = 0
        self.removals = 0
        self._limits = limits
        self._lock = lock
        self._spellings: dict[str, Spellings] = {}
        self._refused = 0
        self._strangers: set[tuple[str, str]] = set()
        self._layouts: dict[str, Layout] = {}
        self._names = Names()
        self._parts = Parts()
        self._hosts: list[Host | None] = []
        self._free_hosts: list[int] = []
        self._next = 0
        self._free = array("i")
        self.host_of = np.full(_LEAST_ROOM, _NO_PLACE, np.int32)
        self.metric_of = np.full(_LEAST_ROOM, _NO_PLACE, np.int32)
        self.part_of = np.full(_LEAST_ROOM, _NO_PLACE, np.int32)
        self.grid_of = np.full(_LEAST_ROOM, _NO_PLACE, np.int16)
        self.row_of = np.full(_LEAST_ROOM, _NO_PLACE, np.int32)
        self.last_s = np.zeros(_LEAST_ROOM, np.int64)
        self.spelt = np.zeros(_LEAST_ROOM, np.uint8)
        self.host_last_s = np.zeros(_LEAST_ROOM, np.int64)
        self.host_unlisted = np.zeros(_LEAST_ROOM, np.bool_)

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
        found = identify(metric, tags, default_cluster=default_cluster, metrics=self.metrics, nodes=self.nodes)
        if (
            self._limits.strict_hosts
            and isinstance(found, Identity)
            and not self.nodes.lists(found.cluster, found.host)
        ):
            if len(self._strangers) < _NAMED_STRANGERS:
                self._strangers.add((found.cluster, found.host))
            return Refusal(Reason.UNKNOWN_HOST, f"host {found.host!r} is not configured for cluster {found.cluster!r}")
        return found

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

    def forget_refusals(self) -> None:
        """Look again at keys that were refused: there may be room for them now."""
        for spellings in self._spellings.values():
            spellings.forget_refused()
        self._refused = 0

    def _keep_spellings(self, wanted: Flags) -> None:
        self._refused = 0
        self.spelt[:] = 0
        for spellings in self._spellings.values():
            spellings.keep(wanted)
            np.add.at(self.spelt, spellings.sids(), 1)

    # Registration

    def register(self, identity: Identity) -> int:
        """The sid of an identity, new if need be; a refusal code where it is not kept or a limit is reached."""
        with self._lock:
            return self._enter(identity, 0, _NO_PLACE)

    def register_many(self, identities: Iterable[Identity]) -> Ids:
        """The sids of identities, in their order: as `register` of each, but the lock is taken once."""
        with self._lock:
            sids = [self._enter(identity, 0, _NO_PLACE) for identity in identities]
        return np.array(sids, np.int64)

    def register_at(self, identities: Sequence[Identity], timestep_s: int, rows: Sequence[int]) -> Ids:
        """The sids of identities; of those that are new, each gets its row in the grid of `timestep_s` if it can.

        It cannot if the metric's timestep is another one now, or the row is taken; then the series lies anywhere, as
        `row_of` and `grid_of` say. A series that is known already stays where it is. Codes of refusals are negative:
        what is no longer configured is refused here, but hosts are not, however strict: what was kept stays.
        """
        with self._lock:
            sids = [self._enter(identity, timestep_s, row) for identity, row in zip(identities, rows, strict=True)]
        return np.array(sids, np.int64)

    def _enter(self, identity: Identity, timestep_s: int, row: int) -> int:  # noqa: ARG002 until grids can claim
        cluster, name, metric, part = identity
        hosts = self.clusters.get(cluster)
        host = None if hosts is None else hosts.get(name)
        if host is None:
            specs = self.nodes.specs(cluster, name)
        else:
            sid = host.find(metric, part)
            if sid >= 0:
                return sid
            specs = host.specs
        spec = specs.get(metric)
        if spec is None:
            return refusal_code(Reason.UNKNOWN_METRIC if cluster in self.metrics else Reason.UNKNOWN_CLUSTER)
        is_job = part.type == JOB
        if self.job_count >= self._limits.job_series if is_job else self.count >= self._limits.series:
            return refusal_code(Reason.SERIES_LIMIT)
        if host is None:
            host = self._new_host(cluster, name)
            if host is None:
                return refusal_code(Reason.HOST_LIMIT)
        if is_job:
            self.job_count += 1
        else:
            self.count += 1
        sid = self._new_series(host, metric, part)
        self._place(sid, host.id, spec.timestep_s)
        return sid

    def _new_series(self, host: Host, metric: str, part: Part) -> int:
        if self._free:
            sid = self._free.pop()
        else:
            sid = self._next
            self._next += 1
            if sid >= len(self.row_of):
                self._grow()
        number = self._parts.take(part)
        host.add(metric, self._parts[number], sid)
        self.host_of[sid] = host.id
        self.metric_of[sid] = self._names.number(metric)
        self.part_of[sid] = number
        self.last_s[sid] = 0
        self.spelt[sid] = 0
        return sid

    def _new_host(self, cluster: str, name: str) -> Host | None:
        """A host without series, or None if there are too many."""
        is_listed = self.nodes.lists(cluster, name)
        if self.host_count >= self._limits.hosts:
            return None
        if not is_listed and self.unlisted_hosts >= self._limits.unlisted_hosts:
            return None
        if self._free_hosts:
            number = self._free_hosts.pop()
        else:
            number = len(self._hosts)
            self._hosts.append(None)
            if number >= len(self.host_last_s):
                self.host_last_s = _grown(self.host_last_s, 0)
                self.host_unlisted = _grown(self.host_unlisted, 0)
        layout = self._layouts.get(cluster)
        if layout is None:
            layout = self._layouts[cluster] = Layout()
        host = Host(number, cluster, name, layout=layout, specs=self.nodes.specs(cluster, name), is_listed=is_listed)
        self._hosts[number] = host
        self.host_last_s[number] = 0
        self.host_unlisted[number] = not is_listed
        self.host_count += 1
        self.unlisted_hosts += not is_listed
        self.clusters.setdefault(cluster, {})[name] = host
        return host

    def _place(self, sid: int, owner: int, timestep_s: int) -> None:
        index = self.grid_index(timestep_s)
        self.changes += 1
        self.grid_of[sid] = index
        self.row_of[sid] = self.grids[index].allocate(owner)

    def grid_index(self, timestep_s: int) -> int:
        """The position of the grid of a timestep, made if need be."""
        for index, grid in enumerate(self.grids):
            if grid.timestep_s == timestep_s:
                return index
        self.grids.append(Grid(timestep_s))
        return len(self.grids) - 1

    def _grow(self) -> None:
        self.host_of = _grown(self.host_of, _NO_PLACE)
        self.metric_of = _grown(self.metric_of, _NO_PLACE)
        self.part_of = _grown(self.part_of, _NO_PLACE)
        self.grid_of = _grown(self.grid_of, _NO_PLACE)
        self.row_of = _grown(self.row_of, _NO_PLACE)
        self.last_s = _grown(self.last_s, 0)
        self.spelt = _grown(self.spelt, 0)

    # Questions

    def host(self, cluster: str, name: str) -> Host | None:
        """A host that has series, or None."""
        return self.clusters.get(cluster, {}).get(name)

    def spec(self, cluster: str, metric: str, host: str = "") -> MetricSpec | None:
        """How a metric of a host is kept, or None if it is not; without a host, of hosts without a subcluster."""
        if host:
            return self.nodes.spec(cluster, metric, host)
        return self.metrics.get(cluster, {}).get(metric)

    def identity(self, sid: int) -> Identity:
        """The identity of a registered series."""
        host = self._hosts[self.host_of[sid]] if 0 <= sid < self._next and self.row_of[sid] != _NO_PLACE else None
        if host is None:
            raise LookupError(f"there is no series {sid}")
        return Identity(host.cluster, host.name, self._names[self.metric_of[sid]], self._parts[self.part_of[sid]])

    def rows(self, sids: Ids) -> Ids:
        """The rows of series in their grids."""
        return self.row_of[sids].astype(np.int64)

    def by_grid(self, sids: Ids) -> list[tuple[Grid, Ids | slice]]:
        """The grids in which series lie, each with the positions of its series in `sids`."""
        indexes = self.grid_of[sids]
        first = int(indexes[0])
        if bool((indexes == first).all()):
            return [(self.grids[first], slice(0, len(sids)))]
        return [(self.grids[index], np.flatnonzero(indexes == index)) for index in np.unique(indexes).tolist()]

    def unlisted(self, sids: Ids) -> int:
        """How many of these series (with repetition) are of hosts that the configuration does not have."""
        if not self.unlisted_hosts:
            return 0
        return int(np.count_nonzero(self.host_unlisted[self.host_of[sids]]))

    @property
    def strangers(self) -> int:
        """How many hosts that the configuration does not have sent samples, kept or refused; counted up to 10,000."""
        return self.unlisted_hosts + len(self._strangers)

    @property
    def size_bytes(self) -> int:
        """Memory taken by series, hosts and spellings, but not by samples."""
        columns = (self.host_of, self.metric_of, self.part_of, self.grid_of, self.row_of, self.last_s, self.spelt)
        arrays = sum(column.nbytes for column in (*columns, self.host_last_s, self.host_unlisted))
        layouts = sum(layout.size_bytes for layout in self._layouts.values())
        hosts = sum(host.size_bytes for host in self._hosts if host is not None)
        spellings = sum(spellings.size_bytes for spellings in self._spellings.values())
        return arrays + layouts + hosts + spellings + self._parts.size_bytes + len(self._free) * self._free.itemsize

    # Samples

    def put(self, sids: Ids, values: Samples, times_s: int | Ids) -> None:
        """Store one sample per sid given; of several in one slot the last one counts."""
        rows = self.rows(sids)
        for grid, where in self.by_grid(sids):
            times = times_s if isinstance(times_s, int) else times_s[where]
            grid.scatter(rows[where], grid.slots(times), values[where])
        self.seen(sids, times_s)

    def fill(self, sids: Ids, values: Samples, times_s: int | Ids) -> None:
        """The same where a slot has no sample yet; what is there stays, since it is newer."""
        rows = self.rows(sids)
        for grid, where in self.by_grid(sids):
            times = times_s if isinstance(times_s, int) else times_s[where]
            grid.fill(rows[where], grid.slots(times), values[where])
        self.seen(sids, times_s)

    def seen(self, sids: Ids, times_s: int | Ids) -> None:
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

    def silent(self, before_s: int, protected: Protected) -> Ids:
        """Series without a sample since `before_s`; those of protected hosts, since their samples are needed.

        When series of jobs run short, those of jobs that are silent for an hour count as well, protected ones excepted.
        """
        number = self._next
        limit_s = np.full(number, before_s)
        if self.job_count > self._limits.job_series // 2:
            limit_s[self._are_jobs()] = max(before_s, int(self.host_last_s.max(initial=0)) - JOB_SILENCE_S)
        for cluster, hosts in protected.items():
            for name, from_s in hosts.items():
                host = self.host(cluster, name)
                if host is not None:
                    sids = host.sids()
                    limit_s[sids] = np.minimum(limit_s[sids], from_s)
        return np.flatnonzero((self.last_s[:number] < limit_s) & (self.row_of[:number] != _NO_PLACE))

    def _are_jobs(self) -> Ids:
        """All series of jobs."""
        found = [host.job_sids() for hosts in self.clusters.values() for host in hosts.values()]
        return np.array([sid for sids in found for sid in sids], np.int64)

    def remove(self, sids: Ids) -> None:
        """Forget series, their samples and spellings; hosts without series go too."""
        sids = sids[self.row_of[sids] != _NO_PLACE]
        if not len(sids):
            return
        self.changes += 1
        self.removals += 1
        identities = zip(
            self.host_of[sids].tolist(), self.metric_of[sids].tolist(), self.part_of[sids].tolist(), strict=True
        )
        self._release(sids)
        for number, metric, part_number in identities:
            host = self._hosts[number]
            if host is None:
                continue
            part = self._parts[part_number]
            if part.type == JOB:
                self.job_count -= 1
            else:
                self.count -= 1
            host.remove(self._names[metric], part)
            self._parts.leave(part_number)
            if not host.count:
                self._remove_host(host)
        self._free.extend(sids.tolist())
        self._keep_spellings(self.row_of != _NO_PLACE)

    def _remove_host(self, host: Host) -> None:
        del self.clusters[host.cluster][host.name]
        if not self.clusters[host.cluster]:
            del self.clusters[host.cluster], self._layouts[host.cluster]
        self._hosts[host.id] = None
        self.host_count -= 1
        self.unlisted_hosts -= not host.is_listed
        self._free_hosts.append(host.id)

    def _release(self, sids: Ids) -> None:
        for grid, where in self.by_grid(sids):
            members = sids[where]
            owners = self.host_of[members]
            for owner in np.unique(owners).tolist():
                grid.release(owner, self.rows(members[owners == owner]))
        self.row_of[sids] = _NO_PLACE

    def reload(self, metrics: MetricTable, nodes: NodeTable | None = None) -> int:
        """Take over new metrics and hosts; returns how many series changed their timestep.

        Series of a metric that is gone stay as they are, unseen, until their samples are freed.
        """
        self.metrics = metrics
        self.nodes = Nodes(metrics, nodes)
        self._strangers.clear()
        for host in self._hosts:
            if host is not None:
                host.specs = self.nodes.specs(host.cluster, host.name)
                host.is_listed = self.nodes.lists(host.cluster, host.name)
                self.host_unlisted[host.id] = not host.is_listed
        self.unlisted_hosts = sum(not host.is_listed for host in self._hosts if host is not None)
        live = np.flatnonzero(self.row_of[: self._next] != _NO_PLACE)
        timesteps = expected_timesteps(self._hosts, self._names, self.host_of[live], self.metric_of[live])
        kept = timesteps > 0
        if self._limits.strict_hosts:
            kept &= ~self.host_unlisted[self.host_of[live]]
        wanted = np.zeros(len(self.row_of), np.bool_)
        wanted[live[kept]] = True
        self._keep_spellings(wanted)
        self._spellings = {name: known for name, known in self._spellings.items() if name in metrics or not name}
        return self._move(live[timesteps > 0], timesteps[timesteps > 0])

    def _move(self, sids: Ids, timesteps_s: Ids) -> int:
        """Carry series over to the grids of these timesteps; returns how many were not there already."""
        now_s = np.array([grid.timestep_s for grid in self.grids], np.int64)[self.grid_of[sids]]
        moving = np.flatnonzero(now_s != timesteps_s)
        for sid, timestep_s in zip(sids[moving].tolist(), timesteps_s[moving].tolist(), strict=True):
            owner, old, row = int(self.host_of[sid]), self.grids[self.grid_of[sid]], int(self.row_of[sid])
            self._place(sid, owner, timestep_s)
            move(old, row, self.grids[self.grid_of[sid]], int(self.row_of[sid]))
            old.release(owner, np.array([row]))
        return len(moving)

    def validate(self) -> None:
        """Raise AssertionError if the table contradicts itself; for tests."""
        live = np.flatnonzero(self.row_of != _NO_PLACE).tolist()
        _check(len(live) == self.count + self.job_count, "series do not add up")
        _check(sorted([*self._free, *live]) == list(range(self._next)), "free sids do not add up")
        hosts = [host for cluster in self.clusters.values() for host in cluster.values()]
        _check(len(hosts) == self.host_count, "hosts do not add up")
        _check(all(self._hosts[host.id] is host for host in hosts), "a host has another number")
        _check(sum(host is not None for host in self._hosts) == self.host_count, "hosts by number do not add up")
        _check(sorted(sid for host in hosts for sid in host.sids().tolist()) == live, "hosts hold other series")
        _check(all(self._holds(sid) for sid in live), "a series is not what its host says")
        _check(self._parts.users() == len(live), "parts do not add up")
        _check(sum(not host.is_listed for host in hosts) == self.unlisted_hosts, "unlisted hosts do not add up")
        places = {(int(self.grid_of[sid]), int(self.row_of[sid])) for sid in live}
        _check(len(places) == len(live), "two series share a row")
        for index, grid in enumerate(self.grids):
            grid.validate()
            _check(not grid.idle_rows() & {row for at, row in places if at == index}, "a free row is in use")
        for spellings in self._spellings.values():
            _check(bool((self.row_of[spellings.sids()] != _NO_PLACE).all()), "stale spelling")

    def _holds(self, sid: int) -> bool:
        cluster, name, metric, part = self.identity(sid)
        host = self.host(cluster, name)
        return host is not None and host.find(metric, part) == sid and host.metrics[metric][part] == sid


def _grown(column: npt.NDArray[_Number], fill: int) -> npt.NDArray[_Number]:
    """The column with a quarter more room."""
    more = np.full(max(len(column) // 4, _LEAST_ROOM), fill, column.dtype)
    return np.concatenate([column, more])


def _check(right: bool, text: str) -> None:  # noqa: FBT001 reads like assert, which is stripped with -O
    if not right:
        raise AssertionError(text)
