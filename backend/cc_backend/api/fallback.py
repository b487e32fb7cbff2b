"""Paths and methods that no route knows, answered in JSON: 404, 405 with `Allow`, and OPTIONS.

A catch-all route under each prefix, and under the two paths outside, does it; the pages keep their own answers.
"""

from http import HTTPStatus

from flask import Blueprint, Response, request
from flask.globals import request_ctx
from werkzeug.exceptions import HTTPException

from cc_backend.api.errors import problem
from cc_backend.auth.permissions import Permission, requires
from cc_common.errorcodes import ErrorCode

PREFIXES = ("/api", "/userapi", "/frontend", "/config", "/metricstore")
READ_ONLY = ("/healthz", "/metrics")
_CHANGING = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_ENDPOINT = "unknown"
_CORS_PREFIX = "/api/"
_PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Encoding, Content-Type, Origin, X-Auth-Token, "
    "X-Requested-With",
    "Access-Control-Max-Age": "600",
}


@requires(Permission.PUBLIC)
def unknown(rest: str = "") -> Response:
    """404 for an unknown path, 405 for an unknown method, 204 for OPTIONS of a known path."""
    del rest
    allowed = _allowed_methods()
    if not allowed:
        return problem(HTTPStatus.NOT_FOUND, ErrorCode.ROUTE_UNKNOWN, f"there is nothing at {request.path[:200]!r}")
    if request.method == "OPTIONS":
        answer = Response(status=HTTPStatus.NO_CONTENT)
        del answer.headers["Content-Type"]
    else:
        text = f"{request.method} is not possible here; {' and '.join(allowed)} {'are' if len(allowed) > 1 else 'is'}"
        answer = problem(HTTPStatus.METHOD_NOT_ALLOWED, ErrorCode.METHOD_NOT_ALLOWED, text)
    answer.headers["Allow"] = ", ".join([*allowed, "OPTIONS"])
    return answer


def covers(path: str) -> bool:
    """Whether a path is the API's, whose failures are JSON.

    A method that is not in the list above ends at none of the routes here.
    """
    return path in READ_ONLY or any(path == prefix or path.startswith(f"{prefix}/") for prefix in PREFIXES)


def _allowed_methods() -> list[str]:
    adapter = request_ctx.url_adapter
    if adapter is None:
        return []
    allowed = []
    for method in _METHODS:
        try:
            rule, _ = adapter.match(method=method, return_rule=True)
        except HTTPException:
            continue
        if rule.endpoint.rpartition(".")[2] != _ENDPOINT:
            allowed += ["GET", "HEAD"] if method == "GET" else [method]
    return allowed


def allow_cross_origin(response: Response) -> Response:
    """Let scripts of any origin use /api: it takes tokens only, a browser's cookie is worth nothing there."""
    if request.path.startswith(_CORS_PREFIX):
        response.headers["Access-Control-Allow-Origin"] = "*"
        if request.method == "OPTIONS":
            response.headers.update(_PREFLIGHT_HEADERS)
    return response


def install(blueprint: Blueprint) -> None:
    """Add the catch-all routes and the cross-origin headers."""
    methods = [*_METHODS, "OPTIONS"]
    for prefix in PREFIXES:
        for rule in (f"{prefix}/<path:rest>", *([f"{prefix}/"] if prefix != "/config" else [])):
            blueprint.add_url_rule(
                rule, _ENDPOINT, unknown, methods=methods, strict_slashes=False, provide_automatic_options=False
            )
    for rule in READ_ONLY:
        blueprint.add_url_rule(
            rule, _ENDPOINT, unknown, methods=_CHANGING, strict_slashes=False, provide_automatic_options=False
        )
    blueprint.after_request(allow_cross_origin)
