"""Mapping Slurm's jobs and nodes to start events and node state reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Pattern, Sequence, Tuple

from cc_common.errors import HostlistError
from cc_common.hostlist import expand, fold
from cc_common.job_events import JobStart, Resource
from cc_common.node_states import NodeState, NodeStateReport
from cc_slurm_adapter.slurm_model import MULTI_USER, JobDetails, NodeAllocation, SlurmJob, SlurmNode
from cc_slurm_adapter.sources.gres import gpu_count, gpu_indices
from cc_slurm_adapter.topology import ClusterTopology, SlurmNodeTopology

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
# Limits of receivers (docs/api.md): a field beyond its limit is left out, so that the job is not rejected.
_MAX_NAME = 256
_MAX_COUNT = 2**31 - 1
_MAX_WALLTIME_MIN = 100 * 366 * 24 * 60
_MAX_MEMORY_MB = 2**53 - 1
_MAX_CACHED_LISTS = 16_384
_SHOWN_NAMES = 300


def end_state(state: str, flags: FrozenSet[str]) -> Optional[str]:
    """The final state in events for Slurm's state; None while the run has not ended.

    The run of a requeued job ends as cancelled. An unknown state counts as failed.
    """
    if state in FINAL_STATES:
        return FINAL_STATES[state]
    if state == "PENDING":
        return "cancelled" if flags & _REQUEUED else None
    return None if state in LIVE_STATES else "failed"


@dataclass(frozen=True)
class GpuRule:
    """The accelerator ids of the hosts that match a pattern, in the order of their index in Slurm."""

    hosts: Pattern[str]
    addresses: Tuple[str, ...]


class MappedStart(NamedTuple):
    """A start event, and what is missing from it."""

    event: JobStart
    problems: Tuple[str, ...]


@dataclass(frozen=True)
class StartEventMapper:
    """Makes start events for one cluster; `geometry` has Slurm's nodes by name."""

    cluster: str
    topology: ClusterTopology
    geometry: Mapping[str, SlurmNode] = field(default_factory=dict)
    gpu_rules: Sequence[GpuRule] = ()
    ignored: Optional[Pattern[str]] = None

    def map_start(self, job: SlurmJob, details: Optional[JobDetails] = None) -> Optional[MappedStart]:
        """The start event of a job; None if it has no hosts, or all of them are ignored.

        Raises HostlistError if its node list is invalid.
        """
        hosts = _expand_hosts(job.nodes)
        if not hosts or (self.ignored is not None and all(self.ignored.search(host) for host in hosts)):
            return None
        problems: List[str] = []
        by_host = _matching_allocations(hosts, details.allocations if details else (), job.allocations)
        resources = tuple(self._resource(host, by_host.get(host), problems) for host in hosts)
        threads = [len(resource.hwthreads) for resource in resources]
        accelerators = sum(len(resource.accelerators) for resource in resources)
        gpus = _zero_if_over(_MAX_COUNT, job.gpus or sum(gpu_count(allocation.gres) for allocation in by_host.values()))
        if accelerators != gpus and gpus:
            problems.append(f"{gpus} GPUs are allocated, but only {accelerators} ids are known")
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

    def _resource(self, host: str, allocation: Optional[NodeAllocation], problems: List[str]) -> Resource:
        topology = self.topology.node_topology(host)
        if allocation is None:
            problems.append("Slurm no longer reports the cores")
            return Resource(host)
        if topology is None:
            problems.append(f"no topology for host {host}: hardware threads are left out")
        threads = hwthreads_of_allocation(allocation, topology, self.geometry.get(host)) if topology else ()
        if topology and not threads:
            problems.append(f"the topology of host {host} does not agree with Slurm's: hardware threads are left out")
        return Resource(host, threads, self._accelerators(host, allocation, topology))

    def _accelerators(
        self, host: str, allocation: NodeAllocation, topology: Optional[SlurmNodeTopology]
    ) -> Tuple[str, ...]:
        rule = next((rule for rule in self.gpu_rules if rule.hosts.search(host)), None)
        ids = rule.addresses if rule else topology.accelerators if topology else ()
        return tuple(ids[index] for index in gpu_indices(allocation.gres) if index < len(ids))

    def _threads_per_core(self, hosts: Sequence[str]) -> int:
        node = self.geometry.get(hosts[0]) if hosts else None
        return node.threads_per_core if node else 0


