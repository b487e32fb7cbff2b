from typing import Any

import pytest


def start(site: Any, **changes: Any) -> Any:
    return site.client.post("/api/jobs/start_job/", json=site.start_document(**changes), headers=site.headers())


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", ["/api/jobs/start_job", "/api/jobs/start_job/"])
def test_a_start_is_taken_by_post_and_put_with_and_without_slash(site: Any, method: str, path: str) -> None:
    answer = site.client.open(path, method=method, json=site.start_document(), headers=site.headers())
    assert (answer.status_code, answer.get_json()["msg"]) == (201, "success")


def test_a_started_job_can_be_read_under_the_id_of_the_answer(site: Any) -> None:
    database_id = start(site).get_json()["id"]
    answer = site.client.get(f"/api/jobs/{database_id}", headers=site.headers())
    assert answer.get_json()["Meta"]["jobId"] == 88412


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"cluster": "heron"}, "cluster"),
        ({"cluster": ""}, "cluster"),
        ({"cluster": 5}, "cluster"),
        ({"subCluster": "big"}, "subCluster"),
        ({"jobId": "x"}, "jobId"),
        ({"jobId": 1.5}, "jobId"),
        ({"jobId": 2**64}, "jobId"),
        ({"jobId": 0}, "jobId"),
        ({"user": ""}, "user"),
        ({"numNodes": 0}, "numNodes"),
        ({"numNodes": 2}, "resources"),
        ({"resources": []}, "resources"),
        ({"resources": [{"hostname": ""}]}, "resources"),
        ({"resources": [{"hostname": "tn01", "hwthreads": ["a"]}]}, "resources[0].hwthreads[0]"),
        ({"resources": "tn01"}, "resources"),
        ({"shared": "sometimes"}, "shared"),
        ({"startTime": 0}, "startTime"),
        ({"startTime": 99999999999}, "startTime"),
        ({"metaData": {"jobName": 5}}, "metaData.jobName"),
        ({"metaData": []}, "metaData"),
        ({"numAcc": -1}, "numAcc"),
        ({"tags": [{"type": "", "name": "x"}]}, "tags"),
    ],
)
def test_a_wrong_field_of_a_start_is_400_and_named(site: Any, changes: dict[str, Any], named: str) -> None:
    answer = start(site, **changes)
    assert answer.status_code == 400, answer.text
    assert named in answer.get_json()["error"]
    assert site.client.get("/api/jobs/", headers=site.headers()).get_json()["total"] == 0


def test_a_field_of_the_wrong_type_is_named_in_a_key_of_its_own(site: Any) -> None:
    assert start(site, resources=[{"hostname": 7}]).get_json()["field"] == "resources[0].hostname"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"text"', b"null", b"NaN", b'{"a":' * 100 + b"1" + b"}" * 100, b"\xff\xfe"]
)
@pytest.mark.parametrize("path", ["/api/jobs/start_job/", "/api/jobs/stop_job/", "/api/nodestate/"])
def test_a_body_that_is_no_json_object_is_400(site: Any, path: str, body: bytes) -> None:
    answer = site.client.post(path, data=body, headers=site.headers())
    assert (answer.status_code, answer.get_json()["status"]) == (400, "Bad Request")


@pytest.mark.parametrize("path", ["/api/jobs/start_job/", "/api/jobs/stop_job/", "/api/nodestate/"])
def test_a_json_body_over_the_limit_is_413_naming_the_limit(site_of: Any, path: str) -> None:
    site = site_of(settings={"main": {"max-json-bytes": 2000}})
    answer = site.client.post(path, data=b"{" + b" " * 2000 + b"}", headers=site.headers())
    assert (answer.status_code, answer.get_json()["status"]) == (413, "Request Entity Too Large")
    assert "2000 bytes" in answer.get_json()["error"]


def test_unknown_keys_are_ignored_and_counted(site: Any) -> None:
    assert start(site, color="red", resources=[{"hostname": "tn01", "rack": 4}]).status_code == 201
    assert "cc_backend_payload_ignored_keys_total 2" in site.client.get("/metrics").text


def test_keys_match_whatever_their_case(site: Any) -> None:
    document = {key.upper(): value for key, value in site.start_document().items()}
    assert site.client.post("/api/jobs/start_job/", json=document, headers=site.headers()).status_code == 201


@pytest.mark.parametrize(("exclusive", "shared"), [(0, "multi_user"), (1, "none"), (2, "single_user")])
def test_the_old_key_exclusive_is_understood(site: Any, exclusive: int, shared: str) -> None:
    document = site.start_document(exclusive=exclusive)
    del document["shared"]
    site.client.post("/api/jobs/start_job/", json=document, headers=site.headers())
    (job,) = site.client.get("/api/jobs/", headers=site.headers()).get_json()["jobs"]
    assert job["shared"] == shared


