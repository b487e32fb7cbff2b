"""Route tables: each server declares path, methods, view, permission and lane of its routes in one table."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response
from werkzeug.wrappers import Request

from cc_backend.auth.permissions import Permission, requires
from cc_backend.http.direct_write import DirectHandler, DirectRoute
from cc_backend.httpserver.workers import Lane

GET = ("GET",)
POST = ("POST",)
POST_OR_PUT = ("POST", "PUT")
GET_OR_POST = ("GET", "POST")
POST_OR_PATCH = ("POST", "PATCH")
DELETE = ("DELETE",)


@dataclass(frozen=True, slots=True)
class Route:
    """A path with its methods, valid with and without a trailing slash. Routes of the lane INGEST take batches.

    What is sent to a route with a `direct` handler is stored before the view is called, by `DirectWrite`.
    """

    methods: tuple[str, ...]
    path: str
    view: Callable[..., Response]
    permission: Permission
    lane: Lane = Lane.GENERAL
    direct: DirectHandler | None = None


def install_routes(blueprint: Blueprint, routes: Iterable[Route], *, has_fallback: bool) -> None:
    """Add all routes. No route redirects from one form of its path to the other: the body of a POST would be lost.

    With `has_fallback`, `fallback` responds to OPTIONS and to wrong methods, else Flask does, which for wrong methods
    needs a rule for each form of the path.
    """
    for route in routes:
        view = _view_with_permission(route)
        for path in (route.path,) if has_fallback else _both_forms(route.path):
            blueprint.add_url_rule(
                path,
                endpoint=_endpoint(route),
                view_func=view,
                methods=route.methods,
                strict_slashes=not has_fallback,
                provide_automatic_options=False if has_fallback else None,
            )


def routes_by_path(routes: Iterable[Route]) -> dict[str, Route]:
    """Path -> route, with and without a trailing slash; for routes without parameters and with one entry per path."""
    return {path: route for route in routes for path in _both_forms(route.path)}


def lane_by_path(routes: Iterable[Route]) -> Callable[[str], Lane]:
    """The lane of a request by its path; GENERAL for paths with parameters and unknown paths."""
    lanes = {path: route.lane for path, route in routes_by_path(routes).items()}
    return lambda path: lanes.get(path, Lane.GENERAL)


def direct_routes(
    routes: Iterable[Route], bind: Callable[[Route, DirectHandler], Callable[[Request], Any]]
) -> dict[str, DirectRoute]:
    """Path -> route of the routes with a direct handler; `bind` gives the function that stores a request."""
    return {
        path: DirectRoute(route.path, frozenset(route.methods), bind(route, route.direct), route.direct.respond)
        for path, route in routes_by_path(routes).items()
        if route.direct is not None
    }


def _both_forms(path: str) -> tuple[str, str]:
    bare = path.rstrip("/")
    return f"{bare}/", bare


def _endpoint(route: Route) -> str:
    path = "_".join(part.strip("<>") for part in route.path.replace(".", "_").split("/") if part)
    return f"{'_or_'.join(route.methods).lower()}_{path}"


def _view_with_permission(route: Route) -> Callable[..., Response]:
    """The view with the route's permission: one view may serve routes with different permissions."""

    @functools.wraps(route.view)
    def view(**arguments: str) -> Response:
        return route.view(**arguments)

    return requires(route.permission)(view)
