"""All series of the store by number (sid), by identity, and by their keys on the wire.

What is known of a series stands in columns, 31 bytes in all, and in the array of its host: no series has an object.
"""

import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from cc_backend.metricstore.blocks.grid import group_positions
from cc_backend.metricstore.blocks.matrix import RowIndex
from cc_backend.metricstore.index.bulk_keys import BulkKeys, KeyDictionary
from cc_backend.metricstore.index.columns import MISSING, NEW_SERIES_COLUMNS, Columns
from cc_backend.metricstore.index.hosts import Host, can_place
from cc_backend.metricstore.index.layout import HostLayout, MetricNames, PartTable
from cc_backend.metricstore.index.timestep_migration import configured_timesteps, migrate_timesteps
from cc_backend.metricstore.ingest.host_config import HostConfig, HostTable
from cc_backend.metricstore.ingest.key_cache import rejection_code
from cc_backend.metricstore.ingest.key_resolver import KeyResolver
from cc_backend.metricstore.ingest.native_reader import KernelName
from cc_backend.metricstore.ingest.new_keys import NewSeries
from cc_backend.metricstore.model import (
    JOB_TYPE,
    BoolArray,
    Identity,
    Int64Array,
    Limits,
    MetricSpec,
    MetricTable,
    RejectReason,
)
from cc_backend.model import RetentionHolds

__all__ = ("Host", "SeriesTable")

JOB_SILENCE_S = 3600
"""With half of the places for series of jobs taken, those that were silent for longer than this are forgotten."""


_RowlessSeries = tuple[int, int, int, int, int]
"""A series that has no row yet: sid, the numbers of host, metric and part, and the timestep in seconds."""

_MIN_BULK_KEYS = 16
"""Fewer series of a host are faster one by one."""