def test_tags_of_a_start_are_attached_and_seen(site: Any) -> None:
    database_id = site.start_job(tags=[{"type": "app", "name": "lbm"}])
    meta = site.client.get(f"/api/jobs/{database_id}", headers=site.headers()).get_json()["Meta"]
    assert [(tag["type"], tag["name"], tag["scope"]) for tag in meta["tags"]] == [("app", "lbm", "global")]


def test_a_tag_in_the_name_of_a_user_is_403_and_no_job_is_left(site: Any) -> None:
    answer = start(site, tags=[{"type": "note", "name": "mine", "scope": "ada"}])
    assert (answer.status_code, answer.get_json()["status"]) == (403, "Forbidden")
    assert site.client.get("/api/jobs/", headers=site.headers()).get_json()["total"] == 0


def test_a_job_that_the_scheduler_starts_again_is_a_new_job(site: Any) -> None:
    site.start_job()
    site.clock.advance(60)
    site.stop_job(state="preempted")
    site.clock.advance(60)
    assert start(site).status_code == 201


def stop(site: Any, path: str = "/api/jobs/stop_job/", **body: Any) -> Any:
    return site.client.post(path, json=body, headers=site.headers())


@pytest.mark.parametrize("key", ["jobState", "state", "jobstate"])
def test_the_state_of_a_stop_has_two_names(site: Any, key: str) -> None:
    site.start_job()
    answer = stop(site, jobId=88412, stopTime=int(site.clock.advance(60)), **{key: "failed"})
    assert answer.get_json()["jobState"] == "failed"


def test_a_stop_without_a_state_is_completed(site: Any) -> None:
    site.start_job()
    assert stop(site, jobId=88412, stopTime=int(site.clock.advance(60))).get_json()["jobState"] == "completed"


def test_the_answer_to_a_stop_has_neither_metadata_nor_tags(site: Any) -> None:
    site.start_job(tags=[{"type": "app", "name": "lbm"}])
    site.clock.advance(60)
    job = site.stop_job()
    assert job["metaData"] is None
    assert "tags" not in job


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"stopTime": 1760000460}, "jobId"),
        ({"jobId": 88412}, "stopTime"),
        ({"jobId": 88412, "stopTime": 5}, "stopTime"),
        ({"jobId": 88412, "stopTime": 1760000460, "jobState": "running"}, "jobState"),
        ({"jobId": 88412, "stopTime": 1760000460, "jobState": "canceled"}, "jobState"),
        ({"jobId": 88412, "stopTime": "soon"}, "stopTime"),
    ],
)
def test_a_wrong_field_of_a_stop_is_400_and_named(site: Any, body: dict[str, Any], named: str) -> None:
    site.start_job()
    answer = stop(site, **body)
    assert answer.status_code == 400
    assert named in answer.get_json()["error"]


@pytest.mark.parametrize("path", ["/api/jobs/stop_job/{}", "/api/jobs/stop_job/{}/"])
def test_scripts_may_stop_a_job_by_its_database_id(site: Any, path: str) -> None:
    database_id = site.start_job()
    site.start_job(jobId=5)
    answer = stop(site, path.format(database_id), stopTime=int(site.clock.advance(60)), jobState="failed", JOBID=5)
    assert (answer.status_code, answer.get_json()["jobId"]) == (200, 88412)


@pytest.mark.parametrize(("number", "status"), [("999", 404), ("abc", 400)])
def test_a_stop_by_an_id_that_is_not_there_is_404(site: Any, number: str, status: int) -> None:
    assert stop(site, f"/api/jobs/stop_job/{number}", stopTime=1760000460).status_code == status


def test_a_stop_by_id_needs_an_object(site: Any) -> None:
    answer = site.client.post(f"/api/jobs/stop_job/{site.start_job()}", json=[1], headers=site.headers())
    assert answer.status_code == 400


def test_a_token_bound_to_clusters_starts_and_stops_only_there(site: Any) -> None:
    foreign = site.headers("api", clusters=["heron"])
    document = site.start_document()
    refused = site.client.post("/api/jobs/start_job/", json=document, headers=foreign)
    assert (refused.status_code, "'tern'" in refused.get_json()["error"]) == (403, True)
    database_id = site.start_job()
    body = {"jobId": 88412, "stopTime": int(site.clock.advance(60))}
    for path, more, status in (
        ("/api/jobs/stop_job/", {"cluster": "tern"}, 403),
        ("/api/jobs/stop_job/", {}, 400),
        (f"/api/jobs/stop_job/{database_id}", {}, 403),
    ):
        assert site.client.post(path, json={**body, **more}, headers=foreign).status_code == status
    own = site.headers("api", clusters=["tern"])
    assert site.client.post("/api/jobs/stop_job/", json={**body, "cluster": "tern"}, headers=own).status_code == 200
