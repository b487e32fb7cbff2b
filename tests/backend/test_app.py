"""The application as a whole: what every answer carries, and what keeps it from starting."""

from collections.abc import Callable
from typing import Any

import argon2
import pytest
from flask import Flask

from cc_backend.http.guard import RouteWithoutPermissionError, require_declared_permissions
from cc_backend.services import EXTENSION


@pytest.mark.parametrize("path", ["/login", "/healthz", "/api/jobs/", "/nothing/here", "/monitoring/jobs/"])
def test_every_answer_forbids_browsers_what_the_pages_do_not_need(client: Any, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"


def test_browsers_are_told_to_stay_with_https_only_over_https(client: Any) -> None:
    assert "Strict-Transport-Security" not in client.get("/login").headers
    assert "Strict-Transport-Security" in client.get("/login", base_url="https://localhost").headers


def test_a_route_that_declares_no_permission_keeps_the_application_from_starting(app: Flask) -> None:
    app.add_url_rule("/forgotten", "forgotten", lambda: "hello")
    with pytest.raises(RouteWithoutPermissionError, match="/forgotten"):
        require_declared_permissions(app)


def test_passwords_are_hashed_as_expensively_as_owasp_asks_unless_told_otherwise(
    app_factory: Callable[..., Flask],
) -> None:
    services = app_factory(hasher=None).extensions[EXTENSION]
    services.users.add("ada", ("user",), password="a good long password")
    (stored,) = services.database.first_row("SELECT password FROM user")
    cost = argon2.extract_parameters(stored)
    assert (cost.type, cost.memory_cost, cost.time_cost) == (argon2.Type.ID, 19 * 1024, 2)


def test_a_backend_without_clusters_starts_and_says_so(
    app_factory: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    app = app_factory(clusters=[])
    assert app.test_client().get("/healthz").status_code == 200
    assert "no cluster is configured" in caplog.text


def test_samples_and_jobs_are_there_after_a_restart(site_of: Callable[..., Any], clock: Any) -> None:
    first = site_of()
    first.start_job()
    first.write_node("tn01", from_s=int(clock()), minutes=3)
    first.services.close()
    clock.advance(120)
    second = site_of()
    jobs = second.client.get("/api/jobs/", headers=second.headers()).get_json()["jobs"]
    assert [job["jobId"] for job in jobs] == [88412]
    answer = second.client.get(
        f"/api/jobs/metrics/{jobs[0]['id']}?metric=mem_used", headers=second.headers()
    ).get_json()
    assert answer["data"]["jobMetrics"][0]["metric"]["series"][0]["data"] == [10.0, 11.0, 12.0]


@pytest.mark.parametrize(
    ("threads", "cache_mb", "each_mb"), [(1, 64, 64), (4, 64, 16), (16, 64, 4), (16, 2048, 128), (256, 1, 1)]
)
def test_the_page_cache_of_the_settings_is_that_of_the_writer_and_of_all_others_together(
    app_factory: Callable[..., Flask], threads: int, cache_mb: int, each_mb: int
) -> None:
    app = app_factory(settings={"main": {"threads": threads, "db-config": {"cache-size-mb": cache_mb}}})
    database = app.extensions[EXTENSION].database
    assert database.first_row("PRAGMA cache_size") == (-1024 * each_mb,)
    with database.write():
        pass
    with database.write():
        assert database.first_row("PRAGMA cache_size") == (-1024 * cache_mb,)
    assert database.first_row("PRAGMA cache_size") == (-1024 * each_mb,)
