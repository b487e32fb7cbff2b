import logging
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cc_backend.db.database import FaultKind


def test_a_well_backend_is_ok_for_anybody(site: Any) -> None:
    answer = site.client.get("/healthz")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok"})


def test_a_file_system_that_is_full_is_503_and_names_the_part_and_what_to_do_but_no_files(
    site: Any, tmp_path: Path
) -> None:
    site.services.database.record_fault(FaultKind.WRITE, "the disk is full: free some space")
    answer = site.client.get("/healthz")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.get_json() == {
        "status": "unavailable",
        "code": "unhealthy",
        "faults": ["the database cannot be written: the disk is full: free some space"],
    }
    assert str(tmp_path) not in answer.text


def test_asking_costs_no_look_at_disk_or_database(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: Any, **__: Any) -> None:
        raise AssertionError("a public probe must cost nothing")

    monkeypatch.setattr(site.services.database, "write", touched)
    monkeypatch.setattr(site.services.database, "_execute_cursor", touched)
    monkeypatch.setattr(os, "stat", touched)
    assert site.client.get("/healthz").status_code == 200


def test_a_database_locked_by_another_process_is_503_for_jobs_too_and_over_when_the_lock_is(
    site_of: Any, tmp_path: Path
) -> None:
    site = site_of(settings={"main": {"db-config": {"busy-timeout-ms": 10}}})
    headers = site.headers()
    other = sqlite3.connect(tmp_path / "job.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        site.services.health.check_all()
        health = site.client.get("/healthz")
        start = site.client.post("/api/jobs/start_job/", json=site.start_document(), headers=headers)
    finally:
        other.close()
    assert (health.status_code, start.status_code) == (503, 503)
    assert int(start.headers["Retry-After"]) > 0
    site.services.health.check_all()
    assert site.client.get("/healthz").status_code == 200
    assert site.start_job()


def test_parts_that_are_gone_are_named(site: Any, tmp_path: Path) -> None:
    for name, part in (("metric-store", "metric store"), ("job.db", "database"), ("job-archive", "job archive")):
        (tmp_path / name).rename(tmp_path / "away")
        site.services.health.check_all()
        answer = site.client.get("/healthz")
        assert answer.status_code == 503
        assert [part in fault for fault in answer.get_json()["faults"]] == [True]
        (tmp_path / "away").rename(tmp_path / name)
        site.services.health.check_all()
        assert site.client.get("/healthz").status_code == 200


def test_metrics_are_prometheus_text(site: Any, read_exposition: Any) -> None:
    site.archived_job()
    site.start_job(jobId=5)
    site.clock.advance(60)
    site.stop_job(job_id=5)
    site.start_job(jobId=6)
    answer = site.client.get("/metrics")
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    read_exposition(answer.data)
    lines = answer.text.splitlines()
    assert 'cc_backend_jobs_running{cluster="tern"} 1' in lines
    assert "cc_backend_archive_queue_jobs 1" in lines
    assert "cc_backend_store_log_writable 1" in lines
    assert any(line.startswith("cc_backend_build_info{version=") for line in lines)
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"):
        (value,) = [line.split()[1] for line in lines if line.startswith(f"{name} ")]
        assert float(value) > 0


def test_answers_are_counted_by_route_and_never_by_path(site: Any) -> None:
    headers = site.headers()
    for number in range(3):
        site.client.get(f"/api/jobs/{number}", headers=headers)
        site.client.get(f"/api/secret-{number}")
    site.client.get("/api/jobs/")
    text = site.client.get("/metrics").text
    assert 'cc_backend_http_requests_total{method="GET",route="/api/jobs/<job_id>/",status="422"} 3' in text
    assert 'cc_backend_http_requests_total{method="GET",route="/api/jobs/",status="401"} 1' in text
    assert 'cc_backend_http_request_seconds_count{route="/api/jobs/<job_id>/"} 3' in text
    assert "secret" not in text


def test_methods_that_nobody_knows_share_one_counter(site: Any) -> None:
    site.client.open("/healthz", method="BREW")
    assert 'method="other"' in site.client.get("/metrics").text
    assert "BREW" not in site.client.get("/metrics").text


REMOTE = {"REMOTE_ADDR": "192.0.2.7"}


def test_metrics_from_another_machine_need_a_token(site: Any) -> None:
    assert site.client.get("/metrics", environ_overrides=REMOTE).status_code == 401


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via"]
)
def test_metrics_through_a_proxy_on_this_machine_need_a_token(site: Any, name: str) -> None:
    assert site.client.get("/metrics", headers={name: "192.0.2.7"}).status_code == 401


@pytest.mark.parametrize(
    ("roles", "scopes", "status"),
    [
        (("api",), None, 200),
        (("api",), ["read"], 200),
        (("admin",), ["read"], 200),
        (("admin", "api"), None, 200),
        (("api",), ["write"], 403),
        (("user",), ["read"], 403),
        (("user",), None, 401),
        (("user", "api"), None, 401),
    ],
)
def test_metrics_from_another_machine_are_for_tokens_that_see_the_whole_site(
    site: Any, roles: tuple[str, ...], scopes: list[str] | None, status: int
) -> None:
    headers = site.headers(*roles, scopes=scopes)
    assert site.client.get("/metrics", headers=headers, environ_overrides=REMOTE).status_code == status


def test_what_nobody_expected_is_500_with_an_id_and_logged_once(
    site: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(site.services.job_queries, "find", broken)
    with caplog.at_level(logging.ERROR):
        answer = site.client.get("/api/jobs/", headers=site.headers())
    document = answer.get_json()
    assert (answer.status_code, document["status"]) == (500, "Internal Server Error")
    assert "swordfish" not in answer.text
    (record,) = [record for record in caplog.records if document["requestId"] in record.getMessage()]
    assert record.exc_info is not None
