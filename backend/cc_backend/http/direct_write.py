"""Handles frequent writes without the web framework, which would take longer than the work: batches and job events."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request

from cc_backend.http.responses import JSON
from cc_backend.telemetry.request_metrics import METRICS_KEY, RequestMetrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_RESULT = "cc_backend.direct_result"


@dataclass(frozen=True, slots=True)
class DirectResponse:
    """A JSON response that needs no view."""

    status: int
    body: bytes = b""
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DirectHandler:
    """How a route handles requests in front of the web framework.

    `store` gets the services, the request and its caller; it reads the body and stores it. `respond` makes the response
    to what that returns, None if the view of the route is to make it.
    """

    store: Callable[..., Any]
    respond: Callable[[Any], DirectResponse | None]


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """A route that is handled here; `store` gets a request, and authenticates its caller first."""

    rule: str
    methods: frozenset[str]
    store: Callable[[Request], Any]
    respond: Callable[[Any], DirectResponse | None]


class DirectWrite:
    """WSGI middleware that stores what is sent to some routes, and responds itself if nothing has to be explained.

    `routes` maps paths to their routes. Other results, and errors, are rendered by the view of the route, which gets
    them from `direct_result`.
    """

    def __init__(
        self,
        application: "WSGIApplication",
        routes: Mapping[str, DirectRoute],
        header_fields: Callable[[Request], Mapping[str, str]],
        request_metrics: RequestMetrics,
    ) -> None:
        self._application = application
        self._routes = dict(routes)
        self._header_fields = header_fields
        self._request_metrics = request_metrics

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """A WSGI application (PEP 3333)."""
        route = self._routes.get(environ["PATH_INFO"])
        method = environ["REQUEST_METHOD"].upper()  # the framework accepts either case
        if route is None or method not in route.methods:
            return self._application(environ, start_response)
        began_s = perf_counter()
        environ[METRICS_KEY] = self._request_metrics
        request = Request(environ, populate_request=False)  # otherwise a reference cycle would keep the batch
        response = None
        try:
            result = environ[_RESULT] = route.store(request)
            response = route.respond(result)
        except Exception as error:  # noqa: BLE001 - the view raises it again
            environ[_RESULT] = error
        if response is not None:
            self._request_metrics.count_request(method, route.rule, response.status, perf_counter() - began_s)
            status = f"{response.status:d} {HTTPStatus(response.status).phrase}"
            start_response(status, [*self._header_fields(request).items(), *response.fields, ("Content-Type", JSON)])
            return (response.body,)
        try:
            return self._application(environ, start_response)
        finally:
            del environ[_RESULT]  # the traceback of an error refers to the body


def direct_result(environ: "WSGIEnvironment") -> Any:
    """What was stored for a request to a direct route; raises the error if that failed."""
    found = environ[_RESULT]
    if isinstance(found, Exception):
        try:
            raise found
        finally:
            del found  # breaks the reference cycle with this frame
    return found
