import json
from typing import Any

import pytest

from cc_backend.jobs import lifecycle


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


def fields(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in ("Content-Length", "Date", "Vary")}


@pytest.mark.parametrize("more", [{}, {"X-Forwarded-Proto": "https"}], ids=["http", "https"])
def test_an_event_that_is_answered_in_front_of_the_framework_has_the_headers_of_others(
    site_of: Any, more: dict[str, str]
) -> None:
    site = site_of(settings={"main": {"trusted-proxies": ["127.0.0.1"]}})
    headers = {**site.headers(), **more}
    taken = site.client.post("/api/jobs/start_job/", json=site.start_document(), headers=headers)
    refused = site.client.post("/api/jobs/start_job/", json=site.start_document(), headers=headers)
    assert (taken.status_code, refused.status_code) == (201, 422)
    assert fields(taken) == fields(refused)
    assert ("Strict-Transport-Security" in taken.headers) == bool(more)


def test_each_event_counts_once_whoever_answers(site: Any) -> None:
    for _ in range(3):
        start(site)
    counted = site.client.get("/metrics", environ_base={"REMOTE_ADDR": "127.0.0.1"}).text
    for status, number in ((201, 1), (422, 2)):
        label = f'method="POST",route="/api/jobs/start_job/",status="{status}"'
        assert f"cc_backend_http_requests_total{{{label}}} {number}" in counted


def test_a_large_job_is_answered_compressed(site_of: Any, tern: dict[str, Any]) -> None:
    tern["subClusters"][0]["nodes"] = "tn[001-100]"
    site = site_of(clusters=[tern])
    resources = [{"hostname": f"tn{node:03d}"} for node in range(1, 101)]
    site.start_job(resources=resources, numNodes=100)
    body = {"jobId": 88412, "stopTime": int(site.clock())}
    headers = {**site.headers(), "Accept-Encoding": "gzip"}
    answer = site.client.post("/api/jobs/stop_job/", json=body, headers=headers)
    assert (answer.status_code, answer.headers["Content-Encoding"]) == (200, "gzip")


@pytest.mark.parametrize("path", ["/api/jobs/start_job/", "/api/jobs/stop_job/"])
@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "token_missing"),
        ({"X-Auth-Token": "none"}, 401, "token_invalid"),
        ({"Cookie": "session=none"}, 401, "token_missing"),
    ],
)
def test_nobody_reports_an_event_without_a_token(
    site: Any, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = site.client.post(path, json=site.start_document(), headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)


def test_a_token_for_samples_reports_no_events(site: Any) -> None:
    headers = site.headers("api", scopes=["write"])
    answer = site.client.post("/api/jobs/start_job/", json=site.start_document(), headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "scope_missing")


def change(site: Any, headers: dict[str, str] | None = None, **body: Any) -> Any:
    return site.client.post("/api/jobs/change_job/", json=body, headers=headers or site.headers())


def test_a_changed_job_is_answered_and_shown(site: Any) -> None:
    database_id = site.start_job()
    answer = change(site, jobId=88412, cluster="tern", walltime=90, jobName="relax2", partition="night")
    assert (answer.status_code, answer.get_json()["walltime"], answer.get_json()["partition"]) == (200, 90, "night")
    meta = site.client.get(f"/api/jobs/{database_id}", headers=site.headers()).get_json()["Meta"]
    assert (meta["walltime"], meta["metaData"]["jobName"], meta["project"]) == (90, "relax2", "hydro7")


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({}, 400, "jobId"),
        ({"jobId": 88412}, 400, "nothing would change"),
        ({"jobId": 88412, "walltime": None}, 400, "nothing would change"),
        ({"jobId": 88412, "walltime": "1h"}, 400, "walltime"),
        ({"jobId": 88412, "walltime": 2**70}, 400, "walltime"),
        ({"jobId": 88412, "shared": "maybe"}, 400, "shared"),
        ({"jobId": 88412, "partition": "a\u0000b"}, 400, "partition"),
        ({"jobId": 88412, "project": "x" * 1_000_000}, 400, "project"),
        ({"jobId": 1, "walltime": 60}, 404, "1"),
        ({"jobId": 88412, "cluster": "heron", "walltime": 60}, 404, "heron"),
    ],
)
def test_a_wrong_change_is_refused_and_changes_nothing(
    site: Any, body: dict[str, Any], status: int, named: str
) -> None:
    database_id = site.start_job()
    answer = change(site, **body)
    assert answer.status_code == status, answer.text
    assert named in answer.get_json()["error"]
    meta = site.client.get(f"/api/jobs/{database_id}", headers=site.headers()).get_json()["Meta"]
    assert (meta["walltime"], meta["partition"], meta["project"]) == (7200, "day", "hydro7")


def test_a_job_that_has_ended_is_not_changed(site: Any) -> None:
    site.start_job()
    site.stop_job()
    answer = change(site, jobId=88412, walltime=60)
    assert (answer.status_code, answer.get_json()["code"]) == (422, "job_not_running")


def test_a_token_bound_to_clusters_changes_jobs_only_there(site: Any) -> None:
    site.start_job()
    foreign = site.headers("api", clusters=["heron"])
    assert change(site, foreign, jobId=88412, cluster="tern", walltime=60).status_code == 403
    assert change(site, foreign, jobId=88412, walltime=60).status_code == 400


