"""Pages of jobs from a real archive, where it is at hand: odd units, missing scopes, thresholds out of order."""

from datetime import UTC
from pathlib import Path

from cc_backend.archive.file_archive import FileArchive
from cc_backend.clusters import load_clusters
from cc_backend.insight.assessment import assess_job, judged_metrics
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.model import JobKey, MonitoringStatus, Scope
from cc_backend.web.job_page import PageOptions, build_job_page
from cc_backend.web.job_plots import plots_to_json


def test_real_jobs_have_pages_at_every_scope(shared_fixtures: Path) -> None:
    root = shared_fixtures / "job-archive"
    clusters, _ = load_clusters(root)
    archive = FileArchive(root)
    seen = 0
    for job in archive.iterate_jobs():
        job.monitoring_status = MonitoringStatus.ARCHIVED
        data = archive.load_data(JobKey(job.cluster, job.job_id, job.start_time))
        cluster = clusters.get(job.cluster)
        sub_cluster = clusters.sub_cluster_for(job.cluster, job.resources[0].hostname, job.sub_cluster)
        for scope in Scope:
            curves, metrics = JobCurveSet(data), cluster.sub_clusters[sub_cluster.name].metrics
            judged = judged_metrics(metrics)
            assessment = assess_job(job, curves.select_nodes_and_gpus(judged), sub_cluster, judged)
            page = build_job_page(
                job,
                curves,
                assessment,
                sub_cluster,
                metrics,
                options=PageOptions(scope),
                zone=UTC,
                now_s=job.stop_time,
            )
            assert page.plots
            assert all("nan" not in plot.svg for plot in page.plots)
            assert plots_to_json(job, page.plots, UTC, clock=True)["plots"]
        seen += 1
    assert seen
