from typing import Any

import pytest

START_S = 1_760_000_400


def listed(site: Any, query: str = "", *, headers: dict[str, str] | None = None) -> dict[str, Any]:
    answer = site.client.get(f"/api/jobs/{query}", headers=headers or site.headers())
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.get_json()
    return document


def ids(document: dict[str, Any]) -> list[int]:
    return [job["jobId"] for job in document["jobs"]]


def three_jobs(site: Any) -> None:
    site.start_job(jobId=1, user="ada", project="p1", startTime=START_S - 300)
    site.start_job(jobId=2, user="bob", project="p2", startTime=START_S - 200)
    both = [{"hostname": "tn01"}, {"hostname": "tn02"}]
    site.start_job(jobId=3, user="ada", project="p2", startTime=START_S - 100, numNodes=2, resources=both)
    site.stop_job(job_id=1)


def test_an_empty_list_says_so(site: Any) -> None:
    assert listed(site) == {"jobs": [], "items": 25, "page": 1, "total": 0}


def test_jobs_come_newest_first(site: Any) -> None:
    three_jobs(site)
    assert ids(listed(site)) == [3, 2, 1]


def test_a_page_says_how_many_jobs_there_are_on_all_pages(site: Any) -> None:
    three_jobs(site)
    page = listed(site, "?items-per-page=2&page=2")
    assert (ids(page), page["items"], page["page"], page["total"]) == ([1], 2, 2, 3)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?state=running", [3, 2]),
        ("?state=running&state=completed", [3, 2, 1]),
        ("?state=failed", []),
        ("?cluster=tern", [3, 2, 1]),
        ("?cluster=heron", []),
        ("?project=p2", [3, 2]),
        ("?project=p2&project=p1", [3, 2]),
        (f"?start-time={START_S - 300}-{START_S - 200}", [2, 1]),
        ("?user=ada", [3, 1]),
        (f"?startTime[from]={START_S - 200}", [3, 2]),
        (f"?startTime[to]={START_S - 200}", [2, 1]),
        ("?numNodes[from]=2", [3]),
        ("?numNodes[from]=1&numNodes[to]=1", [2, 1]),
        ("?items_per_page=1", [3]),
        ("?items-per-page=9999999&page=1", [3, 2, 1]),
    ],
)
def test_filters_of_the_reference_and_of_its_manual_are_known(site: Any, query: str, found: list[int]) -> None:
    three_jobs(site)
    assert ids(listed(site, query)) == found


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("?state=stopped", "state must be one of"),
        ("?state=RUNNING", "state must be one of"),
        ("?start-time=5", "start-time must be"),
        ("?start-time=a-b", "start-time must be"),
        ("?page=0", "page must be between 1"),
        ("?page=x", "page must be an integer"),
        ("?items-per-page=-1", "items-per-page must be between 1"),
        ("?with-metadata=perhaps", "with-metadata must be true or false"),
        ("?clustr=tern", "did you mean 'cluster'"),
        ("?userr=ada", "did you mean 'user'"),
        ("?limit=5", "unknown query parameter 'limit'"),
        ("?page=9223372036854775807&items-per-page=9223372036854775807", "outside"),
    ],
)
def test_a_wrong_parameter_is_named(site: Any, query: str, named: str) -> None:
    answer = site.client.get(f"/api/jobs/{query}", headers=site.headers())
    assert answer.status_code == 400
    assert named in answer.get_json()["error"]


@pytest.mark.parametrize(("query", "shown"), [("", False), ("?with-metadata", True), ("?with-metadata=false", False)])
def test_metadata_comes_when_asked_for(site: Any, query: str, shown: bool) -> None:  # noqa: FBT001  parametrised value
    site.start_job()
    (job,) = listed(site, query)["jobs"]
    assert (job["metaData"] or {}).get("jobName") == ("relax" if shown else None)


def test_a_listed_job_has_the_types_of_the_wire(site: Any) -> None:
    site.start_job()
    site.clock.advance(90)
    (job,) = listed(site)["jobs"]
    assert job == {
        "cluster": "tern",
        "subCluster": "std",
        "partition": "day",
        "project": "hydro7",
        "user": "mlindqv",
        "shared": "none",
        "jobState": "running",
        "resources": [{"hostname": "tn01"}],
        "energyFootprint": None,
        "footprint": None,
        "metaData": None,
        "concurrentJobs": {"items": None, "count": 0},
        "energy": 0,
        "walltime": 7200,
        "jobId": 88412,
        "duration": 90,
        "monitoringStatus": 1,
        "numHwthreads": 8,
        "numNodes": 1,
        "statistics": None,
        "id": job["id"],
        "startTime": START_S,
    }


