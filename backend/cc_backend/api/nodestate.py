"""Node states, as a scheduler's adapter reports them."""

from collections.abc import Iterable

from flask import Response, request

from cc_backend.api.answers import json_answer
from cc_backend.api.binding import check_cluster
from cc_backend.api.bodies import read_json
from cc_backend.api.jobevents import note_ignored
from cc_backend.auth.guard import current_caller
from cc_backend.metricstore import HostHealth
from cc_backend.services import current
from cc_common.nodestate import parse_node_states


def report_nodes() -> Response:
    """Store what a scheduler says about its nodes; 200 with the number taken and the hosts nobody knows."""
    services = current()
    parsed = parse_node_states(read_json(request, limit_bytes=services.settings.main.max_json_bytes))
    note_ignored("nodestate", parsed)
    check_cluster(parsed.value.cluster, current_caller().clusters)
    now_s = services.now_s()

    def health_of(cluster: str, host: str, metrics: Iterable[str]) -> HostHealth:
        return services.store.host_health(cluster, host, metrics, now_s=now_s)

    result = services.nodes.report(parsed.value, health_of, now_s)
    return json_answer(
        {"accepted": result.accepted, "rejected": len(result.rejected), "unknownHosts": list(result.rejected)}
    )
