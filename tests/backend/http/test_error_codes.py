"""There is no error answer without a code, and no code that docs, registry and statuses do not agree on."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

import cc_backend
from cc_backend.api.routes import ROUTES
from cc_backend.errors import BackendError
from cc_common.error_codes import ErrorCode, code_for_status

SOURCES = "backend/cc_backend"
BODY_MAKER = "httpserver/problem_json.py"
# these make an answer of an error that they are given, or of a status for which nothing closer is known
BY_STATUS = {BODY_MAKER, "http/problems.py", "web/error_pages.py", "httpserver/wsgi.py"}
# the only other places with a key "error": the envelope of job metrics, one query of many, and one event of many
OTHER_SHAPES = {
    *("api/job_data_json.py", "metricstore/query/json_codec.py", "metricstore/query/binary_codec.py"),
    *("api/bulk_events.py", "api/schemas.py"),
}


def below(cls: type[BackendError]) -> set[type[BackendError]]:
    return {cls}.union(*(below(child) for child in cls.__subclasses__()))


def every_error() -> dict[str, type[BackendError]]:
    for module in pkgutil.walk_packages(cc_backend.__path__, "cc_backend."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {cls.__name__: cls for cls in below(BackendError) if cls.__module__.startswith("cc_backend.")}


RAISED = every_error()


def trees(repository: Path) -> Iterator[tuple[str, ast.Module]]:
    root = repository / SOURCES
    for path in sorted(root.rglob("*.py")):
        yield path.relative_to(root).as_posix(), ast.parse(path.read_text("utf-8"))


def calls(repository: Path) -> Iterator[tuple[str, ast.Call]]:
    for name, tree in trees(repository):
        yield from ((name, node) for node in ast.walk(tree) if isinstance(node, ast.Call))


def called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def code_in(node: ast.AST | None) -> ErrorCode | None:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ErrorCode":
        return ErrorCode[node.attr]
    return None


def status_in(node: ast.AST) -> int | None:
    return (
        HTTPStatus[node.attr].value if isinstance(node, ast.Attribute) and node.attr in HTTPStatus.__members__ else None
    )


@pytest.mark.parametrize("error", [RAISED[name] for name in sorted(RAISED)])
def test_every_class_of_errors_has_a_general_code_that_fits_its_status(error: type[BackendError]) -> None:
    assert error.default_code.allows_status(error.status)
    assert error("text").code is error.default_code


def test_a_closer_code_fits_the_status_of_the_error_that_carries_it(repository: Path) -> None:
    seen, wrong = 0, []
    for name, call in calls(repository):
        given = next((code_in(word.value) for word in call.keywords if word.arg == "code"), None)
        if called(call) in RAISED and given is not None:
            seen += 1
            if not given.allows_status(RAISED[called(call)].status):
                wrong.append(f"{name}:{call.lineno} {given}")
    assert wrong == []
    assert seen > 50


def test_an_answer_made_by_hand_names_a_code_that_fits_its_status(repository: Path) -> None:
    seen, wrong = 0, []
    for name, call in calls(repository):
        if called(call) in {"problem_response", "problem_body"} and name not in BY_STATUS:
            seen += 1
            status, code = status_in(call.args[0]), code_in(call.args[1])
            if status is None or code is None or not code.allows_status(status):
                wrong.append(f"{name}:{call.lineno}")
    assert wrong == []
    assert seen >= 4


def test_only_one_place_makes_the_body_of_an_error_answer(repository: Path) -> None:
    makers = {
        name
        for name, tree in trees(repository)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in {"error", b"error"}
    }
    assert makers - OTHER_SHAPES - {"clusters/faults.py"} == {BODY_MAKER}


def test_no_code_stands_in_the_registry_that_nothing_answers_with(repository: Path) -> None:
    text = "".join(path.read_text("utf-8") for path in (repository / SOURCES).rglob("*.py"))
    used = {ErrorCode[name] for name in re.findall(r"\bErrorCode\.([A-Z_]+)", text)}
    used |= {code_for_status(status) for status in range(400, 600)} | {cls.default_code for cls in RAISED.values()}
    assert sorted(set(ErrorCode) - used) == []


def test_the_table_of_the_docs_is_the_registry(repository: Path) -> None:
    text = (repository / "docs/api.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \| ([0-9, ]+|any) \| (.*) \|$", text, re.MULTILINE)
    assert rows == [(code.value, ", ".join(map(str, code.statuses)) or "any", code.meaning) for code in ErrorCode]


def opened(client: Any, method: str, path: str, **more: Any) -> Any:
    return client.open(path.replace("<job_id>", "77"), method=method, **more)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_refusal_of_every_route_carries_a_code_of_the_registry(site: Any, route: Any) -> None:
    tokens: list[dict[str, str]] = [
        {},
        {"X-Auth-Token": "no.such.token"},
        site.headers("user", name="somebody"),
        site.headers(scopes=["read"]),
        site.headers(clusters=["elsewhere"]),
        site.headers(),
        site.headers("admin", "api"),
    ]
    bodies: list[dict[str, Any]] = [
        {},
        {"data": b"{"},
        {"data": b"[1]"},
        {"data": b"x", "headers": {"Content-Encoding": "gzip"}},
        {"data": b"x", "headers": {"Content-Encoding": "br"}},
        {"query_string": "no-such=1&ts=x&to=x&scope=x&cluster=elsewhere"},
    ]
    seen = 0
    for method in (*route.methods, "PATCH", "DELETE"):
        for token in tokens:
            for body in bodies:
                more = {**body, "headers": {**token, **body.get("headers", {})}}
                answer = opened(site.client, method, route.path, **more)
                if answer.status_code >= 400:
                    document = answer.get_json()
                    assert ErrorCode(document["code"]).allows_status(answer.status_code), (
                        method,
                        answer.status_code,
                        document,
                    )
                    assert document["error"]
                    seen += 1
    assert seen


def test_an_unexpected_failure_carries_a_code_too(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(site.services.job_queries), "find", lambda *_, **__: 1 / 0)
    answer = site.client.get("/api/jobs/", headers=site.headers())
    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")


def test_the_envelope_of_job_metrics_carries_the_code_of_its_error(site: Any) -> None:
    answer = site.client.get("/api/jobs/metrics/77/", headers=site.headers())
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (200, "job_unknown")