KEYED = (
    ("/api/jobs/start_job/", 201),
    ("/api/jobs/stop_job/", 200),
    ("/api/jobs/stop_job/1", 200),
    ("/api/jobs/events/", 200),
)


def keyed(site: Any, path: str, key: str = "k1", headers: dict[str, str] | None = None, **more: Any) -> Any:
    """A start, a stop of job 5, or a start among many events, with an idempotency key."""
    begin = site.start_document(jobId=6, **more)
    body: dict[str, Any] = {"jobId": 5, "cluster": "tern", "stopTime": int(site.clock()), **more}
    body = {"start_job": begin, "events": {"events": [{"event": "start_job", **begin}]}}.get(path.split("/")[3], body)
    return site.client.post(path, json=body, headers={**(headers or site.headers()), "Idempotency-Key": key})


@pytest.mark.parametrize(("path", "status"), KEYED)
def test_a_repeated_request_with_a_key_has_the_same_answer(site: Any, path: str, status: int) -> None:
    site.start_job(jobId=5)
    first = keyed(site, path)
    again = keyed(site, path)
    assert (first.status_code, again.status_code, again.data) == (status, status, first.data)
    assert again.headers["Content-Type"] == "application/json"
    assert keyed(site, path, "k2").status_code in (422, 200)
    assert keyed(site, path, "k2").data != first.data


@pytest.mark.parametrize(("path", "status"), KEYED)
def test_a_key_is_for_one_request(site: Any, path: str, status: int) -> None:
    site.start_job(jobId=5)
    assert keyed(site, path).status_code == status
    answer = keyed(site, path, more="x")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "idempotency_key_reused")


def test_a_key_of_another_caller_gives_nothing_away(site: Any) -> None:
    first = keyed(site, "/api/jobs/start_job/")
    for headers in (site.headers("api", name="other"), site.headers("api", clusters=["tern"])):
        answer = keyed(site, "/api/jobs/start_job/", headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (422, "job_known")
        assert answer.data != first.data


def test_a_token_of_another_cluster_does_not_get_a_kept_answer(site: Any) -> None:
    keyed(site, "/api/jobs/start_job/")
    answer = keyed(site, "/api/jobs/start_job/", headers=site.headers("api", clusters=["heron"]))
    assert (answer.status_code, answer.get_json()["code"]) == (403, "cluster_not_allowed")


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x7fb", "\xe4"])
def test_an_unusable_key_is_400_and_nothing_is_stored(site: Any, key: str) -> None:
    answer = keyed(site, "/api/jobs/start_job/", key)
    assert (answer.status_code, "Idempotency-Key" in answer.get_json()["error"]) == (400, True)
    assert site.client.get("/api/jobs/", headers=site.headers()).get_json()["total"] == 0


def test_a_refused_request_with_a_key_is_decided_anew(site: Any) -> None:
    assert keyed(site, "/api/jobs/stop_job/").status_code == 404
    site.start_job(jobId=5)
    assert keyed(site, "/api/jobs/stop_job/").status_code == 200


def test_the_key_is_stored_with_its_event_or_not_at_all(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> int:
        raise RuntimeError("the inside")

    site.app.testing = False
    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "insert_job", fail)
        assert keyed(site, "/api/jobs/start_job/").status_code == 500
    assert keyed(site, "/api/jobs/start_job/").status_code == 201


@pytest.mark.parametrize(
    ("more", "status"),
    [
        (b'"jobId":' + b"9" * 4000, 400),
        (b'"jobId":1e999', 400),
        (b'"jobId":-Infinity', 400),
        (b'"jobId":5,"jobId":"x"', 400),
        (b'"jobId":"x","jobId":5', 201),
        (b'"JOBID":"x","jobId":5', 201),
        (b'"jobId":5,"user":"\\ud800"', 201),
        (b'"jobId":5,"user":"a\\u0000"', 400),
        (b'"jobId":5,"metaData":{"jobName":"\\u0000\\udfff"}', 201),
        (b'"jobId":5,"metaData":' + b'{"a":' * 5000, 400),
        (b'"jobId":5,"numNodes":99999999999', 400),
        (b'"jobId":5,"startTime":true', 400),
    ],
)
def test_hostile_json_of_a_start_is_refused_or_read_as_json_is(site: Any, more: bytes, status: int) -> None:
    document = site.start_document()
    del document["jobId"]
    body = json.dumps(document).encode()[:-1] + b"," + more + b"}"
    answer = site.client.post("/api/jobs/start_job/", data=body, headers=site.headers())
    assert answer.status_code == status, answer.text


def test_a_job_of_shared_nodes_names_the_jobs_beside_it(site: Any) -> None:
    first = site.start_job(jobId=1, shared="multi_user", user="ada")
    second = site.start_job(jobId=2, shared="multi_user", user="eve")
    site.clock.advance(3600)
    meta = site.client.get(f"/api/jobs/{first}", headers=site.headers()).get_json()["Meta"]
    assert meta["concurrentJobs"] == {"items": [{"id": second, "jobId": 2}], "count": 1}
    own = site.client.get(f"/userapi/jobs/{first}", headers=site.headers("api", "user", name="ada")).get_json()["Meta"]
    assert own["concurrentJobs"] == {"items": None, "count": 0}
