"""All series of the store by number (sid), by identity, and by each spelling of their key on the wire.

What is known of a series stands in columns, 31 bytes in all, and in the array of its host: no series has an object.
"""

import threading
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np

from cc_backend.metricstore.blocks.grid import groups
from cc_backend.metricstore.index.bulk_keys import NumberedKeys
from cc_backend.metricstore.index.columns import NO_PLACE, Columns
from cc_backend.metricstore.index.hosts import JOB, Host, may_take
from cc_backend.metricstore.index.layout import Layout, Names, Parts
from cc_backend.metricstore.index.timestep_migration import carry_over, expected_timesteps
from cc_backend.metricstore.ingest.host_config import Nodes, NodeTable
from cc_backend.metricstore.ingest.identity import Refusal
from cc_backend.metricstore.ingest.key_cache import Spellings, refusal_code
from cc_backend.metricstore.ingest.key_resolver import WireKeys
from cc_backend.metricstore.ingest.native_reader import KernelName
from cc_backend.metricstore.ingest.new_keys import NewKeys
from cc_backend.metricstore.model import Flags, Identity, Ids, Limits, MetricSpec, MetricTable, Reason

__all__ = ("Host", "Protected", "SeriesTable")

Protected = Mapping[str, Mapping[str, int]]
"""Cluster -> host -> from when on its samples are needed."""

JOB_SILENCE_S = 3600
"""With half of the places for series of jobs taken, those that were silent for longer than this are forgotten."""


_New = tuple[int, int, int, int, int]
"""A series that has no row yet: sid, and the numbers of host, metric and part, and the timestep in seconds."""
_COLUMNS = 5

_LEAST_RUN = 16
"""Fewer series of a host are faster one by one."""


