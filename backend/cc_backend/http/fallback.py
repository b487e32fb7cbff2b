"""JSON responses for unknown paths and methods: 404, 405 with `Allow`, and OPTIONS.

Implemented by catch-all routes under each prefix, and for the two paths outside of them; pages have their own errors.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

from flask import Blueprint, Flask, Response, request
from flask.blueprints import BlueprintSetupState
from flask.globals import request_ctx
from werkzeug.exceptions import HTTPException

from cc_backend.auth.permissions import Permission, requires
from cc_backend.http.problems import problem_response
from cc_backend.http.query_string import ROUTES_BESIDE_IDS
from cc_common.error_codes import ErrorCode

# Words in the place of a job's id would match the routes of one job as well, with other methods.
_FIXED_PATHS = tuple(f"/api/jobs/{word}/" for word in ROUTES_BESIDE_IDS)
PREFIXES = ("/api", "/userapi", "/frontend", "/config", "/metricstore")
READ_ONLY = ("/healthz", "/metrics")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_ENDPOINT = "unknown"
_CORS_PREFIX = "/api/"
_CORS_HEADERS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag"}
_PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Encoding, Content-Type, Idempotency-Key, If-None-Match, "
    "Origin, X-Auth-Token, X-Requested-With",
    "Access-Control-Max-Age": "600",
}


@requires(Permission.PUBLIC)
def respond_to_unknown_path(rest: str = "") -> Response:
    """404 for an unknown path, 405 for an unknown method, 204 for OPTIONS of a known path."""
    del rest
    allowed = _allowed_methods()
    if not allowed:
        return problem_response(
            HTTPStatus.NOT_FOUND, ErrorCode.ROUTE_UNKNOWN, f"there is nothing at {request.path[:200]!r}"
        )
    if request.method == "OPTIONS":
        response = Response(status=HTTPStatus.NO_CONTENT)
        del response.headers["Content-Type"]
    else:
        text = f"{request.method} is not possible here; {' and '.join(allowed)} {'are' if len(allowed) > 1 else 'is'}"
        response = problem_response(HTTPStatus.METHOD_NOT_ALLOWED, ErrorCode.METHOD_NOT_ALLOWED, text)
    response.headers["Allow"] = ", ".join([*allowed, "OPTIONS"])
    return response


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


def cross_origin_headers(path: str) -> Mapping[str, str]:
    """CORS headers that let scripts of any origin use /api, which accepts tokens only and ignores cookies."""
    return _CORS_HEADERS if path.startswith(_CORS_PREFIX) else {}


def allow_cross_origin(response: Response) -> Response:
    """The response with the CORS headers of its path."""
    fields = cross_origin_headers(request.path)
    response.headers.update(fields)
    if fields and request.method == "OPTIONS":
        response.headers.update(_PREFLIGHT_HEADERS)
    return response


def install_fallback(blueprint: Blueprint) -> None:
    """Add the catch-all routes and the CORS headers."""
    blueprint.record_once(_add_rules)
    blueprint.after_request(allow_cross_origin)


def _add_rules(state: BlueprintSetupState) -> None:
    """Add rules for any method, even unknown ones, which `add_url_rule` does not support."""
    app = cast("Flask", state.app)
    endpoint = f"{state.blueprint.name}.{_ENDPOINT}"
    app.view_functions[endpoint] = respond_to_unknown_path
    rules = [f"{prefix}/<path:rest>" for prefix in PREFIXES]
    rules += [f"{prefix}/" for prefix in PREFIXES if prefix != "/config"]
    for rule in (*rules, *READ_ONLY, *_FIXED_PATHS):
        app.url_map.add(app.url_rule_class(rule, endpoint=endpoint, strict_slashes=False))
