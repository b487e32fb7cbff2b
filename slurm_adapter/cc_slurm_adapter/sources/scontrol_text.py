"""Parsing the output of `scontrol show job -d` and `scontrol show nodes`, which is the same in all versions.

Names, comments and command lines in it come from users and may be forged: only lines of a fixed format are parsed, and
allocations are used only if they have the hosts of the JSON record (see cc_slurm_adapter.event_mapping).
"""

from __future__ import annotations

import calendar
import re
import time
from typing import Dict, Iterator, List, Mapping, Optional, Set, Tuple

from cc_common.errors import HostlistError
from cc_common.hostlist import expand
from cc_slurm_adapter.slurm_model import MULTI_USER, NOT_SHARED, SINGLE_USER, JobDetails, NodeAllocation, SlurmNode
from cc_slurm_adapter.sources.gres import gpu_count_of_tres
from cc_slurm_adapter.sources.slurm_values import parse_ids, parse_integer, parse_megabytes, parse_tres

MAX_TEXT = 32_768

_JOB = re.compile(r"^JobId=([0-9]{1,18})(?=\s|$)", re.MULTILINE)
_NODES = re.compile(r"\s+Nodes=(\S+) CPU_IDs=(\S*) Mem=[0-9]+ GRES=(.*)")
_START = re.compile(r"   StartTime=([0-9T:-]{19}) EndTime=\S+ .*")
_SHARING = re.compile(r"\s+OverSubscribe=(\S+)(?: Exclusive=(\S+))? Contiguous=[01] ")
_SHARED = {"NODE": NOT_SHARED, "USER": SINGLE_USER, "NO": MULTI_USER}
_FIELDS = {
    key: re.compile(rf"(?:^|\s){key}=(\S*)")
    for key in (
        *("NodeName", "State", "Sockets", "CoresPerSocket", "ThreadsPerCore"),
        *("CPUAlloc", "AllocMem", "AllocTRES"),
    )
}
_STATE_MARKS = "*~#!%$@^-+"


def parse_job_details(text: str) -> Mapping[int, JobDetails]:
    """Details by job id, each parsed on access: on a large cluster only those of new jobs are needed.

    A job that is listed twice is left out: one of the two may be forged.
    """
    begins = [(int(match.group(1)), match.start()) for match in _JOB.finditer(text)]
    ends = [*(start for _, start in begins[1:]), len(text)]
    blocks: Dict[int, Tuple[int, int]] = {}
    twice: Set[int] = set()
    for (job_id, start), end in zip(begins, ends):
        if job_id in blocks:
            twice.add(job_id)
        blocks[job_id] = (start, end)
    return _LazyJobDetails(text, {job_id: block for job_id, block in blocks.items() if job_id not in twice})


class _LazyJobDetails(Mapping[int, JobDetails]):
    def __init__(self, text: str, blocks: Mapping[int, Tuple[int, int]]) -> None:
        self._written = text
        self._blocks = blocks

    def __getitem__(self, job_id: int) -> JobDetails:
        start, end = self._blocks[job_id]
        return _parse_details(self._written[start:end].split("\n"))

    def __iter__(self) -> Iterator[int]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)


def _parse_details(lines: List[str]) -> JobDetails:
    allocations: List[NodeAllocation] = []
    shared: Optional[str] = None
    starts: Set[int] = set()
    for line in lines:
        match = _NODES.fullmatch(line)
        if match:
            allocations += _parse_allocations(*match.groups())
            continue
        match = _SHARING.match(line)
        if match and shared is None:
            shared = _parse_shared(*match.groups())
        match = _START.fullmatch(line)
        if match:
            starts.add(_parse_time(match.group(1)))
    text = "\n".join(line.rstrip() for line in lines).strip()
    return JobDetails(tuple(allocations), shared, text[:MAX_TEXT], starts.pop() if len(starts) == 1 else 0)


def _parse_time(text: str) -> int:
    try:
        return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0


def _parse_allocations(nodes: str, cpu_ids: str, gres: str) -> List[NodeAllocation]:
    try:
        hosts = expand(nodes)
    except HostlistError:
        return []
    ids = parse_ids(cpu_ids)
    return [NodeAllocation(host, cpu_ids=ids, gres=gres.strip()) for host in hosts]


def _parse_shared(oversubscribe: str, exclusive: Optional[str]) -> Optional[str]:
    if exclusive is not None:
        return _SHARED.get(exclusive)
    return {"NO": NOT_SHARED, "USER": SINGLE_USER}.get(oversubscribe, MULTI_USER)


def parse_nodes(text: str) -> List[SlurmNode]:
    """All nodes of `scontrol show nodes`."""
    nodes: List[SlurmNode] = []
    block: List[str] = []
    for line in [*text.split("\n"), "NodeName="]:
        if line.startswith("NodeName="):
            node = _parse_node("\n".join(block))
            if node is not None:
                nodes.append(node)
            block = []
        block.append(line)
    return nodes


def _parse_node(block: str) -> Optional[SlurmNode]:
    name = _field(block, "NodeName")
    if not name:
        return None
    allocated = parse_tres(_field(block, "AllocTRES"))
    return SlurmNode(
        name=name,
        states=_states(_field(block, "State")),
        sockets=parse_integer(_field(block, "Sockets")),
        cores_per_socket=parse_integer(_field(block, "CoresPerSocket")),
        threads_per_core=parse_integer(_field(block, "ThreadsPerCore")),
        cpus_allocated=parse_integer(_field(block, "CPUAlloc")),
        memory_allocated_mb=parse_megabytes(_field(block, "AllocMem")),
        gpus_allocated=gpu_count_of_tres(allocated),
    )


def _field(block: str, key: str) -> str:
    """The first field of this name; what users write comes after it."""
    match = _FIELDS[key].search(block)
    return match.group(1) if match else ""


def _states(text: str) -> Tuple[str, ...]:
    """State words in lower case, without the marks that Slurm appends."""
    words = [word.strip(_STATE_MARKS).lower() for word in text.split("+")]
    return tuple(dict.fromkeys(word for word in words if word))
