"""The request bodies that other installations send, against their own cluster description."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def fritz(shared_fixtures: Path, site_of: Any) -> Any:
    document = json.loads((shared_fixtures / "job-archive/fritz/cluster.json").read_text("utf-8"))
    return site_of(clusters=[document])


def test_a_job_of_the_samples_starts_and_stops(fritz: Any, shared_fixtures: Path) -> None:
    start = (shared_fixtures / "payloads/startJobPayload.json").read_bytes()
    stop = (shared_fixtures / "payloads/stopJobPayload.json").read_bytes()
    fritz.clock.now_s = 1_649_763_900
    started = fritz.client.post("/api/jobs/start_job/", data=start, headers=fritz.headers())
    again = fritz.client.post("/api/jobs/start_job/", data=start, headers=fritz.headers())
    listed = fritz.client.get("/api/jobs/?state=running&with-metadata=true", headers=fritz.headers()).get_json()
    stopped = fritz.client.post("/api/jobs/stop_job/", data=stop, headers=fritz.headers())
    sent = json.loads(start)
    assert (started.status_code, again.status_code, stopped.status_code) == (201, 422, 200)
    (job,) = listed["jobs"]
    for key in ("jobId", "cluster", "subCluster", "user", "project", "walltime", "requestedMemory", "metaData"):
        assert job[key] == sent[key], key
    assert stopped.get_json()["duration"] == json.loads(stop)["stopTime"] - sent["startTime"]


def test_the_description_of_a_cluster_comes_back_with_all_its_subclusters(fritz: Any) -> None:
    (cluster,) = fritz.client.get("/api/clusters/", headers=fritz.headers()).get_json()["clusters"]
    assert [part["name"] for part in cluster["subClusters"]] == ["main", "spr1tb", "spr2tb"]
    assert [len(part["metricConfig"]) for part in cluster["subClusters"]] == [19, 15, 14]


def test_a_job_of_the_samples_is_tagged_edited_and_removed(fritz: Any, shared_fixtures: Path) -> None:
    start = (shared_fixtures / "payloads/startJobPayload.json").read_bytes()
    sent = json.loads(start)
    fritz.clock.now_s = 1_649_763_900
    id_ = fritz.client.post("/api/jobs/start_job/", data=start, headers=fritz.headers()).get_json()["id"]
    named = {key: sent[key] for key in ("jobId", "cluster", "startTime")}
    tags = [{"type": tag["type"], "name": tag["name"]} for tag in sent.get("tags", [])] + [{"type": "a", "name": "b"}]
    tagged = fritz.client.post(f"/api/jobs/tag_job/{id_}", json=tags, headers=fritz.headers())
    edited = fritz.client.patch(
        "/api/jobs/edit_meta/", json={**named, "payload": {"key": "note", "value": "x"}}, headers=fritz.headers()
    )
    removed = fritz.client.delete("/api/jobs/delete_job/", json=named, headers=fritz.headers())
    assert (tagged.status_code, edited.status_code, removed.status_code) == (200, 200, 200)
    assert {tag["name"] for tag in tagged.get_json()["tags"]} == {tag["name"] for tag in tags}
    assert edited.get_json()["metaData"] == {**sent["metaData"], "note": "x"}
    assert fritz.client.get(f"/api/jobs/{id_}", headers=fritz.headers()).status_code == 422
