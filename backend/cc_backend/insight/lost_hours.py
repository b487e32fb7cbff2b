"""Core hours and GPU hours of a job, and how many of them were lost.

Lost are the hours of the cores of the job on the nodes that a finding is about, over the time that it is about, times
the share that was not in use; for jobs with GPUs the hours of its GPUs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cc_backend.clusters.model import SubCluster
from cc_backend.model import Job, Resource

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class ComputeHours:
    """Core hours and GPU hours."""

    core: float = 0.0
    gpu: float = 0.0

    def __add__(self, other: "ComputeHours") -> "ComputeHours":
        return ComputeHours(self.core + other.core, self.gpu + other.gpu)


class JobHours:
    """Converts time on nodes to hours, by the cores and GPUs that a job has of each node."""

    def __init__(self, job: Job, sub_cluster: SubCluster | None) -> None:
        self._job = job
        self._per_core = max(1, sub_cluster.threads_per_core) if sub_cluster else 1
        self._node_threads = len(sub_cluster.topology.node) if sub_cluster else 0
        self._resources = {resource.hostname: resource for resource in job.resources}

    def cores(self, host: str) -> float:
        """The cores that the job has of a node."""
        resource = self._resources.get(host)
        threads = len(resource.hwthreads) if resource else 0
        if not threads:
            shared = self._job.shared not in ("", "none")
            even = self._job.num_hwthreads / max(self._job.num_nodes, 1)
            threads = int(even) if shared or not self._node_threads else self._node_threads
        return -(-threads // self._per_core)

    def lost_hours(self, hosts: Iterable[str], seconds: float, *, in_use: float = 0.0) -> ComputeHours:
        """The hours lost on the hosts in `seconds`, of which the share `in_use` (0 to 1) was used."""
        share = min(max(1.0 - in_use, 0.0), 1.0) * max(seconds, 0.0) / HOUR_S
        names = list(hosts)
        if self._job.num_acc:
            return ComputeHours(gpu=share * sum(self._gpus(self._resources.get(name)) for name in names))
        return ComputeHours(core=share * sum(self.cores(name) for name in names))

    def total_hours(self) -> ComputeHours:
        """All hours of the job."""
        return self.lost_hours(self._resources, self._job.duration)

    def _gpus(self, resource: Resource | None) -> float:
        if resource and resource.accelerators:
            return len(resource.accelerators)
        return self._job.num_acc / max(self._job.num_nodes, 1)
