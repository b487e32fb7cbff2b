"""Hardware threads and accelerators of nodes, from the cluster description (cluster.json)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    Hashable,
    Iterable,
    List,
    Mapping,
    NoReturn,
    Optional,
    Sequence,
    Tuple,
)

from cc_common.errors import HostlistError
from cc_common.hostlist import HostSet, expand
from cc_common.json_reader import ObjectReader
from cc_slurm_adapter.errors import TopologyError

_NO_POSITION = 1 << 32


@dataclass(frozen=True)
class SlurmNodeTopology:
    """One kind of node: cores in Slurm's order, and accelerator ids in the order of their index.

    A core is a tuple of the operating system's numbers of its hardware threads. Slurm's order is that of hwloc: all
    cores of the first socket, then of the next; in a socket all cores of its first memory domain (several with SNC or
    NPS), then of the next, whatever their numbers are.
    """

    cores: Tuple[Tuple[int, ...], ...]
    accelerators: Tuple[str, ...]
    sockets: int


class ClusterTopology:
    """The kinds of nodes of one cluster."""

    def __init__(self, kinds: Sequence[Tuple[HostSet, SlurmNodeTopology]] = ()) -> None:
        self._kinds = tuple(kinds)

    def node_topology(self, host: str) -> Optional[SlurmNodeTopology]:
        """The topology of a node; None if the description does not have the node."""
        return next((topology for hosts, topology in self._kinds if host in hosts), None)

    def missing_hosts(self, hosts: str) -> List[str]:
        """The hosts of a host list that the description does not have; none if the host list is invalid."""
        try:
            return [host for host in expand(hosts) if self.node_topology(host) is None]
        except HostlistError:
            return []

    def __len__(self) -> int:
        return len(self._kinds)


def parse_cluster(document: Any, *, source: str) -> ClusterTopology:
    """The topology in a cluster description. Raises TopologyError where it is not one."""

    def fail(path: str, problem: str) -> NoReturn:
        raise TopologyError(f"{source}: {path or 'the cluster description'}: {problem}")

    reader = ObjectReader(document, on_fault=fail)
    if not reader.has("subClusters"):
        fail("subClusters", "is missing; this is not a cluster description")
    kinds: List[Tuple[HostSet, SlurmNodeTopology]] = []
    for sub_cluster in reader.objects("subClusters"):
        topology = sub_cluster.object("topology")
        if topology is None:
            fail(sub_cluster.path_of("topology"), "is missing")
        try:
            hosts = HostSet(sub_cluster.string("nodes") or "*")
        except HostlistError as error:
            fail(sub_cluster.path_of("nodes"), str(error))
        kinds.append((hosts, _parse_node_topology(topology)))
    return ClusterTopology(kinds)


def _parse_node_topology(topology: ObjectReader) -> SlurmNodeTopology:
    cores = [tuple(sorted(core)) for core in topology.integer_lists("core") if core]
    sockets = _groups(topology, "socket")
    # The larger groups first: a die may have several memory domains, or a memory domain several dies.
    inner = sorted(
        (_groups(topology, "die"), _groups(topology, "memoryDomain")),
        key=lambda groups: -max(map(len, groups), default=0),
    )
    levels = [_first_threads(sockets), *(_first_threads(groups, within=sockets) for groups in inner)]
    cores.sort(key=lambda core: (*(level.get(core[0], _NO_POSITION) for level in levels), core[0]))
    accelerators = tuple([accelerator.string("id", required=True) for accelerator in topology.objects("accelerators")])
    return SlurmNodeTopology(tuple(cores), accelerators, len(sockets))


def _groups(topology: ObjectReader, name: str) -> List[FrozenSet[int]]:
    return [frozenset(group) for group in topology.integer_lists(name) if group]


def _first_threads(groups: Sequence[FrozenSet[int]], within: Sequence[FrozenSet[int]] = ()) -> Dict[int, int]:
    """The minimum thread of the group of each thread; groups that extend beyond one of `within` are split there.

    hwloc, whose order Slurm uses, sorts groups of the same kind by it.
    """
    parts = [group & outer for group in groups for outer in within] if within else list(groups)
    return {thread: min(part) for part in parts for thread in part}


def read_topology(path: Path, cluster: str) -> ClusterTopology:
    """The topology in a file: a cluster description, or a list of them. Raises TopologyError."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise TopologyError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise TopologyError(f"{path} is not JSON: {error}") from error
    return parse_cluster(choose_cluster(document, cluster), source=str(path))


def choose_cluster(document: Any, cluster: str) -> Any:
    """The description of this cluster in a list of descriptions, None if there is none; a single one is returned."""
    if isinstance(document, Mapping) and isinstance(document.get("clusters"), list):
        document = document["clusters"]
    if isinstance(document, list):
        named = [item for item in document if isinstance(item, Mapping) and item.get("name") == cluster]
        return named[0] if named else None
    return document


def file_stamp(path: Path) -> Hashable:
    """A value that changes whenever a file is rewritten or replaced; None if the file is missing."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


class TopologyCache:
    """A topology that is fetched when it is first needed, and again when it may have changed.

    It is fetched again when the value of `stamp` has changed, `refresh_s` after the last fetch, and `pause_s` after it
    if that failed or a host is missing.
    """

    def __init__(
        self,
        fetch: Callable[[], ClusterTopology],
        *,
        pause_s: float = 300.0,
        refresh_s: float = math.inf,
        stamp: Callable[[], Hashable] = lambda: None,
    ) -> None:
        self._fetch = fetch
        self._pause_s = pause_s
        self._refresh_s = refresh_s
        self._stamp = stamp
        self._last_stamp: Hashable = None
        self._found: Optional[ClusterTopology] = None
        self._asked_s: Optional[float] = None
        self.problem = ""

    def get(self, now_s: float, host_lists: Iterable[str] = ()) -> ClusterTopology:
        """The topology, fetched again if a host of the lists is missing.

        While fetching fails it is the last one, or an empty one, and `problem` has the reason.
        """
        seen = self._stamp()  # before the fetch: a change meanwhile gives another stamp next time
        if seen != self._last_stamp or self._is_due(now_s, host_lists):
            self._asked_s, self._last_stamp = now_s, seen
            try:
                self._found, self.problem = self._fetch(), ""
            except TopologyError as error:
                self.problem = str(error)
        return self._found or ClusterTopology()

    def _is_due(self, now_s: float, host_lists: Iterable[str]) -> bool:
        if self._asked_s is None:
            return True
        passed_s = now_s - self._asked_s
        if passed_s < 0 or passed_s >= self._refresh_s:  # a clock that was set back counts as a pause
            return True
        lacking = self._found is None or any(self._found.missing_hosts(hosts) for hosts in set(host_lists))
        return lacking and passed_s >= self._pause_s
