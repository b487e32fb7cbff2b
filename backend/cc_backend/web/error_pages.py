"""Pages for what goes wrong: what happened, in plain words, and one way out."""

import logging
import secrets
from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, Response, make_response, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from cc_backend.errors import BackendError
from cc_backend.httpserver.problem_json import CONTENT_TYPE, problem_body
from cc_backend.web.views.login import login_page
from cc_backend.wording.format import duration
from cc_common.error_codes import code_of_status
from cc_common.errors import CockpitError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Words:
    """Title, glyph and way out of an error page."""

    title: str
    icon: str = "info"
    text: str = ""
    way_out_words: str = "Jobs"
    way_out: str = "web.jobs"


_WORDS = {
    400: Words("A value in this address cannot be used", text="", way_out_words="All jobs"),
    403: Words("You may not see this", "lock", way_out_words="Your jobs"),
    404: Words(
        "There is nothing here",
        "search",
        "The page was moved, the job was removed, or it belongs to somebody whose jobs you may not see.",
        "All jobs",
    ),
    405: Words("This page cannot be used that way", way_out_words="Start", way_out="web.start"),
    413: Words("That was too much to send", way_out_words="Start", way_out="web.start"),
    429: Words("Too many tries", "pause", way_out_words="Sign in", way_out="web.login"),
    500: Words(
        "This page could not be made",
        "info",
        "Nothing was lost. If it happens again, tell your support the number below.",
        "Start",
        "web.start",
    ),
    503: Words("A part of the server is away", "pause", way_out_words="Start", way_out="web.start"),
}
_SHOWN_AS_IT_IS = frozenset({400, 403, 413, 422, 429, 503})


def install(pages: Blueprint) -> None:
    """Answers every error of the pages, and of addresses that belong to nobody, with a page."""
    pages.app_errorhandler(CockpitError)(answer)
    pages.app_errorhandler(HTTPException)(answer)
    pages.app_errorhandler(Exception)(answer)


def answer(error: Exception) -> Response:
    """The page for an error; a request number under which the log has the cause of what nobody expected."""
    status, text, retry_after_s = _read(error)
    if status == HTTPStatus.UNAUTHORIZED:
        return _sign_in(error, text)
    if isinstance(error, HTTPException) and error.code is not None and error.code < HTTPStatus.BAD_REQUEST:
        return make_response(error.get_response())
    number = ""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        number = secrets.token_hex(4)
        logger.error("page failed path=%r request=%s", request.path, number, exc_info=error)
    words = _WORDS.get(status, _WORDS[500] if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _WORDS[400])
    sentence = _sentence(text) if status in _SHOWN_AS_IT_IS and text else words.text
    if retry_after_s:
        sentence = f"{sentence} Try again in {duration(retry_after_s)}.".strip()
    if _wants_json():
        response = _problem(status, error, sentence)
    else:
        page = render_template(
            "error.html",
            title=words.title,
            icon_name=words.icon,
            text=sentence,
            request_number=number,
            way_out=url_for(words.way_out),
            way_out_words=words.way_out_words,
        )
        response = make_response(page, status)
    response.headers["Cache-Control"] = "no-store"
    if retry_after_s:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def _read(error: Exception) -> tuple[int, str, int | None]:
    """Status, text fit for people, and when to come back."""
    if isinstance(error, BackendError):
        return error.status, error.shown, error.retry_after_s
    if isinstance(error, HTTPException):
        return error.code or 500, "", None
    return 500, "", None


def _problem(status: int, error: Exception, text: str) -> Response:
    """The answer of a page's data, as the API gives it."""
    code = error.code if isinstance(error, BackendError) else code_of_status(status)
    return Response(problem_body(status, code, text), status=status, content_type=CONTENT_TYPE)


def _wants_json() -> bool:
    return (request.endpoint or "").endswith("job_data")


def _sign_in(error: Exception, text: str) -> Response:
    """The sign-in form at the address that was asked for, so that nothing of it is lost."""
    if _wants_json():
        return _problem(HTTPStatus.UNAUTHORIZED, error, text or "please log in")
    back = request.full_path.rstrip("?") if request.method == "GET" else "/"
    notice = "" if back == "/" else "Sign in to see this page."
    return login_page(back, notice=notice, status=HTTPStatus.UNAUTHORIZED)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""
