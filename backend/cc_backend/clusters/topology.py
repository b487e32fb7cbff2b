"""Topology of a node: the hardware threads of its cores, memory domains and sockets."""

from collections.abc import Iterable
from dataclasses import dataclass

from cc_backend.model import Scope


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One accelerator; `id` is its name in jobs and samples, usually its PCI address."""

    id: str
    type: str
    model: str


@dataclass(frozen=True, slots=True)
class NodeTopology:
    """The hardware threads of a node and of its units, by their operating system numbers.

    The index of a unit in its list is its id. Real files have gaps (fewer cores than threads, a thread that no
    socket lists), which no method here fails on.
    """

    node: tuple[int, ...]
    socket: tuple[tuple[int, ...], ...] = ()
    memory_domain: tuple[tuple[int, ...], ...] = ()
    core: tuple[tuple[int, ...], ...] = ()
    die: tuple[tuple[int, ...], ...] = ()
    accelerators: tuple[Accelerator, ...] = ()

    def units(self, scope: Scope) -> tuple[tuple[int, ...], ...]:
        """The hardware threads of every unit of a scope, in file order; none for accelerators."""
        match scope:
            case Scope.NODE:
                return (self.node,)
            case Scope.SOCKET:
                return self.socket
            case Scope.MEMORY_DOMAIN:
                return self.memory_domain
            case Scope.CORE:
                return self.core
            case Scope.HWTHREAD:
                return tuple((thread,) for thread in self.node)
            case Scope.ACCELERATOR:
                return ()

    def unit_count(self, scope: Scope) -> int:
        """Number of units of a scope."""
        return len(self.accelerators) if scope is Scope.ACCELERATOR else len(self.units(scope))

    def ids_of(self, scope: Scope, hwthreads: Iterable[int]) -> list[int]:
        """The ids of the units that contain one of the given threads, ascending for cores, domains and sockets.

        No threads mean the whole node, as in a job's resources. At hwthread scope the distinct threads in the given
        order; at node scope [0]; at accelerator scope none, as threads do not determine it.
        """
        wanted = dict.fromkeys(hwthreads) or dict.fromkeys(self.node)
        if scope is Scope.HWTHREAD:
            return list(wanted)
        if scope is Scope.NODE:
            return [0]
        return [index for index, unit in enumerate(self.units(scope)) if not wanted.keys().isdisjoint(unit)]

    def hwthreads_of(self, scope: Scope, index: int) -> tuple[int, ...]:
        """The threads of the unit with this id, empty if there is none; the id of a thread is its number."""
        if scope is Scope.HWTHREAD:
            return (index,)
        units = self.units(scope)
        return units[index] if 0 <= index < len(units) else ()

    def accelerator_ids(self) -> tuple[str, ...]:
        """The ids of all accelerators, in file order."""
        return tuple(accelerator.id for accelerator in self.accelerators)