def test_an_archived_job_is_listed_with_its_statistics(site: Any) -> None:
    site.archived_job()
    (job,) = listed(site)["jobs"]
    assert job["monitoringStatus"] == 3
    assert job["statistics"]["load_one"] == {"unit": {"base": ""}, "avg": 4.91, "min": 4, "max": 6}


def test_a_damaged_archive_entry_costs_only_its_own_statistics(site: Any, tmp_path: Any) -> None:
    site.archived_job(jobId=1)
    site.archived_job(jobId=2)
    site.services.database.run_sql("DELETE FROM job_statistics")  # as those of jobs that an earlier version archived
    (tmp_path / "job-archive/tern/0/002").joinpath(str(START_S + 600), "meta.json").write_text("{")
    shown = {job["jobId"]: job["statistics"] is not None for job in listed(site)["jobs"]}
    assert shown == {1: True, 2: False}


def test_one_job_comes_with_metadata_and_without_samples(site: Any) -> None:
    database_id = site.start_job()
    answer = site.client.get(f"/api/jobs/{database_id}", headers=site.headers()).get_json()
    assert (answer["Meta"]["metaData"]["jobName"], answer["Data"]) == ("relax", None)


@pytest.mark.parametrize("number", ["999", "0", "9223372036854775807"])
def test_a_job_that_does_not_exist_is_422(site: Any, number: str) -> None:
    answer = site.client.get(f"/api/jobs/{number}", headers=site.headers())
    assert (answer.status_code, answer.get_json()["status"]) == (422, "Unprocessable Entity")


@pytest.mark.parametrize("number", ["abc", "1.5", "-3", "9223372036854775808", "start_jobs", "1%20or%201=1", "٣"])
def test_an_id_that_is_no_number_is_400(site: Any, number: str) -> None:
    assert site.client.get(f"/api/jobs/{number}", headers=site.headers()).status_code == 400


def test_all_metrics_of_a_job_on_one_node_come_per_core_where_they_are_finer(site: Any) -> None:
    database_id = site.start_job()
    site.write_node("tn01", from_s=START_S, minutes=5)
    site.clock.advance(240)
    data = site.client.get(f"/api/jobs/{database_id}?all-metrics=true", headers=site.headers()).get_json()["Data"]
    assert {name: list(by_scope) for name, by_scope in data.items()} == {
        "load_one": ["node"],
        "mem_used": ["node"],
        "cpu_user": ["core"],
        "flops_any": ["core"],
        "mem_bw": ["socket"],
        "cpu_power": ["socket"],
    }
    (first, *_) = data["flops_any"]["core"]["series"]
    assert (first["id"], first["data"][0], first["data"][4]) == ("0", 4.0, 5.0)


def test_metrics_named_by_a_body_come_as_a_list(site: Any) -> None:
    database_id = site.archived_job(skip=(3,))
    answer = site.client.post(f"/api/jobs/{database_id}", json=["mem_bw", "nothing"], headers=site.headers())
    document = answer.get_json()
    assert [(entry["name"], entry["scope"]) for entry in document["Data"]] == [("mem_bw", "node"), ("mem_bw", "socket")]
    assert document["Data"][0]["metric"]["series"][0]["data"][3] is None
    assert document["Meta"]["jobId"] == 88412


@pytest.mark.parametrize("body", [b"[]", b"null"])
def test_an_empty_list_means_all_metrics_as_null_does(site: Any, body: bytes) -> None:
    database_id = site.start_job()
    site.write_node("tn01", from_s=START_S, minutes=5)
    site.clock.advance(240)
    answer = site.client.post(f"/api/jobs/{database_id}", data=body, headers=site.headers())
    data = answer.get_json()["Data"]
    assert len(data) == 6
    assert [set(entry) for entry in data] == [{"metric", "name", "scope"}] * 6


