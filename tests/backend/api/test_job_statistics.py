from typing import Any

import pytest

ROUTE = "/api/jobs/statistics/"


def ask(site: Any, query: str = "", *roles: str, **more: Any) -> Any:
    path = "/userapi/jobs/statistics/" if "user" in roles else ROUTE
    answer = site.client.get(f"{path}{query}", headers=site.headers(*roles, **more))
    assert answer.status_code == 200, answer.text
    return answer.get_json()


@pytest.fixture
def jobs(site: Any) -> Any:
    """Three jobs of two users: 90 s and 2 h long ones, and one that has run for an hour."""
    now_s = int(site.clock())
    site.user("mlindqv", "user", full_name="Maja Lindqvist")
    site.start_job(jobId=1, startTime=now_s - 90, numHwthreads=2, footprint={"mem_used_max": 32.0})
    site.stop_job(job_id=1)
    site.start_job(jobId=2, startTime=now_s - 7200, user="kmeyer", project="chem07", numAcc=2,
                   footprint={"mem_used_max": 64.0, "load_one_avg": 1.0})  # fmt: skip
    site.stop_job(job_id=2)
    site.start_job(jobId=3, startTime=now_s - 3600)
    return site


def test_totals_are_not_rounded(jobs: Any) -> None:
    assert ask(jobs)["statistics"] == {
        "id": "",
        "name": "",
        "totalJobs": 3,
        "totalUsers": 2,
        "runningJobs": 1,
        "shortJobs": 1,
        "totalNodes": 3,
        "totalCores": 18,
        "totalAccs": 2,
        "totalWalltime": 3.025,
        "totalNodeHours": 3.025,
        "totalCoreHours": 24.05,
        "totalAccHours": 4.0,
    }


def test_filters_are_those_of_the_list(jobs: Any) -> None:
    assert ask(jobs, "?user=kmeyer")["statistics"]["totalJobs"] == 1
    assert ask(jobs, "?state=running&cluster=tern")["statistics"]["totalCoreHours"] == 8.0
    assert ask(jobs, "?duration=lessthan-100")["statistics"]["totalJobs"] == 1
    assert ask(jobs, "?duration=0-0")["statistics"]["totalJobs"] == 0


def test_histograms_have_every_bin(jobs: Any) -> None:
    found = ask(jobs, "?bins=10m&metric=mem_used&metric=nothing&metric-bins=4")["histograms"]
    counts = found["duration"].pop("counts")
    assert found["duration"] == {"binWidth": 600, "beyond": 0}
    assert [place for place, count in enumerate(counts) if count] == [0, 6, 12]
    assert len(counts) == 72
    assert found["numHWThreads"] == {"values": [[2, 1], [8, 2]], "beyond": 0}
    assert found["numAccelerators"] == {"values": [[0, 2], [2, 1]], "beyond": 0}
    used, nothing = found["metrics"]
    assert used == {
        "metric": "mem_used", "stat": "max", "unit": "GB", "peak": 64.0,
        "binWidth": 16.0, "counts": [0, 0, 1, 1], "beyond": 0, "missing": 1,
    }  # fmt: skip
    assert (nothing["counts"], nothing["missing"]) == ([], 3)


def test_groups_come_sorted_in_pages_with_real_names(jobs: Any) -> None:
    found = ask(jobs, "?group-by=user&sort-by=totalWalltime")
    assert [(group["id"], group["name"], group["totalJobs"]) for group in found["groups"]] == [
        ("kmeyer", "", 1),
        ("mlindqv", "Maja Lindqvist", 2),
    ]
    assert (found["total"], found["items"], found["page"]) == (2, 2, 1)
    second = ask(jobs, "?group-by=project&page=2&items-per-page=1")
    assert [group["id"] for group in second["groups"]] == ["chem07"]
    assert (second["total"], second["items"], second["page"]) == (2, 1, 2)


def test_a_user_sees_the_own_jobs_summed_up_only(jobs: Any) -> None:
    own = ask(jobs, "", "user", "api", name="kmeyer")["statistics"]
    assert (own["totalJobs"], own["totalUsers"]) == (1, 1)
    groups = ask(jobs, "?group-by=user", "user", "api", name="kmeyer")["groups"]
    assert [group["id"] for group in groups] == ["kmeyer"]
    assert ask(jobs, "?user=mlindqv", "user", "api", name="kmeyer")["statistics"]["totalJobs"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "group-by=password",
        "group-by=",
        "group-by=user&sort-by=id;--",
        "group-by=user&bins=1h",
        "group-by=user&metric=mem_used",
        "sort-by=totalJobs",
        "page=2",
        "bins=2h",
        "bins=1h'",
        "metric=",
        "metric=a%00b",
        "metric=" + "x" * 200,
        "&".join(f"metric=m{number}" for number in range(17)),
        "metric-bins=0",
        "metric-bins=1001",
        "metric-bins=1e3",
        "group-by=user&page=0",
        "group-by=user&items-per-page=-1",
        "state=dreaming",
        "ran=5",
        "ran=a-b",
        "ran=--",
        "tagMatch=some",
        "noTag=x",
        "with-metadata=true",
        "limit=5",
    ],
)
def test_a_query_that_cannot_be_is_refused_with_its_name(jobs: Any, query: str) -> None:
    answer = jobs.client.get(f"{ROUTE}?{query}", headers=jobs.headers())
    assert answer.status_code == 400, answer.text
    assert query.rpartition("&")[2].partition("=")[0] in answer.text


