"""Tags over the API, in the reference's forms: POST, PATCH and DELETE of tag_job, and DELETE of tags everywhere."""

from typing import Any

import pytest

from cc_backend.jobs.tags import list_tags
from cc_backend.maintenance.meta_updater import MetaUpdater
from cc_backend.model import JobKey

START_S = 1_760_000_400
GLOBAL, ADMIN = {"type": "app", "name": "wave", "scope": "global"}, {"type": "app", "name": "wave", "scope": "admin"}


def change(site: Any, method: str, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
    return site.client.open(path, method=method, json=body, headers=headers or site.headers())


def names(job: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(tag["type"], tag["name"], tag["scope"]) for tag in job.get("tags", [])}


@pytest.mark.parametrize("path", ["/api/jobs/tag_job/{id}", "/api/jobs/tag_job/{id}/"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_tags_are_attached_and_come_back_with_the_old_ones(site: Any, method: str, path: str) -> None:
    id_ = site.start_job(tags=[{"type": "note", "name": "old", "scope": "global"}])
    body = [GLOBAL, ADMIN, {"type": "app", "name": "default"}]
    answer = change(site, method, path.format(id=id_), body)
    assert answer.status_code == 200
    job = answer.get_json()
    assert (job["id"], job["jobId"], job["metaData"]) == (id_, 88412, None)
    expected = {("note", "old", "global"), ("app", "wave", "global"), ("app", "default", "global")}
    assert names(job) == expected  # a service attaches tags of the scope admin and does not see them
    assert all(isinstance(tag["id"], int) and tag["id"] > 0 for tag in job["tags"])
    root = site.headers("admin", "api", name="root")
    assert names(change(site, method, path.format(id=id_), [], root).get_json()) == expected | {
        ("app", "wave", "admin")
    }


def test_attaching_again_is_no_fault(site: Any) -> None:
    id_ = site.start_job()
    answers = [change(site, "POST", f"/api/jobs/tag_job/{id_}", [GLOBAL]) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].get_json() == answers[1].get_json()


@pytest.mark.parametrize("path", ["/api/jobs/tag_job/{id}", "/api/jobs/tag_job/{id}/"])
def test_tags_are_detached_and_the_rest_comes_back(site: Any, path: str) -> None:
    id_ = site.start_job(tags=[GLOBAL, {**GLOBAL, "name": "kept"}])
    answer = change(site, "DELETE", path.format(id=id_), [GLOBAL, {"type": "no", "name": "such"}])
    assert (answer.status_code, names(answer.get_json())) == (200, {("app", "kept", "global")})
    assert "tags" not in change(site, "DELETE", path.format(id=id_), [{**GLOBAL, "name": "kept"}]).get_json()


@pytest.mark.parametrize("path", ["/api/tags", "/api/tags/"])
def test_tags_are_removed_everywhere_and_the_text_says_how_many(site: Any, path: str) -> None:
    ids = [site.start_job(jobId=number, tags=[GLOBAL]) for number in (1, 2)]
    answer = change(site, "DELETE", path, [GLOBAL, {"type": "no", "name": "such"}])
    assert (answer.status_code, answer.text) == (200, "removed 1 of 2 tags\n")
    assert answer.content_type.startswith("text/plain")
    for id_ in ids:
        assert "tags" not in site.client.get(f"/api/jobs/{id_}", headers=site.headers()).get_json()["Meta"]


# Scope -> who may change tags of it: a service, and an administrator called root.
MATRIX = {
    "global": {"service", "root"},
    "": {"service", "root"},
    "admin": {"service", "root"},
    "root": {"root"},
    "mlindqv": set(),
    "' OR 1=1": set(),
}
CALLERS = {"service": ("api",), "root": ("admin", "api")}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("scope", MATRIX)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/jobs/tag_job/1"), ("DELETE", "/api/jobs/tag_job/1"), ("DELETE", "/api/tags/")],
)
def test_the_matrix_of_scopes_holds_for_every_change(
    site: Any, caller: str, scope: str, method: str, path: str
) -> None:
    site.start_job(tags=[GLOBAL])
    body = [GLOBAL, {"type": "a", "name": "b", "scope": scope}]
    answer = change(site, method, path, body, site.headers(*CALLERS[caller], name=caller))
    if caller in MATRIX[scope]:
        assert answer.status_code == 200
        return
    assert (answer.status_code, answer.get_json()["code"]) == (403, "not_allowed")
    kept = site.client.get("/api/jobs/1", headers=site.headers()).get_json()["Meta"]
    assert names(kept) == {("app", "wave", "global")}
    assert len(list_tags(site.services.database, _everything())) == 1


def _everything() -> Any:
    from cc_backend.auth.caller import Caller  # noqa: PLC0415 - the one place that needs it

    return Caller("root", frozenset({"admin"}))


BODIES = [b"", b"{", b"{}", b"null", b'"app"', b"[1]", b"[[]]", b'[{"type": 1, "name": "x"}]', b'[{"type": "x"}]',
          b'[{"name": "x"}]', b'[{"type": "a\\nb", "name": "x"}]', b"[" * 50]  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/jobs/tag_job/1"), ("DELETE", "/api/jobs/tag_job/1"), ("DELETE", "/api/tags/")],
)
def test_a_body_that_is_no_list_of_tags_is_400(site: Any, method: str, path: str, body: bytes) -> None:
    site.start_job(tags=[GLOBAL])
    answer = site.client.open(path, method=method, data=body, headers=site.headers())
    assert (answer.status_code, bool(answer.get_json()["code"])) == (400, True)


def test_unknown_keys_and_the_case_of_keys_do_not_matter(site: Any) -> None:
    id_ = site.start_job()
    body = [{"Type": "app", "NAME": "wave", "scope": None, "id": 7, "more": {}}]
    assert names(change(site, "POST", f"/api/jobs/tag_job/{id_}", body).get_json()) == {("app", "wave", "global")}


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize(("number", "status"), [("999", 404), ("abc", 400), ("-1", 400), ("1.5", 400)])
def test_an_unknown_job_is_404_and_an_id_that_is_none_400(site: Any, method: str, number: str, status: int) -> None:
    answer = change(site, method, f"/api/jobs/tag_job/{number}", [GLOBAL])
    assert answer.status_code == status
    assert list_tags(site.services.database, _everything()) == []


def test_tags_of_a_finished_job_reach_its_meta_json(site: Any) -> None:
    id_ = site.archived_job()
    services, key = site.services, JobKey("tern", 88412, START_S)
    updater = MetaUpdater(services.database, services.archive_queue, services.archive)
    root = site.headers("admin", "api", name="root")
    change(site, "POST", f"/api/jobs/tag_job/{id_}", [GLOBAL, ADMIN, {**ADMIN, "scope": "root"}], root)
    updater.run_once(now_s=0)
    assert [tag.scope for tag in services.archive.load_meta(key).tags] == ["global", "admin", "root"]
    change(site, "DELETE", f"/api/jobs/tag_job/{id_}", [ADMIN], root)
    change(site, "DELETE", "/api/tags/", [GLOBAL], root)
    updater.run_once(now_s=0)
    assert [tag.scope for tag in services.archive.load_meta(key).tags] == ["root"]
