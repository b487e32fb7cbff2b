"""The jobs of the site that screenshots and browser tests show: everyday ones, and some that are hard to show.

They are jobs of the generator with names, places and times of their own; each has the fault it is there to show.
"""

from dataclasses import dataclass, replace
from typing import Any

from cc_demo.characters import CHARACTERS, JobCharacter, MetricProfile, Placement
from cc_demo.cluster_shape import ClusterShape, SubClusterShape
from cc_demo.job_stream import GeneratedJob
from cc_demo.lanes import JobLane

HOUR_S, MINUTE_S = 3600, 60
SITE = ClusterShape(
    "tarn",
    (
        SubClusterShape("main", 320, "tn"),
        SubClusterShape("gpu", 16, "tg", gpus=4, memory_gb=512, flop_rate_g=1536.0, bandwidth_gb_s=400.0),
    ),
    timestep_s=120,
)
"""The cluster of the site; a subcluster is `main`, or `gpu` for jobs with GPUs."""

SEED = 1
TIME_LEFT_S = HOUR_S
"""How long a running job would still run."""
_BEFORE_SAMPLE_S = 17  # jobs do not start at the time of a sample, but even the shortest has one


@dataclass(frozen=True, slots=True)
class SiteJob:
    """One job: number, name, owner, first node (counted from 1) and nodes, how long ago it began and how long it ran.

    `ran_s` 0 means that it still runs. With `threads` it has only that many hardware threads of its node.
    """

    job_id: int
    name: str
    owner: tuple[str, str]
    first_node: int
    nodes: int
    age_s: int
    ran_s: int
    character: JobCharacter
    tags: tuple[tuple[str, str], ...] = ()
    threads: int = 0

    def generate(self, now_s: int) -> GeneratedJob:
        """The job as of a time."""
        shape = SITE.sub_clusters[1 if Placement.GPU in self.character.places else 0]
        hosts = tuple(shape.hosts()[self.first_node - 1 : self.first_node - 1 + self.nodes])
        place = Placement.PART if self.threads else self.character.places[0]
        return GeneratedJob(
            cluster=SITE.name,
            seed=SEED,
            lane=JobLane(self.first_node, shape, hosts, place, tuple(range(self.threads))),
            index=self.job_id,
            job_id=self.job_id,
            start_time=(now_s - self.age_s) // SITE.timestep_s * SITE.timestep_s - _BEFORE_SAMPLE_S,
            duration=self.ran_s or self.age_s + TIME_LEFT_S,
            user=self.owner[0],
            project=self.owner[1],
            character=self.character,
            given_name=self.name,
            tags=self.tags,
        )


def _like(name: str, **changes: Any) -> JobCharacter:
    """A character of the generator with changes; a state is the one that its job ends in."""
    return replace(CHARACTERS[name], **changes)


def _ago(hours: float, minutes: float = 0) -> int:
    return int(hours * HOUR_S + minutes * MINUTE_S)


WORKS, GPU_WORKS = CHARACTERS["works"], CHARACTERS["gpu_works"]
_HARDLY_USED = _like(
    "shared", states=("timeout",),
    profiles={
        "cpu_load": MetricProfile(0.02), "cpu_user": MetricProfile(0.02), "flops_any": MetricProfile(0.001),
        "mem_bw": MetricProfile(0.005), "mem_used": MetricProfile(0.02), "cpu_power": MetricProfile(0.1),
    },
)  # fmt: skip
_MUCH_MEMORY = _like("works", profiles={"mem_used": MetricProfile(0.84, spread=0.004)})
_HALF_LOADED = _like("works", profiles={"cpu_load": MetricProfile(0.5, spread=0.02)})

