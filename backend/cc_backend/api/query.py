"""The raw samples of the store, and what its operator asks: the routes of cc-metric-store, for tokens that may."""

from flask import Response, request

from cc_backend.http import store_responses
from cc_backend.http.guard import current_caller
from cc_backend.services import current


def query_samples() -> Response:
    """Samples of any host, by the query protocol: GET with a body as the reference sends it, or POST."""
    services = current()
    return store_responses.query_answer(
        request,
        services.store,
        bound=current_caller().clusters,
        body_bytes=services.settings.main.max_json_bytes,
    )


def free_samples() -> Response:
    """Forget old samples; those of jobs that run or wait for the archive stay."""
    services = current()
    return store_responses.free_answer(
        request,
        services.store,
        needed=services.search.needed_since(),
        bound=current_caller().clusters,
        body_bytes=services.settings.main.max_json_bytes,
    )


def show_inventory() -> Response:
    """What the store holds below a selector."""
    return store_responses.debug_answer(request, current().store, bound=current_caller().clusters)


def check_hosts() -> Response:
    """How the metrics of some hosts come in."""
    services = current()
    return store_responses.health_answer(
        request,
        services.store,
        now_s=services.now_s(),
        bound=current_caller().clusters,
        body_bytes=services.settings.main.max_json_bytes,
    )
