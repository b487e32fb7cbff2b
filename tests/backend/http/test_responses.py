"""Weak entity tags: what a client has already is not sent again."""

from typing import Any

import pytest

PATHS = ("/api/jobs/", "/userapi/jobs/", "/api/jobs/{id}", "/api/jobs/{id}?all-metrics=true", "/api/jobs/metrics/{id}",
         "/api/clusters/")  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_an_unchanged_document_is_304_without_a_body(site: Any, path: str) -> None:
    path = path.format(id=site.archived_job())
    first = site.client.get(path, headers=site.headers())
    tag = first.headers["ETag"]
    assert tag.startswith('W/"')
    again = site.client.get(path, headers={**site.headers(), "If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    packed = site.client.get(path, headers={**site.headers(), "Accept-Encoding": "gzip"})
    assert packed.headers["ETag"] == tag


def test_a_changed_job_is_sent(site: Any) -> None:
    path = f"/api/jobs/{site.archived_job()}"
    tag = site.client.get(path, headers=site.headers()).headers["ETag"]
    site.client.patch("/api/jobs/edit_meta/1", json={"note": "x"}, headers=site.headers())
    answer = site.client.get(path, headers={**site.headers(), "If-None-Match": tag})
    assert (answer.status_code, answer.get_json()["Meta"]["metaData"]["note"]) == (200, "x")


def test_another_caller_has_another_tag_if_they_see_something_else(site: Any) -> None:
    site.start_job(jobId=1, user="ada")
    site.start_job(jobId=2, user="bob")
    own = site.headers("api", "user", name="ada")
    tag = site.client.get("/userapi/jobs/", headers=own).headers["ETag"]
    other = site.headers("api", "user", name="bob")
    answer = site.client.get("/userapi/jobs/", headers={**other, "If-None-Match": tag})
    assert (answer.status_code, answer.get_json()["total"]) == (200, 1)


@pytest.mark.parametrize("path", ["/api/jobs/999", "/api/jobs/?state=lazy", "/api/jobs/metrics/999"])
def test_errors_have_no_tag(site: Any, path: str) -> None:
    answer = site.client.get(path, headers={**site.headers(), "If-None-Match": "*"})
    assert answer.status_code != 304
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("value", ["*", '"x"', "same"])
def test_a_condition_that_no_weak_tag_meets_is_a_problem_and_not_the_document(site: Any, value: str) -> None:
    tag = site.client.get("/api/jobs/", headers=site.headers()).headers["ETag"]
    answer = site.client.get("/api/jobs/", headers={**site.headers(), "If-Match": tag if value == "same" else value})
    assert (answer.status_code, answer.get_json()["code"]) == (412, "http_error")
    assert "jobs" not in answer.get_json()
