"""What a drop-in for the reference's REST interface must do, check by check, through the real parts."""

import re
from typing import Any

import pytest

from cc_backend.services import Services

# What the reference's Slurm adapter sends for a started job: empty keys included.
ADAPTER_START = {
    "cluster": "tern",
    "subCluster": "",
    "partition": "day",
    "project": "hydro7",
    "user": "mlindqv",
    "shared": "multi_user",
    "jobState": "",
    "tags": None,
    "resources": [{"hostname": "tn01", "hwthreads": [0, 1, 4, 5]}],
    "energyFootprint": None,
    "footprint": None,
    "metaData": {"jobName": "relax", "slurmInfo": "JobId=88412", "submitTime": "1760000300"},
    "concurrentJobs": {"items": None, "count": 0},
    "energy": 0,
    "walltime": 7200,
    "jobId": 88412,
    "duration": 0,
    "numHwthreads": 4,
    "numNodes": 1,
    "statistics": None,
    "startTime": 1760000400,
}
ADAPTER_LIST = "/api/jobs/?state=running&items-per-page=9999999&page=1&with-metadata=false"


def test_check_1_the_adapters_list_shows_a_job_started_a_second_ago(site: Any) -> None:
    site.start_job()
    site.clock.advance(1)
    answer = site.client.get(ADAPTER_LIST, headers={**site.headers(), "accept": "application/ld+json"})
    assert answer.status_code == 200
    (job,) = answer.get_json()["jobs"]
    assert (job["cluster"], job["jobId"], job["jobState"]) == ("tern", 88412, "running")


def test_check_2_a_start_with_the_adapters_empty_keys_is_taken_and_its_repetition_is_422(site: Any) -> None:
    first = site.client.post("/api/jobs/start_job/", json=ADAPTER_START, headers=site.headers())
    again = site.client.post("/api/jobs/start_job/", json=ADAPTER_START, headers=site.headers())
    assert (first.status_code, first.get_json()["msg"]) == (201, "success")
    assert isinstance(first.get_json()["id"], int)
    assert again.status_code == 422


def test_check_3_a_stop_without_start_time_gives_the_job_then_422_and_404_if_unknown(site: Any) -> None:
    site.start_job()
    stop = {"jobId": 88412, "cluster": "tern", "jobState": "timeout", "stopTime": int(site.clock.advance(3600))}
    first = site.client.post("/api/jobs/stop_job/", json=stop, headers=site.headers())
    again = site.client.post("/api/jobs/stop_job/", json=stop, headers=site.headers())
    unknown = site.client.post("/api/jobs/stop_job/", json={**stop, "jobId": 1}, headers=site.headers())
    assert (first.status_code, first.get_json()["jobState"], first.get_json()["duration"]) == (200, "timeout", 3600)
    assert (again.status_code, unknown.status_code) == (422, 404)


def test_check_5_a_token_is_taken_from_either_header(site: Any) -> None:
    token = site.token("api")
    for headers in ({"X-Auth-Token": token}, {"x-auth-token": token}, {"Authorization": f"Bearer {token}"}):
        assert site.client.get("/api/jobs/", headers=headers).status_code == 200


def test_check_5_the_role_user_alone_is_401(site: Any) -> None:
    answer = site.client.get("/api/jobs/", headers=site.headers("user"))
    assert answer.status_code == 401
    assert answer.get_json()["status"] == "Unauthorized"


def test_check_6_errors_are_status_and_error(site: Any) -> None:
    answers = [
        site.client.get("/api/jobs/"),
        site.client.get("/api/nothing/here", headers=site.headers()),
        site.client.get("/api/jobs/?state=lazy", headers=site.headers()),
        site.client.post("/api/jobs/start_job/", data="{", headers=site.headers()),
        site.client.delete("/api/jobs/start_job/", headers=site.headers()),
    ]
    assert [answer.status_code for answer in answers] == [401, 404, 400, 400, 405]
    for answer in answers:
        assert answer.content_type == "application/json"
        assert set(answer.get_json()) >= {"status", "error"}


@pytest.mark.parametrize("path", ["/api/write", "/api/write/", "/metricstore/write", "/metricstore/write/"])
def test_check_7_a_write_is_200_with_an_empty_body_with_and_without_slash(site: Any, path: str) -> None:
    lines = f"load_one,hostname=tn01,type=node value=1 {int(site.clock())}\n"
    answer = site.client.post(f"{path}?cluster=tern", data=lines, headers=site.headers())
    assert (answer.status_code, answer.data, answer.content_type) == (200, b"", "application/json")
    assert site.services.store.hosts("tern") == ["tn01"]


def test_check_8_one_job_is_meta_and_data_in_capitals(site: Any) -> None:
    database_id = site.start_job()
    answer = site.client.get(f"/api/jobs/{database_id}", headers=site.headers()).get_json()
    assert (answer["Meta"]["jobId"], answer["Data"]) == (88412, None)


def test_check_8_metrics_are_in_data_job_metrics(site: Any) -> None:
    database_id = _job_with_samples(site)
    answer = site.client.get(f"/api/jobs/metrics/{database_id}?metric=load_one", headers=site.headers()).get_json()
    (entry,) = answer["data"]["jobMetrics"]
    assert (entry["name"], entry["scope"], answer["error"]) == ("load_one", "node", None)
    assert set(entry["metric"]) >= {"unit", "timestep", "series"}


def test_check_9_samples_have_two_decimals_and_gaps_are_null(site: Any) -> None:
    database_id = _job_with_samples(site, skip=(2,))
    for path in (f"/api/jobs/metrics/{database_id}?metric=load_one", f"/api/jobs/{database_id}?all-metrics=true"):
        text = site.client.get(path, headers=site.headers()).text
        (samples, *_) = re.findall(r'"data":\[([^\[\]{}]*)\]', text)
        values = samples.split(",")
        assert "null" in values
        assert all(value == "null" or re.fullmatch(r"-?\d+\.\d\d", value) for value in values)


def _job_with_samples(site: Any, *, skip: tuple[int, ...] = ()) -> int:
    database_id: int = site.start_job()
    site.write_node("tn01", from_s=int(site.clock()), minutes=5, skip=skip)
    site.clock.advance(300)
    return database_id


def test_the_services_of_the_fixture_are_those_of_the_application(site: Any, services: Services) -> None:
    assert site.services is services