class SeriesTable(Columns):
    """Registers series and says where their samples lie. `lock` guards what readers see.

    `changes` grows whenever a row gets another series or none, `removals` whenever a sid may stand for another series.
    """

    def __init__(
        self,
        metrics: MetricTable,
        limits: Limits,
        lock: "threading.RLock",
        nodes: NodeTable | None = None,
        kernel: KernelName | None = None,
    ) -> None:
        super().__init__()
        self.metrics = metrics
        self.nodes = Nodes(metrics, nodes)
        self.clusters: dict[str, dict[str, Host]] = {}
        self.count = 0
        self.host_count = 0
        self.job_count = 0
        self.unlisted_hosts = 0
        self.changes = 0
        self.removals = 0
        self._limits = limits
        self._lock = lock
        self._keys = WireKeys(self.register_many, metrics, self.nodes, limits, kernel)
        self._layouts: dict[str, Layout] = {}
        self._names = Names()
        self._parts = Parts()
        self._hosts: list[Host | None] = []
        self._free_hosts: list[int] = []
        self._next = 0
        self._free = array("i")

    # Keys of the wire

    def spellings(self, default_cluster: str, bound: Collection[str] = ()) -> Spellings:
        """The spellings for batches with this default cluster; those that are not configured share one table.

        `bound` are the clusters that the sender may write to, empty for all; a key of another one raises NotAllowed.
        """
        return self._keys.spellings(default_cluster, bound)

    def putting_off(self) -> AbstractContextManager[NewKeys]:
        """Meanwhile keys register no series, but give codes of new ones; `register_new` takes these."""
        return self._keys.putting_off()

    def register_new(self, spellings: Spellings, codes: Ids) -> Ids:
        """The sids or refusal codes of series that were put off, by their codes; their keys are remembered."""
        return self._keys.register(spellings, codes)

    def resolve(self, series: bytes, default_cluster: str) -> Identity | Refusal:
        """The identity behind a series key, or why there is none."""
        return self._keys.resolve(series, default_cluster)

    def resolve_and_remember(self, spellings: Spellings, series: bytes, default_cluster: str) -> int:
        """The sid or refusal code of a key that is not remembered yet. What is remembered is bounded."""
        return self._keys.resolve_and_remember(spellings, series, default_cluster)

    @property
    def spelling_count(self) -> int:
        """How many raw keys are remembered."""
        return len(self._keys)

    def forget_refusals(self) -> None:
        """Look again at keys that were refused: there may be room for them now."""
        self._keys.forget_refused()

    # Registration

    def register(self, identity: Identity) -> int:
        """The sid of an identity, new if need be; a refusal code where it is not kept or a limit is reached."""
        with self._lock:
            new: list[_New] = []
            sid = self._enter(identity, new)
            if new:
                self._note(*new[0])
        return sid

    def register_many(self, identities: Iterable[Identity]) -> Ids:
        """The sids of identities, in their order: as `register` of each, but several times faster."""
        with self._lock:
            new: list[_New] = []
            sids = np.array([self._enter(identity, new) for identity in identities], np.int64)
            self._settle(_columns(new))
        return sids

    def register_keys(self, keys: NumberedKeys, timestep_s: int = 0, rows: Ids | None = None) -> Ids:
        """The sids of keys; of those that are new, each gets its row in the grid of `timestep_s` if it can.

        It cannot if the metric's timestep is another one now, or the row is taken; then the series lies anywhere, as
        `row_of` and `grid_of` say. A series that is known already stays where it is. Codes of refusals are negative:
        what is no longer configured is refused here, but hosts are not, however strict: what was kept stays. The same
        as `register` of each, but many times faster where hosts have the same series.
        """
        with self._lock:
            sids, new = self._enter_keys(keys)
            at = np.flatnonzero(new[0] != NO_PLACE)
            if rows is None:
                self._settle(new[:, at])
            else:
                wanted = rows[at]
                self._settle(
                    new[:, at], timestep_s, np.where((wanted >= 0) & (wanted < self._most_rows), wanted, NO_PLACE)
                )
        return sids

    @property
    def _most_rows(self) -> int:
        """More rows than any grid needs: what asks for one beyond them is damaged."""
        return 2 * (self._limits.series + self._limits.job_series)

    def _enter(self, identity: Identity, new: list[_New]) -> int:
        """The sid of an identity, or a refusal code; what is new is told, and has no row yet."""
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
            return self._not_kept(cluster)
        is_job = part.type == JOB
        if self._is_full(host, is_job=is_job):
            return refusal_code(Reason.SERIES_LIMIT)
        if host is None:
            host = self._new_host(cluster, name)
            if host is None:
                return refusal_code(Reason.HOST_LIMIT)
        if is_job:
            self.job_count += 1
        else:
            self.count += 1
        if self._free:
            sid = self._free.pop()
        else:
            sid = self._next
            self._next += 1
            if sid >= len(self.row_of):
                self.grow()
        number = self._parts.take(part)
        host.add(metric, self._parts[number], sid)
        new.append((sid, host.id, self._names.number(metric), number, spec.timestep_s))
        return sid

    def _not_kept(self, cluster: str) -> int:
        """The code of what the configuration does not have."""
        return refusal_code(Reason.UNKNOWN_METRIC if cluster in self.metrics else Reason.UNKNOWN_CLUSTER)

    def _enter_keys(self, keys: NumberedKeys) -> tuple[Ids, Ids]:
        """The sids of keys, or refusal codes; and columns with what is new, without a sid where nothing is."""
        sids = np.full(len(keys), refusal_code(Reason.SYNTAX), np.int64)
        new = np.full((_COLUMNS, len(keys)), NO_PLACE, np.int64)
        readable = np.flatnonzero(keys.kinds >= 0)
        if not len(readable):
            return sids, new
        if not self._has_room_for(keys.hosts[readable]):  # whom a limit meets is said by the order
            self._enter_each(keys, readable, sids, new)
            return sids, new
        for _, where in groups(keys.hosts[readable]):
            at = readable[where]
            if len(at) >= _LEAST_RUN:
                at = at[self._enter_host(keys, at, sids, new)]
            if len(at):
                self._enter_each(keys, at, sids, new)
        return sids, new

    def _has_room_for(self, hosts: Ids) -> bool:
        """Whether series of these hosts cannot meet any limit but that of one host, whatever they are."""
        limits, series, different = self._limits, len(hosts), len(np.unique(hosts))
        return (
            self.count + series <= limits.series
            and self.job_count + series <= limits.job_series
            and self.host_count + different <= limits.hosts
            and self.unlisted_hosts + different <= limits.unlisted_hosts
        )

    def _enter_each(self, keys: NumberedKeys, at: Ids, sids: Ids, new: Ids) -> None:
        """Note the sids and what is new of keys at some positions, one by one."""
        entered: list[_New] = []
        where: list[int] = []
        for position, identity in zip(at.tolist(), keys.identities(at), strict=True):
            sids[position] = self._enter(identity, entered)
            if len(entered) > len(where):
                where.append(position)
        new[:, where] = _columns(entered)

    def _enter_host(self, keys: NumberedKeys, at: Ids, sids: Ids, new: Ids) -> Flags:
        """The same for keys of one host, those together that have a place in its layout; says which are left."""
        kinds, everything = keys.kinds[at], np.ones(len(at), np.bool_)
        cluster, name = keys.names.hosts[int(keys.hosts[at[0]])]
        layout, host = self._layouts.get(cluster), self.host(cluster, name)
        count = 0 if host is None else host.count
        if layout is None or (host is not None and host.keeps_apart) or count + len(at) > self._limits.host_series:
            return everything
        specs = self.nodes.specs(cluster, name) if host is None else host.specs
        places, metrics, parts = keys.names.look_up(kinds, layout, self._names, self._parts)
        timesteps_s = keys.names.timesteps_s(kinds, specs)
        found = np.full(len(at), NO_PLACE, np.int64) if host is None else host.find_all(places)
        fresh = np.flatnonzero((places >= 0) & (found < 0) & (timesteps_s > 0))
        if len(fresh):
            fresh = fresh[np.unique(places[fresh], return_index=True)[1]]  # a key may stand there twice
            if not may_take(count, places[fresh]):
                return everything
            host = host or self._new_host(cluster, name)
            if host is None:
                return everything
            entered = self._new_sids(len(fresh))
            host.add_all(places[fresh], entered)
            self._parts.take_again(parts[fresh])
            self.count += len(fresh)
            owner = np.full(len(fresh), host.id)
            new[:, at[fresh]] = entered, owner, metrics[fresh], parts[fresh], timesteps_s[fresh]
            found = host.find_all(places)
        sids[at] = np.where(found >= 0, found, self._not_kept(cluster))
        left: Flags = places < 0
        return left

    def _new_sids(self, count: int) -> Ids:
        """Numbers that no series has."""
        used = [self._free.pop() for _ in range(min(count, len(self._free)))]
        begin, self._next = self._next, self._next + count - len(used)
        while self._next > len(self.row_of):
            self.grow()
        return np.concatenate([np.array(used, np.int64), np.arange(begin, self._next)])

    def _is_full(self, host: Host | None, *, is_job: bool) -> bool:
        """Whether there is no room for a series of this host; those of jobs neither take nor need room of others."""
        if is_job:
            return self.job_count >= self._limits.job_series
        if host is not None and host.count - host.job_count >= self._limits.host_series:
            return True
        return self.count >= self._limits.series

    def _settle(self, new: Ids, timestep_s: int = 0, wanted: Ids | None = None) -> None:
        """Write the columns of new series and give them rows, those of one host beside each other.

        In the grid of `timestep_s` the rows that are `wanted`, -1 for any, come first.
        """
        if not new.size:
            return
        sids, owners, metrics, parts, timesteps = new
        self.changes += 1
        self.host_of[sids], self.metric_of[sids], self.part_of[sids] = owners, metrics, parts
        self.last_s[sids] = self.spacing_s[sids] = 0
        for step_s in np.unique(timesteps).tolist():
            index = self.grid_index(step_s)
            here = timesteps == step_s
            members, hosts = sids[here], owners[here]
            self.grid_of[members] = index
            if wanted is not None and step_s == timestep_s:
                rows = wanted[here]
                first = np.zeros(len(rows), np.bool_)
                first[np.unique(rows, return_index=True)[1]] = True
                claimed = np.flatnonzero(first & (rows != NO_PLACE))
                claimed = claimed[self.grids[index].claim_many(rows[claimed], hosts[claimed])]
                self.row_of[members[claimed]] = rows[claimed]
                members, hosts = (np.delete(column, claimed) for column in (members, hosts))
            for owner, where in groups(hosts) if len(hosts) else ():
                own = members[where]
                self.row_of[own] = self.grids[index].allocate_many(owner, len(own))

    def _note(self, sid: int, host: int, metric: int, part: int, timestep_s: int) -> None:
        """Write the columns of one new series and give it a row: faster than `_settle` for one."""
        self.changes += 1
        self.host_of[sid], self.metric_of[sid], self.part_of[sid] = host, metric, part
        self.last_s[sid] = self.spacing_s[sid] = 0
        self.grid_of[sid] = index = self.grid_index(timestep_s)
        self.row_of[sid] = self.grids[index].allocate(host)

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
                self.grow_hosts()
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
        host = self._hosts[self.host_of[sid]] if 0 <= sid < self._next and self.row_of[sid] != NO_PLACE else None
        if host is None:
            raise LookupError(f"there is no series {sid}")
        return Identity(host.cluster, host.name, self._names[self.metric_of[sid]], self._parts[self.part_of[sid]])

    def unlisted_owners(self, sids: Ids, most: int) -> list[tuple[str, str]]:
        """Cluster and name of the first hosts of these series that the configuration does not have."""
        owners = np.unique(self.host_of[sids])
        hosts = (self._hosts[owner] for owner in owners[self.host_unlisted[owners]][:most].tolist())
        return [(host.cluster, host.name) for host in hosts if host is not None]

    @property
    def strangers(self) -> int:
        """How many hosts that the configuration does not have sent samples, kept or refused; counted up to 10,000."""
        return self.unlisted_hosts + self._keys.strangers

    @property
    def size_bytes(self) -> int:
        """Memory taken by series, hosts and spellings, but not by samples."""
        layouts = sum(layout.size_bytes for layout in self._layouts.values())
        hosts = sum(host.size_bytes for host in self._hosts if host is not None)
        free = len(self._free) * self._free.itemsize
        return self.column_bytes + layouts + hosts + self._parts.size_bytes + free + self._keys.size_bytes

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
        return np.flatnonzero((self.last_s[:number] < limit_s) & (self.row_of[:number] != NO_PLACE))

    def _are_jobs(self) -> Ids:
        """All series of jobs."""
        found = [host.job_sids() for hosts in self.clusters.values() for host in hosts.values()]
        return np.array([sid for sids in found for sid in sids], np.int64)

    def remove(self, sids: Ids) -> None:
        """Forget series, their samples and spellings; hosts without series go too."""
        sids = sids[self.row_of[sids] != NO_PLACE]
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
        self._keys.keep(self.row_of != NO_PLACE)

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
            for owner, own in groups(self.host_of[members].astype(np.int64)):
                grid.release(owner, self.rows(members[own]))
        self.row_of[sids] = NO_PLACE

    def reload(self, metrics: MetricTable, nodes: NodeTable | None = None) -> int:
        """Take over new metrics and hosts; returns how many series changed their timestep.

        Series of a metric that is gone stay as they are, unseen, until their samples are freed.
        """
        self.metrics = metrics
        self.nodes = Nodes(metrics, nodes)
        for host in self._hosts:
            if host is not None:
                host.specs = self.nodes.specs(host.cluster, host.name)
                host.is_listed = self.nodes.lists(host.cluster, host.name)
                self.host_unlisted[host.id] = not host.is_listed
        self.unlisted_hosts = sum(not host.is_listed for host in self._hosts if host is not None)
        live = np.flatnonzero(self.row_of[: self._next] != NO_PLACE)
        timesteps = expected_timesteps(self._hosts, self._names, self.host_of[live], self.metric_of[live])
        kept = timesteps > 0
        if self._limits.strict_hosts:
            kept &= ~self.host_unlisted[self.host_of[live]]
        wanted = np.zeros(len(self.row_of), np.bool_)
        wanted[live[kept]] = True
        self._keys.reload(metrics, self.nodes, wanted)
        moved = carry_over(self, live[timesteps > 0], timesteps[timesteps > 0])
        self.changes += moved > 0
        return moved

    def validate(self) -> None:
        """Raise AssertionError if the table contradicts itself; for tests."""
        live = np.flatnonzero(self.row_of != NO_PLACE).tolist()
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
            rows, idle = {row for at, row in places if at == index}, grid.idle_rows()
            _check(not idle & rows, "a free row is in use")
            _check(len(idle) + len(rows) == grid.rows, "a row belongs to no series and is not free")
        for spellings in self._keys.tables():
            _check(bool((self.row_of[spellings.sids()] != NO_PLACE).all()), "stale spelling")

    def _holds(self, sid: int) -> bool:
        cluster, name, metric, part = self.identity(sid)
        host = self.host(cluster, name)
        return host is not None and host.find(metric, part) == sid and host.metrics[metric][part] == sid


def _columns(new: Sequence[_New]) -> Ids:
    """New series as columns."""
    return np.array(list(zip(*new, strict=True)), np.int64).reshape(_COLUMNS, len(new))


def _check(right: bool, text: str) -> None:  # noqa: FBT001 reads like assert, which is stripped with -O
    if not right:
        raise AssertionError(text)
