"""Series as a reader of many keys names them: by the numbers of their hosts, and of what hosts have in common.

The nodes of a cluster have series of the same metrics and parts. What is known of these by number is looked up for all
series of a host at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from cc_backend.metricstore.index.layout import HostLayout, MetricNames, PartTable
from cc_backend.metricstore.model import JOB_TYPE, HostPart, Identity, Int64Array, MetricSpec

NO_KEY = -2
"""Stands for host and kind where there is no key."""
UNREADABLE_KEY = -1
"""Stands for host and kind of a key that could not be read."""

_UNKNOWN = -1
_MIN_ROOM = 1024


class KeyDictionary:
    """What numbers of keys stand for: hosts (cluster and name), and kinds of series (metric and part)."""

    __slots__ = ("_layouts", "_timesteps_s", "hosts", "kinds")

    def __init__(self, kinds: list[tuple[str, HostPart]] | None = None) -> None:
        self.hosts: list[tuple[str, str]] = []
        self.kinds = [] if kinds is None else kinds
        self._layouts: dict[HostLayout, _LayoutCache] = {}
        self._timesteps_s: dict[int, tuple[Mapping[str, MetricSpec], Int64Array]] = {}

    def layout_columns(
        self, kinds: Int64Array, layout: HostLayout, metrics: MetricNames, parts: PartTable
    ) -> Int64Array:
        """Three rows by kind: its place in a layout, the numbers of its metric and its part; -1 if it has no place."""
        known = self._layouts.get(layout)
        if known is None:
            known = self._layouts[layout] = _LayoutCache(layout)
        return known.look_up(kinds, self.kinds, metrics, parts)

    def add_places(self, kinds: Int64Array, layout: HostLayout, metrics: MetricNames, parts: PartTable) -> None:
        """Give different kinds, which `layout_columns` found to have no place, one each; users must follow."""
        self._layouts[layout].add_places(kinds, self.kinds, metrics, parts)

    def without_jobs(self, kinds: Int64Array) -> Int64Array:
        """The kinds whose part is not a job: only these get places."""
        return kinds[[self.kinds[kind][1].type != JOB_TYPE for kind in kinds.tolist()]] if len(kinds) else kinds

    def timesteps_s(self, kinds: Int64Array, specs: Mapping[str, MetricSpec]) -> Int64Array:
        """Seconds per slot by kind, 0 for one that is not kept; for the hosts that share these `specs`."""
        _, known = self._timesteps_s.get(id(specs), (specs, np.empty(0, np.int64)))
        if len(known) < len(self.kinds):
            found = (specs.get(metric) for metric, _ in self.kinds[len(known) :])
            more = [0 if spec is None else spec.timestep_s for spec in found]
            known = np.concatenate([known, np.array(more, np.int64)])
            self._timesteps_s[id(specs)] = specs, known  # as long as it is held here, no other has its id
        return known[kinds]


class _LayoutCache:
    """What is known of kinds in one layout; forgotten whenever a place of it was freed."""

    def __init__(self, layout: HostLayout) -> None:
        self._layout = layout
        self._freed = -1
        self._known: npt.NDArray[np.int64] = np.empty((3, 0), np.int64)

    def look_up(
        self, kinds: Int64Array, named: Sequence[tuple[str, HostPart]], metrics: MetricNames, parts: PartTable
    ) -> Int64Array:
        if self._freed != self._layout.freed_count:
            self._freed = self._layout.freed_count
            self._known = np.empty((3, 0), np.int64)
        room = self._known.shape[1]
        if room < len(named):
            more = np.full((3, max(len(named) - room, room, _MIN_ROOM)), _UNKNOWN, np.int64)
            self._known = np.concatenate([self._known, more], axis=1)
        found = self._known[:, kinds]
        unknown = np.unique(kinds[found[0] == _UNKNOWN]).tolist()
        for kind in unknown:
            metric, part = named[kind]
            place = self._layout.place_of(metric, part)
            if place >= 0:
                self._known[:, kind] = place, metrics.intern(metric), parts.number_of(part)
        return self._known[:, kinds] if unknown else found

    def add_places(
        self, kinds: Int64Array, named: Sequence[tuple[str, HostPart]], metrics: MetricNames, parts: PartTable
    ) -> None:
        for kind in kinds.tolist():
            metric, part = named[kind]
            self._known[:, kind] = self._layout.add(metric, part), metrics.intern(metric), parts.intern(part)


@dataclass(frozen=True, slots=True)
class BulkKeys:
    """Keys by the numbers of their hosts and kinds; both are NO_KEY or UNREADABLE where there is no such series."""

    names: KeyDictionary
    hosts: Int64Array
    kinds: Int64Array

    @classmethod
    def concatenate(cls, pieces: Sequence[Self]) -> Self:
        """Keys that one reader read, one after the other."""
        hosts, kinds = (np.concatenate(c) for c in zip(*((p.hosts, p.kinds) for p in pieces), strict=True))
        return cls(pieces[0].names, hosts, kinds)

    def __len__(self) -> int:
        return len(self.kinds)

    def identities(self, at: Int64Array) -> list[Identity]:
        """The identities of keys that could be read, by position."""
        hosts, kinds = self.names.hosts, self.names.kinds
        numbers = zip(self.hosts[at].tolist(), self.kinds[at].tolist(), strict=True)
        return [Identity(*hosts[host], *kinds[kind]) for host, kind in numbers]
