"""The API describes itself: every route is in its OpenAPI document and on its page, and what is answered fits."""

import json
import re
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta

from cc_backend.api.descriptions import IN_PATH, describe_route
from cc_backend.api.job_list_query import PARAMETERS
from cc_backend.api.job_statistics import STATISTICS_PARAMETERS
from cc_backend.api.routes import ROUTES
from cc_backend.http.openapi import Description, documented_path

DRAFT = "https://json-schema.org/draft/2020-12/schema"


@pytest.fixture
def document(site: Any) -> dict[str, Any]:
    found: dict[str, Any] = site.client.get("/api/openapi.json").get_json()
    return found


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, of_path in document["paths"].items()
        for method, operation in of_path.items()
    }


def test_every_route_is_in_the_document_and_nothing_else(document: dict[str, Any]) -> None:
    routes = {(method, documented_path(route)): route for route in ROUTES for method in route.methods}
    found = operations(document)
    assert set(found) == set(routes)
    for key, operation in found.items():
        assert operation["x-permission"] == routes[key].permission.value
        assert operation["summary"]
    assert len({operation["operationId"] for operation in found.values()}) == len(found)


def test_a_route_that_takes_a_body_says_which(document: dict[str, Any]) -> None:
    reads = {("DELETE", path) for path in ("/api/jobs/delete_job/{job_id}/", "/api/jobs/delete_job_before/{before}/")}
    for (method, path), operation in operations(document).items():
        if method in {"POST", "PUT", "PATCH", "DELETE"} and (method, path) not in reads:
            assert "requestBody" in operation, f"{method} {path}"


def test_of_every_route_it_is_said_what_it_takes_and_gives() -> None:
    """In `_BY_ROUTE` of cc_backend.api.descriptions."""
    assert [route.path for route in ROUTES if describe_route(route) == Description()] == []


def test_every_parameter_of_the_job_list_is_described(document: dict[str, Any]) -> None:
    for path, names in (("/api/jobs/", PARAMETERS), ("/api/jobs/statistics/", STATISTICS_PARAMETERS)):
        parameters = document["paths"][path]["get"]["parameters"]
        assert [parameter["name"] for parameter in parameters] == list(names)
        assert [one["name"] for one in parameters if one["description"] == "a filter of jobs"] == []


def test_every_parameter_of_a_path_has_a_schema() -> None:
    assert {name for route in ROUTES for name in re.findall("<([a-z_]+)>", route.path)} == set(IN_PATH)


def schemas_in(value: Any) -> Any:
    if isinstance(value, dict):
        if "schema" in value:
            yield value["schema"]
        for item in value.values():
            yield from schemas_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from schemas_in(item)


def test_every_schema_is_one_and_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    components = document["components"]["schemas"]
    for schema in [*schemas_in(document["paths"]), *components.values()]:
        meta.validate({**schema, "$schema": DRAFT})
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert named == set(components)


def check(document: dict[str, Any], method: str, path: str, answer: Any) -> None:
    """Check the body of a response against what the document promises."""
    responses = document["paths"][path][method.lower()]["responses"]
    promised = responses.get(str(answer.status_code), responses["default"])
    content = promised["content"][answer.mimetype]
    schema = {**content["schema"], "components": document["components"]}
    Draft202012Validator(schema).validate(answer.get_json())


