"""The oracle against the pages: what each character was made to show is what the pages find, and nothing else."""

from collections.abc import Callable

import pytest

from cc_backend.clusters import Clusters
from cc_backend.insight.assessment import Assessment, assess, judged_metrics
from cc_backend.insight.findings import Code
from cc_backend.insight.job_curves import CurveSet
from cc_demo.characters import CHARACTERS
from cc_demo.job_stream import MadeJob
from cc_demo.records import archived_job

SEEDS = (1, 2, 3)


SUBJECTS = {
    Code.IDLE_NODES: "balance",
    Code.IDLE_GPUS: "balance",
    Code.NODES_DIFFER: "balance",
    Code.STALLED: "progress",
    Code.NODES_SILENT: "data",
    Code.NO_DATA: "data",
    Code.NOT_MEASURED: "data",
}


def judged(made: MadeJob, clusters: Clusters) -> Assessment:
    job, data = archived_job(made, clusters)
    sub_cluster = clusters.get(job.cluster).sub_cluster(job.sub_cluster)
    metrics = judged_metrics(sub_cluster.metrics)
    return assess(job, CurveSet(data).of_nodes(metrics), sub_cluster, metrics)


def found_by(assessment: Assessment) -> dict[str, str]:
    """Metric, `balance`, `progress`, `end` or `data` -> level."""
    return {
        SUBJECTS.get(Code(finding.code)) or finding.metric or "end": finding.level.value for finding in assessment.bad
    }


@pytest.mark.parametrize("character", sorted(CHARACTERS))
@pytest.mark.parametrize("seed", SEEDS)
def test_the_pages_find_what_was_put_in(
    character: str, seed: int, job_of: Callable[..., MadeJob], clusters: Clusters
) -> None:
    made = job_of(character, seed=seed)
    assessment = judged(made, clusters)
    assert found_by(assessment) == dict(made.truth.findings)
    assert (assessment.level or "none") == made.truth.verdict
