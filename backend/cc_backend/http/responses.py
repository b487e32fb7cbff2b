"""JSON answers."""

from http import HTTPStatus
from typing import Any

import orjson
from flask import Response

from cc_backend.runtime.health import HealthMonitor
from cc_common.error_codes import ErrorCode

JSON = "application/json"
_RETRY_S = 5


def json_response(document: Any, status: int = HTTPStatus.OK) -> Response:
    """The document as JSON."""
    return Response(orjson.dumps(document), status=status, content_type=JSON)


def health_response(health: HealthMonitor) -> Response:
    """What load balancers are told: 200 while all is well, else 503 with what is wrong and what to do."""
    faults = health.faults()
    if not faults:
        return json_response({"status": "ok"})
    document = {"status": "unavailable", "code": ErrorCode.UNHEALTHY, "faults": faults}
    answer = json_response(document, HTTPStatus.SERVICE_UNAVAILABLE)
    answer.headers["Retry-After"] = str(_RETRY_S)
    return answer
