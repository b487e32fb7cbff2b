"""Jobs of the made-up site that are hard to show: each is looked at before a release, see packaging/screenshots.py."""

from cc_demo.job_shapes import Shape
from cc_demo.site_jobs import HOUR_S, MINUTE_S, DemoJob

IDLE_NODE, HUNG, GPUS, TWELVE_NODES, SILENT_NODE, ONE_MINUTE, ARRAY, LONG_NAMES, IDLE_GPU = range(4720001, 4720010)
_LONG_NAME = "assemble_meta_473_resumed_from_checkpoint_000412" + "WithoutAnyPlaceToBreakIt" * 6
_LONG_ACCOUNT = "maximiliane.von-und-zu-hohenschwangau-neuschwanstein@physik.example"

EDGE_CASES = (
    DemoJob(
        IDLE_NODE, "cp2k_surface", "nhaddad", "mat-019", 270, 4, 101 * MINUTE_S, 0, "running", 95, 610, 205, 60,
        shape=Shape(spread=0.03, saw=6), idle_nodes=1, idle_from=0.0, code="cp2k",
    ),
    DemoJob(
        HUNG, "wrf_ens_11", "adiallo", "clim-007", 280, 2, 9 * HOUR_S, 0, "running", 95, 688, 331, 91,
        shape=Shape(spread=0.04), hung_from=0.2, code="wrf",
    ),
    DemoJob(
        GPUS, "train_unet", "pnair", "phys-014", 5, 2, 3 * HOUR_S, 0, "running", 9, 30, 25, 60, gpus=4, gpu_use=4,
        shape=Shape(spread=0.1), code="python",
    ),
    DemoJob(
        IDLE_GPU, "llm_finetune", "pnair", "phys-014", 7, 2, 2 * HOUR_S, 0, "running", 9, 30, 25, 60, gpus=4,
        gpu_use=91, idle_gpus=1, shape=Shape(spread=0.05), code="python",
    ),
    DemoJob(
        TWELVE_NODES, "euler_mg_finest", "jweiss", "flow-031", 140, 12, 8 * HOUR_S, 7 * HOUR_S, "completed", 95, 540,
        402, 203, shape=Shape(spread=0.04, saw=7), idle_nodes=1, idle_from=0.5, code="euler",
    ),
    DemoJob(
        SILENT_NODE, "channel_re180", "holsen", "flow-031", 284, 4, 5 * HOUR_S, 0, "running", 95, 700, 300, 140,
        shape=Shape(spread=0.03, sine=9), silent_from=0.55, code="nek",
    ),
    DemoJob(
        ONE_MINUTE, "hello", "lferri", "mat-019", 170, 1, 2 * HOUR_S, 60, "completed", 20, 11, 9, 12,
        shape=Shape(ramp=0.0), code="python",
    ),
    DemoJob(
        ARRAY, "sweep", "sokafor", "phys-014", 171, 1, 50 * MINUTE_S, 40 * MINUTE_S, "failed", 70, 310, 110, 40,
        array_job_id=4720000, tags=(("code", "kmesh"),), code="kmesh",
    ),
    DemoJob(
        LONG_NAMES, _LONG_NAME, _LONG_ACCOUNT, "project-" + "x" * 60, 275, 3, 40 * MINUTE_S, 0, "running", 60, 300, 100,
        100, tags=(("campaign", "a-campaign-with-a-name-as-long-as-this-one-" + "y" * 60), ("code", "gromacs")),
    ),
)  # fmt: skip
