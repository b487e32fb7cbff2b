"""What caches may keep, and where a redirect may lead."""

from typing import Any

import pytest

from cc_backend.httpserver.headers import local_reference


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/monitoring/jobs/", "/monitoring/jobs/"),
        ("http://evil.example/monitoring/jobs/?q=1#top", "/monitoring/jobs/?q=1#top"),
        ("//evil.example/x", "/x"),
        ("http:///evil.example", "/evil.example"),
        ("http://a//evil.example", "/evil.example"),
        ("http://a/\\evil.example", "/evil.example"),
        ("http://[evil/", "/"),
        ("", "/"),
    ],
)
def test_a_redirect_stays_on_this_server(location: str, expected: str) -> None:
    assert local_reference(location) == expected


@pytest.mark.parametrize(
    "path", ["/monitoring/jobs", "/monitoring/jobs?user=ada", "/", "/login?redirect=//evil.example/"]
)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "user@evil.example"])
def test_the_host_of_a_request_is_never_sent_back(client: Any, path: str, host: str) -> None:
    response = client.get(path, headers={"Host": host, "X-Forwarded-Host": host})
    assert "evil.example" not in response.headers.get("Location", "")
    assert response.status_code not in range(300, 400) or "evil" not in response.text


@pytest.mark.parametrize(
    "path",
    [
        "/api/jobs/",
        "/userapi/jobs/",
        "/api/jobs/1/",
        "/api/jobs/metrics/1/",
        "/api/clusters/",
        "/api/nothing",
        "/healthz",
        "/metrics",
        "/login",
        "/theme",
        "/nothing",
    ],
)
@pytest.mark.parametrize("with_token", [False, True])
def test_no_cache_keeps_what_the_api_answers(site: Any, path: str, with_token: bool) -> None:  # noqa: FBT001
    response = site.client.get(path, headers=site.headers() if with_token else {})
    assert response.headers["Cache-Control"] == "no-store"
