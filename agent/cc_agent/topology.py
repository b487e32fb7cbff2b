"""The processor topology of this machine from /sys/devices/system.

Ids in samples and in cluster.json are positions in these lists, except for hardware threads, whose ids are the
kernel's numbers. Core and die numbers of the kernel are unique within one socket at best, so they are renumbered
from 0 in the order of their lowest hardware thread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Hashable, List, Mapping, NamedTuple, Optional, Set, Tuple

from cc_agent.errors import CpuTopologyError

CPU_FOLDER = "sys/devices/system/cpu"
NODE_FOLDER = "sys/devices/system/node"

_CPU_NAME = re.compile(r"cpu([0-9]+)")
_NODE_NAME = re.compile(r"node([0-9]+)")
_MAX_CPUS = 65536

Groups = Tuple[Tuple[int, ...], ...]
"""Hardware threads by unit; the position is the id of the unit."""


class MemoryDomain(NamedTuple):
    """A NUMA domain: the kernel's number and its online hardware threads, none for memory without processors."""

    number: int
    hwthreads: Tuple[int, ...]


@dataclass(frozen=True)
class CpuTopology:
    """The online hardware threads, and their grouping into cores, dies, sockets and NUMA domains."""

    hwthreads: Tuple[int, ...]
    cores: Groups
    dies: Groups
    sockets: Groups
    memory_domains: Groups

    @property
    def threads_per_core(self) -> int:
        """The maximum number of hardware threads of a core."""
        return max(len(core) for core in self.cores)

    @property
    def cores_per_socket(self) -> int:
        """The maximum number of cores of a socket."""
        counts = [sum(1 for core in self.cores if core[0] in socket) for socket in map(frozenset, self.sockets)]
        return max(counts)


def read_topology(root: Path = Path("/")) -> CpuTopology:
    """The topology of the online hardware threads. Raises CpuTopologyError."""
    cpus = online_cpus(root)
    sockets: Dict[int, int] = {}
    dies: Dict[int, Tuple[int, int]] = {}
    cores: Dict[int, Tuple[int, int, int]] = {}
    for cpu in cpus:
        folder = root / CPU_FOLDER / f"cpu{cpu}" / "topology"
        socket = _read_number(folder / "physical_package_id", 0)
        die = _read_number(folder / "die_id", 0)
        sockets[cpu] = socket
        dies[cpu] = (socket, die)
        cores[cpu] = (socket, die, _core_key(folder, cpu))
    return CpuTopology(
        hwthreads=cpus,
        cores=_group_by_key(cores),
        dies=_group_by_key(dies),
        sockets=_group_by_key(dict(sorted(sockets.items(), key=lambda item: (item[1], item[0])))),
        memory_domains=tuple(domain.hwthreads for domain in memory_domains(root) if domain.hwthreads) or (cpus,),
    )


def _core_key(folder: Path, cpu: int) -> int:
    """The lowest hardware thread of the core. Sibling lists are right even where core_id is not, as in some guests."""
    for name in ("core_cpus_list", "thread_siblings_list"):
        text = _read_text(folder / name)
        if text:
            return parse_cpu_list(text)[0]
    return _read_number(folder / "core_id", cpu)


def online_cpus(root: Path = Path("/")) -> Tuple[int, ...]:
    """The numbers of the hardware threads that are online, ascending. Raises CpuTopologyError."""
    folder = root / CPU_FOLDER
    text = _read_text(folder / "online")
    if text:
        return parse_cpu_list(text)
    try:
        matches = [_CPU_NAME.fullmatch(entry.name) for entry in folder.iterdir()]
    except OSError as error:
        raise CpuTopologyError(f"{folder} cannot be read: {error.strerror}; is /sys mounted?") from error
    cpus = tuple(sorted(int(match.group(1)) for match in matches if match))
    if not cpus:
        raise CpuTopologyError(f"{folder} lists no processor")
    return cpus


def memory_domains(root: Path = Path("/")) -> List[MemoryDomain]:
    """The NUMA domains in the order of their ids: those with processors first, then memory without (HBM, CXL).

    Empty if the kernel has no NUMA support.
    """
    try:
        matches = [_NODE_NAME.fullmatch(entry.name) for entry in (root / NODE_FOLDER).iterdir()]
    except OSError:
        return []
    online = frozenset(online_cpus(root))
    domains = []
    for number in sorted(int(match.group(1)) for match in matches if match):
        text = _read_text(root / NODE_FOLDER / f"node{number}" / "cpulist")
        domains.append(MemoryDomain(number, tuple(cpu for cpu in parse_cpu_list(text) if cpu in online)))
    return sorted(domains, key=lambda domain: (not domain.hwthreads, domain.number))


def parse_cpu_list(text: str) -> Tuple[int, ...]:
    """The numbers in a kernel list such as `0-3,8`, ascending; empty for an empty string. Raises CpuTopologyError."""
    numbers: Set[int] = set()
    for part in text.strip().split(","):
        if not part:
            continue
        first, dash, last = part.partition("-")
        try:
            low, high = int(first), int(last if dash else first)
        except ValueError:
            raise CpuTopologyError(f"{text.strip()[:80]!r} is not a list of processors") from None
        if not 0 <= low <= high < _MAX_CPUS:
            raise CpuTopologyError(f"{part!r} is not a range of processors")
        numbers.update(range(low, high + 1))
    return tuple(sorted(numbers))


def _group_by_key(keys: Mapping[int, Hashable]) -> Groups:
    """Hardware threads grouped by key, groups in the order of their first hardware thread."""
    groups: Dict[Hashable, List[int]] = {}
    for cpu, key in keys.items():
        groups.setdefault(key, []).append(cpu)
    return tuple(tuple(cpus) for cpus in groups.values())


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _read_number(path: Path, default: int) -> int:
    """The number in a file; the default if it is missing or negative, which means unknown."""
    text: Optional[str] = _read_text(path)
    try:
        number = int(text or default)
    except ValueError:
        return default
    return number if number >= 0 else default
