"""All routes of the metric store program with their permissions: the interface of cc-metric-store."""

from typing import TYPE_CHECKING, cast

from flask import Blueprint, Flask, Response, current_app, g, request
from werkzeug.wrappers import Request

from cc_backend.api import write
from cc_backend.auth.permissions import Permission, permission_of
from cc_backend.errors import InvalidInput, Unavailable
from cc_backend.http import store_views
from cc_backend.http.bodies import read_body
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.direct_write import DirectHandler
from cc_backend.http.guard import RouteWithoutPermissionError, is_local
from cc_backend.http.ingest import ingest_batch
from cc_backend.http.responses import health_response
from cc_backend.http.routing import GET, GET_OR_POST, POST, Route, install_routes, routes_by_path
from cc_backend.httpserver.workers import Lane
from cc_backend.metricstore import IngestResult
from cc_backend.services import EXTENSION
from cc_backend.storeservice.services import StoreServices, current_services
from cc_backend.telemetry import process_metrics, request_metrics, store_metrics
from cc_backend.telemetry.exposition import CONTENT_TYPE, render
from cc_common.errors import CockpitError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def store_batch(services: StoreServices, incoming: Request) -> IngestResult:
    """Store the batch of a request, if its caller may write."""
    main = services.settings.main
    caller = services.gate.admit_request(incoming, Permission.METRICS_WRITE, services.trusted_clock.now_s())
    batch = read_body(incoming, limit_bytes=main.max_batch_bytes)
    cluster = incoming.args.get("cluster", "")
    if cluster:
        require_cluster_allowed(cluster, caller.allowed_clusters)
    _register_default_cluster(services, cluster)
    return ingest_batch(services, batch, default_cluster=cluster, allowed_clusters=caller.allowed_clusters)


def _register_default_cluster(services: StoreServices, cluster: str) -> None:
    """Limit the number of default clusters: the store has a key cache for each, and any name would fill its memory."""
    main, known_defaults = services.settings.main, services.known_default_clusters
    if not cluster or main.clusters or cluster in known_defaults:
        return
    known = known_defaults.union(services.store.clusters())
    if cluster not in known and len(known) >= main.max_clusters:
        raise InvalidInput(f"cluster: there are {len(known)} clusters already, which is the limit (main.max-clusters)")
    known_defaults.add(cluster)


def show_health() -> Response:
    """200 while samples can be stored, otherwise 503."""
    return health_response(current_services().health)


def show_metrics() -> Response:
    """The metrics of the program as Prometheus text; callers on other machines need a token."""
    services = current_services()
    if not is_local():
        services.gate.admit_request(request, Permission.METRICS_SELF, services.trusted_clock.now_s())
    families = [
        store_metrics.build_info_family(),
        *store_metrics.store_families(services.store.counters(), services.store.capacity(services.now_s())),
        *request_metrics.current_request_metrics().families(),
        *process_metrics.process_families(),
    ]
    return Response(render(families), content_type=CONTENT_TYPE)


ROUTES = (
    Route(
        POST,
        "/api/write/",
        write.respond_to_write,
        Permission.METRICS_WRITE,
        Lane.INGEST,
        direct=DirectHandler(store_batch, write.respond_directly),
    ),
    Route(GET_OR_POST, "/api/query/", store_views.query_samples, Permission.METRICS_READ),
    Route(POST, "/api/free/", store_views.free_samples, Permission.METRICS_ADMIN),
    Route(GET, "/api/debug/", store_views.show_inventory, Permission.METRICS_ADMIN),
    Route(GET, "/api/healthcheck/", store_views.check_hosts, Permission.METRICS_READ),
    Route(GET, "/healthz/", show_health, Permission.PUBLIC, Lane.MONITORING),
    Route(GET, "/metrics/", show_metrics, Permission.PUBLIC, Lane.MONITORING),
)
_ROUTE_BY_PATH = routes_by_path(ROUTES)


def make_blueprint() -> Blueprint:
    """A blueprint with all routes of the store, its error handlers and counters."""
    store = Blueprint("store", __name__)
    request_metrics.install_request_metrics(store)
    install_routes(store, ROUTES, has_fallback=False)
    return store


def authorize_request() -> None:
    """Runs before each request; returns if the request may proceed.

    Raises:
        NotAuthenticated: the token is missing, invalid or revoked.
        NotAllowed: the token lacks the permission of the route.
    """
    if request.url_rule is None or request.method == "OPTIONS":
        return  # 404, 405 and OPTIONS are public
    permission = permission_of(current_app.view_functions[request.url_rule.endpoint])
    if permission is None:
        raise RouteWithoutPermissionError(f"the route {request.url_rule.rule} declares no permission")
    if permission is not Permission.PUBLIC:
        services = current_services()
        g.caller = services.gate.admit_request(request, permission, services.trusted_clock.now_s())


def may_send_body(app: Flask, environ: "WSGIEnvironment") -> bool:
    """Whether the head of a request authenticates a caller who may use its route.

    Raises:
        Unavailable: this is not known at the moment.
    """
    services = cast("StoreServices", app.extensions[EXTENSION])
    route = _ROUTE_BY_PATH.get(environ["PATH_INFO"])
    if route is None or route.permission is Permission.PUBLIC:
        return False
    try:
        incoming = Request(environ, populate_request=False)
        services.gate.admit_request(incoming, route.permission, services.trusted_clock.now_s())
    except Unavailable:
        raise
    except CockpitError:
        return False
    return True
