"""From what Slurm says of a job to the events of the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Pattern, Sequence, Tuple

from cc_common.errors import HostlistError
from cc_common.hostlist import expand, fold
from cc_common.job_events import JobStart, ResourceEvent
from cc_common.node_states import NodeState, NodeStateReport
from cc_slurm_adapter.slurm_model import MULTI_USER, JobDetails, Placement, SlurmJob, SlurmNode
from cc_slurm_adapter.sources.gres import gpu_count, gpu_indices
from cc_slurm_adapter.topology import ClusterTopology, NodeTopology

FINAL_STATES: Mapping[str, str] = {
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "TIMEOUT": "timeout",
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "node_fail",
    "BOOT_FAIL": "boot_fail",
    "PREEMPTED": "preempted",
    "DEADLINE": "deadline",
}
LIVE_STATES = frozenset(("RUNNING", "SUSPENDED", ""))
_REQUEUED = frozenset(("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"))
_MAX_JOB_NAME = 1024
# what receivers take (docs/api.md): beyond it a field is none, and must not cost the whole job
_MAX_NAME = 256
_MAX_COUNT = 2**31 - 1
_MAX_WALLTIME_MIN = 100 * 366 * 24 * 60
_MAX_MEMORY_MB = 2**53 - 1
_MAX_CACHED_LISTS = 16_384
_SHOWN_NAMES = 300


def end_state(state: str, flags: FrozenSet[str]) -> Optional[str]:
    """The final state of the wire for Slurm's; None while the run is not over.

    The run of a job that was put back into the queue ends as cancelled. A state that nobody knows is a failure.
    """
    if state in FINAL_STATES:
        return FINAL_STATES[state]
    if state == "PENDING":
        return "cancelled" if flags & _REQUEUED else None
    return None if state in LIVE_STATES else "failed"


@dataclass(frozen=True)
class GpuRule:
    """The accelerator ids of the hosts whose name the pattern is found in, in the order of their index in Slurm."""

    hosts: Pattern[str]
    addresses: Tuple[str, ...]


class MappedStart(NamedTuple):
    """A start event, and what could not be told of the job."""

    event: JobStart
    problems: Tuple[str, ...]


@dataclass(frozen=True)
class StartEventMapper:
    """Makes start events for one cluster; `geometry` is what Slurm says of its nodes, by name."""

    cluster: str
    topology: ClusterTopology
    geometry: Mapping[str, SlurmNode] = field(default_factory=dict)
    gpu_rules: Sequence[GpuRule] = ()
    ignored: Optional[Pattern[str]] = None

    def map_start(self, job: SlurmJob, details: Optional[JobDetails] = None) -> Optional[MappedStart]:
        """The event that tells of the job; None if it has no hosts, or all of them are ignored.

        Raises HostlistError if its node list cannot be read.
        """
        hosts = _expand_hosts(job.nodes)
        if not hosts or (self.ignored is not None and all(self.ignored.search(host) for host in hosts)):
            return None
        problems: List[str] = []
        places = _matching_placements(hosts, details.placements if details else (), job.placements)
        resources = tuple(self._resource(host, places.get(host), problems) for host in hosts)
        threads = [len(resource.hwthreads) for resource in resources]
        accelerators = sum(len(resource.accelerators) for resource in resources)
        gpus = _zero_if_over(_MAX_COUNT, job.gpus or sum(gpu_count(place.gres) for place in places.values()))
        if accelerators != gpus and gpus:
            problems.append(f"{gpus} GPUs are allocated, the ids of {accelerators} are known")
        event = JobStart(
            cluster=self.cluster,
            user=_clean_name(job.user),
            project=_clean_name(job.account),
            partition=_clean_name(job.partition),
            job_id=job.job_id,
            array_job_id=job.array_job_id,
            start_time=job.start_time,
            submit_time=job.submit_time if job.submit_time <= job.start_time else 0,
            walltime=_zero_if_over(_MAX_WALLTIME_MIN, job.time_limit_min or 0) * 60,
            requested_memory=_zero_if_over(_MAX_MEMORY_MB, job.requested_memory_mb),
            num_nodes=len(hosts),
            num_hwthreads=sum(threads) if all(threads) else _zero_if_over(_MAX_COUNT, job.cpus),
            num_acc=gpus or accelerators,
            smt=job.threads_per_core or self._threads_per_core(hosts),
            shared=(details.shared if details and details.shared else job.shared) or MULTI_USER,
            resources=resources,
            meta_data=_meta_data(job, details),
        )
        return MappedStart(event, tuple(dict.fromkeys(problems)))

    def _resource(self, host: str, place: Optional[Placement], problems: List[str]) -> ResourceEvent:
        topology = self.topology.node_topology(host)
        if place is None:
            problems.append("Slurm does not tell the cores any more")
            return ResourceEvent(host)
        if topology is None:
            problems.append(f"no topology for host {host}: hardware threads are left out")
        threads = hwthreads_of_placement(place, topology, self.geometry.get(host)) if topology else ()
        if topology and not threads:
            problems.append(f"the topology of host {host} does not agree with Slurm's: hardware threads are left out")
        return ResourceEvent(host, threads, self._accelerators(host, place, topology))

    def _accelerators(self, host: str, place: Placement, topology: Optional[NodeTopology]) -> Tuple[str, ...]:
        rule = next((rule for rule in self.gpu_rules if rule.hosts.search(host)), None)
        ids = rule.addresses if rule else topology.accelerators if topology else ()
        return tuple(ids[index] for index in gpu_indices(place.gres) if index < len(ids))

    def _threads_per_core(self, hosts: Sequence[str]) -> int:
        node = self.geometry.get(hosts[0]) if hosts else None
        return node.threads_per_core if node else 0


@lru_cache(maxsize=_MAX_CACHED_LISTS)
def _expand_hosts(written: str) -> Tuple[str, ...]:
    """The hosts of a list; kept, because nearly all jobs of a look are those of the look before."""
    return tuple(expand(written))


def _clean_name(written: str) -> str:
    """A name as receivers take it: one line, and not longer than they keep."""
    return " ".join(written.split())[:_MAX_NAME]


def _zero_if_over(most: int, amount: int) -> int:
    """An amount; 0, which is not known, where it is more than can be."""
    return amount if amount <= most else 0


def _meta_data(job: SlurmJob, details: Optional[JobDetails]) -> Optional[Mapping[str, str]]:
    written = {"jobName": job.name[:_MAX_JOB_NAME], "slurmInfo": details.text if details else ""}
    return {key: value for key, value in written.items() if value} or None


def _matching_placements(hosts: Sequence[str], *sources: Sequence[Placement]) -> Mapping[str, Placement]:
    """The first source that speaks of exactly these hosts: texts hold what users write, and a moment lies between."""
    for source in sources:
        places = {place.host: place for place in source}
        if len(places) == len(source) == len(hosts) and all(host in places for host in hosts):
            return places
    return {}


def hwthreads_of_placement(
    place: Placement, topology: NodeTopology, node: Optional[SlurmNode] = None
) -> Tuple[int, ...]:
    """The hardware threads, as the operating system numbers them, of the cores that a job holds; () if unknown.

    Slurm counts threads through all cores in its order (see NodeTopology): with T threads in a core, its number n is
    thread n modulo T of core n / T. What Slurm calls a socket may be a memory domain or an L3 cache of one (settings
    `numa_node_as_socket` and `l3cache_as_socket` of slurmd): the order of the cores is the same.
    """
    cores = topology.cores
    per_core = node.threads_per_core if node and node.threads_per_core else len(cores[0]) if cores else 0
    if not per_core or (node and node.sockets * node.cores_per_socket not in (0, len(cores))):
        return ()
    threads: List[int] = []
    if place.cpu_ids is not None:
        for number in place.cpu_ids:
            core, thread = divmod(number, per_core)
            if core >= len(cores):
                return ()
            whole = len(cores[core]) == per_core
            threads += [cores[core][thread]] if whole else cores[core]
    elif place.cores is not None:
        sockets = node.sockets if node and node.sockets else topology.sockets
        if not sockets or len(cores) % sockets:
            return ()
        per_socket = len(cores) // sockets
        for socket, core in place.cores:
            if core >= per_socket or socket >= sockets:
                return ()
            threads += cores[socket * per_socket + core]
    return tuple(sorted(set(threads)))


def topology_mismatches(topology: ClusterTopology, nodes: Sequence[SlurmNode]) -> List[str]:
    """What the description of a cluster lacks of its nodes, or says differently from Slurm; each with what follows."""
    missing: List[str] = []
    differing: Dict[str, List[str]] = {}
    for node in nodes:
        kind = topology.node_topology(node.name)
        cores = node.sockets * node.cores_per_socket
        if kind is None:
            missing.append(node.name)
        elif cores not in (0, len(kind.cores)):
            differing.setdefault(f"{cores} cores by Slurm, {len(kind.cores)} by the description", []).append(node.name)
    found = []
    if missing:
        folded = fold(missing)[:_SHOWN_NAMES]
        found.append(f"the description lacks {folded}: jobs there are refused until cluster.json has them")
    for what, names in differing.items():
        found.append(f"{fold(names)[:_SHOWN_NAMES]}: {what}: jobs there come without hardware threads")
    return found


def make_node_report(
    cluster: str, nodes: Sequence[SlurmNode], jobs: Optional[Sequence[SlurmJob]], ignored: Optional[Pattern[str]] = None
) -> NodeStateReport:
    """The state of all nodes that are not ignored, with the number of jobs that run on each."""
    running = _jobs_by_host(jobs or ())
    states = [
        NodeState(
            hostname=node.name,
            states=node.states,
            cpus_allocated=node.cpus_allocated,
            memory_allocated=node.memory_allocated_mb,
            gpus_allocated=node.gpus_allocated,
            jobs_running=running.get(node.name, 0),
        )
        for node in nodes
        if ignored is None or not ignored.search(node.name)
    ]
    return NodeStateReport(cluster, tuple(states))


def _jobs_by_host(jobs: Sequence[SlurmJob]) -> Mapping[str, int]:
    counts: Dict[str, int] = {}
    for job in jobs:
        if job.state == "RUNNING" and job.nodes:
            try:
                hosts = _expand_hosts(job.nodes)
            except HostlistError:
                continue
            for host in hosts:
                counts[host] = counts.get(host, 0) + 1
    return counts
