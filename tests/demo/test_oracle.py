"""The oracle against the pages: what each character was made to show is what the pages find, and nothing else."""

from collections.abc import Callable

import pytest

from cc_backend.clusters import ClusterRegistry
from cc_backend.insight.assessment import Assessment, assess_job, judged_metrics
from cc_backend.insight.findings import FindingCode
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.jobdata.gaps import job_gaps
from cc_demo.characters import CHARACTERS
from cc_demo.job_stream import GeneratedJob
from cc_demo.records import make_archived_job

SEEDS = (1, 2, 3)


SUBJECTS = {
    FindingCode.IDLE_NODES: "balance",
    FindingCode.IDLE_GPUS: "balance",
    FindingCode.NODES_DIFFER: "balance",
    FindingCode.STALLED: "progress",
    FindingCode.SAMPLES_ABSENT: "data",
    FindingCode.NOT_MEASURED: "data",
}


def judged(made: GeneratedJob, clusters: ClusterRegistry) -> Assessment:
    job, data = make_archived_job(made, clusters)
    sub_cluster = clusters.get(job.cluster).sub_cluster(job.sub_cluster)
    metrics = judged_metrics(sub_cluster.metrics)
    gaps = job_gaps(job, data, metrics, sub_cluster, store=None, now_s=job.stop_time)
    return assess_job(job, JobCurveSet(data).select_nodes_and_gpus(metrics), sub_cluster, metrics, gaps=gaps)


def found_by(assessment: Assessment) -> dict[str, str]:
    """Metric, `balance`, `progress`, `end` or `data` -> level."""
    return {
        SUBJECTS.get(FindingCode(finding.code)) or finding.metric or "end": finding.level.value
        for finding in assessment.problems
    }


@pytest.mark.parametrize("character", sorted(CHARACTERS))
@pytest.mark.parametrize("seed", SEEDS)
def test_the_pages_find_what_was_put_in(
    character: str, seed: int, job_of: Callable[..., GeneratedJob], clusters: ClusterRegistry
) -> None:
    made = job_of(character, seed=seed)
    assessment = judged(made, clusters)
    assert found_by(assessment) == dict(made.expected.findings)
    assert (assessment.level or "none") == made.expected.verdict
