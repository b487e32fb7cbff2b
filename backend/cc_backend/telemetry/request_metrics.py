"""Counters of requests since the start of the server, one object per application, for /metrics."""

import time
from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, cast

from flask import Blueprint, Flask, Response, current_app, g, request
from flask.blueprints import BlueprintSetupState

from cc_backend.telemetry.exposition import MetricFamily, MetricSample

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_EXTENSION = "cockpit-activity"
METRICS_KEY = "cc_backend.request_metrics"
"""Key in the environ of a request that is handled in front of the web framework: the counters of the application."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNMATCHED = "unmatched"


class RequestMetrics:
    """Counts requests by method, route and status, and their seconds by route. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: dict[str, float] = {}
        self._timed: Counter[str] = Counter()
        self._ignored_keys = 0

    def count_request(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Count one request. `route` is the rule of the route, not the path, to keep the number of labels small."""
        with self._lock:
            self._requests[method if method in _METHODS else "other", route, status] += 1
            if seconds is not None:
                self._timed[route] += 1
                self._seconds[route] = self._seconds.get(route, 0.0) + seconds

    def count_ignored_keys(self, number: int) -> None:
        """Count unknown keys of a payload."""
        with self._lock:
            self._ignored_keys += number

    def families(self) -> list[MetricFamily]:
        """The counts as metric families."""
        with self._lock:
            requests = sorted(self._requests.items())
            seconds = sorted(self._seconds.items())
            timed = dict(self._timed)
            ignored = self._ignored_keys
        answered = tuple(
            MetricSample(number, {"method": method, "route": route, "status": str(status)})
            for (method, route, status), number in requests
        )
        waited = tuple(
            sample
            for route, total in seconds
            for sample in (
                MetricSample(total, {"route": route}, "_sum"),
                MetricSample(timed[route], {"route": route}, "_count"),
            )
        )
        return [
            MetricFamily("cc_backend_http_requests_total", "counter", "Answers by method, route and status.", answered),
            MetricFamily("cc_backend_http_request_seconds", "summary", "Seconds from request to answer.", waited),
            MetricFamily(
                "cc_backend_payload_ignored_keys_total",
                "counter",
                "Keys of JSON payloads that are not known and were ignored.",
                (MetricSample(ignored),),
            ),
        ]


def current_request_metrics() -> RequestMetrics:
    """The counters of the application that serves the current request."""
    return request_metrics_of(current_app)


def request_metrics_in(environ: "WSGIEnvironment") -> RequestMetrics:
    """The counters for a request that is handled in front of the web framework."""
    found: RequestMetrics = environ[METRICS_KEY]
    return found


def request_metrics_of(app: Flask) -> RequestMetrics:
    """The counters of an application."""
    activity = app.extensions[_EXTENSION]
    if not isinstance(activity, RequestMetrics):
        raise TypeError(f"the application's extension {_EXTENSION!r} is something else")
    return activity


def install_request_metrics(blueprint: Blueprint) -> None:
    """Count every request of the application that the blueprint is registered on."""

    def prepare(state: BlueprintSetupState) -> None:
        _observe(cast("Flask", state.app), RequestMetrics())

    blueprint.record_once(prepare)


def _observe(app: Flask, activity: RequestMetrics) -> None:
    app.extensions[_EXTENSION] = activity

    def start() -> None:
        g.cockpit_request_started = time.perf_counter()

    def finish(response: Response) -> Response:
        started = g.get("cockpit_request_started")
        route = request.url_rule.rule if request.url_rule is not None else _UNMATCHED
        seconds = None if started is None else time.perf_counter() - started
        activity.count_request(request.method, route, response.status_code, seconds)
        return response

    app.before_request(start)
    app.after_request(finish)
