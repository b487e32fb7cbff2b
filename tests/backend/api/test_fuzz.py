"""Requests made up from the API's own description: whatever fits it, or nearly does, is answered as it promises."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema_rs import Draft202012Validator
from schemathesis import GenerationMode

from cc_backend.api.descriptions import describe_route
from cc_backend.api.routes import ROUTES
from cc_backend.http.openapi import documented_path

EXAMPLES = 12
START_S = 1_760_000_400
TIMES = {"type": "integer", "minimum": START_S - 100, "maximum": START_S + 1200}
WORD = {"type": "string", "pattern": "^[a-z]{1,5}$"}
# Values that are there, so that not everything made up is about something that is not.
KNOWN = {
    "job_id": {"enum": [1, 2, 3]},
    "jobId": {"enum": [2, 3, 4, 5, 88412]},
    "cluster": {"const": "tern"},
    "host": {"enum": ["tn01", "tn02"]},
    "hostname": {"enum": ["tn01", "tn02"]},
    "accelerators": {"type": "array", "items": {"enum": ["a", "b"]}},
    "footprint": {
        "type": "object",
        "properties": {"mem_used_max": {"type": "number", "minimum": 0, "maximum": 9}},
        "additionalProperties": False,
    },
    "key": WORD,
    "startTime": {"enum": [START_S + 600, START_S + 900]},
    "stopTime": {**TIMES, "minimum": START_S + 600},
    "submitTime": TIMES,
    "numNodes": {"const": 1},
    "user": WORD,
    "project": WORD,
    "partition": WORD,
    "type": WORD,
    "name": WORD,
    "scope": {"enum": ["global", "admin", "root"]},
    "subCluster": {"enum": ["", "std"]},
    "configuration": {"type": "string", "maxLength": 10},
    "ts": TIMES,
    "from": {**TIMES, "maximum": START_S + 500},
    "to": {**TIMES, "minimum": START_S + 510},
    "node": {"enum": ["tn01", "tn[01-02]"]},
}


@pytest.fixture
def described(site_of: Any) -> Any:
    """A site with a finished and a running job, and the machine state of a host."""
    site = site_of(settings={"main": {"machine-state-dir": "machines"}})
    site.archived_job(tags=[{"type": "app", "name": "wave"}])
    site.start_job(jobId=2)
    site.client.put("/api/machine_state/tern/tn01/", json={}, headers=site.headers())
    nodes = [{"hostname": host, "states": ["IDLE"]} for host in ("tn01", "tn02")]
    site.client.post("/api/nodestate/", json={"cluster": "tern", "nodes": nodes}, headers=site.headers())
    for host in ("tn01", "tn02"):
        site.client.post("/api/nodes/report/", json={"cluster": "tern", "hostname": host}, headers=site.headers())
    site.clock.advance(60)
    return site


def with_known_values(value: Any) -> Any:
    """The document with narrower schemas of parameters and properties, by their names."""
    if isinstance(value, list):
        return [with_known_values(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("in") in {"path", "query"}:
        return {**value, "schema": KNOWN.get(value["name"], value["schema"])}
    found = {key: with_known_values(item) for key, item in value.items()}
    properties = found.get("properties")
    if isinstance(properties, dict):
        found["properties"] = {name: KNOWN.get(name, schema) for name, schema in properties.items()}
        if "resources" in properties:
            found["properties"]["resources"] = {**properties["resources"], "maxItems": 1}
    return found


def operations() -> Iterator[Any]:
    """Every operation with what fits its description, and with what does not, if it takes anything."""
    for route in ROUTES:
        for method in route.methods:
            path = documented_path(route)
            yield pytest.param(method, path, GenerationMode.POSITIVE, id=f"{method} {path} right")
            if "{" in path or describe_route(route).query or describe_route(route).body:
                yield pytest.param(method, path, GenerationMode.NEGATIVE, id=f"{method} {path} wrong")


@pytest.mark.parametrize(("method", "path", "mode"), list(operations()))
def test_no_request_is_a_defect_and_each_failure_has_a_code(
    described: Any, method: str, path: str, mode: GenerationMode
) -> None:
    document = described.client.get("/api/openapi.json").get_json()
    operation = schemathesis.openapi.from_dict(with_known_values(document))[path][method]
    responses = document["paths"][path][method.lower()]["responses"]
    success = int(next(status for status in responses if status != "default"))
    (failure,) = responses["default"]["content"].values()
    problem = Draft202012Validator({**failure["schema"], "components": document["components"]})
    headers = described.headers("admin", "api", name="root")
    statuses: dict[int, str] = {}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        wanted = case.as_transport_kwargs(base_url="http://localhost")
        sent = {key: wanted[key] for key in ("json", "data") if wanted.get(key) is not None}
        answer = described.client.open(
            wanted["url"], method=method, query_string=wanted.get("params"), headers=headers, **sent
        )
        assert answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR, answer.text
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            problem.validate(answer.get_json())
        else:
            assert answer.status_code == success
        statuses[answer.status_code] = answer.text

    ask()
    assert mode is GenerationMode.NEGATIVE or success in statuses, statuses
