"""The OpenAPI 3.1 document of an API, from its routes and what they take and give: pure functions."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from cc_backend.auth.permissions import Permission
from cc_backend.http.responses import JSON
from cc_backend.http.routing import Route

Schema = Mapping[str, Any]
"""A JSON schema (draft 2020-12)."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query string: its JSON schema, and what it means in a few words."""

    name: str
    schema: Schema
    meaning: str
    is_repeatable: bool = False
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request."""

    schema: Schema
    media_type: str = JSON


@dataclass(frozen=True, slots=True)
class Success:
    """The response to a request that is right; without a schema it has no body that a program would read.

    `also` are the media types of other forms of it that a client can ask for.
    """

    meaning: str = "done"
    schema: Schema | None = None
    status: int = HTTPStatus.OK
    media_type: str = JSON
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """What a route takes and gives; its path, view and permission say the rest.

    `summary` is for views that serve several routes, in place of the view's docstring. `failure` is the schema of
    errors in a form of their own, beside the usual one.
    """

    query: tuple[Parameter, ...] = ()
    body: Body | None = None
    success: Success = Success()
    failure: Schema | None = None
    summary: str = ""


_PATH_PARAMETER = re.compile("<([a-z_]+)>")
_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
}


def openapi_document(
    routes: Iterable[Route],
    describe: Callable[[Route], Description],
    *,
    title: str,
    version: str,
    schemas: Mapping[str, Schema],
    path_schemas: Mapping[str, Schema],
) -> dict[str, Any]:
    """The document of these routes, in their order; `path_schemas` has the schema of each parameter in a path.

    Paths are written with the slash at their end, and valid without it as well.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        names = _PATH_PARAMETER.findall(route.path)
        in_path = [{"name": name, "in": "path", "required": True, "schema": path_schemas[name]} for name in names]
        operations = paths.setdefault(documented_path(route), {})
        for method in route.methods:
            operations[method.lower()] = _operation(route, describe(route), method, in_path)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in _SECURITY_SCHEMES],
        "paths": paths,
        "components": {"schemas": dict(schemas), "securitySchemes": _SECURITY_SCHEMES},
    }


def documented_path(route: Route) -> str:
    """The path of a route with its parameters in braces."""
    return _PATH_PARAMETER.sub(r"{\1}", route.path)


def _operation(route: Route, described: Description, method: str, in_path: list[dict[str, Any]]) -> dict[str, Any]:
    summary, _, more = (described.summary or route.view.__doc__ or "").partition("\n")
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}{re.sub('[^a-z0-9]+', '_', route.path.lower()).rstrip('_')}",
        "summary": summary,
        "x-permission": route.permission.value,
        "parameters": [*in_path, *map(_query_parameter, described.query)],
        "responses": {str(int(described.success.status)): _response(described.success), "default": _failure(described)},
    }
    if more.strip():
        operation["description"] = " ".join(more.split())
    if described.body is not None:
        operation["requestBody"] = _request_body(described.body)
    if route.permission is Permission.PUBLIC:
        operation["security"] = []
    return operation


def _query_parameter(parameter: Parameter) -> dict[str, Any]:
    schema = {"type": "array", "items": parameter.schema} if parameter.is_repeatable else parameter.schema
    found = {"name": parameter.name, "in": "query", "description": parameter.meaning, "schema": schema}
    return {**found, "required": True} if parameter.is_required else found


def _request_body(body: Body) -> dict[str, Any]:
    return {"required": True, "content": {body.media_type: {"schema": body.schema}}}


def _response(success: Success) -> dict[str, Any]:
    found: dict[str, Any] = {"description": success.meaning}
    if success.schema is None:
        return found
    others = {media_type: {"schema": {"type": "string"}} for media_type in success.also}
    return {**found, "content": {success.media_type: {"schema": success.schema}, **others}}


def _failure(described: Description) -> dict[str, Any]:
    schema = _PROBLEM if described.failure is None else {"anyOf": [_PROBLEM, described.failure]}
    return {
        "description": "what went wrong: `code` for programs, `error` for people",
        "content": {JSON: {"schema": schema}},
    }
