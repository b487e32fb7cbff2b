from typing import Any

import pytest
from flask.testing import FlaskClient

PREFIXES = ["api", "userapi", "frontend", "config", "metricstore"]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_an_unknown_path_is_404_in_json_for_anybody(client: FlaskClient, prefix: str, method: str) -> None:
    answer = client.open(f"/{prefix}/no/such/path", method=method)
    assert (answer.status_code, answer.content_type) == (404, "application/json")
    assert answer.get_json() == {
        "status": "Not Found",
        "code": "route_unknown",
        "error": f"there is nothing at '/{prefix}/no/such/path'",
    }


@pytest.mark.parametrize("path", ["/api", "/api/", "/userapi/", "/metricstore"])
def test_a_bare_prefix_is_404_in_json(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.content_type) == (404, "application/json")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/write/", {"POST", "OPTIONS"}),
        ("GET", "/api/write", {"POST", "OPTIONS"}),
        ("DELETE", "/api/clusters/", {"GET", "HEAD", "OPTIONS"}),
        ("PATCH", "/api/jobs/start_job/", {"POST", "PUT", "OPTIONS"}),
        ("POST", "/userapi/jobs/", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_405_with_allow(client: FlaskClient, method: str, path: str, allowed: set[str]) -> None:
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.content_type) == (405, "application/json")
    assert set(answer.headers["Allow"].split(", ")) == allowed
    assert answer.get_json()["status"] == "Method Not Allowed"


@pytest.mark.parametrize("method", ["BREW", "TRACE", "PROPFIND"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/jobs/", {"GET", "HEAD", "OPTIONS"}),
        ("/api/jobs/start_job", {"POST", "PUT", "OPTIONS"}),
        ("/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("/metricstore/write/", {"POST", "OPTIONS"}),
    ],
)
def test_a_method_that_nobody_knows_is_405_in_json_too(
    client: FlaskClient, method: str, path: str, allowed: set[str]
) -> None:
    answer = client.open(path, environ_overrides={"REQUEST_METHOD": method})
    assert (answer.status_code, answer.content_type) == (405, "application/json")
    assert answer.get_json()["code"] == "method_not_allowed"
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_a_method_that_nobody_knows_at_an_unknown_path_is_404_in_json(client: FlaskClient) -> None:
    answer = client.open("/api/no/such/path", method="BREW")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "route_unknown")


def test_pages_keep_their_own_answer_to_such_a_method(client: FlaskClient) -> None:
    answer = client.open("/monitoring/jobs/", method="BREW")
    assert (answer.status_code, answer.mimetype) == (405, "text/html")


def test_a_browser_may_ask_first_without_a_token(client: FlaskClient) -> None:
    asked = {"Origin": "https://dash.example", "Access-Control-Request-Method": "PUT"}
    answer = client.options("/api/jobs/start_job/", headers=asked)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "X-Auth-Token" in answer.headers["Access-Control-Allow-Headers"]
    assert {"PUT", "PATCH", "DELETE"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_answers_and_refusals_of_the_api_may_be_read_by_scripts_of_other_origins(site: Any) -> None:
    for headers in ({}, site.headers()):
        answer = site.client.get("/api/clusters/", headers={**headers, "Origin": "https://dash.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/userapi/jobs/", "/healthz", "/frontend/jwt/", "/config/users/"])
def test_nothing_else_may_be_read_by_scripts_of_other_origins(client: FlaskClient, path: str) -> None:
    assert "Access-Control-Allow-Origin" not in client.get(path).headers


def test_an_unknown_path_is_cut_in_the_answer(client: FlaskClient) -> None:
    assert len(client.get("/api/" + "x" * 5000).data) < 400


def test_a_post_is_never_redirected_for_its_slash(site: Any) -> None:
    for path in ("/api/jobs/start_job", "/api/jobs/stop_job", "/api/nodestate", "/api/healthcheck", "/api/write"):
        assert site.client.post(path, data="", headers=site.headers()).status_code in {200, 400}
    assert site.client.post("/api//write", data="", headers=site.headers()).status_code == 404
