"""Error pages: what happened, in plain words, and one link to go on."""

import logging
import secrets
from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, Response, make_response, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from cc_backend.errors import BackendError
from cc_backend.httpserver.problem_json import CONTENT_TYPE, problem_body
from cc_backend.web.views.login import login_page
from cc_backend.wording.format import format_duration
from cc_common.error_codes import code_for_status
from cc_common.errors import CockpitError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ErrorText:
    """Title, icon, text and link of an error page."""

    title: str
    icon: str = "info"
    text: str = ""
    link_text: str = "Jobs"
    link_endpoint: str = "web.jobs"


_TEXTS = {
    400: ErrorText("A value in this address cannot be used", text="", link_text="All jobs"),
    403: ErrorText("You may not see this", "lock", link_text="Your jobs"),
    404: ErrorText(
        "There is nothing here",
        "search",
        "The page was moved, the job was removed, or it belongs to somebody whose jobs you may not see.",
        "All jobs",
    ),
    405: ErrorText("This page cannot be used that way", link_text="Start", link_endpoint="web.start"),
    413: ErrorText("That was too much to send", link_text="Start", link_endpoint="web.start"),
    429: ErrorText("Too many tries", "pause", link_text="Sign in", link_endpoint="web.login"),
    500: ErrorText(
        "This page could not be made",
        "info",
        "Nothing was lost. If it happens again, tell your support the number below.",
        "Start",
        "web.start",
    ),
    503: ErrorText("A part of the server is not available", "pause", link_text="Start", link_endpoint="web.start"),
}
_SHOWN_VERBATIM = frozenset({400, 403, 413, 422, 429, 503})


def register_error_pages(pages: Blueprint) -> None:
    """Register the error pages, for the pages and for all addresses without a route."""
    pages.app_errorhandler(CockpitError)(render_error)
    pages.app_errorhandler(HTTPException)(render_error)
    pages.app_errorhandler(Exception)(render_error)


def render_error(error: Exception) -> Response:
    """The page for an error; an unexpected one gets a request number, under which the log has the cause."""
    status, text, retry_after_s = _describe(error)
    if status == HTTPStatus.UNAUTHORIZED:
        return _login_response(error, text)
    if isinstance(error, HTTPException) and error.code is not None and error.code < HTTPStatus.BAD_REQUEST:
        return make_response(error.get_response())
    number = ""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        number = secrets.token_hex(4)
        logger.error("page failed path=%r request=%s", request.path, number, exc_info=error)
    words = _TEXTS.get(status, _TEXTS[500] if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _TEXTS[400])
    sentence = _as_sentence(text) if status in _SHOWN_VERBATIM and text else words.text
    if retry_after_s:
        sentence = f"{sentence} Try again in {format_duration(retry_after_s)}.".strip()
    if _wants_json():
        response = _problem_response(status, error, sentence)
    else:
        page = render_template(
            "error.html",
            title=words.title,
            icon_name=words.icon,
            text=sentence,
            request_number=number,
            way_out=url_for(words.link_endpoint),
            way_out_words=words.link_text,
        )
        response = make_response(page, status)
    response.headers["Cache-Control"] = "no-store"
    if retry_after_s:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def _describe(error: Exception) -> tuple[int, str, int | None]:
    """HTTP status, text that may be shown, and seconds until a retry."""
    if isinstance(error, BackendError):
        return error.status, error.public_message, error.retry_after_s
    if isinstance(error, HTTPException):
        return error.code or 500, "", None
    return 500, "", None


def _problem_response(status: int, error: Exception, text: str) -> Response:
    """The problem document for a request for data, as the API returns it."""
    code = error.code if isinstance(error, BackendError) else code_for_status(status)
    return Response(problem_body(status, code, text), status=status, content_type=CONTENT_TYPE)


def _wants_json() -> bool:
    return (request.endpoint or "").endswith("job_data")


def _login_response(error: Exception, text: str) -> Response:
    """The sign-in form, which leads on to the requested address."""
    if _wants_json():
        return _problem_response(HTTPStatus.UNAUTHORIZED, error, text or "please log in")
    back = request.full_path.rstrip("?") if request.method == "GET" else "/"
    notice = "" if back == "/" else "Sign in to see this page."
    return login_page(back, notice=notice, status=HTTPStatus.UNAUTHORIZED)


def _as_sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""
