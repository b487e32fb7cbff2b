"""Is the backend well, and what does it count? For load balancers and Prometheus."""

from http import HTTPStatus

from flask import Response, request

from cc_backend import storefamilies
from cc_backend.api import observation, process
from cc_backend.api.activity import current_activity
from cc_backend.api.answers import json_answer
from cc_backend.auth.guard import is_local, presented_token
from cc_backend.auth.permissions import Permission, demand
from cc_backend.errors import NotAuthenticated, Unavailable
from cc_backend.exposition import CONTENT_TYPE, render
from cc_backend.services import Services, current
from cc_common.errorcodes import ErrorCode

_RETRY_S = 5


def healthz() -> Response:
    """200 while samples and jobs can be stored; otherwise 503 with what is wrong. Public, so it names no paths."""
    faults = find_faults(current())
    if not faults:
        return json_answer({"status": "ok"})
    answer = json_answer(
        {"status": "unavailable", "code": ErrorCode.UNHEALTHY, "faults": faults}, HTTPStatus.SERVICE_UNAVAILABLE
    )
    answer.headers["Retry-After"] = str(_RETRY_S)
    return answer


def find_faults(services: Services) -> list[str]:
    """What keeps the backend from storing what it is sent; the log says more about each."""
    faults = []
    if services.store.counters().log.fault:
        faults.append("the write-ahead log of the metric store cannot be written")
    try:
        services.database.check_writable()
    except Unavailable:
        faults.append("the database cannot be written")
    return faults


def metrics() -> Response:
    """The counters as Prometheus text, for callers on this machine and for tokens that may read them."""
    services = current()
    if not is_local():
        _demand_token(services)
    families = [
        storefamilies.build_family(),
        *storefamilies.store_families(services.store.counters(), services.store.capacity(services.now_s())),
        *observation.job_families(services),
        *current_activity().families(),
        *process.families(),
    ]
    return Response(render(families), content_type=CONTENT_TYPE)


def _demand_token(services: Services) -> None:
    token = presented_token(request)
    if token is None:
        raise NotAuthenticated(
            "from another machine this route needs a token in X-Auth-Token or Authorization: Bearer",
            code=ErrorCode.TOKEN_MISSING,
        )
    demand(services.tokens.verify(token, services.clock()), Permission.METRICS_SELF)
