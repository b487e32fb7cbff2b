"""What is done to every response, whichever program made it."""

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from flask import Response, request

from cc_backend.httpserver.compression import compress_response

NO_STORE = "no-store"
COMMON_HEADERS = {"Cache-Control": NO_STORE, "X-Content-Type-Options": "nosniff"}
"""Header fields of every response whose view does not say otherwise, as pages do that are polled, and static files."""


def finish_response(response: Response, fields: Mapping[str, str] = COMMON_HEADERS) -> Response:
    """The response with these header fields where it lacks them, no redirect that leaves this server, compressed."""
    given = {name.lower() for name, _ in response.headers}
    response.headers.extend((name, value) for name, value in fields.items() if name.lower() not in given)
    location = response.headers.get("Location")
    if location is not None and location != (local := local_reference(location)):
        response.headers["Location"] = local
        response.set_data(b"")  # a page that shows the address as it was
    return compress_response(request, response)


def local_reference(location: str) -> str:
    """Path, query and fragment of an address, without scheme and host: those of a request are made up by its sender."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "/"
    path = "/" + parts.path.lstrip("/\\")  # two slashes would name a host again
    return urlunsplit(("", "", path, parts.query, parts.fragment))
