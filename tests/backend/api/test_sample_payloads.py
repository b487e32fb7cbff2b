"""The request bodies that other installations send, against their own cluster description."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def fritz(shared_fixtures: Path, site_of: Any) -> Any:
    document = json.loads((shared_fixtures / "job-archive/fritz/cluster.json").read_text("utf-8"))
    return site_of(clusters=[document])


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
