"""Running jobs can be judged and sorted before they end."""

from typing import Any

import pytest

from cc_backend.jobs.filters import JobFilter
from cc_backend.maintenance.footprints import update_footprints
from cc_backend.model import RowRule

START_S = 1_760_000_400
EVERYTHING = RowRule(everything=True)


def update(site: Any, **more: Any) -> int:
    services = site.services
    return update_footprints(services.search, services.metricdata, services.clusters, now_s=services.now_s(), **more)


def test_a_running_job_gets_the_footprint_of_its_samples_so_far(site: Any) -> None:
    id_ = site.start_job()
    site.write_node("tn01", from_s=START_S, minutes=3)
    site.clock.advance(120)
    assert update(site) == 1
    job = site.services.search.get(id_, EVERYTHING, now_s=site.services.now_s())
    assert job.footprint == pytest.approx(
        {"load_one_avg": 5.0, "mem_used_max": 12.0, "flops_any_avg": 29.0, "mem_bw_avg": 41.0}
    )


def test_lists_can_be_sorted_by_it(site: Any) -> None:
    for job_id, host in ((1, "tn01"), (2, "tn02")):
        site.start_job(jobId=job_id, resources=[{"hostname": host}])
    site.write_node("tn01", from_s=START_S, minutes=2)
    site.write_node("tn02", from_s=START_S, minutes=5)
    site.clock.advance(240)
    assert update(site) == 2
    page = site.services.search.find(JobFilter(), EVERYTHING, now_s=site.services.now_s(), order="mem_used_max")
    assert [job.job_id for job in page.jobs] == [2, 1]


def test_a_job_without_samples_and_a_finished_job_are_left_alone(site: Any) -> None:
    site.start_job()
    assert update(site) == 0
    site.write_node("tn01", from_s=START_S, minutes=3)
    site.clock.advance(120)
    site.stop_job()
    assert update(site) == 0


def test_a_job_of_a_subcluster_that_is_no_longer_configured_does_not_stop_the_others(
    site_of: Any, tern: dict[str, Any]
) -> None:
    first = site_of()
    first.start_job()
    first.start_job(jobId=2, resources=[{"hostname": "tn02"}])
    first.write_node("tn02", from_s=START_S, minutes=3)
    first.clock.advance(120)
    first.services.close()
    tern["subClusters"][0]["name"] = "renamed"
    first.services.archive.store_cluster(tern)
    second = site_of()
    assert update(second) == 0


def test_it_stops_between_two_jobs_when_asked_to(site: Any) -> None:
    site.start_job()
    site.write_node("tn01", from_s=START_S, minutes=3)
    site.clock.advance(120)
    assert update(site, stopping=lambda: True) == 0
