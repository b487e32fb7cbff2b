"""What is done to every response, whichever program made it."""

from urllib.parse import urlsplit, urlunsplit

from flask import Response, request

from cc_backend.httpserver.compression import compress_response

NO_STORE = "no-store"


def finish_response(response: Response) -> Response:
    """The response, with what caches may keep stated, no redirect that leaves this server, and compressed.

    Views that allow more than `no-store` say so themselves: pages that are polled, static files.
    """
    response.headers.setdefault("Cache-Control", NO_STORE)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
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
