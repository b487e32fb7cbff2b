from typing import Any

import pytest

from cc_backend.model import JobKey

START_S = 1_760_000_400


def remove(site: Any, path: str, **more: Any) -> Any:
    return site.client.delete(path, headers=site.headers(), **more)


def archive_all(site: Any) -> None:
    database = site.services.database
    with database.write():
        database.run_sql("UPDATE job SET monitoring_status = 3 WHERE state <> 'running'")


def left(site: Any) -> list[int]:
    jobs = site.client.get("/api/jobs/", headers=site.headers()).get_json()["jobs"]
    return sorted(job["jobId"] for job in jobs)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_job_is_removed_by_its_database_id_and_the_second_time_it_is_404(site: Any, slash: str) -> None:
    ids = [site.start_job(jobId=number) for number in (1, 2)]
    first, again = (remove(site, f"/api/jobs/delete_job/{ids[0]}{slash}") for _ in range(2))
    assert (first.status_code, first.get_json()["deleted"]) == (200, 1)
    assert str(ids[0]) in first.get_json()["msg"]
    assert (again.status_code, again.get_json()["code"]) == (404, "job_unknown")
    assert left(site) == [2]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("named", [{}, {"cluster": "tern"}, {"startTime": START_S, "cluster": ""}])
def test_a_job_is_removed_by_what_the_body_names(site: Any, slash: str, named: Any) -> None:
    for number in (1, 2):
        site.start_job(jobId=number)
    first, again = (remove(site, f"/api/jobs/delete_job{slash}", json={"jobId": 1, **named}) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 422)
    assert left(site) == [2]


def test_of_several_runs_the_newest_goes(site: Any) -> None:
    first = site.start_job()
    site.clock.advance(100)
    site.stop_job()
    site.clock.advance(100)
    second = site.start_job()
    remove(site, "/api/jobs/delete_job/", json={"jobId": 88412})
    assert site.client.get(f"/api/jobs/{first}", headers=site.headers()).status_code == 200
    assert site.client.get(f"/api/jobs/{second}", headers=site.headers()).status_code == 422


def test_the_archive_keeps_the_job(site: Any) -> None:
    remove(site, f"/api/jobs/delete_job/{site.archived_job()}")
    assert left(site) == []
    assert site.services.archive.exists(JobKey("tern", 88412, START_S))


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/jobs/delete_job/999", None, 404),
        ("/api/jobs/delete_job/abc", None, 400),
        ("/api/jobs/delete_job/1%20OR%201=1", None, 400),
        ("/api/jobs/delete_job/", {}, 400),
        ("/api/jobs/delete_job/", [], 400),
        ("/api/jobs/delete_job/", {"jobId": "1"}, 400),
        ("/api/jobs/delete_job/", {"jobId": 7}, 422),
        ("/api/jobs/delete_job/", {"jobId": 88412, "cluster": "skua"}, 422),
        ("/api/jobs/delete_job/", {"jobId": 88412, "startTime": 1}, 422),
        ("/api/jobs/delete_job_before/abc", None, 400),
        ("/api/jobs/delete_job_before/-1", None, 400),
        ("/api/jobs/delete_job_before/9223372036854775808", None, 400),
        ("/api/jobs/delete_job_before/9999999999?omit-tagged=some", None, 400),
        ("/api/jobs/delete_job_before/9999999999?omit_tagged=all", None, 400),
        ("/api/jobs/delete_job_before/", None, 404),
    ],
)  # fmt: skip
def test_what_is_wrong_has_its_status_and_removes_nothing(site: Any, path: str, body: Any, status: int) -> None:
    site.start_job()
    site.clock.advance(10)
    site.stop_job()
    answer = remove(site, path, json=body)
    assert (answer.status_code, bool(answer.get_json()["code"])) == (status, True)
    assert left(site) == [88412]


@pytest.mark.parametrize("slash", ["", "/"])
def test_finished_jobs_before_a_time_go_and_running_ones_stay(site: Any, slash: str) -> None:
    for number in (1, 2, 3):
        site.start_job(jobId=number)
        site.clock.advance(10)
        if number != 2:
            site.stop_job(job_id=number)
    archive_all(site)
    answer = remove(site, f"/api/jobs/delete_job_before/{START_S + 20}{slash}")
    assert (answer.status_code, answer.get_json()["deleted"]) == (200, 1)
    assert "1" in answer.get_json()["msg"]
    assert left(site) == [2, 3]


@pytest.mark.parametrize(
    ("query", "kept"), [("", []), ("?omit-tagged=none", []), ("?omit-tagged=all", [1, 2]), ("?omit-tagged=user", [2])]
)
def test_tagged_jobs_are_kept_if_asked_for(site: Any, query: str, kept: list[int]) -> None:
    tags: dict[int, list[Any]] = {1: [{"type": "app", "name": "x"}], 2: [{"type": "note", "name": "x"}], 3: []}
    for number, attached in tags.items():
        site.start_job(jobId=number, tags=attached)
        site.clock.advance(10)
        site.stop_job(job_id=number)
    archive_all(site)
    answer = remove(site, f"/api/jobs/delete_job_before/9999999999{query}")
    assert answer.get_json()["deleted"] == 3 - len(kept)
    assert left(site) == kept


def test_jobs_that_wait_for_the_archiver_stay_and_the_answer_says_so(site: Any) -> None:
    site.start_job()
    site.clock.advance(10)
    site.stop_job()
    answer = remove(site, "/api/jobs/delete_job_before/9999999999").get_json()
    assert (answer["deleted"], answer["unarchived"]) == (0, 1)
    assert "1 more wait to be archived" in answer["msg"]
    assert left(site) == [88412]


def test_a_token_for_one_cluster_removes_no_jobs_of_another(site_of: Any, tern: dict[str, Any]) -> None:
    site = site_of(clusters=[tern, {**tern, "name": "heron"}])
    for number, cluster in ((1, "tern"), (2, "heron")):
        site.start_job(jobId=number, cluster=cluster)
    site.clock.advance(10)
    for number, cluster in ((1, "tern"), (2, "heron")):
        site.stop_job(job_id=number, cluster=cluster)
    archive_all(site)
    headers = site.headers("api", clusters=["tern"])
    answer = site.client.delete("/api/jobs/delete_job_before/9999999999", headers=headers)
    assert answer.get_json()["deleted"] == 1
    assert left(site) == [2]