@pytest.mark.parametrize("text", ["x' OR '1'='1", "'; DROP TABLE job; --", "%", "_", "\\", "1) OR (1=1"])
@pytest.mark.parametrize("name", ["cluster", "project", "user", "jobName"])
def test_sql_in_a_filter_is_only_text(jobs: Any, name: str, text: str) -> None:
    answer = jobs.client.get(ROUTE, query_string={name: text}, headers=jobs.headers())
    assert answer.get_json()["statistics"]["totalJobs"] == 0
    assert ask(jobs)["statistics"]["totalJobs"] == 3


def test_a_thousand_values_are_answered_and_more_are_refused(jobs: Any) -> None:
    many = [("jobId", str(number)) for number in range(2, 1002)]
    answer = jobs.client.get(ROUTE, query_string=many, headers=jobs.headers())
    assert answer.get_json()["statistics"]["totalJobs"] == 2
    refused = jobs.client.get(ROUTE, query_string=[*many, ("jobId", "1")], headers=jobs.headers())
    assert refused.status_code == 400


@pytest.mark.parametrize("number", ["9" * 18, "0"])
@pytest.mark.parametrize("name", ["numNodes", "numHWThreads", "numAccelerators", "duration", "energy", "jobId"])
def test_the_ends_of_the_numbers_can_be_asked_for(jobs: Any, name: str, number: str) -> None:
    if name == "duration":
        number = number[:12]
    found = ask(jobs, f"?{name}={number}")["statistics"]["totalJobs"]
    assert found == (2 if (name, number) == ("numAccelerators", "0") else 3 if (name, number) == ("energy", "0") else 0)


def test_a_job_that_ran_at_some_time_between_is_found(jobs: Any) -> None:
    now_s = int(jobs.clock())
    for query, expected in (
        (f"ran={now_s - 7000}-{now_s - 6000}", 1),
        (f"ran={now_s - 3000}-{now_s - 2000}", 2),
        (f"ran={now_s - 50}-", 3),
        (f"ran=-{now_s - 7201}", 0),
        ("ran=-", 3),
    ):
        assert ask(jobs, f"?{query}")["statistics"]["totalJobs"] == expected, query


def test_tags_can_all_be_asked_for_and_left_out(jobs: Any) -> None:
    jobs.start_job(jobId=4, tags=[{"type": "a", "name": "b"}, {"type": "c", "name": "d"}])
    jobs.start_job(jobId=5, tags=[{"type": "a", "name": "b"}])
    for query, expected in (
        ("tag=a:b&tag=c:d", 2),
        ("tag=a:b&tag=c:d&tagMatch=all", 1),
        ("tag=a:b&noTag=c:d", 1),
        ("noTag=a:b", 3),
        ("noTag=no:such", 5),
        ("tag=a:b&tag=no:such&tagMatch=all", 0),
    ):
        assert ask(jobs, f"?{query}")["statistics"]["totalJobs"] == expected, query


def test_all_groups_as_csv_with_the_unit_of_hours(site: Any) -> None:
    site.user("ada", full_name="=Ada, Countess")
    site.start_job(jobId=1, user="ada")
    site.start_job(jobId=2, user="bob")
    site.clock.advance(3600)
    answer = site.client.get("/api/jobs/statistics/?format=csv&group-by=user", headers=site.headers())
    lines = answer.text.split("\r\n")
    assert lines[0].split(",")[9:] == [
        f"total{what} (h)" for what in ("Walltime", "NodeHours", "CoreHours", "AccHours")
    ]
    assert lines[1:] == [
        'ada,"\'=Ada, Countess",1,1,1,0,1,8,0,1.0,1.0,8.0,0.0',
        "bob,,1,1,1,0,1,8,0,1.0,1.0,8.0,0.0",
        "",
    ]


def test_totals_as_csv_are_one_row_and_have_no_histograms(site: Any) -> None:
    site.start_job()
    answer = site.client.get("/api/jobs/statistics/?format=csv", headers=site.headers())
    assert len(answer.text.split("\r\n")) == 3
    for query in ("bins=1h", "metric=mem_used", "group-by=user&page=1"):
        answer = site.client.get(f"/api/jobs/statistics/?format=csv&{query}", headers=site.headers())
        assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_parameter")
