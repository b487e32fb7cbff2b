"""The routes of the metric store, each with and without a trailing slash, and what each asks of its caller."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import Blueprint, Flask, Response, current_app, request
from werkzeug.wrappers import Request

from cc_backend.api import write
from cc_backend.auth.caller import Caller
from cc_backend.auth.permissions import Permission
from cc_backend.errors import InvalidInput, Unavailable
from cc_backend.http import store_responses
from cc_backend.http.bodies import read_body
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.direct_write import rules_by_path
from cc_backend.http.guard import is_local, token_from_headers
from cc_backend.http.ingest import ingest_batch
from cc_backend.http.responses import health_response
from cc_backend.httpserver.workers import Lane
from cc_backend.httpserver.wsgi import CALLER_KEY
from cc_backend.metricstore import IngestResult
from cc_backend.storeservice.services import EXTENSION, StoreServices
from cc_backend.telemetry import process_metrics, store_metrics
from cc_backend.telemetry.exposition import CONTENT_TYPE, render
from cc_backend.telemetry.request_metrics import current_request_metrics
from cc_common.error_codes import ErrorCode
from cc_common.errors import CockpitError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_RETRY_S = 5


@dataclass(frozen=True, slots=True)
class Route:
    """One path with its methods."""

    methods: tuple[str, ...]
    path: str
    view: Callable[[StoreServices, Caller], Response]
    permission: Permission


def store_batch(services: StoreServices, incoming: Request) -> IngestResult:
    """Store the batch of a request, if its caller may."""
    main = services.settings.main
    token, now_s = token_from_headers(incoming), services.trusted_clock.now_s()
    caller = services.gate.admit(token, Permission.METRICS_WRITE, now_s)
    incoming.environ[CALLER_KEY] = caller.name
    batch = read_body(incoming, limit_bytes=main.max_batch_bytes)
    cluster = incoming.args.get("cluster", "")
    if cluster:
        require_cluster_allowed(cluster, caller.allowed_clusters)
    _register_default_cluster(services, cluster)
    return ingest_batch(services, batch, default_cluster=cluster, allowed_clusters=caller.allowed_clusters)


def write_samples(services: StoreServices, caller: Caller) -> Response:  # noqa: ARG001 - as all views
    """Say what was done with a batch, as the backend's route does."""
    return write.write_samples()


def _register_default_cluster(services: StoreServices, cluster: str) -> None:
    """The store remembers spellings by default cluster: names that mean nothing must not fill it."""
    main, noted = services.settings.main, services.known_default_clusters
    if not cluster or main.clusters or cluster in noted:
        return
    known = noted.union(services.store.clusters())
    if cluster not in known and len(known) >= main.max_clusters:
        raise InvalidInput(f"cluster: there are {len(known)} clusters already, which is the limit (main.max-clusters)")
    noted.add(cluster)


def query_samples(services: StoreServices, caller: Caller) -> Response:
    """Samples of any host."""
    return store_responses.query_response(
        request,
        services.store,
        allowed_clusters=caller.allowed_clusters,
        max_body_bytes=services.settings.main.max_json_bytes,
    )


def free_samples(services: StoreServices, caller: Caller) -> Response:
    """Forget old samples; those of hosts with running jobs stay."""
    needed = {} if services.holds_client is None else services.holds_client.fetch_fresh(services.now_s())
    if needed is None:
        raise Unavailable(
            "the backend that knows the running jobs does not answer",
            code=ErrorCode.UNAVAILABLE,
            retry_after_s=_RETRY_S,
        )
    return store_responses.free_response(
        request,
        services.store,
        holds=needed,
        allowed_clusters=caller.allowed_clusters,
        max_body_bytes=services.settings.main.max_json_bytes,
    )


def show_inventory(services: StoreServices, caller: Caller) -> Response:
    """What the store holds below a selector."""
    return store_responses.inventory_response(request, services.store, allowed_clusters=caller.allowed_clusters)