HARDLY_USED = 4711744
"""A job of which most checks are lit."""
EVERYDAY_JOBS = (
    SiteJob(
        4711823, "md_prod_310K", ("mlindq", "chem-102"), 245, 16, _ago(6, 41), 0,
        _like("works", slack_share=0.25, slack_from=0.28, gap=(0.195, 0.23)),
        (("code", "gromacs"), ("campaign", "membrane 2026")),
    ),
    SiteJob(4711788, "assemble_meta_3", ("wchen", "bio-077"), 61, 2, _ago(8, 22), 0, WORKS, (("code", "python"),)),
    SiteJob(4711790, "channel_re5200", ("holsen", "flow-031"), 100, 64, _ago(8, 13), 0, WORKS, (("code", "nek"),)),
    SiteJob(4711831, "fep_lambda_10", ("mlindq", "chem-102"), 3, 1, _ago(0, 41), 0, GPU_WORKS, (("code", "gromacs"),)),
    SiteJob(4711834, "relax_cell", ("nhaddad", "mat-019"), 200, 1, _ago(0, 52), 0, WORKS),
    SiteJob(
        HARDLY_USED, "jupyter", ("pnair", "phys-014"), 30, 1, _ago(22), _ago(12), _HARDLY_USED,
        (("note", "interactive"),), threads=8,
    ),
    SiteJob(
        4711765, "cp2k_slab_relax", ("lferri", "mat-019"), 112, 8, _ago(15), _ago(11, 56), _MUCH_MEMORY,
        (("code", "cp2k"),),
    ),
    SiteJob(
        4711771, "bench_dgemm", ("tkowal", "phys-014"), 40, 1, _ago(13), _ago(0, 22), CHARACTERS["compute_bound"]
    ),
    SiteJob(
        4711702, "sweep_k_0417", ("sokafor", "phys-014"), 301, 1, _ago(26), _ago(0, 18),
        _like("works", states=("failed",), absent=("flops_any", "mem_bw")),
    ),
    SiteJob(4711760, "wrf_ens_07", ("adiallo", "clim-007"), 20, 8, _ago(17), _ago(4, 2), WORKS),
    SiteJob(4711731, "slab_md_800K", ("nhaddad", "mat-019"), 8, 4, _ago(30), _ago(21, 33), WORKS),
    SiteJob(
        4711690, "euler_mg_fine", ("jweiss", "flow-031"), 70, 12, _ago(34), _ago(9, 47), CHARACTERS["memory_bound"]
    ),
    SiteJob(
        4711620, "euler_mg_coarse", ("jweiss", "flow-031"), 70, 2, _ago(50), _ago(2, 10),
        _like("works", states=("cancelled",)),
    ),
    SiteJob(
        4711601, "traj_analysis", ("mlindq", "chem-102"), 15, 1, _ago(56), _ago(0, 26), CHARACTERS["memory_grows"]
    ),
)  # fmt: skip

IDLE_NODE, HUNG, GPUS, TWELVE_NODES, SILENT_NODE, ONE_MINUTE, ARRAY, LONG_NAMES, IDLE_GPU = range(4720001, 4720010)
_LONG_NAME = "assemble_meta_473_resumed_from_checkpoint_000412" + "WithoutAnyPlaceToBreakIt" * 6
_LONG_ACCOUNT = "maximiliane.von-und-zu-hohenschwangau-neuschwanstein@physik.example"

EDGE_CASES = (
    SiteJob(
        IDLE_NODE, "cp2k_surface", ("nhaddad", "mat-019"), 270, 4, _ago(1, 41), 0, _like("works", slack_share=0.25)
    ),
    SiteJob(HUNG, "wrf_ens_11", ("adiallo", "clim-007"), 280, 2, _ago(9), 0, CHARACTERS["hung"]),
    SiteJob(GPUS, "train_unet", ("pnair", "phys-014"), 5, 2, _ago(3), 0, CHARACTERS["idle_gpu"]),
    SiteJob(IDLE_GPU, "llm_finetune", ("pnair", "phys-014"), 7, 2, _ago(2), 0, _like("gpu_works", idle_gpus=1)),
    SiteJob(
        TWELVE_NODES, "euler_mg_finest", ("jweiss", "flow-031"), 140, 12, _ago(8), _ago(7),
        _like("works", slack_share=1 / 12, slack_from=0.5),
    ),
    SiteJob(
        SILENT_NODE, "channel_re180", ("holsen", "flow-031"), 284, 4, _ago(5), 0, _like("works", silent_from=0.46)
    ),
    SiteJob(
        ONE_MINUTE, "hello", ("lferri", "mat-019"), 170, 1, _ago(2), 60, _like("tiny", states=("completed",))
    ),
    SiteJob(
        ARRAY, "sweep", ("sokafor", "phys-014"), 171, 1, _ago(0, 50), _ago(0, 40), _like("array", states=("failed",)),
        (("code", "kmesh"),),
    ),
    SiteJob(
        LONG_NAMES, _LONG_NAME, (_LONG_ACCOUNT, "project-" + "x" * 60), 275, 3, _ago(0, 40), 0, _HALF_LOADED,
        (("campaign", "a-campaign-with-a-name-as-long-as-this-one-" + "y" * 60), ("code", "gromacs")),
    ),
)  # fmt: skip