@pytest.mark.parametrize(
    ("value", "has_samples"), [("true", True), ("1", True), ("TRUE", True), ("false", False), ("0", False)]
)
def test_a_flag_may_be_written_in_several_ways(site: Any, value: str, has_samples: bool) -> None:  # noqa: FBT001  parametrised value
    path = f"/api/jobs/{site.archived_job()}?all-metrics={value}"
    data = site.client.get(path, headers=site.headers()).get_json()["Data"]
    assert (data is not None) == has_samples


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/jobs/start_job", "POST, PUT, OPTIONS"),
        ("GET", "/api/jobs/start_job/", "POST, PUT, OPTIONS"),
        ("DELETE", "/api/jobs/stop_job/", "POST, PUT, OPTIONS"),
        ("GET", "/api/jobs/edit_meta/", "POST, PATCH, OPTIONS"),
        ("GET", "/api/jobs/edit_meta/5", "POST, PATCH, OPTIONS"),
        ("GET", "/api/jobs/tag_job/5/", "POST, PATCH, DELETE, OPTIONS"),
        ("POST", "/api/jobs/delete_job", "DELETE, OPTIONS"),
        ("POST", "/api/jobs/used_nodes", "GET, HEAD, OPTIONS"),
        ("GET", "/api/tags", "DELETE, OPTIONS"),
        ("PUT", "/api/jobs/5", "GET, HEAD, POST, OPTIONS"),
    ],
)
def test_another_method_is_405_and_names_those_there_are(site: Any, method: str, path: str, allowed: str) -> None:
    answer = site.client.open(path, method=method)
    assert (answer.status_code, answer.get_json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/api/jobs/tag_job/", "/api/jobs/metrics", "/api/jobs/delete_job_before/", "/api/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_path_that_leads_nowhere_is_404(site: Any, method: str, path: str) -> None:
    answer = site.client.open(path, method=method)
    assert (answer.status_code, answer.get_json()["code"]) == (404, "route_unknown")


@pytest.mark.parametrize("body", [b"", b'"mem_bw"', b"[1]", b'{"a": 1}', b"[null]", b"[" * 40])
def test_a_body_that_is_no_list_of_names_is_400(site: Any, body: bytes) -> None:
    database_id = site.start_job()
    assert site.client.post(f"/api/jobs/{database_id}", data=body, headers=site.headers()).status_code == 400


def test_metrics_come_at_the_scopes_asked_for(site: Any) -> None:
    database_id = site.start_job()
    site.write_node("tn01", from_s=START_S, minutes=3)
    site.clock.advance(120)
    query = "metric=flops_any&metric=load_one&scope=node&scope=socket"
    answer = site.client.get(f"/api/jobs/metrics/{database_id}?{query}", headers=site.headers()).get_json()
    found = {(entry["name"], entry["scope"]) for entry in answer["data"]["jobMetrics"]}
    assert found == {("load_one", "node"), ("flops_any", "node"), ("flops_any", "socket")}


def test_an_unknown_scope_is_400(site: Any) -> None:
    answer = site.client.get("/api/jobs/metrics/1?scope=rack", headers=site.headers())
    assert (answer.status_code, "scope must be one of" in answer.get_json()["error"]) == (400, True)


@pytest.mark.parametrize(("number", "status"), [("999", 404), ("abc", 400)])
def test_failures_of_metrics_come_in_the_envelope_and_with_their_status_if_asked(
    site: Any, number: str, status: int
) -> None:
    quiet = site.client.get(f"/api/jobs/metrics/{number}", headers=site.headers())
    plain = site.client.get(f"/api/jobs/metrics/{number}?real-status=true", headers=site.headers())
    assert (quiet.status_code, plain.status_code) == (200, status)
    for answer in (quiet, plain):
        document = answer.get_json()
        assert document["data"] is None
        assert document["error"]["message"]
        assert document["error"]["code"] == document["code"] != ""


def test_metrics_that_cannot_be_read_now_say_when_to_ask_again(site: Any) -> None:
    headers = site.headers()
    assert site.client.get("/api/jobs/", headers=headers).status_code == 200  # the token is known from now on
    site.services.database.close_all()  # as while the server ends
    for path in ("/api/jobs/metrics/1?real-status=true", "/api/jobs/1"):
        answer = site.client.get(path, headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (503, "database_unavailable")
        assert int(answer.headers["Retry-After"]) > 0


def test_an_archived_job_whose_samples_are_damaged_is_an_error_in_json(site: Any, tmp_path: Any) -> None:
    database_id = site.archived_job()
    for path in (tmp_path / "job-archive").rglob("data.json*"):
        path.write_bytes(b"{")
    answer = site.client.get(f"/api/jobs/{database_id}?all-metrics=true", headers=site.headers())
    assert (answer.status_code, answer.get_json()["status"]) == (500, "Internal Server Error")


def test_used_nodes_are_those_of_jobs_that_started_before(site: Any) -> None:
    three_jobs(site)
    answer = site.client.get(f"/api/jobs/used_nodes?ts={START_S - 100}", headers=site.headers())
    assert answer.get_json() == {"usedNodes": {"tern": ["tn01"]}}
    answer = site.client.get(f"/api/jobs/used_nodes/?ts={START_S}", headers=site.headers())
    assert answer.get_json() == {"usedNodes": {"tern": ["tn01", "tn02"]}}


@pytest.mark.parametrize("query", ["", "?ts=", "?ts=now"])
def test_used_nodes_needs_a_time(site: Any, query: str) -> None:
    assert site.client.get(f"/api/jobs/used_nodes{query}", headers=site.headers()).status_code == 400


def test_clusters_are_listed_whole(site: Any) -> None:
    (cluster,) = site.client.get("/api/clusters/", headers=site.headers()).get_json()["clusters"]
    assert (cluster["name"], [entry["name"] for entry in cluster["subClusters"]]) == ("tern", ["std"])
    assert site.client.get("/api/clusters?cluster=tern", headers=site.headers()).get_json()["clusters"] == [cluster]


def test_an_unknown_cluster_is_400(site: Any) -> None:
    answer = site.client.get("/api/clusters/?cluster=heron", headers=site.headers())
    assert (answer.status_code, "heron" in answer.get_json()["error"]) == (400, True)


class TestWhatIsMissing:
    def test_a_gap_comes_with_its_reason_beside_the_samples(self, site: Any) -> None:
        database_id = site.archived_job(skip=range(3, 8))
        start_s = site.start_document()["startTime"]
        answer = site.client.get(f"/api/jobs/metrics/{database_id}?metric=load_one", headers=site.headers())
        data = answer.get_json()["data"]
        assert [entry["name"] for entry in data["jobMetrics"]] == ["load_one"]
        (one,) = data["missingData"]["load_one"]
        text = one.pop("text")
        begin_s = start_s - 600
        assert one == {
            "reason": "host_silent",
            "hosts": ["tn01"],
            "from": begin_s + 180,
            "to": begin_s + 480,
            "ongoing": False,
        }
        assert text.startswith("tn01 sent nothing from ")

    def test_complete_metrics_have_no_such_key(self, site: Any) -> None:
        database_id = site.archived_job()
        answer = site.client.get(f"/api/jobs/metrics/{database_id}?metric=load_one", headers=site.headers())
        assert "missingData" not in answer.get_json()["data"]

    def test_a_metric_of_hardware_that_the_job_lacks_says_so(self, site: Any) -> None:
        database_id = site.archived_job()
        answer = site.client.get(f"/api/jobs/metrics/{database_id}?metric=acc_utilization", headers=site.headers())
        (one,) = answer.get_json()["data"]["missingData"]["acc_utilization"]
        assert one["reason"] == "job_has_no_such_hardware"

    def test_a_name_that_no_metric_has_is_not_repeated(self, site: Any) -> None:
        database_id = site.archived_job()
        answer = site.client.get(f"/api/jobs/metrics/{database_id}?metric=nonsense", headers=site.headers())
        assert answer.get_json()["data"] == {"jobMetrics": []}

    def test_a_metric_removed_from_this_kind_of_node_says_so(self, site_of: Any, tern: dict[str, Any]) -> None:
        tern["metricConfig"][0]["subClusters"] = [{"name": "std", "remove": True}]
        site = site_of(clusters=[tern])
        database_id = site.start_job()
        answer = site.client.post(f"/api/jobs/{database_id}", json=["load_one"], headers=site.headers())
        assert [one["reason"] for one in answer.get_json()["missingData"]["load_one"]] == ["metric_not_on_subcluster"]

    def test_a_running_job_is_asked_of_the_store(self, site: Any) -> None:
        start_s = int(site.clock())
        database_id = site.start_job()
        site.write_node("tn01", from_s=start_s, minutes=10)
        site.clock.advance(1800)
        answer = site.client.get(f"/api/jobs/{database_id}?all-metrics=true", headers=site.headers())
        (one,) = answer.get_json()["missingData"]["load_one"]
        assert (one["reason"], one["from"], one["ongoing"]) == ("host_silent", start_s + 600, True)