def check_hosts(services: StoreServices, caller: Caller) -> Response:
    """How the metrics of some hosts come in."""
    return store_responses.host_health_response(
        request,
        services.store,
        now_s=services.now_s(),
        allowed_clusters=caller.allowed_clusters,
        max_body_bytes=services.settings.main.max_json_bytes,
    )


def healthz(services: StoreServices, _: Caller) -> Response:
    """200 while samples can be stored, otherwise 503."""
    return health_response(services.health)


def metrics(services: StoreServices, _: Caller) -> Response:
    """The counters as Prometheus text."""
    if not is_local():
        services.gate.admit(token_from_headers(request), Permission.METRICS_SELF, services.trusted_clock.now_s())
    families = [
        store_metrics.build_info_family(),
        *store_metrics.store_families(services.store.counters(), services.store.capacity(services.now_s())),
        *current_request_metrics().families(),
        *process_metrics.process_families(),
    ]
    return Response(render(families), content_type=CONTENT_TYPE)


ROUTES = (
    Route(("POST",), "/api/write/", write_samples, Permission.METRICS_WRITE),
    Route(("GET", "POST"), "/api/query/", query_samples, Permission.METRICS_READ),
    Route(("POST",), "/api/free/", free_samples, Permission.METRICS_ADMIN),
    Route(("GET",), "/api/debug/", show_inventory, Permission.METRICS_ADMIN),
    Route(("GET",), "/api/healthcheck/", check_hosts, Permission.METRICS_READ),
    Route(("GET",), "/healthz/", healthz, Permission.PUBLIC),
    Route(("GET",), "/metrics/", metrics, Permission.PUBLIC),
)


def blueprint() -> Blueprint:
    """All routes, ready to be registered."""
    found = Blueprint("store", __name__)
    for route in ROUTES:
        name = route.path.strip("/").replace("/", "_")
        view = _with_admission(route)
        # two rules: a redirect to the other spelling would lose the body of a POST
        for path in (route.path, route.path.rstrip("/")):
            found.add_url_rule(path, endpoint=name, view_func=view, methods=route.methods)
    return found


def _with_admission(route: Route) -> Callable[[], Response]:
    @functools.wraps(route.view)
    def view() -> Response:
        services = cast("StoreServices", current_app.extensions[EXTENSION])
        if route.permission is Permission.PUBLIC:
            return route.view(services, _NOBODY_CALLER)
        caller = services.gate.admit(token_from_headers(request), route.permission, services.trusted_clock.now_s())
        request.environ[CALLER_KEY] = caller.name
        return route.view(services, caller)

    return view


_NOBODY_CALLER = Caller("nobody", frozenset())


def write_rules() -> dict[str, str]:
    """The routes that take samples, by path."""
    return rules_by_path(route.path for route in ROUTES if route.permission is Permission.METRICS_WRITE)


def lane_of(path: str) -> Lane:
    """What a request waits for."""
    if path.rstrip("/") in ("/healthz", "/metrics"):
        return Lane.MONITORING
    return Lane.INGEST if path.rstrip("/") == "/api/write" else Lane.GENERAL


def may_send_body(app: Flask, environ: "WSGIEnvironment") -> bool:
    """Whether the head of a request shows somebody who may use its route.

    Raises:
        Unavailable: that cannot be told now.
    """
    services = cast("StoreServices", app.extensions[EXTENSION])
    path = environ["PATH_INFO"].rstrip("/")
    permissions = {route.path.rstrip("/"): route.permission for route in ROUTES}
    permission = permissions.get(path, Permission.PUBLIC)
    if permission is Permission.PUBLIC:
        return False
    try:
        token = token_from_headers(Request(environ, populate_request=False))
        caller = services.gate.admit(token, permission, services.trusted_clock.now_s())
        environ[CALLER_KEY] = caller.name
    except Unavailable:
        raise
    except CockpitError:
        return False
    return True
