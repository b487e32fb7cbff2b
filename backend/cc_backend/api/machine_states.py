"""The states that machines report about themselves."""

from datetime import UTC, datetime
from http import HTTPStatus

from flask import Response, request

from cc_backend.errors import InvalidInput, NotFound
from cc_backend.http.bodies import read_body
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.guard import current_caller
from cc_backend.http.responses import JSON, with_etag
from cc_backend.jobs.machine_states import MachineStates
from cc_backend.services import current_services
from cc_common.error_codes import ErrorCode


def get_machine_state(cluster: str, host: str) -> Response:
    """The document of a host as it was stored; 404 if there is none."""
    state = _machine_states(cluster).load(cluster, host)
    response = Response(state.content, content_type=JSON)
    response.last_modified = datetime.fromtimestamp(state.stored_s, UTC)
    return with_etag(response)


def store_machine_state(cluster: str, host: str) -> Response:
    """Store the body as the document of a host; 201 without a body."""
    states = _machine_states(cluster)
    states.store(cluster, host, read_body(request, limit_bytes=current_services().settings.main.max_json_bytes))
    return Response(status=HTTPStatus.CREATED, content_type=JSON)


def _machine_states(cluster: str) -> MachineStates:
    services = current_services()
    if services.machine_states is None:
        raise NotFound("machine states are switched off: main.machine-state-dir is empty", code=ErrorCode.ROUTE_UNKNOWN)
    require_cluster_allowed(cluster, current_caller().allowed_clusters)
    if cluster not in services.clusters:
        raise InvalidInput(f"cluster: there is no cluster {cluster[:60]!r}", code=ErrorCode.UNKNOWN_CLUSTER)
    return services.machine_states
