"""The routes of cc-metric-store: raw samples, and operation of the store."""

from flask import Response, request

from cc_backend.http import store_responses
from cc_backend.http.guard import current_caller
from cc_backend.services import current_services


def query_samples() -> Response:
    """Samples of any host, by the query protocol: GET with a body as ClusterCockpit 1.5 sends it, or POST."""
    services = current_services()
    return store_responses.query_response(
        request,
        services.store,
        allowed_clusters=current_caller().allowed_clusters,
        max_body_bytes=services.settings.main.max_json_bytes,
    )


def free_samples() -> Response:
    """Free old samples, except those of jobs that are running or wait to be archived."""
    services = current_services()
    return store_responses.free_response(
        request,
        services.store,
        holds=services.running_jobs.retention_holds(),
        allowed_clusters=current_caller().allowed_clusters,
        max_body_bytes=services.settings.main.max_json_bytes,
    )


def show_inventory() -> Response:
    """The content of the store below a selector."""
    return store_responses.inventory_response(
        request, current_services().store, allowed_clusters=current_caller().allowed_clusters
    )


def check_hosts() -> Response:
    """Health of the metrics of hosts."""
    services = current_services()
    return store_responses.host_health_response(
        request,
        services.store,
        now_s=services.now_s(),
        allowed_clusters=current_caller().allowed_clusters,
        max_body_bytes=services.settings.main.max_json_bytes,
    )
