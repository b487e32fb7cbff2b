"""JSON answers."""

from http import HTTPStatus
from typing import Any

import orjson
from flask import Response

JSON = "application/json"


def json_answer(document: Any, status: int = HTTPStatus.OK) -> Response:
    """The document as JSON."""
    return Response(orjson.dumps(document), status=status, content_type=JSON)
