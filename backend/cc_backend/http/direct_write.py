"""Ingests batches of samples without the web framework, which would take longer than the store."""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request

from cc_backend.http.responses import JSON
from cc_backend.metricstore import IngestResult
from cc_backend.telemetry.request_metrics import RequestMetrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_OUTCOME = "cc_backend.ingest"
ACCEPT_ENCODING = {"Accept-Encoding": "gzip"}
"""Tells the sender that the next batch may be compressed (RFC 9110, section 12.5.3)."""
_FIELDS = (*ACCEPT_ENCODING.items(), ("Content-Type", JSON))
_STATUS = f"{HTTPStatus.OK:d} {HTTPStatus.OK.phrase}"


class DirectWrite:
    """WSGI middleware that ingests requests to the write routes, and responds itself if all lines were accepted.

    `rules` maps the paths of these routes to their rules. `ingest` authenticates the caller, reads the body and stores
    it. All other results are rendered by the view of the route, which gets them from `ingest_outcome`.
    """

    def __init__(
        self,
        application: "WSGIApplication",
        rules: Mapping[str, str],
        ingest: Callable[[Request], IngestResult],
        header_fields: Callable[[Request], Mapping[str, str]],
        request_metrics: RequestMetrics,
    ) -> None:
        self._application = application
        self._rules = dict(rules)
        self._ingest = ingest
        self._header_fields = header_fields
        self._request_metrics = request_metrics

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """A WSGI application (PEP 3333)."""
        rule = self._rules.get(environ["PATH_INFO"])
        if rule is None or environ["REQUEST_METHOD"].upper() != "POST":  # the framework accepts either case
            return self._application(environ, start_response)
        began_s = perf_counter()
        request = Request(environ, populate_request=False)  # otherwise a reference cycle would keep the batch
        try:
            result = environ[_OUTCOME] = self._ingest(request)
        except Exception as error:  # noqa: BLE001 - the view raises it again
            environ[_OUTCOME] = error
        else:
            if result.is_complete:
                self._request_metrics.count_request("POST", rule, HTTPStatus.OK, perf_counter() - began_s)
                start_response(_STATUS, [*self._header_fields(request).items(), *_FIELDS])
                return ()
        try:
            return self._application(environ, start_response)
        finally:
            del environ[_OUTCOME]  # the traceback of an error refers to the batch


def ingest_outcome(environ: "WSGIEnvironment") -> IngestResult:
    """The result of ingesting the batch of a request to a write route; raises the error if that failed."""
    found = environ[_OUTCOME]
    if isinstance(found, Exception):
        try:
            raise found
        finally:
            del found  # breaks the reference cycle with this frame
    if not isinstance(found, IngestResult):
        raise TypeError(f"{_OUTCOME} is something else")
    return found
