"""Signing in and out."""

from http import HTTPStatus

from flask import Response, make_response, redirect, render_template, request, url_for

from cc_backend.auth.passwords import LoginsBusy
from cc_backend.auth.permissions import Permission, requires
from cc_backend.errors import NotAuthenticated, TooManyRequests
from cc_backend.http.guard import current_session, end_session, identify_browser, remote_address, start_session
from cc_backend.services import current_services
from cc_backend.web.figures.line_plot import draw_paper_strip
from cc_backend.web.redirects import safe_redirect_path
from cc_backend.wording.format import format_duration

WRONG = "User name or password is wrong."
BUSY = "Many people sign in at this moment. Try again in a few seconds."


@requires(Permission.PUBLIC)
def login() -> Response:
    """The sign-in form (GET), or the sign-in itself (POST), which leads on to the wanted page."""
    if request.method == "GET":
        back = safe_redirect_path(request.args.get("redirect"))
        if current_session() is not None:
            return _redirect_uncached(back)
        return login_page(back)
    services = current_services()
    back = safe_redirect_path(request.form.get("redirect"))
    name = request.form.get("username", "").strip()
    try:
        user = services.users.verify_password(
            name,
            request.form.get("password", ""),
            services.clock(),
            address=remote_address(),
            browser=identify_browser(name),
        )
    except NotAuthenticated:
        return login_page(back, name, message=WRONG, status=HTTPStatus.UNAUTHORIZED)
    except LoginsBusy as error:
        response = login_page(back, name, message=BUSY, level="caution", status=error.status)
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response
    except TooManyRequests as error:
        wait_s = error.retry_after_s or 60
        message = f"Too many failed tries. Try again in {format_duration(max(wait_s, 1))}."
        response = login_page(back, name, message=message, level="caution", status=HTTPStatus.TOO_MANY_REQUESTS)
        response.headers["Retry-After"] = str(wait_s)
        return response
    response = _redirect_uncached(back)
    start_session(response, user.name)
    return response


@requires(Permission.PAGE)
def logout() -> Response:
    """End the session."""
    response = _redirect_uncached(url_for("web.login"))
    end_session(response)
    return response


def login_page(
    back: str,
    username: str = "",
    *,
    message: str = "",
    level: str = "alert",
    notice: str = "",
    status: int = HTTPStatus.OK,
) -> Response:
    """The sign-in form, with `no-store`."""
    page = render_template(
        "login.html",
        redirect=back,
        username=username[:200],
        message=message,
        message_level=level,
        notice=notice,
        strip=draw_paper_strip(),
    )
    response = make_response(page, status)
    response.headers["Cache-Control"] = "no-store"
    return response


def _redirect_uncached(path: str) -> Response:
    response = make_response(redirect(path, code=HTTPStatus.SEE_OTHER))
    response.headers["Cache-Control"] = "no-store"
    return response
