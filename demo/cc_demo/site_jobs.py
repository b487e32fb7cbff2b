"""The jobs of the made-up site, each with the fault it is there to show."""

from dataclasses import dataclass, field

from cc_demo.job_shapes import Shape

HOUR_S, MINUTE_S = 3600, 60
SCRIPT = """#!/bin/bash -l
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --time=24:00:00
#SBATCH --export=NONE

module load {code}
srun {code} -s {name}.in
"""


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One job: who, what, where, how long ago, how long, and the levels of its metrics per node.

    `idle_gpus` are the last GPUs of the last node. From the share `silent_from` of its time on the last node sends
    nothing; from `hung_from` on all nodes wait, at full load, and compute nothing.
    """

    job_id: int
    name: str
    user: str
    project: str
    first_node: int
    nodes: int
    age_s: int
    ran_s: int
    state: str
    load: float
    flops: float
    bandwidth: float
    memory: float
    vector: float = 55.0
    power: float = 520.0
    shape: Shape = field(default_factory=Shape)
    idle_nodes: int = 0
    idle_gpus: int = 0
    idle_from: float = 1.0
    gap: tuple[float, float] = (0.0, 0.0)
    absent: tuple[str, ...] = ()
    silent_from: float = 1.0
    hung_from: float = 1.0
    array_job_id: int = 0
    cores: int = 0
    gpus: int = 0
    gpu_use: float = 0.0
    tags: tuple[tuple[str, str], ...] = ()
    code: str = "gromacs"

    @property
    def running(self) -> bool:
        """Whether the job still runs."""
        return self.state == "running"


def _ago(hours: float, minutes: float = 0) -> int:
    return int(hours * HOUR_S + minutes * MINUTE_S)


JOBS = (
    DemoJob(
        4711823, "md_prod_310K", "mlindq", "chem-102", 245, 16, _ago(6, 41), 0, "running", 95.6, 352, 84, 71, 22.5,
        shape=Shape(spread=0.05, dips=13, dip_depth=0.75), idle_nodes=4, idle_from=0.325, gap=(0.225, 0.265),
        tags=(("code", "gromacs"), ("campaign", "membrane 2026")),
    ),
    DemoJob(
        4711788, "assemble_meta_3", "wchen", "bio-077", 61, 2, _ago(8, 22), 0, "running", 58, 128, 141, 212,
        shape=Shape(spread=0.14, dips=9, dip_depth=0.9), tags=(("code", "python"),), code="python",
    ),
    DemoJob(
        4711790, "channel_re5200", "holsen", "flow-031", 100, 64, _ago(8, 13), 0, "running", 95.8, 1180, 412, 148,
        shape=Shape(spread=0.03, sine=38), tags=(("code", "nek"),), code="nek",
    ),
    DemoJob(
        4711831, "fep_lambda_10", "mlindq", "chem-102", 3, 1, _ago(0, 41), 0, "running", 14, 40, 35, 88, gpus=4,
        gpu_use=86, shape=Shape(spread=0.06, dips=4, ramp=0.1), tags=(("code", "gromacs"),),
    ),
    DemoJob(
        4711834, "relax_cell", "nhaddad", "mat-019", 200, 1, _ago(0, 52), 0, "running", 95, 610, 205, 60,
        shape=Shape(spread=0.05, saw=5), code="cp2k",
    ),
    DemoJob(
        4711744, "jupyter", "pnair", "phys-014", 30, 1, _ago(22), _ago(12), "timeout", 1.1, 2.4, 3.1, 26, 8, 170,
        shape=Shape(spread=0.6, end=0.3), cores=16, tags=(("note", "interactive"),), code="python",
    ),
    DemoJob(
        4711765, "cp2k_slab_relax", "lferri", "mat-019", 112, 8, _ago(15), _ago(11, 56), "completed", 95.1, 861, 236,
        300, shape=Shape(spread=0.04, saw=11, ramp=0.001), tags=(("code", "cp2k"),), code="cp2k",
    ),
    DemoJob(
        4711771, "bench_dgemm", "tkowal", "phys-014", 40, 1, _ago(13), _ago(0, 22), "completed", 95.9, 3920, 118, 55,
        90, 640, shape=Shape(spread=0.02, ramp=0.05), code="dgemm",
    ),
    DemoJob(
        4711702, "sweep_k_0417", "sokafor", "phys-014", 301, 1, _ago(26), _ago(0, 18), "failed", 88, 0, 0, 41,
        shape=Shape(spread=0.05, end=0.9), absent=("flops_any", "mem_bw", "vectorization_ratio"), code="kmesh",
    ),
    DemoJob(
        4711760, "wrf_ens_07", "adiallo", "clim-007", 20, 8, _ago(17), _ago(4, 2), "completed", 94.9, 688, 331, 91,
        shape=Shape(spread=0.04, dips=8, step_at=0.5, step_factor=1.08), code="wrf",
    ),
    DemoJob(
        4711731, "slab_md_800K", "nhaddad", "mat-019", 8, 4, _ago(30), _ago(21, 33), "completed", 94, 731, 188, 96,
        shape=Shape(spread=0.02, step_at=0.62, step_factor=0.9), code="cp2k",
    ),
    DemoJob(
        4711690, "euler_mg_fine", "jweiss", "flow-031", 70, 12, _ago(34), _ago(9, 47), "completed", 95.2, 540, 402, 203,
        shape=Shape(spread=0.04, saw=7), code="euler",
    ),
    DemoJob(
        4711620, "euler_mg_coarse", "jweiss", "flow-031", 70, 2, _ago(50), _ago(2, 10), "cancelled", 95, 510, 380, 190,
        code="euler",
    ),
    DemoJob(
        4711601, "traj_analysis", "mlindq", "chem-102", 15, 1, _ago(56), _ago(0, 26), "out_of_memory", 40, 310, 110,
        372, code="python",
    ),
)  # fmt: skip
