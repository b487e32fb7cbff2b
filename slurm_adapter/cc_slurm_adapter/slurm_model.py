"""Jobs and nodes of Slurm as plain values, independent of the version of Slurm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import FrozenSet, NamedTuple, Optional, Tuple

NOT_SHARED, SINGLE_USER, MULTI_USER = "none", "single_user", "multi_user"


class RunKey(NamedTuple):
    """Identifies a run of a job: a requeued job runs again under its id, with another start time."""

    cluster: str
    job_id: int
    start_time: int


@dataclass(frozen=True)
class NodeAllocation:
    """The resources of a job on one node.

    `cpu_ids` are Slurm's abstract numbers of hardware threads, `cores` pairs of socket and core within it; a source has
    one of the two and None for the other. `gres` has the generic resources in Slurm's notation.
    """

    host: str
    cpu_ids: Optional[Tuple[int, ...]] = None
    cores: Optional[Tuple[Tuple[int, int], ...]] = None
    gres: str = ""


@dataclass(frozen=True)
class SlurmJob:
    """One run of a job as reported by the controller or the accounting; times in seconds since the epoch.

    0, "" and None mean unknown. `state` is the base state, empty if only a flag is known; `time_limit_min` is None for
    no limit; `shared` is None if the source does not have it.
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
    allocations: Tuple[NodeAllocation, ...] = ()


@dataclass(frozen=True)
class SlurmNode:
    """One node: state words in lower case, hardware, and what of it is allocated; memory in megabytes."""

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
    """What only `scontrol show job -d` reports of a job; `text` is its whole output for the job.

    `start_time` identifies the run of the job, 0 if it is not clear.
    """

    allocations: Tuple[NodeAllocation, ...]
    shared: Optional[str] = None
    text: str = ""
    start_time: int = 0
