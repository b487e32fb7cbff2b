"""The texts of `scontrol show job -d` and `scontrol show nodes`, which all versions print alike.

Names, comments and command lines in them come from users, and may look like anything: only lines of a fixed form are
read, and what they say of a job is used only if it agrees with what JSON says (see cc_slurm_adapter.mapping).
"""

from __future__ import annotations

import re
from typing import Dict, List, Optional, Set, Tuple

from cc_common.errors import HostlistError
from cc_common.hostlist import expand
from cc_slurm_adapter.model import MULTI_USER, NOT_SHARED, SINGLE_USER, JobDetails, Placement, SlurmNode
from cc_slurm_adapter.sources.values import megabytes, resources, whole

MAX_CPU_IDS = 65536
MAX_TEXT = 32_768

_JOB = re.compile(r"JobId=([0-9]{1,18})(?:\s|$)")
_NODES = re.compile(r"\s+Nodes=(\S+) CPU_IDs=(\S*) Mem=[0-9]+ GRES=(.*)")
_SHARING = re.compile(r"\s+OverSubscribe=(\S+)(?: Exclusive=(\S+))? Contiguous=[01] ")
_SHARED = {"NODE": NOT_SHARED, "USER": SINGLE_USER, "NO": MULTI_USER}
_STATE_MARKS = "*~#!%$@^-+"


def parse_job_details(written: str) -> Dict[int, JobDetails]:
    """Details by job id; a job that stands there twice is left out: one of the two may be forged."""
    found: Dict[int, JobDetails] = {}
    twice: Set[int] = set()
    for job_id, lines in _blocks(written):
        if job_id in found:
            twice.add(job_id)
        found[job_id] = _details(lines)
    return {job_id: details for job_id, details in found.items() if job_id not in twice}


def _blocks(written: str) -> List[Tuple[int, List[str]]]:
    blocks: List[Tuple[int, List[str]]] = []
    for line in written.splitlines():
        match = _JOB.match(line)
        if match:
            blocks.append((int(match.group(1)), [line]))
        elif blocks:
            blocks[-1][1].append(line)
    return blocks


def _details(lines: List[str]) -> JobDetails:
    placements: List[Placement] = []
    shared: Optional[str] = None
    for line in lines:
        match = _NODES.fullmatch(line)
        if match:
            placements += _placements(*match.groups())
            continue
        match = _SHARING.match(line)
        if match and shared is None:
            shared = _shared(*match.groups())
    written = "\n".join(line.rstrip() for line in lines).strip()
    return JobDetails(tuple(placements), shared, written[:MAX_TEXT])


def _placements(nodes: str, cpu_ids: str, gres: str) -> List[Placement]:
    try:
        hosts = expand(nodes)
    except HostlistError:
        return []
    ids = parse_ids(cpu_ids)
    return [Placement(host, cpu_ids=ids, gres=gres.strip()) for host in hosts]


def parse_ids(written: str) -> Optional[Tuple[int, ...]]:
    """The numbers of a list such as `0-1,8-9`; None if it is no such list, is empty, or has too many."""
    ids: List[int] = []
    for part in written.split(","):
        low, separator, high = part.partition("-")
        if not (low.isascii() and low.isdigit() and len(low) < 8):  # noqa: PLR2004 no machine has that many
            return None
        if separator and not (high.isascii() and high.isdigit() and len(high) < 8):  # noqa: PLR2004 same
            return None
        first, last = int(low), int(high or low)
        if last < first or len(ids) + last - first >= MAX_CPU_IDS:
            return None
        ids += range(first, last + 1)
    return tuple(ids)


def _shared(oversubscribe: str, exclusive: Optional[str]) -> Optional[str]:
    if exclusive is not None:
        return _SHARED.get(exclusive)
    return {"NO": NOT_SHARED, "USER": SINGLE_USER}.get(oversubscribe, MULTI_USER)


def parse_nodes(written: str) -> List[SlurmNode]:
    """All nodes of `scontrol show nodes`."""
    nodes: List[SlurmNode] = []
    block: List[str] = []
    for line in [*written.splitlines(), "NodeName="]:
        if line.startswith("NodeName="):
            node = _node("\n".join(block))
            if node is not None:
                nodes.append(node)
            block = []
        block.append(line)
    return nodes


def _node(block: str) -> Optional[SlurmNode]:
    name = _field(block, "NodeName")
    if not name:
        return None
    allocated = resources(_field(block, "AllocTRES"))
    return SlurmNode(
        name=name,
        states=_states(_field(block, "State")),
        sockets=whole(_field(block, "Sockets")),
        cores_per_socket=whole(_field(block, "CoresPerSocket")),
        threads_per_core=whole(_field(block, "ThreadsPerCore")),
        cpus_allocated=whole(_field(block, "CPUAlloc")),
        memory_allocated_mb=megabytes(_field(block, "AllocMem")),
        gpus_allocated=whole(allocated.get("gres/gpu", "")),
    )


def _field(block: str, key: str) -> str:
    """The first field of this name: what users write stands behind."""
    match = re.search(rf"(?:^|\s){key}=(\S*)", block)
    return match.group(1) if match else ""


def _states(written: str) -> Tuple[str, ...]:
    """State words in lower case, without the marks that Slurm appends."""
    words = [word.strip(_STATE_MARKS).lower() for word in written.split("+")]
    return tuple(dict.fromkeys(word for word in words if word))
