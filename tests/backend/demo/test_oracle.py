"""The oracle against the pages: what each character was made to show is what the pages find, and nothing else."""

from collections.abc import Callable

import pytest

from cc_backend.clusters import Clusters
from cc_backend.demo.characters import CHARACTERS
from cc_backend.demo.jobs import MadeJob
from cc_backend.demo.records import archived_job
from cc_backend.model import Level
from cc_backend.web.jobsummary import Summary, job_summary

SEEDS = (1, 2, 3)


def judged(made: MadeJob, clusters: Clusters) -> Summary:
    job, data = archived_job(made, clusters)
    sub_cluster = clusters.get(job.cluster).sub_cluster(job.sub_cluster)
    return job_summary(job, data, sub_cluster, sub_cluster.metrics, labels=[], length_s=job.duration)


def found_by(summary: Summary) -> dict[str, str]:
    """Metric, `balance` or `data` -> level."""
    found = {}
    for finding in summary.findings:
        if finding.level is Level.OK:
            continue
        subject = finding.link.removeprefix("#m-")
        if "differ" in finding.headline:
            subject = "balance"
        found[subject or "data"] = finding.level.value
    return found


@pytest.mark.parametrize("character", sorted(CHARACTERS))
@pytest.mark.parametrize("seed", SEEDS)
def test_the_pages_find_what_was_put_in(
    character: str, seed: int, job_of: Callable[..., MadeJob], clusters: Clusters
) -> None:
    made = job_of(character, seed=seed)
    summary = judged(made, clusters)
    assert found_by(summary) == dict(made.truth.findings)
    assert summary.level is not None
    assert summary.level.value == made.truth.verdict
