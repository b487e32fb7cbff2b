"""What can be right or wrong with a job, declared as data: how its metrics run, and what is to be found in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Placement(StrEnum):
    """Where jobs of a character run."""

    SEVERAL = "several nodes"
    ONE = "one node"
    SHORT = "one node, short"
    PART = "part of a node"
    GPU = "GPU node"


@dataclass(frozen=True, slots=True)
class ExpectedVerdict:
    """The oracle: the verdict on a finished job, and what must be found.

    `findings` maps a metric of the footprint, `balance`, `progress`, `end` or `data` to the level it must be judged
    with; nothing else may be found. Levels are words as the pages have them; verdict `ok` means that nothing
    stands out, `none` that the job is too short to be judged.
    """

    verdict: str = "ok"
    findings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MetricProfile:
    """How a metric runs, as a part of its peak: a level, from some second on another one, or steadily up to one."""

    level: float
    then: float | None = None
    then_from_s: int = 0
    grows_to: float | None = None
    spread: float = 0.03
    dip: float = 0.0


# What a node shows that does nothing, as a part of the peak.
IDLE_LEVELS: Mapping[str, float] = {
    "cpu_load": 0.004,
    "cpu_user": 0.004,
    "flops_any": 0.0005,
    "mem_bw": 0.004,
    "mem_used": 0.03,
    "cpu_power": 0.24,
    "clock": 0.36,
    "net_bw": 0.0004,
    "acc_utilization": 0.0,
    "acc_mem_used": 0.006,
    "acc_power": 0.12,
}
# Level and noise of a program that works as it should.
WORKING_PROFILES: Mapping[str, MetricProfile] = {
    "cpu_load": MetricProfile(0.975, spread=0.008),
    "cpu_user": MetricProfile(0.965, spread=0.02, dip=0.05),
    "flops_any": MetricProfile(0.21, spread=0.05, dip=0.5),
    "mem_bw": MetricProfile(0.44, spread=0.05, dip=0.4),
    "mem_used": MetricProfile(0.31, spread=0.004),
    "cpu_power": MetricProfile(0.78, spread=0.015, dip=0.1),
    "clock": MetricProfile(0.8, spread=0.01),
    "net_bw": MetricProfile(0.08, spread=0.3),
    "acc_utilization": MetricProfile(0.86, spread=0.05, dip=0.3),
    "acc_mem_used": MetricProfile(0.55, spread=0.003),
    "acc_power": MetricProfile(0.68, spread=0.04, dip=0.2),
}
GPU_HOST_PROFILES: Mapping[str, MetricProfile] = {
    "cpu_load": MetricProfile(0.27, spread=0.02),
    "cpu_user": MetricProfile(0.26, spread=0.06),
    "flops_any": MetricProfile(0.015, spread=0.1),
    "mem_bw": MetricProfile(0.07, spread=0.1),
    "cpu_power": MetricProfile(0.42, spread=0.02),
}


@dataclass(frozen=True, slots=True)
class JobCharacter:
    """A kind of job: where it runs and how long, how its metrics differ from WORKING_PROFILES, how it ends, its faults.

    `slack_share` of its nodes do nothing, from the part `slack_from` of the run on; so do the last `idle_gpus` GPUs of
    its last node. From the part `silent_from` of the run on its last node sends nothing; in the parts from `gap[0]` to
    `gap[1]` no node does. The metrics in `absent` are never sent.
    """

    name: str
    words: str
    places: tuple[Placement, ...]
    expected: ExpectedVerdict
    shortest_s: int = 5400
    longest_s: int = 9 * 3600
    profiles: Mapping[str, MetricProfile] = field(default_factory=dict)
    states: tuple[str, ...] = ("completed",)
    slack_share: float = 0.0
    slack_from: float = 0.0
    idle_gpus: int = 0
    silent_from: float | None = None
    gap: tuple[float, float] | None = None
    absent: tuple[str, ...] = ()
    is_array: bool = False
    programs: tuple[str, ...] = ("md_prod", "relax_cell", "channel_re", "wave_dns", "lattice")
    weight: int = 4

    def profile_of(self, metric: str) -> MetricProfile:
        """How a metric of a node runs that works for this job; a metric without a word of its own runs at a third."""
        return self.profiles.get(metric) or WORKING_PROFILES.get(metric) or MetricProfile(0.33)


_CPU = (Placement.SEVERAL, Placement.ONE)
_FROM_10_MIN = 600

CHARACTERS: Mapping[str, JobCharacter] = {
    character.name: character
    for character in (
        JobCharacter("works", "does what it should", _CPU, ExpectedVerdict(), weight=7),
        JobCharacter(
            "gpu_works",
            "keeps its GPUs at work",
            (Placement.GPU,),
            ExpectedVerdict(),
            profiles=GPU_HOST_PROFILES,
            programs=("train_unet", "fep_lambda", "md_gpu"),
            weight=5,
        ),
        JobCharacter(
            "idle_gpu",
            "has GPUs and does not use them",
            (Placement.GPU,),
            ExpectedVerdict("alert", {"acc_utilization": "alert"}),
            weight=2,
            profiles={
                "acc_utilization": MetricProfile(0.02, spread=0.5),
                "acc_mem_used": MetricProfile(0.012),
                "acc_power": MetricProfile(0.13),
                **{
                    name: WORKING_PROFILES[name]
                    for name in ("cpu_load", "cpu_user", "flops_any", "mem_bw", "cpu_power")
                },
            },
            programs=("notebook", "train_cpu_only"),
            states=("completed", "cancelled"),
        ),
        JobCharacter(
            "memory_bound",
            "waits for the memory",
            _CPU,
            ExpectedVerdict("high", {"mem_bw": "high"}),
            weight=2,
            profiles={
                "mem_bw": MetricProfile(0.92, spread=0.02, dip=0.15),
                "flops_any": MetricProfile(0.12, spread=0.03, dip=0.1),
            },
            programs=("stream_triad", "spmv_cg", "euler_mg"),
        ),
        JobCharacter(
            "compute_bound",
            "uses the vector units to the full",
            _CPU,
            ExpectedVerdict("high", {"flops_any": "high"}),
            weight=2,
            profiles={
                "flops_any": MetricProfile(0.66, spread=0.03, dip=0.1),
                "mem_bw": MetricProfile(0.27, spread=0.04, dip=0.1),
                "cpu_power": MetricProfile(0.95, spread=0.01),
            },
            programs=("dgemm_sweep", "cp2k_slab", "hpl_small"),
        ),
        JobCharacter(
            "imbalance",
            "leaves a quarter of its nodes without work",
            (Placement.SEVERAL,),
            ExpectedVerdict("alert", {"balance": "alert"}),
            slack_share=0.25,
            weight=2,
            programs=("assemble_meta", "mc_sampler"),
        ),
        JobCharacter(
            "memory_grows",
            "takes more and more memory",
            (Placement.ONE,),
            ExpectedVerdict("alert", {"mem_used": "alert"}),
            shortest_s=3600,
            longest_s=5 * 3600,
            weight=2,
            states=("out_of_memory",),
            profiles={"mem_used": MetricProfile(0.12, grows_to=0.985, spread=0.003)},
            programs=("traj_analysis", "graph_build"),
        ),
        JobCharacter(
            "hung",
            "hangs after ten minutes",
            _CPU,
            ExpectedVerdict("alert", {"progress": "alert"}),
            shortest_s=3 * 3600,
            weight=2,
            profiles={
                "flops_any": MetricProfile(0.21, 0.0006, _FROM_10_MIN, spread=0.05),
                "mem_bw": MetricProfile(0.44, 0.006, _FROM_10_MIN, spread=0.05),
                "net_bw": MetricProfile(0.08, 0.0004, _FROM_10_MIN, spread=0.3),
                "cpu_power": MetricProfile(0.78, 0.52, _FROM_10_MIN, spread=0.015),
            },
            states=("timeout", "cancelled"),
            programs=("coupled_ocean", "solver_mpi"),
        ),
        JobCharacter(
            "tiny",
            "ends after a moment",
            (Placement.SHORT,),
            ExpectedVerdict("none"),
            shortest_s=60,
            longest_s=240,
            states=("completed", "completed", "failed"),
            programs=("test_run", "smoke"),
            weight=3,
        ),
        JobCharacter(
            "array",
            "is one of many alike",
            (Placement.SHORT,),
            ExpectedVerdict(),
            shortest_s=600,
            longest_s=1500,
            is_array=True,
            programs=("sweep_k",),
            weight=5,
        ),
        JobCharacter(
            "shared",
            "shares its node with others",
            (Placement.PART,),
            ExpectedVerdict(),
            shortest_s=1200,
            longest_s=3 * 3600,
            profiles={
                "cpu_load": MetricProfile(0.82, spread=0.02),
                "mem_used": MetricProfile(0.21, spread=0.01),
                "clock": MetricProfile(0.8, spread=0.01),
                "net_bw": MetricProfile(0.02, spread=0.3),
            },
            programs=("post_proc", "jupyter", "align_reads"),
        ),
        JobCharacter(
            "silent",
            "loses the samples of a node",
            (Placement.SEVERAL,),
            ExpectedVerdict("artefact", {"data": "artefact"}),
            silent_from=0.3,
            weight=1,
            shortest_s=2 * 3600,
        ),
    )
}
