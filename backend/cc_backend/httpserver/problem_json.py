"""The JSON body of every error response, for the API, the pages and the HTTP server. Needs no web framework."""

from http import HTTPStatus
from typing import Any

import orjson

from cc_common.error_codes import ErrorCode

CONTENT_TYPE = "application/json"

# Python 3.13 renamed two phrases; clients see the same text whatever runs the server.
_PHRASES = {413: "Request Entity Too Large", 422: "Unprocessable Entity"}


def problem_body(status: int, code: ErrorCode, text: str, **more: Any) -> bytes:
    """The JSON body of an error response: `status` as reason phrase, `code`, `error` as text, and further keys."""
    phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
    return orjson.dumps({"status": phrase, "code": code, "error": text, **more})
