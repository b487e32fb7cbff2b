"""Error responses of the API: `{"status": "<reason phrase>", "code": "<code>", "error": "<text>"}`.

Expected errors have a text for people, a code for programs (cc_common.error_codes) and a status, and are translated
here. Unexpected errors are logged with their traceback under a request id, and only that id reaches the caller.
"""

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from cc_backend.errors import BackendError, Unavailable
from cc_backend.httpserver.problem_json import CONTENT_TYPE, problem_body
from cc_common.error_codes import ErrorCode, code_for_status
from cc_common.errors import CockpitError, HostlistError, LineProtocolError, PayloadError, UnitError

logger = logging.getLogger(__name__)

# Errors of the shared library that a request can cause; the others are defects of the server.
_CAUSED_BY_REQUEST: tuple[tuple[type[CockpitError], ErrorCode], ...] = (
    (PayloadError, ErrorCode.INVALID_FIELD),
    (LineProtocolError, ErrorCode.INVALID_LINE),
    (HostlistError, ErrorCode.INVALID_HOSTLIST),
    (UnitError, ErrorCode.INVALID_UNIT),
)
# Headers of a routing error that are kept in the response; the others describe its HTML page.
_KEPT_HEADERS = frozenset({"allow", "retry-after", "www-authenticate"})


def problem_response(status: int, code: ErrorCode, text: str, **more: Any) -> Response:
    """An error response."""
    response = Response(problem_body(status, code, text, **more), status=status, content_type=CONTENT_TYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


@dataclass(frozen=True, slots=True)
class PublicError:
    """What an expected error says to the caller: status, code and text, and more keys of the body."""

    status: int
    code: ErrorCode
    text: str
    more: Mapping[str, str]


def public_error(error: CockpitError) -> PublicError | None:
    """What an expected error says to the caller; None for a defect of the server."""
    for kind, code in _CAUSED_BY_REQUEST:
        if isinstance(error, kind):
            more = {"field": error.field} if isinstance(error, PayloadError) else {}
            return PublicError(HTTPStatus.BAD_REQUEST, code, str(error), more)
    if isinstance(error, BackendError):
        return PublicError(error.status, error.code, error.public_message, {})
    return None


def respond_to_cockpit_error(error: CockpitError) -> Response:
    """The response to an expected error; with `Retry-After` if the error has `retry_after_s`."""
    public = public_error(error)
    if public is None:
        return respond_to_unexpected(error)
    response = problem_response(public.status, public.code, public.text, **public.more)
    if not isinstance(error, BackendError):
        return response
    # an unavailable part was logged once, and may be requested a thousand times per second
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Unavailable):
        logger.error(
            "request failed method=%s path=%r status=%d error=%r", *_method_and_path(), error.status, str(error)
        )
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def respond_to_http_error(error: HTTPException) -> Response:
    """The response to an error of the web framework, such as a body over its limit."""
    page = error.get_response()
    if error.code is None:
        return respond_to_unexpected(error)
    response = problem_response(
        error.code, code_for_status(error.code), error.description or HTTPStatus(error.code).phrase
    )
    for name, value in page.headers.items():
        if name.lower() in _KEPT_HEADERS:
            response.headers[name] = value
    return response


def respond_to_unexpected(error: Exception) -> Response:
    """A response 500 with a request id under which the traceback is logged; it shows no internals."""
    request_id = uuid.uuid4().hex[:12]
    logger.error("request failed method=%s path=%r request_id=%s", *_method_and_path(), request_id, exc_info=error)
    text = f"internal error; the server's log has the cause under request id {request_id}"
    return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, ErrorCode.INTERNAL_ERROR, text, requestId=request_id)


def _method_and_path() -> tuple[str, str]:
    return request.method, request.path


def install_error_handlers(blueprint: Blueprint) -> None:
    """Respond to all errors of the blueprint's routes in JSON."""
    blueprint.register_error_handler(CockpitError, respond_to_cockpit_error)
    blueprint.register_error_handler(HTTPException, respond_to_http_error)
    blueprint.register_error_handler(Exception, respond_to_unexpected)
