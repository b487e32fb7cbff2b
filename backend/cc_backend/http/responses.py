"""JSON responses."""

import hashlib
from http import HTTPStatus
from typing import Any

import orjson
from flask import Response, request
from werkzeug.exceptions import PreconditionFailed

from cc_backend.runtime.health import HealthMonitor
from cc_common.error_codes import ErrorCode

JSON = "application/json"
_RETRY_S = 5


def json_response(document: Any, status: int = HTTPStatus.OK) -> Response:
    """A response with the document as JSON."""
    return Response(orjson.dumps(document), status=status, content_type=JSON)


def with_etag(response: Response) -> Response:
    """The response to a GET with a weak entity tag of its body; 304 if the client has this body already.

    It saves the transfer only; nothing keeps the body, so that it is always right. Raises PreconditionFailed for
    `If-Match`, which no weak tag meets.
    """
    response.set_etag(hashlib.blake2b(response.get_data(), digest_size=16).hexdigest(), weak=True)
    response.make_conditional(request)
    if response.status_code == HTTPStatus.PRECONDITION_FAILED:
        raise PreconditionFailed("If-Match cannot be met: entity tags are weak here; send If-None-Match")
    return response


def health_response(health: HealthMonitor) -> Response:
    """The health check: 200 without faults, otherwise 503 with the faults and advice."""
    faults = health.faults()
    if not faults:
        return json_response({"status": "ok"})
    document = {"status": "unavailable", "code": ErrorCode.UNHEALTHY, "faults": faults}
    response = json_response(document, HTTPStatus.SERVICE_UNAVAILABLE)
    response.headers["Retry-After"] = str(_RETRY_S)
    return response
