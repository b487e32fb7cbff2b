"""The token of a request, and the error for a missing one: shared by the backend and the store program."""

from werkzeug.wrappers import Request

from cc_backend.errors import NotAuthenticated
from cc_common.error_codes import ErrorCode

_BEARER = "bearer "


def token_from_headers(incoming: Request) -> str | None:
    """The token in the headers of a request, or None; other schemes of `Authorization` are ignored."""
    token = incoming.headers.get("X-Auth-Token")
    if token is not None:
        return token.strip()
    authorization = incoming.headers.get("Authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return None


def token_missing(where: str = "this route") -> NotAuthenticated:
    """The error for a request without a token."""
    text = f"{where} needs a token in X-Auth-Token or Authorization: Bearer"
    return NotAuthenticated(text, code=ErrorCode.TOKEN_MISSING)
