from typing import Any

import pytest

from cc_backend.maintenance.meta_updater import MetaUpdater
from cc_backend.model import JobKey

START_S = 1_760_000_400


def edit(site: Any, path: str, body: Any, method: str = "PATCH", headers: dict[str, str] | None = None) -> Any:
    return site.client.open(path, method=method, json=body, headers=headers or site.headers())


def note_of(site: Any, id_: int) -> str | None:
    meta = site.client.get(f"/api/jobs/{id_}", headers=site.headers()).get_json()["Meta"]["metaData"]
    note: str | None = meta.get("note")
    return note


FORMS = [{"key": "note", "value": "x"}, {"Key": "note", "VALUE": "x", "more": 1}, {"note": "x"}]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["PATCH", "POST"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_key_is_set_in_each_form_of_the_reference(site: Any, form: Any, method: str, slash: str) -> None:
    id_ = site.start_job(tags=[{"type": "a", "name": "b"}])
    answer = edit(site, f"/api/jobs/edit_meta/{id_}{slash}", form, method)
    assert answer.status_code == 200
    job = answer.get_json()
    assert (job["id"], job["metaData"]["note"], job["metaData"]["jobName"]) == (id_, "x", "relax")
    assert [tag["name"] for tag in job["tags"]] == ["b"]
    assert note_of(site, id_) == "x"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["PATCH", "POST"])
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    "named", [{}, {"cluster": "tern"}, {"cluster": "", "startTime": 0}, {"cluster": "tern", "startTime": START_S}]
)
def test_the_job_may_be_named_by_the_body(site: Any, form: Any, method: str, slash: str, named: Any) -> None:
    id_ = site.start_job()
    answer = edit(site, f"/api/jobs/edit_meta{slash}", {"jobId": 88412, **named, "payload": form}, method)
    assert (answer.status_code, answer.get_json()["metaData"]["note"]) == (200, "x")
    assert note_of(site, id_) == "x"


def test_of_several_runs_the_newest_is_meant(site: Any) -> None:
    first = site.start_job()
    site.clock.advance(100)
    site.stop_job()
    site.clock.advance(100)
    second = site.start_job()
    edit(site, "/api/jobs/edit_meta/", {"jobId": 88412, "payload": {"note": "x"}})
    assert (note_of(site, first), note_of(site, second)) == (None, "x")
    edit(site, "/api/jobs/edit_meta/", {"jobId": 88412, "startTime": START_S, "payload": {"note": "y"}})
    assert (note_of(site, first), note_of(site, second)) == ("y", "x")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/api/jobs/edit_meta/999", {"note": "x"}, 404, "job_unknown"),
        ("/api/jobs/edit_meta/abc", {"note": "x"}, 400, "invalid_parameter"),
        ("/api/jobs/edit_meta/1", {}, 400, "invalid_body"),
        ("/api/jobs/edit_meta/1", [], 400, "invalid_field"),
        ("/api/jobs/edit_meta/1", None, 400, "invalid_field"),
        ("/api/jobs/edit_meta/1", {"note": 5}, 400, "invalid_field"),
        ("/api/jobs/edit_meta/1", {"key": "note", "value": 5}, 400, "invalid_field"),
        ("/api/jobs/edit_meta/1", {"value": "x"}, 400, "invalid_input"),
        ("/api/jobs/edit_meta/1", {"key": "a\nb", "value": "x"}, 400, "invalid_input"),
        ("/api/jobs/edit_meta/1", {"k" * 300: "x"}, 400, "invalid_input"),
        ("/api/jobs/edit_meta/1", {str(number): "x" for number in range(1001)}, 413, "too_large"),
        ("/api/jobs/edit_meta/", {"jobId": 1, "payload": {"note": "x"}}, 422, "job_unknown"),
        ("/api/jobs/edit_meta/", {"jobId": 88412, "cluster": "skua", "payload": {"note": "x"}}, 422, "job_unknown"),
        ("/api/jobs/edit_meta/", {"jobId": 88412, "startTime": 7, "payload": {"note": "x"}}, 422, "job_unknown"),
        ("/api/jobs/edit_meta/", {"payload": {"note": "x"}}, 400, "invalid_field"),
        ("/api/jobs/edit_meta/", {"jobId": "88412", "payload": {"note": "x"}}, 400, "invalid_field"),
        ("/api/jobs/edit_meta/", {"jobId": 2**70, "payload": {"note": "x"}}, 400, "invalid_field"),
        ("/api/jobs/edit_meta/", {"jobId": 88412}, 400, "invalid_field"),
        ("/api/jobs/edit_meta/", {"jobId": 88412, "payload": "x"}, 400, "invalid_field"),
    ],
)  # fmt: skip
def test_what_is_wrong_has_its_status_and_changes_nothing(
    site: Any, path: str, body: Any, status: int, code: str
) -> None:
    id_ = site.start_job()
    answer = edit(site, path, body)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert note_of(site, id_) is None


def test_a_finished_jobs_meta_json_follows(site: Any) -> None:
    id_ = site.archived_job()
    services = site.services
    edit(site, f"/api/jobs/edit_meta/{id_}", {"key": "message", "value": "<b>idle & slow</b>"})
    MetaUpdater(services.database, services.archive_queue, services.archive).run_once(now_s=0)
    archived = services.archive.load_meta(JobKey("tern", 88412, START_S))
    assert archived.meta_data["message"] == "<b>idle & slow</b>"