class SeriesTable:
    """Registers series and says where their samples lie. `lock` guards what readers see.

    `keys` resolves their keys on the wire. `changes` grows whenever a row gets another series or none, `removals`
    whenever a sid may stand for another series.
    """

    def __init__(
        self,
        metrics: MetricTable,
        limits: Limits,
        lock: "threading.RLock",
        host_table: HostTable | None = None,
        kernel: KernelName | None = None,
    ) -> None:
        self.columns = Columns()
        self.metrics = metrics
        self.host_config = HostConfig(metrics, host_table)
        self.clusters: dict[str, dict[str, Host]] = {}
        self.series_count = 0
        self.host_count = 0
        self.job_count = 0
        self.unknown_host_count = 0
        self.changes = 0
        self.removals = 0
        self._limits = limits
        self._lock = lock
        self.keys = KeyResolver(self, metrics, self.host_config, limits, kernel)
        self._layouts: dict[str, HostLayout] = {}
        self._metric_names = MetricNames()
        self._part_table = PartTable()
        self._hosts: list[Host | None] = []
        self._free_hosts: list[int] = []
        self._next = 0
        self._new_keys = KeyDictionary()
        self._free = array("i")

    # Registration

    def register(self, identity: Identity) -> int:
        """The sid of an identity, new if need be; a rejection code where it is not kept or a limit is reached."""
        with self._lock:
            new: list[_RowlessSeries] = []
            sid = self._add(identity, new)
            if new:
                self.changes += 1
                self.columns.assign_row(*new[0])
        return sid

    def register_many(self, identities: Iterable[Identity]) -> Int64Array:
        """The sids of identities, in their order: as `register` of each, but several times faster."""
        with self._lock:
            new: list[_RowlessSeries] = []
            sids = np.array([self._add(identity, new) for identity in identities], np.int64)
            if new:
                self.changes += 1
                self.columns.assign_rows(_as_columns(new))
        return sids

    def register_keys(self, keys: BulkKeys, timestep_s: int = 0, rows: Int64Array | None = None) -> Int64Array:
        """The sids of keys; of those that are new, each gets its row in the grid of `timestep_s` if it can.

        It cannot if the metric's timestep is another one now, or the row is taken; then the series lies anywhere, as
        `row_of` and `grid_of` say. A series that is known already stays where it is. Rejection codes are negative:
        what is no longer configured is rejected here, but hosts are not, however strict: what was kept
        stays. Gives what `register` of each gives, many times faster where hosts have the same series.
        """
        with self._lock:
            sids, new = self._add_keys(keys)
            at = np.flatnonzero(new[0] != MISSING)
            if not len(at):
                return sids
            self.changes += 1
            wanted = None
            if rows is not None:
                wanted = np.where((rows[at] >= 0) & (rows[at] < self._max_rows), rows[at], MISSING)
            self.columns.assign_rows(new[:, at], timestep_s, wanted)
        return sids

    def register_new(self, series: NewSeries) -> Int64Array:
        """The sids of series of a batch, or rejection codes, in their order."""
        keys = self._new_keys
        if keys.kinds is not series.kinds:
            keys = self._new_keys = KeyDictionary(series.kinds)
        keys.hosts = series.hosts
        return self.register_keys(BulkKeys(keys, series.host_of, series.kind_of))

    @property
    def _max_rows(self) -> int:
        """More rows than any grid needs: what asks for one beyond them is damaged."""
        return 2 * (self._limits.series + self._limits.job_series)

    def _add(self, identity: Identity, new: list[_RowlessSeries]) -> int:
        """The sid of an identity, or a rejection code; a new series is added to `new`, and has no row yet."""
        cluster, name, metric, part = identity
        hosts = self.clusters.get(cluster)
        host = None if hosts is None else hosts.get(name)
        if host is None:
            specs = self.host_config.metric_specs(cluster, name)
        else:
            sid = host.find(metric, part)
            if sid >= 0:
                return sid
            specs = host.specs
        spec = specs.get(metric)
        if spec is None:
            return self._not_configured_code(cluster)
        is_job = part.type == JOB_TYPE
        if self._is_full(host, is_job=is_job):
            return rejection_code(RejectReason.SERIES_LIMIT)
        if host is None:
            host = self._new_host(cluster, name)
            if host is None:
                return rejection_code(RejectReason.HOST_LIMIT)
        if is_job:
            self.job_count += 1
        else:
            self.series_count += 1
        if self._free:
            sid = self._free.pop()
        else:
            sid = self._next
            self._next += 1
            if sid >= len(self.columns.row_of):
                self.columns.grow_series()
        number = self._part_table.acquire(part)
        host.add(metric, self._part_table[number], sid)
        new.append((sid, host.id, self._metric_names.intern(metric), number, spec.timestep_s))
        return sid

    def _not_configured_code(self, cluster: str) -> int:
        """The rejection code for what the configuration does not have."""
        return rejection_code(RejectReason.UNKNOWN_METRIC if cluster in self.metrics else RejectReason.UNKNOWN_CLUSTER)

    def _add_keys(self, keys: BulkKeys) -> tuple[Int64Array, Int64Array]:
        """The sids of keys, or rejection codes; and columns with what is new, without a sid where nothing is."""
        sids = np.full(len(keys), rejection_code(RejectReason.SYNTAX), np.int64)
        new = np.full((NEW_SERIES_COLUMNS, len(keys)), MISSING, np.int64)
        readable = np.flatnonzero(keys.kinds >= 0)
        if not len(readable):
            return sids, new
        if not self._has_room_for(keys.hosts[readable]):  # the order decides which series a limit meets
            self._add_each(keys, readable, sids, new)
            return sids, new
        for at, is_bulk in _by_host(keys.hosts[readable]):
            left = readable[at]
            if is_bulk:
                left = left[self._add_host_keys(keys, left, sids, new)]
            if len(left):
                self._add_each(keys, left, sids, new)
        return sids, new

    def _has_room_for(self, hosts: Int64Array) -> bool:
        """Whether series of these hosts cannot meet any limit but that of one host, whatever they are."""
        limits, series, different = self._limits, len(hosts), len(np.unique(hosts))
        return (
            self.series_count + series <= limits.series
            and self.job_count + series <= limits.job_series
            and self.host_count + different <= limits.hosts
            and self.unknown_host_count + different <= limits.unknown_hosts
        )

    def _add_each(self, keys: BulkKeys, at: Int64Array, sids: Int64Array, new: Int64Array) -> None:
        """Note the sids and what is new of keys at some positions, one by one."""
        entered: list[_RowlessSeries] = []
        where: list[int] = []
        for position, identity in zip(at.tolist(), keys.identities(at), strict=True):
            sids[position] = self._add(identity, entered)
            if len(entered) > len(where):
                where.append(position)
        new[:, where] = _as_columns(entered)

    def _add_host_keys(self, keys: BulkKeys, at: Int64Array, sids: Int64Array, new: Int64Array) -> BoolArray:
        """Do what `_add_each` does for keys of one host, at once for those that have or get a place in its layout.

        Says which are left: series of jobs; or all, where a limit or the room for places has to be looked at in turn.
        """
        kinds, everything = keys.kinds[at], np.ones(len(at), np.bool_)
        cluster, name = keys.names.hosts[int(keys.hosts[at[0]])]
        layout, host = self._layouts.get(cluster, HostLayout()), self.host(cluster, name)
        count = 0 if host is None else host.count
        if (host is not None and host.has_unplaced_series) or count + len(at) > self._limits.host_series:
            return everything
        specs = self.host_config.metric_specs(cluster, name) if host is None else host.specs
        timesteps_s = keys.names.timesteps_s(kinds, specs)
        if host is None and not timesteps_s.any():
            sids[at] = self._not_configured_code(cluster)
            return np.zeros(len(at), np.bool_)
        places, metrics, parts = keys.names.layout_columns(kinds, layout, self._metric_names, self._part_table)
        found = np.full(len(at), MISSING, np.int64) if host is None else host.find_many(places)
        is_new = (found < 0) & (timesteps_s > 0)
        without = keys.names.without_jobs(np.unique(kinds[is_new & (places < 0)]))
        wanted = np.unique(np.concatenate([places[is_new & (places >= 0)], layout.next_places(len(without))]))
        if len(wanted):
            if not can_place(count, wanted):
                return everything
            self._layouts[cluster] = layout
            host = host or self._new_host(cluster, name)
            if host is None:
                return everything
            if len(without):
                keys.names.add_places(without, layout, self._metric_names, self._part_table)
                places, metrics, parts = keys.names.layout_columns(kinds, layout, self._metric_names, self._part_table)
            fresh = np.flatnonzero(is_new & (places >= 0))
            fresh = fresh[np.unique(places[fresh], return_index=True)[1]]  # a key may stand there twice
            entered = self._new_sids(len(fresh))
            host.add_many(places[fresh], entered)
            self._part_table.acquire_many(parts[fresh])
            self.series_count += len(fresh)
            owner = np.full(len(fresh), host.id)
            new[:, at[fresh]] = entered, owner, metrics[fresh], parts[fresh], timesteps_s[fresh]
            found = host.find_many(places)
        sids[at] = np.where(found >= 0, found, self._not_configured_code(cluster))
        left: BoolArray = places < 0
        return left

    def _new_sids(self, count: int) -> Int64Array:
        """Numbers that no series has."""
        used = [self._free.pop() for _ in range(min(count, len(self._free)))]
        begin, self._next = self._next, self._next + count - len(used)
        while self._next > len(self.columns.row_of):
            self.columns.grow_series()
        return np.concatenate([np.array(used, np.int64), np.arange(begin, self._next)])

    def _is_full(self, host: Host | None, *, is_job: bool) -> bool:
        """Whether there is no room for a series of this host; those of jobs neither take nor need room of others."""
        if is_job:
            return self.job_count >= self._limits.job_series
        if host is not None and host.count - host.job_count >= self._limits.host_series:
            return True
        return self.series_count >= self._limits.series

    def _new_host(self, cluster: str, name: str) -> Host | None:
        """A host without series, or None if there are too many."""
        is_listed = self.host_config.is_configured(cluster, name)
        if self.host_count >= self._limits.hosts:
            return None
        if not is_listed and self.unknown_host_count >= self._limits.unknown_hosts:
            return None
        if self._free_hosts:
            number = self._free_hosts.pop()
        else:
            number = len(self._hosts)
            self._hosts.append(None)
            if number >= len(self.columns.host_last_s):
                self.columns.grow_hosts()
        layout = self._layouts.get(cluster)
        if layout is None:
            layout = self._layouts[cluster] = HostLayout()
        host = Host(
            number,
            cluster,
            name,
            layout=layout,
            specs=self.host_config.metric_specs(cluster, name),
            is_configured=is_listed,
        )
        self._hosts[number] = host
        self.columns.host_last_s[number] = 0
        self.columns.host_is_unknown[number] = not is_listed
        self.host_count += 1
        self.unknown_host_count += not is_listed
        self.clusters.setdefault(cluster, {})[name] = host
        return host

    # Questions

    def host(self, cluster: str, name: str) -> Host | None:
        """A host that has series, or None."""
        return self.clusters.get(cluster, {}).get(name)

    def spec(self, cluster: str, metric: str, host: str = "") -> MetricSpec | None:
        """How a metric of a host is kept, or None if it is not; without a host, of hosts without a subcluster."""
        if host:
            return self.host_config.metric_spec(cluster, metric, host)
        return self.metrics.get(cluster, {}).get(metric)

    def identity(self, sid: int) -> Identity:
        """The identity of a registered series; LookupError for any other number."""
        host = (
            self._hosts[self.columns.host_of[sid]]
            if 0 <= sid < self._next and self.columns.row_of[sid] != MISSING
            else None
        )
        if host is None:
            raise LookupError(f"there is no series {sid}")
        return Identity(
            host.cluster,
            host.name,
            self._metric_names[self.columns.metric_of[sid]],
            self._part_table[self.columns.part_of[sid]],
        )

    def encoded_names(self, sids: Int64Array, separator: bytes) -> list[bytes]:
        """Cluster, host and metric of registered series, and the four names of their part, with a separator between.

        Raises LookupError for any other number.
        """
        columns = self.columns
        if not len(sids):
            return []
        if int(sids.min()) < 0 or int(sids.max()) >= self._next or bool((columns.row_of[sids] == MISSING).any()):
            raise LookupError("some of these numbers are not of a series")
        hosts, metrics, parts = (c[sids].tolist() for c in (columns.host_of, columns.metric_of, columns.part_of))
        # What many of them have in common is encoded once.
        owners = (host for host in map(self._hosts.__getitem__, set(hosts)) if host is not None)
        begins = {host.id: separator.join((host.cluster.encode(), host.name.encode(), b"")) for host in owners}
        names = {number: self._metric_names[number].encode() + separator for number in set(metrics)}
        ends = {number: separator.join(map(str.encode, self._part_table[number])) for number in set(parts)}
        return [begins[h] + names[m] + ends[p] for h, m, p in zip(hosts, metrics, parts, strict=True)]

    def unknown_hosts_of(self, sids: Int64Array, most: int) -> list[tuple[str, str]]:
        """Cluster and name of the first hosts of these series that the configuration does not have."""
        owners = np.unique(self.columns.host_of[sids])
        hosts = (self._hosts[owner] for owner in owners[self.columns.host_is_unknown[owners]][:most].tolist())
        return [(host.cluster, host.name) for host in hosts if host is not None]

    @property
    def unknown_hosts_seen(self) -> int:
        """How many hosts that the configuration does not have sent samples, kept or rejected; counted up to 10,000."""
        return self.unknown_host_count + self.keys.unknown_hosts

    @property
    def size_bytes(self) -> int:
        """Memory taken by series, hosts and cache, but not by samples."""
        layouts = sum(layout.size_bytes for layout in self._layouts.values())
        hosts = sum(host.size_bytes for host in self._hosts if host is not None)
        free = len(self._free) * self._free.itemsize
        return self.columns.size_bytes + layouts + hosts + self._part_table.size_bytes + free + self.keys.size_bytes

    # Changes

    def find_silent(self, before_s: int, holds: RetentionHolds) -> Int64Array:
        """Series without a sample since `before_s`, or for hosts in `holds` since their samples are needed.

        When series of jobs run short, those of jobs that are silent for an hour count as well, except
        on hosts in `holds`.
        """
        number = self._next
        limit_s = np.full(number, before_s)
        if self.job_count > self._limits.job_series // 2:
            limit_s[self._job_sids()] = max(before_s, int(self.columns.host_last_s.max(initial=0)) - JOB_SILENCE_S)
        for cluster, hosts in holds.items():
            for name, from_s in hosts.items():
                host = self.host(cluster, name)
                if host is not None:
                    sids = host.sids()
                    limit_s[sids] = np.minimum(limit_s[sids], from_s)
        return np.flatnonzero((self.columns.last_s[:number] < limit_s) & (self.columns.row_of[:number] != MISSING))

    def _job_sids(self) -> Int64Array:
        """All series of jobs."""
        found = [host.job_sids() for hosts in self.clusters.values() for host in hosts.values()]
        return np.array([sid for sids in found for sid in sids], np.int64)

    def remove(self, sids: Int64Array) -> None:
        """Forget series, their samples and cached keys; hosts without series go too."""
        sids = sids[self.columns.row_of[sids] != MISSING]
        if not len(sids):
            return
        self.changes += 1
        self.removals += 1
        identities = zip(
            self.columns.host_of[sids].tolist(),
            self.columns.metric_of[sids].tolist(),
            self.columns.part_of[sids].tolist(),
            strict=True,
        )
        self._release_rows(sids)
        for number, metric, part_number in identities:
            host = self._hosts[number]
            if host is None:
                continue
            part = self._part_table[part_number]
            if part.type == JOB_TYPE:
                self.job_count -= 1
            else:
                self.series_count -= 1
            host.remove(self._metric_names[metric], part)
            self._part_table.release(part_number)
            if not host.count:
                self._remove_host(host)
        self._free.extend(sids.tolist())
        self.keys.keep(self.columns.row_of != MISSING)

    def _remove_host(self, host: Host) -> None:
        del self.clusters[host.cluster][host.name]
        if not self.clusters[host.cluster]:
            del self.clusters[host.cluster], self._layouts[host.cluster]
            self._new_keys = KeyDictionary()  # it may hold the layout
        self._hosts[host.id] = None
        self.host_count -= 1
        self.unknown_host_count -= not host.is_configured
        self._free_hosts.append(host.id)

    def _release_rows(self, sids: Int64Array) -> None:
        for grid, where in self.columns.group_by_grid(sids):
            members = sids[where]
            for owner, own in group_positions(self.columns.host_of[members].astype(np.int64)):
                grid.release(owner, self.columns.rows_of(members[own]))
        self.columns.row_of[sids] = MISSING

    def reload(self, metrics: MetricTable, host_table: HostTable | None = None) -> int:
        """Take over new metrics and hosts; returns how many series changed their timestep.

        Series of a metric that is gone stay as they are, unseen, until their samples are freed.
        """
        self.metrics = metrics
        self.host_config = HostConfig(metrics, host_table)
        for host in self._hosts:
            if host is not None:
                host.specs = self.host_config.metric_specs(host.cluster, host.name)
                host.is_configured = self.host_config.is_configured(host.cluster, host.name)
                self.columns.host_is_unknown[host.id] = not host.is_configured
        self.unknown_host_count = sum(not host.is_configured for host in self._hosts if host is not None)
        live = np.flatnonzero(self.columns.row_of[: self._next] != MISSING)
        timesteps = configured_timesteps(
            self._hosts, self._metric_names, self.columns.host_of[live], self.columns.metric_of[live]
        )
        kept = timesteps > 0
        if self._limits.strict_hosts:
            kept &= ~self.columns.host_is_unknown[self.columns.host_of[live]]
        wanted = np.zeros(len(self.columns.row_of), np.bool_)
        wanted[live[kept]] = True
        self.keys.reload(metrics, self.host_config, wanted)
        moved = migrate_timesteps(self.columns, live[timesteps > 0], timesteps[timesteps > 0])
        self.changes += moved > 0
        return moved

    def validate(self) -> None:
        """Raise AssertionError if the table contradicts itself; for tests."""
        live = np.flatnonzero(self.columns.row_of != MISSING).tolist()
        _check(len(live) == self.series_count + self.job_count, "series do not add up")
        _check(sorted([*self._free, *live]) == list(range(self._next)), "free sids do not add up")
        hosts = [host for cluster in self.clusters.values() for host in cluster.values()]
        _check(len(hosts) == self.host_count, "hosts do not add up")
        _check(all(self._hosts[host.id] is host for host in hosts), "a host has another number")
        _check(sum(host is not None for host in self._hosts) == self.host_count, "hosts by number do not add up")
        _check(sorted(sid for host in hosts for sid in host.sids().tolist()) == live, "hosts hold other series")
        _check(all(self._is_consistent(sid) for sid in live), "a series is not what its host says")
        _check(self._part_table.user_count() == len(live), "parts do not add up")
        _check(sum(not host.is_configured for host in hosts) == self.unknown_host_count, "unknown hosts do not add up")
        places = {(int(self.columns.grid_of[sid]), int(self.columns.row_of[sid])) for sid in live}
        _check(len(places) == len(live), "two series share a row")
        for index, grid in enumerate(self.columns.grids):
            grid.validate()
            rows, idle = {row for at, row in places if at == index}, grid.idle_rows()
            _check(not idle & rows, "a free row is in use")
            _check(len(idle) + len(rows) == grid.rows, "a row belongs to no series and is not free")
        for cache in self.keys.caches():
            _check(bool((self.columns.row_of[cache.sids()] != MISSING).all()), "a cached key leads to no series")

    def _is_consistent(self, sid: int) -> bool:
        cluster, name, metric, part = self.identity(sid)
        host = self.host(cluster, name)
        return host is not None and host.find(metric, part) == sid and host.metrics[metric][part] == sid


def _by_host(hosts: Int64Array) -> Iterator[tuple[RowIndex, bool]]:
    """Positions of hosts, in the order in which hosts first stand there; whether they are of one host with many.

    Neighbours in that order that have few come together.
    """
    _, first, number = np.unique(hosts, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    place = order[number]
    is_bulk = np.bincount(place) >= _MIN_BULK_KEYS
    begins = is_bulk.copy()
    begins[1:] |= is_bulk[:-1]
    groups = np.cumsum(begins, dtype=np.int64)
    for group, where in group_positions(groups[place]):
        yield where, bool(is_bulk[np.searchsorted(groups, group)])


def _as_columns(new: Sequence[_RowlessSeries]) -> Int64Array:
    """New series as columns."""
    return np.array(list(zip(*new, strict=True)), np.int64).reshape(NEW_SERIES_COLUMNS, len(new))


def _check(right: bool, text: str) -> None:  # noqa: FBT001 reads like assert, which is stripped with -O
    if not right:
        raise AssertionError(text)
