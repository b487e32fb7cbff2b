"""Requests that mean harm or nonsense: each must be refused or be without effect, never a 500."""

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_backend.api.job_list_query import PARAMETERS
from cc_backend.api.job_statistics import STATISTICS_PARAMETERS

INJECTIONS = ["' OR '1'='1", "tern'; DROP TABLE job; --", "%", "_", "tern\x00", "../../etc/passwd", "💥", "a" * 5000]


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("name", ["cluster", "project", "user"])
def test_sql_in_a_filter_is_only_a_name_that_no_job_has(site: Any, name: str, text: str) -> None:
    site.start_job()
    answer = site.client.get("/api/jobs/", query_string={name: text}, headers=site.headers())
    assert (answer.status_code, answer.get_json()["total"]) == (200, 0)
    assert site.client.get("/api/jobs/", headers=site.headers()).get_json()["total"] == 1


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("key", ["cluster", "subCluster", "project", "user", "partition", "shared"])
def test_sql_in_a_start_is_refused_or_stored_as_text(site: Any, key: str, text: str) -> None:
    answer = site.client.post("/api/jobs/start_job/", json=site.start_document(**{key: text}), headers=site.headers())
    assert answer.status_code in {201, 400}
    jobs = site.client.get("/api/jobs/", headers=site.headers()).get_json()["jobs"]
    assert [job[key] for job in jobs] == ([text] if answer.status_code == 201 else [])


@pytest.mark.parametrize(
    "path",
    [
        "/api/jobs/../../healthz/x",
        "/api/jobs/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/api/jobs/1;rm",
        "/api/jobs/metrics/..%2f..%2f",
        "/api/clusters/..%2f..%2fetc",
        "/api/%00",
        "/api/" + "a/" * 500,
        "/api/jobs/1?all-metrics=true&all-metrics=../..",
    ],
)
def test_paths_lead_nowhere_else(site: Any, path: str) -> None:
    answer = site.client.get(path, headers=site.headers())
    assert answer.status_code in {400, 404, 422}
    assert "error" in answer.get_json()


@pytest.mark.parametrize("metric", ["../../../etc/passwd", "load_one'--", "\x00", "a" * 5000])
def test_a_metric_name_from_outside_is_only_a_name_that_nothing_has(site: Any, metric: str) -> None:
    database_id = site.archived_job()
    answer = site.client.get(
        f"/api/jobs/metrics/{database_id}", query_string={"metric": metric}, headers=site.headers()
    )
    assert answer.get_json() == {"data": {"jobMetrics": []}, "error": None}


def test_a_scripted_name_is_shown_as_text_and_never_as_a_page(site: Any) -> None:
    site.start_job(user="<script>alert(1)</script>")
    answer = site.client.get("/api/jobs/", headers=site.headers())
    assert answer.content_type == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_header_cannot_be_split_by_a_cluster_name(site: Any) -> None:
    answer = site.client.get("/api/clusters/", query_string={"cluster": "a\r\nSet-Cookie: x=1"}, headers=site.headers())
    assert answer.status_code == 400
    assert "Set-Cookie" not in answer.headers


def test_a_browser_on_another_site_cannot_post_even_where_nothing_is(site: Any) -> None:
    answer = site.client.post("/api/nothing", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.content_type) == (403, "application/json")


def test_a_thousand_levels_of_json_are_400(site: Any) -> None:
    for body in (b'{"metaData":' * 1000, b"[" * 100_000, b'{"a":"' + b"\\" * 100_000):
        assert site.client.post("/api/jobs/start_job/", data=body, headers=site.headers()).status_code == 400


NONSENSE = ("%", "\x00", "\ud800", "9223372036854775807", str(2**63), "1")


@pytest.fixture
def both(site: Any, site_of: Any, postgres_database_url: str, tmp_path: Path) -> tuple[Any, Any]:
    """The same jobs on SQLite and on PostgreSQL."""
    (tmp_path / "second").mkdir()
    shutil.copytree(tmp_path / "job-archive", tmp_path / "second-archive")
    folders = {"archive": {"path": "second-archive"}, "metric-store": {"wal": {"directory": "second"}}}
    other = site_of(settings={"main": {"db": postgres_database_url}, **folders})
    for each in (site, other):
        for number in (1, 2, 3):
            tags = [{"type": "a", "name": "b"}] if number == 1 else []
            each.start_job(jobId=number, user="%" if number == 2 else "kmeyer", numHwthreads=number, tags=tags)
    return site, other


def test_nonsense_in_a_parameter_is_refused_or_finds_the_same_jobs_on_both_databases(both: tuple[Any, Any]) -> None:
    paths = [("/api/jobs/", name) for name in PARAMETERS]
    paths += [("/api/jobs/statistics/", name) for name in STATISTICS_PARAMETERS]
    for path, name in paths:
        for text in NONSENSE:
            query = urlencode({name: text}, errors="surrogatepass")
            answers = [each.client.get(f"{path}?{query}", headers=each.headers()) for each in both]
            first, second = ((answer.status_code, answer.get_json()) for answer in answers)
            assert first == second, query
            assert first[0] == 200 or (400 <= first[0] < 500 and first[1]["code"]), query


KEYS = st.sampled_from(["jobId", "cluster", "resources", "hostname", "startTime", "stopTime", "tags", "nodes"])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(document=DOCUMENTS)
def test_no_json_whatsoever_is_a_500(site: Any, document: Any) -> None:
    headers = site.headers()
    for path in ("/api/jobs/start_job/", "/api/jobs/stop_job/", "/api/nodestate/"):
        answer = site.client.post(path, json=document, headers=headers)
        assert answer.status_code < 500, answer.text


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=st.binary(max_size=300))
def test_no_bytes_whatsoever_make_a_write_fail(site: Any, body: bytes) -> None:
    answer = site.client.post("/api/write/?cluster=tern", data=body, headers=site.headers())
    assert answer.status_code in {200, 400}
