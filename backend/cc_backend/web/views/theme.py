"""Light, dark, or as the system: a choice that a cookie keeps."""

from http import HTTPStatus

from flask import Response, make_response, redirect, request

from cc_backend.auth.permissions import Permission, requires
from cc_backend.errors import InvalidInput
from cc_backend.web.redirects import safe_redirect_path

COOKIE = "theme"
THEMES = (("system", "As the system"), ("light", "Light"), ("dark", "Dark"))
_YEAR_S = 365 * 86400


@requires(Permission.PAGE)
def choose_theme() -> Response:
    """Store the choice in a cookie and go back to the page it was made on."""
    choice = request.form.get("theme", "")
    if choice not in dict(THEMES):
        raise InvalidInput(f"'theme' must be one of {', '.join(name for name, _ in THEMES)}")
    response = make_response(redirect(safe_redirect_path(request.form.get("back")), code=HTTPStatus.SEE_OTHER))
    if choice == "system":
        response.delete_cookie(COOKIE, samesite="Lax")
    else:
        response.set_cookie(COOKIE, choice, max_age=_YEAR_S, samesite="Lax", secure=request.is_secure)
    return response


def chosen_theme() -> str:
    """`light` or `dark` if that was chosen, else nothing."""
    choice = request.cookies.get(COOKIE, "")
    return choice if choice in ("light", "dark") else ""
