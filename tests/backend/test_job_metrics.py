"""Metrics of single jobs: taken without an entry, of each job its own, in API, page, footprint and archive."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from cc_backend.clusters import is_job_metric, parse_cluster, with_measured_job_metrics
from cc_backend.maintenance.running_footprints import FootprintRefresher
from cc_backend.model import JobKey

MINUTES = 10
GIB = 2**30
OWN, OTHER = 88412, 88413


def _write_jobs(site: Any, *, from_s: int, host: str = "tn01", extra: int = 0) -> None:
    """One sample a minute of two jobs on one node: memory in GiB, and processor time in percent."""
    for minute in range(MINUTES + 1):
        at = f"{from_s + minute * 60}"
        where = f"cluster=tern,hostname={host},type=job"
        site.write(
            f"job_mem_used,{where},type-id={OWN} value={(2 + extra) * GIB} {at}",
            f"job_cpu_used,{where},type-id={OWN} value=75 {at}",
            f"job_mem_used,{where},type-id={OTHER} value={7 * GIB} {at}",
            f"job_cpu_used,{where},type-id={OTHER} value=10 {at}",
            f"job_oom_kills,{where},type-id={OTHER} value=1 {at}",
        )


@pytest.fixture
def shared_node(site: Any) -> Any:
    """Two jobs that share tn01, with all samples of ten minutes; both still run."""
    start_s = int(site.clock())
    for job_id in (OWN, OTHER):
        site.start_job(jobId=job_id, shared="multi_user", numHwthreads=4)
    site.write_node("tn01", from_s=start_s, minutes=MINUTES + 1)
    _write_jobs(site, from_s=start_s)
    site.clock.advance(MINUTES * 60)
    return site


def _metrics(site: Any, database_id: int, query: str = "") -> dict[str, Any]:
    answer = site.client.get(f"/api/jobs/metrics/{database_id}{query}", headers=site.headers("api"))
    assert answer.status_code == 200, answer.text
    found = answer.get_json()["data"]["jobMetrics"]
    return {entry["name"]: entry for entry in found}


def test_each_job_of_a_shared_node_has_its_own_values(shared_node: Any) -> None:
    own, other = _metrics(shared_node, 1), _metrics(shared_node, 2)
    assert own["job_mem_used"]["scope"] == "node"
    assert own["job_mem_used"]["metric"]["unit"] == {"base": "B"}
    for metrics, mem_gib, cpu in ((own, 2, 75.0), (other, 7, 10.0)):
        (series,) = metrics["job_mem_used"]["metric"]["series"]
        assert series["hostname"] == "tn01"
        assert set(series["data"]) == {mem_gib * GIB}
        assert set(metrics["job_cpu_used"]["metric"]["series"][0]["data"]) == {cpu}
    assert "job_oom_kills" not in own, "nothing is said of what nobody sent"
    assert "job_oom_kills" in other


def test_a_metric_of_jobs_can_be_asked_for_by_name(shared_node: Any) -> None:
    assert list(_metrics(shared_node, 1, "?metric=job_mem_used")) == ["job_mem_used"]


def test_archive_statistics_and_footprint_have_them_as_metrics_of_nodes(shared_node: Any) -> None:
    site = shared_node
    start_s = int(site.clock()) - MINUTES * 60
    for job_id in (OWN, OTHER):
        site.stop_job(job_id=job_id)
    assert site.archive() == [1, 2]
    key = JobKey("tern", OWN, start_s)
    job = site.services.archive.load_meta(key)
    assert job.footprint["job_mem_used_max"] == 2 * GIB
    assert job.footprint["job_cpu_used_avg"] == 75.0
    assert job.statistics["job_mem_used"].avg == 2 * GIB
    assert str(job.statistics["job_mem_used"].unit) == "B"
    stored = site.services.archive.load_data(key)
    assert {scope.value for scope in stored["job_mem_used"]} == {"node"}
    assert _metrics(site, 1)["job_mem_used"]["metric"]["series"][0]["statistics"]["max"] == 2 * GIB
    assert _metrics(site, 2)["job_mem_used"]["metric"]["series"][0]["statistics"]["max"] == 7 * GIB


def test_a_running_job_has_them_in_its_footprint(shared_node: Any) -> None:
    services = shared_node.services
    refresher = FootprintRefresher(services.running_jobs, services.metric_data, services.clusters, services.judge)
    refresher.step(now_s=int(shared_node.clock()), budget_s=60.0)
    found = services.running_jobs.by_ids([1, 2], now_s=int(shared_node.clock()))
    assert {job.job_id: (job.footprint or {})["job_mem_used_max"] for job in found} == {OWN: 2 * GIB, OTHER: 7 * GIB}


def test_marks_of_a_job_are_taken_under_the_names_that_it_gave(shared_node: Any) -> None:
    site = shared_node
    start_s = int(site.clock()) - MINUTES * 60
    where = f"cluster=tern,hostname=tn01,type=job,type-id={OWN}"
    site.write(*(f"job_mark_loss,{where} value={10 - minute} {start_s + minute * 60}" for minute in range(MINUTES + 1)))
    found = _metrics(site, 1)["job_mark_loss"]["metric"]
    assert (found["timestep"], found["series"][0]["data"][:3]) == (60, [10.0, 9.0, 8.0])
    assert "job_mark_loss" not in _metrics(site, 2)
    site.user("hbrandt", "support", password="a long enough one")
    site.client.post("/login", data={"username": "hbrandt", "password": "a long enough one", "redirect": "/"})
    assert "job_mark_loss" in site.client.get("/monitoring/job/1/data").get_json()["plots"]
    site.stop_job(job_id=OWN)
    site.stop_job(job_id=OTHER)
    site.archive()
    assert site.services.archive.load_meta(JobKey("tern", OWN, start_s)).statistics["job_mark_loss"].max == 10
    assert "job_mark_loss" in site.client.get("/monitoring/job/1/data").get_json()["plots"]
    assert site.client.get("/monitoring/job/1/series/job_mark_loss").status_code == 200


def test_a_job_of_two_nodes_has_a_series_of_each(site: Any) -> None:
    start_s = int(site.clock())
    site.start_job(numNodes=2, resources=[{"hostname": "tn01"}, {"hostname": "tn02"}])
    _write_jobs(site, from_s=start_s)
    _write_jobs(site, from_s=start_s, host="tn02", extra=1)
    site.clock.advance(MINUTES * 60)
    series = _metrics(site, 1)["job_mem_used"]["metric"]["series"]
    assert {row["hostname"]: row["data"][0] for row in series} == {"tn01": 2 * GIB, "tn02": 3 * GIB}


@pytest.mark.parametrize("state", ["running", "archived"])
def test_the_page_shows_the_job_and_the_node_beside_it(shared_node: Any, state: str) -> None:
    site = shared_node
    if state == "archived":
        for job_id in (OWN, OTHER):
            site.stop_job(job_id=job_id)
        site.archive()
    site.user("hbrandt", "support", password="a long enough one")
    site.client.post("/login", data={"username": "hbrandt", "password": "a long enough one", "redirect": "/"})
    text = re.sub(r"<[^>]*>", "", site.client.get("/monitoring/job/1").text).replace("\N{NO-BREAK SPACE}", " ")
    assert "Memory of this job" in text
    assert "this job; the node 15.0 GB" in text
    assert "this job; the node 53.5 %" in text
    assert "Maximum memory of this job" not in text, "what was not measured is not missing either"
    plots = site.client.get("/monitoring/job/1/data").get_json()["plots"]
    assert {"job_mem_used", "job_cpu_used", "mem_used"} <= set(plots)
    assert site.client.get("/monitoring/job/1/series/job_mem_used").status_code == 200


def test_nodes_without_jobs_miss_nothing(site_of: Any, tern: dict[str, Any]) -> None:
    tern["metricConfig"].append({**tern["metricConfig"][2], "name": "job_mem_used"})
    site = site_of(clusters=[tern])
    site.write_node("tn01", from_s=int(site.clock()) - 300, minutes=6)
    body = {"cluster": "tern", "nodes": [{"hostname": "tn01", "states": ["idle"]}]}
    answer = site.client.post("/api/nodestate/", json=body, headers=site.headers("api"))
    assert answer.status_code == 200, answer.text
    (node,) = site.services.node_states.latest()
    assert (str(node.health), node.missing_metrics) == ("full", ())


def test_an_entry_of_the_cluster_replaces_the_built_in_one(tern: dict[str, Any]) -> None:
    tern["metricConfig"].append({**tern["metricConfig"][2], "name": "job_mem_used", "timestep": 30})
    shares = {**tern["metricConfig"][1], "name": "job_cpu_user"}
    tern["metricConfig"].append(shares)
    cluster, _ = parse_cluster(tern, source="test")
    sub_cluster = cluster.sub_clusters["std"]
    assert "job_mem_used" not in sub_cluster.job_metrics
    assert sub_cluster.all_metrics["job_mem_used"].timestep_s == 30
    assert sub_cluster.all_metrics["job_cpu_used"].timestep_s == 60
    assert is_job_metric(sub_cluster.all_metrics["job_mem_used"])
    assert not is_job_metric(sub_cluster.all_metrics["job_cpu_user"]), "shares of hardware threads are none of a job"
    assert not is_job_metric(sub_cluster.all_metrics["mem_used"])


def test_metrics_of_jobs_stand_behind_those_of_nodes(tern: Mapping[str, Any]) -> None:
    sub_cluster = parse_cluster(tern, source="test")[0].sub_clusters["std"]
    measured = {"job_mem_used": {1: 1}, "job_gpus": {1: 1}, "job_cpu_used": {}}
    names = list(with_measured_job_metrics(sub_cluster.metrics, sub_cluster.job_metrics, measured))
    assert names[names.index("mem_used") + 1] == "job_mem_used"
    assert names[-1] == "job_gpus"
    assert "job_cpu_used" not in names
