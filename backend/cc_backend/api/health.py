"""Health check and counters, for load balancers and Prometheus."""

from flask import Response, request

from cc_backend.auth.permissions import Permission, require_permission
from cc_backend.errors import NotAllowed, NotAuthenticated
from cc_backend.http.guard import is_local
from cc_backend.http.presented_token import token_from_headers, token_missing
from cc_backend.http.responses import health_response
from cc_backend.model import RowRule
from cc_backend.services import Services, current_services
from cc_backend.telemetry import job_metrics, process_metrics, store_metrics
from cc_backend.telemetry.exposition import CONTENT_TYPE, render
from cc_backend.telemetry.request_metrics import current_request_metrics


def show_health() -> Response:
    """200 while samples and jobs can be stored, otherwise 503 with the faults. Public: cheap, and names no paths."""
    return health_response(current_services().health)


def show_metrics() -> Response:
    """The counters as Prometheus text, for callers on this machine and tokens with the permission."""
    services = current_services()
    clusters = _allowed_clusters(services)
    families = [
        store_metrics.build_info_family(),
        *store_metrics.store_families(services.store.counters(), services.store.capacity(services.now_s())),
        *job_metrics.job_families(services, RowRule(all_jobs=True, allowed_clusters=clusters)),
        job_metrics.token_family(services, clusters),
        *current_request_metrics().families(),
        *process_metrics.process_families(),
    ]
    return Response(render(families), content_type=CONTENT_TYPE)


def _allowed_clusters(services: Services) -> tuple[str, ...]:
    """The clusters that the caller's token is limited to, empty for all; callers on this machine need no token."""
    token, local = token_from_headers(request), is_local()
    if token is None and not local:
        raise token_missing("from another machine this route")
    try:
        caller = services.tokens.verify(token or "", services.trusted_clock.now_s())
        require_permission(caller, Permission.METRICS_SELF)
    except (NotAuthenticated, NotAllowed):
        if local:
            return ()
        raise
    return caller.allowed_clusters
