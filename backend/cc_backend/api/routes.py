"""All routes of the API with their permissions; docs/api.md describes them in this order."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, Response

from cc_backend.api import clusters, health, job_events, jobs, node_states, query, write
from cc_backend.auth.permissions import Permission, requires
from cc_backend.http.direct_write import rules_by_path


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """A path with its methods, valid with and without a trailing slash."""

    methods: tuple[str, ...]
    path: str
    view: Callable[..., Response]
    permission: Permission


GET = ("GET",)
POST = ("POST",)
POST_OR_PUT = ("POST", "PUT")
GET_OR_POST = ("GET", "POST")

ROUTES = (
    ApiRoute(POST, "/api/write/", write.write_samples, Permission.METRICS_WRITE),
    ApiRoute(POST, "/metricstore/write/", write.write_samples, Permission.METRICS_WRITE),
    ApiRoute(GET_OR_POST, "/api/query/", query.query_samples, Permission.METRICS_READ),
    ApiRoute(POST, "/api/free/", query.free_samples, Permission.METRICS_ADMIN),
    ApiRoute(GET, "/api/debug/", query.show_inventory, Permission.METRICS_ADMIN),
    ApiRoute(GET, "/api/healthcheck/", query.check_hosts, Permission.METRICS_READ),
    ApiRoute(POST_OR_PUT, "/api/jobs/start_job/", job_events.start_job, Permission.JOBS_WRITE),
    ApiRoute(POST_OR_PUT, "/api/jobs/stop_job/", job_events.stop_job, Permission.JOBS_WRITE),
    ApiRoute(POST_OR_PUT, "/api/jobs/stop_job/<job_id>/", job_events.stop_job_by_id, Permission.JOBS_WRITE),
    ApiRoute(GET, "/api/jobs/", jobs.list_jobs, Permission.JOBS_READ),
    ApiRoute(GET, "/userapi/jobs/", jobs.list_jobs, Permission.JOBS_READ_OWN),
    ApiRoute(GET, "/api/jobs/<job_id>/", jobs.get_job, Permission.JOBS_READ),
    ApiRoute(GET, "/userapi/jobs/<job_id>/", jobs.get_job, Permission.JOBS_READ_OWN),
    ApiRoute(POST, "/api/jobs/<job_id>/", jobs.get_job_with_named_metrics, Permission.JOBS_READ),
    ApiRoute(POST, "/userapi/jobs/<job_id>/", jobs.get_job_with_named_metrics, Permission.JOBS_READ_OWN),
    ApiRoute(GET, "/api/jobs/metrics/<job_id>/", jobs.get_job_metrics, Permission.JOBS_READ),
    ApiRoute(GET, "/userapi/jobs/metrics/<job_id>/", jobs.get_job_metrics, Permission.JOBS_READ_OWN),
    ApiRoute(GET, "/api/jobs/used_nodes/", jobs.list_used_nodes, Permission.JOBS_READ),
    ApiRoute(GET, "/api/clusters/", clusters.list_clusters, Permission.CLUSTERS_READ),
    ApiRoute(POST_OR_PUT, "/api/nodestate/", node_states.store_node_states, Permission.NODES_WRITE),
    ApiRoute(POST, "/api/healthcheck/", node_states.store_node_states, Permission.NODES_WRITE),
    ApiRoute(POST, "/metricstore/healthcheck/", node_states.store_node_states, Permission.NODES_WRITE),
    ApiRoute(GET, "/healthz", health.show_health, Permission.PUBLIC),
    ApiRoute(GET, "/metrics", health.show_metrics, Permission.PUBLIC),
)


def write_routes() -> dict[str, str]:
    """Path -> rule of the routes that accept samples."""
    return rules_by_path(route.path for route in ROUTES if route.permission is Permission.METRICS_WRITE)


def install_routes(blueprint: Blueprint) -> None:
    """Add all routes. The catch-all routes respond to OPTIONS."""
    for route in ROUTES:
        blueprint.add_url_rule(
            route.path,
            endpoint=_endpoint(route),
            view_func=_view_with_permission(route),
            methods=route.methods,
            strict_slashes=False,
            provide_automatic_options=False,
        )


def _endpoint(route: ApiRoute) -> str:
    path = "_".join(part.strip("<>") for part in route.path.split("/") if part)
    return f"{'_or_'.join(route.methods).lower()}_{path}"


def _view_with_permission(route: ApiRoute) -> Callable[..., Response]:
    """The view with the route's permission: one view may serve routes with different permissions."""

    @functools.wraps(route.view)
    def view(**arguments: str) -> Response:
        return route.view(**arguments)

    return requires(route.permission)(view)
