"""The hardware threads and accelerators of nodes, as the description of the cluster (cluster.json) tells them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, List, Mapping, Optional, Sequence, Tuple

from cc_common.errors import HostlistError
from cc_common.hostlist import HostSet
from cc_slurm_adapter.errors import TopologyError


@dataclass(frozen=True)
class NodeTopology:
    """One kind of node: cores in the order Slurm counts them, and the ids of its accelerators in that of their index.

    A core is the numbers that the operating system gives its hardware threads.
    """

    cores: Tuple[Tuple[int, ...], ...]
    accelerators: Tuple[str, ...]
    sockets: int


class ClusterTopology:
    """The kinds of nodes of one cluster; without any it knows no node."""

    def __init__(self, kinds: Sequence[Tuple[HostSet, NodeTopology]] = ()) -> None:
        self._kinds = tuple(kinds)

    def of(self, host: str) -> Optional[NodeTopology]:
        """The topology of a node; None if the description does not name the node."""
        return next((topology for hosts, topology in self._kinds if host in hosts), None)

    def __len__(self) -> int:
        return len(self._kinds)


def parse_cluster(document: Any, *, source: str) -> ClusterTopology:
    """The topology in a cluster description. Raises TopologyError where it is not one."""
    sub_clusters = document.get("subClusters") if isinstance(document, Mapping) else None
    if not isinstance(sub_clusters, list):
        raise TopologyError(f"{source}: is no description of a cluster: there is no list 'subClusters'")
    kinds: List[Tuple[HostSet, NodeTopology]] = []
    for sub_cluster in sub_clusters:
        name = sub_cluster.get("name", "?") if isinstance(sub_cluster, Mapping) else "?"
        try:
            kinds.append((HostSet(sub_cluster.get("nodes") or "*"), _topology(sub_cluster["topology"])))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise TopologyError(f"{source}: subcluster {name!r}: the topology cannot be read: {error}") from error
        except HostlistError as error:
            raise TopologyError(f"{source}: subcluster {name!r}: {error}") from error
    return ClusterTopology(kinds)


def _topology(written: Mapping[str, Any]) -> NodeTopology:
    cores = [tuple(int(thread) for thread in core) for core in written.get("core") or () if core]
    sockets = [{int(thread) for thread in socket} for socket in written.get("socket") or () if socket]
    # Slurm counts the cores of the first socket, then those of the next
    place = {thread: number for number, socket in enumerate(sockets) for thread in socket}
    cores.sort(key=lambda core: place.get(core[0], len(sockets)))
    accelerators = tuple(str(item["id"]) for item in written.get("accelerators") or ())
    return NodeTopology(tuple(cores), accelerators, len(sockets))


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
    """The description of this cluster in a list of descriptions; a single description is given back as it is."""
    if isinstance(document, Mapping) and isinstance(document.get("clusters"), list):
        document = document["clusters"]
    if isinstance(document, list):
        named = [item for item in document if isinstance(item, Mapping) and item.get("name") == cluster]
        return named[0] if named else None
    return document


class LazyTopology:
    """A topology that is fetched when it is first needed, and again after a pause where that failed."""

    def __init__(self, fetch: Callable[[], ClusterTopology], *, pause_s: float = 300.0) -> None:
        self._fetch = fetch
        self._pause_s = pause_s
        self._found: Optional[ClusterTopology] = None
        self._failed_s: Optional[float] = None
        self.problem = ""

    def get(self, now_s: float) -> ClusterTopology:
        """The topology; an empty one, with `problem` saying why, while it cannot be had."""
        if self._found is not None:
            return self._found
        if self._failed_s is not None and 0 <= now_s - self._failed_s < self._pause_s:
            return ClusterTopology()
        try:
            self._found = self._fetch()
        except TopologyError as error:
            self._failed_s, self.problem = now_s, str(error)
            return ClusterTopology()
        self.problem = ""
        return self._found
