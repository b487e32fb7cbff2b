"""What the server answered since its start: one counter object per application, asked by /metrics."""

import time
from collections import Counter
from threading import Lock
from typing import cast

from flask import Blueprint, Flask, Response, current_app, g, request
from flask.blueprints import BlueprintSetupState

from cc_backend.telemetry.exposition import Family, Sample

_EXTENSION = "cockpit-activity"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNMATCHED = "unmatched"


class Activity:
    """Counts requests by method, route and status, and the seconds they took by route. Safe in threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: dict[str, float] = {}
        self._timed: Counter[str] = Counter()
        self._ignored_keys = 0

    def count(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Note one answer. `route` is the rule of the route, never the path: its values are few."""
        with self._lock:
            self._requests[method if method in _METHODS else "other", route, status] += 1
            if seconds is not None:
                self._timed[route] += 1
                self._seconds[route] = self._seconds.get(route, 0.0) + seconds

    def count_ignored_keys(self, number: int) -> None:
        """Note keys of a payload that nothing here knows."""
        with self._lock:
            self._ignored_keys += number

    def families(self) -> list[Family]:
        """The counts as metric families."""
        with self._lock:
            requests = sorted(self._requests.items())
            seconds = sorted(self._seconds.items())
            timed = dict(self._timed)
            ignored = self._ignored_keys
        answered = tuple(
            Sample(number, {"method": method, "route": route, "status": str(status)})
            for (method, route, status), number in requests
        )
        waited = tuple(
            sample
            for route, total in seconds
            for sample in (Sample(total, {"route": route}, "_sum"), Sample(timed[route], {"route": route}, "_count"))
        )
        return [
            Family("cc_backend_http_requests_total", "counter", "Answers by method, route and status.", answered),
            Family("cc_backend_http_request_seconds", "summary", "Seconds from request to answer.", waited),
            Family(
                "cc_backend_payload_ignored_keys_total",
                "counter",
                "Keys of JSON payloads that are not known and were ignored.",
                (Sample(ignored),),
            ),
        ]


def current_activity() -> Activity:
    """The counters of the application that serves the current request."""
    return activity_of(current_app)


def activity_of(app: Flask) -> Activity:
    """The counters of an application."""
    activity = app.extensions[_EXTENSION]
    if not isinstance(activity, Activity):
        raise TypeError(f"the application's extension {_EXTENSION!r} is something else")
    return activity


def install(blueprint: Blueprint) -> None:
    """Count every answer of the application that the blueprint is registered on."""

    def prepare(state: BlueprintSetupState) -> None:
        _observe(cast("Flask", state.app), Activity())

    blueprint.record_once(prepare)


def _observe(app: Flask, activity: Activity) -> None:
    app.extensions[_EXTENSION] = activity

    def start() -> None:
        g.cockpit_request_started = time.perf_counter()

    def finish(response: Response) -> Response:
        started = g.get("cockpit_request_started")
        route = request.url_rule.rule if request.url_rule is not None else _UNMATCHED
        seconds = None if started is None else time.perf_counter() - started
        activity.count(request.method, route, response.status_code, seconds)
        return response

    app.before_request(start)
    app.after_request(finish)
