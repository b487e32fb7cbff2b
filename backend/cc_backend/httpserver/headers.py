"""Header fields and compression of every response, for both server programs."""

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from flask import Response, request

from cc_backend.httpserver.compression import compress_response

NO_STORE = "no-store"
COMMON_HEADERS = {"Cache-Control": NO_STORE, "X-Content-Type-Options": "nosniff"}
"""Default header fields of every response; views of polled pages and of static files set others."""


def finish_response(response: Response, fields: Mapping[str, str] = COMMON_HEADERS) -> Response:
    """The response with these default header fields, a redirect only within this server, and compressed."""
    given = {name.lower() for name, _ in response.headers}
    response.headers.extend((name, value) for name, value in fields.items() if name.lower() not in given)
    location = response.headers.get("Location")
    if location is not None and location != (local := local_reference(location)):
        response.headers["Location"] = local
        response.set_data(b"")  # the body would show the original address
    return compress_response(request, response)


def local_reference(location: str) -> str:
    """Path, query and fragment of an address, without scheme and host, which the sender of a request can forge."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "/"
    path = "/" + parts.path.lstrip("/\\")  # two slashes would begin a host
    return urlunsplit(("", "", path, parts.query, parts.fragment))
