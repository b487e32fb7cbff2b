"""What Slurm says, whatever its version says it like: jobs and nodes as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import FrozenSet, NamedTuple, Optional, Tuple

NOT_SHARED, SINGLE_USER, MULTI_USER = "none", "single_user", "multi_user"


class RunKey(NamedTuple):
    """One run of a job: a requeued job runs again under its id, with another start."""

    cluster: str
    job_id: int
    start_time: int


@dataclass(frozen=True)
class Placement:
    """What a job holds on one node.

    `cpu_ids` are Slurm's abstract numbers of hardware threads, `cores` pairs of socket and core within it; a source
    gives one of the two, None for the other. `gres` is the generic resources as Slurm writes them.
    """

    host: str
    cpu_ids: Optional[Tuple[int, ...]] = None
    cores: Optional[Tuple[Tuple[int, int], ...]] = None
    gres: str = ""


@dataclass(frozen=True)
class SlurmJob:
    """One run of a job as the controller or the accounting tells it; times in seconds since the epoch.

    0, "" and None mean not known. `state` is the base state, empty where only a flag is known; `time_limit_min` is None
    for no limit; `shared` is None where the source does not say.
    """

    job_id: int
    state: str
    flags: FrozenSet[str] = frozenset()
    cluster: str = ""
    user: str = ""
    account: str = ""
    partition: str = ""
    name: str = ""
    nodes: str = ""
    node_count: int = 0
    cpus: int = 0
    gpus: int = 0
    requested_memory_mb: int = 0
    threads_per_core: int = 0
    array_job_id: int = 0
    submit_time: int = 0
    start_time: int = 0
    end_time: int = 0
    time_limit_min: Optional[int] = None
    restart_count: Optional[int] = None
    shared: Optional[str] = None
    placements: Tuple[Placement, ...] = ()


@dataclass(frozen=True)
class SlurmNode:
    """One node: its state words in lower case, what it has and what of it is in use; memory in megabytes."""

    name: str
    states: Tuple[str, ...]
    sockets: int = 0
    cores_per_socket: int = 0
    threads_per_core: int = 0
    cpus_allocated: int = 0
    memory_allocated_mb: int = 0
    gpus_allocated: int = 0


@dataclass(frozen=True)
class JobDetails:
    """What only `scontrol show job -d` says of a job; `text` is all it says, for people.

    `start_time` tells which run of the job it speaks of, 0 where that is not clear.
    """

    placements: Tuple[Placement, ...]
    shared: Optional[str] = None
    text: str = ""
    start_time: int = 0