@lru_cache(maxsize=_MAX_CACHED_LISTS)
def _expand_hosts(text: str) -> Tuple[str, ...]:
    """The hosts of a host list; cached, because nearly all jobs of a poll are those of the poll before."""
    return tuple(expand(text))


def _clean_name(text: str) -> str:
    """A name as receivers accept it: one line of 256 characters at most."""
    return " ".join(text.split())[:_MAX_NAME]


def _zero_if_over(most: int, amount: int) -> int:
    """The amount; 0, which means unknown, if it is over the limit."""
    return amount if amount <= most else 0


def _meta_data(job: SlurmJob, details: Optional[JobDetails]) -> Optional[Mapping[str, str]]:
    fields = {"jobName": job.name[:_MAX_JOB_NAME], "slurmInfo": details.text if details else ""}
    return {key: value for key, value in fields.items() if value} or None


def _matching_allocations(hosts: Sequence[str], *sources: Sequence[NodeAllocation]) -> Mapping[str, NodeAllocation]:
    """The allocations by host of the first source that has exactly these hosts; {} if none has.

    A source may be of another moment than the job, and texts may be forged by users.
    """
    for source in sources:
        by_host = {allocation.host: allocation for allocation in source}
        if len(by_host) == len(source) == len(hosts) and all(host in by_host for host in hosts):
            return by_host
    return {}


def hwthreads_of_allocation(
    allocation: NodeAllocation, topology: SlurmNodeTopology, node: Optional[SlurmNode] = None
) -> Tuple[int, ...]:
    """The operating system numbers of the hardware threads of an allocation; () if unknown.

    Slurm numbers threads through all cores in its order (see SlurmNodeTopology): with T threads per core, number n is
    thread n modulo T of core n / T. A socket in Slurm may be a memory domain or an L3 cache (settings
    `numa_node_as_socket` and `l3cache_as_socket` of slurmd): the order of the cores is the same.
    """
    cores = topology.cores
    per_core = node.threads_per_core if node and node.threads_per_core else len(cores[0]) if cores else 0
    if not per_core or (node and node.sockets * node.cores_per_socket not in (0, len(cores))):
        return ()
    threads: List[int] = []
    if allocation.cpu_ids is not None:
        for number in allocation.cpu_ids:
            core, thread = divmod(number, per_core)
            if core >= len(cores):
                return ()
            whole = len(cores[core]) == per_core
            threads += [cores[core][thread]] if whole else cores[core]
    elif allocation.cores is not None:
        sockets = node.sockets if node and node.sockets else topology.sockets
        if not sockets or len(cores) % sockets:
            return ()
        per_socket = len(cores) // sockets
        for socket, core in allocation.cores:
            if core >= per_socket or socket >= sockets:
                return ()
            threads += cores[socket * per_socket + core]
    return tuple(sorted(set(threads)))


def topology_mismatches(topology: ClusterTopology, nodes: Sequence[SlurmNode]) -> List[str]:
    """The nodes that the cluster description lacks or contradicts, as sentences with the consequence."""
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
        found.append(f"the description lacks {folded}: jobs there are rejected until cluster.json has them")
    for what, names in differing.items():
        found.append(f"{fold(names)[:_SHOWN_NAMES]}: {what}: jobs there come without hardware threads")
    return found


def make_node_report(
    cluster: str, nodes: Sequence[SlurmNode], jobs: Optional[Sequence[SlurmJob]], ignored: Optional[Pattern[str]] = None
) -> NodeStateReport:
    """The state of all nodes that are not ignored, with the number of running jobs on each."""
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