def test_what_is_answered_fits_the_document(site: Any, document: dict[str, Any]) -> None:
    archived = site.archived_job(tags=[{"type": "app", "name": "wave"}], footprint={"load_one_avg": 1.5})
    running = site.start_job(jobId=7)
    headers = site.headers()
    nodes = {"cluster": "tern", "nodes": [{"hostname": "tn01", "states": ["IDLE"]}]}
    assert site.client.post("/api/nodestate/", json=nodes, headers=headers).status_code == 200
    site.clock.advance(60)
    get = site.client.get
    for path, address in (
        ("/api/jobs/", "/api/jobs/?with-metadata"),
        ("/api/jobs/{job_id}/", f"/api/jobs/{archived}?all-metrics=true"),
        ("/api/jobs/{job_id}/", f"/api/jobs/{running}"),
        ("/api/jobs/{job_id}/", "/api/jobs/999"),
        ("/api/jobs/metrics/{job_id}/", f"/api/jobs/metrics/{archived}"),
        ("/api/jobs/metrics/{job_id}/", "/api/jobs/metrics/999"),
        ("/api/jobs/export/{job_id}/", f"/api/jobs/export/{archived}"),
        ("/api/jobs/export/{job_id}/", f"/api/jobs/export/{running}"),
        ("/api/jobs/export/{job_id}/", "/api/jobs/export/999"),
        ("/api/jobs/statistics/", "/api/jobs/statistics?metric=load_one"),
        ("/api/jobs/statistics/", "/api/jobs/statistics?group-by=user"),
        ("/api/nodes/", "/api/nodes"),
        ("/api/nodes/shares/", "/api/nodes/shares"),
        ("/api/nodes/{cluster}/{host}/", f"/api/nodes/tern/tn01?at={int(site.clock()) - 1}"),
        ("/api/jobs/used_nodes/", "/api/jobs/used_nodes?ts=9999999999"),
        ("/api/jobs/used_nodes/", "/api/jobs/used_nodes"),
        ("/api/clusters/", "/api/clusters"),
        ("/healthz", "/healthz"),
    ):
        check(document, "GET", path, get(address, headers=headers))
    for method, path, address, body in (
        ("POST", "/api/jobs/{job_id}/", f"/api/jobs/{archived}", ["load_one"]),
        ("POST", "/api/jobs/tag_job/{job_id}/", f"/api/jobs/tag_job/{archived}", [{"type": "a", "name": "b"}]),
        ("PATCH", "/api/jobs/edit_meta/{job_id}/", f"/api/jobs/edit_meta/{archived}", {"key": "a", "value": "b"}),
        ("POST", "/api/jobs/start_job/", "/api/jobs/start_job/", site.start_document(jobId=8)),
        ("POST", "/api/jobs/start_job/", "/api/jobs/start_job/", site.start_document(jobId=8)),
        ("POST", "/api/jobs/stop_job/", "/api/jobs/stop_job/", {"jobId": 8, "stopTime": int(site.clock())}),
        ("DELETE", "/api/jobs/delete_job/{job_id}/", f"/api/jobs/delete_job/{archived}", None),
        ("POST", "/api/nodestate/", "/api/nodestate/", nodes),
    ):  # fmt: skip
        check(document, method, path, site.client.open(address, method=method, json=body, headers=headers))


def test_the_page_has_every_route_and_no_script_and_needs_nothing_from_elsewhere(site: Any) -> None:
    answer = site.client.get("/api/docs")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    for route in ROUTES:
        for method in route.methods:
            assert f"<code>{method} {documented_path(route)}</code>" in answer.text
    assert not re.search(r"<script|<link|<img|\son\w+=|style=|https?:", answer.text)
    (style,) = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
    policy = answer.headers["Content-Security-Policy"]
    assert f"style-src 'sha256-{_digest(style)}'" in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("path", ["/api/docs", "/api/docs/"])
def test_the_page_leads_to_the_document(site: Any, path: str) -> None:
    (link,) = re.findall('<a href="([^"#]*)"', site.client.get(path).text)
    assert site.client.get(link).get_json()["openapi"] == "3.1.0"


def _digest(text: str) -> str:
    import base64  # noqa: PLC0415 - the one place that needs them
    import hashlib  # noqa: PLC0415

    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@pytest.mark.parametrize("path", ["/api/openapi.json", "/api/openapi.json/", "/api/docs", "/api/docs/"])
def test_both_are_public_and_are_not_sent_twice(site: Any, path: str) -> None:
    first = site.client.get(path)
    again = site.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code) == (200, 304)
