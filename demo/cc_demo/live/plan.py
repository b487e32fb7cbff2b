"""The jobs of the made-up cluster: ended, running, coming. A function of seed and time only."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from cc_demo.cluster_shape import ClusterShape, SubClusterShape
from cc_demo.job_stream import GeneratedJob, generate_jobs

HISTORY_S = 5 * 86400
FINISHED = 200
SEEDS = (340, 376, 271, 1075, 19, 24, 4, 186, 83, 259)
"""One for each lane, chosen for what runs at the first start: something of nearly everything that can be wrong."""

SHAPE = ClusterShape(
    "birch",
    (
        SubClusterShape("cpu", 12, "bn"),
        SubClusterShape("gpu", 4, "bg", gpus=4, memory_gb=512, flop_rate_g=1536.0, bandwidth_gb_s=400.0),
    ),
    timestep_s=30,
)


@dataclass(slots=True)
class Plan:
    """The jobs of the cluster as of some time: those that ended, newest last, those that run, and what comes."""

    ended: list[GeneratedJob]
    running: list[GeneratedJob]
    coming: Iterator[GeneratedJob]
    _next: GeneratedJob | None = field(default=None)

    @classmethod
    def at(cls, now_s: int, *, anchor_s: int) -> "Plan":
        """The plan of a cluster whose demo was made at `anchor_s`, as of now."""
        coming = generate_jobs(SHAPE, SEEDS, first_start_s=anchor_s - HISTORY_S)
        plan = cls([], [], coming)
        for job in plan.starting(now_s):
            (plan.ended if job.stop_time <= now_s else plan.running).append(job)
        plan.ended.sort(key=lambda job: job.stop_time)
        return plan

    def starting(self, now_s: int) -> Iterator[GeneratedJob]:
        """The jobs that start until a time and were not handed out yet."""
        while True:
            if self._next is None:
                self._next = next(self.coming)
            if self._next.start_time > now_s:
                return
            job, self._next = self._next, None
            yield job
