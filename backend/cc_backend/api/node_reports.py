"""What agents report about their nodes."""

from flask import Response, request

from cc_backend.errors import InvalidInput
from cc_backend.http.bodies import read_json_body
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.guard import current_caller
from cc_backend.http.query_string import reject_unknown
from cc_backend.http.responses import json_response
from cc_backend.jobs.node_reports import MAX_REPORT_BYTES, parse_report, report_to_json
from cc_backend.services import current_services
from cc_common.error_codes import ErrorCode


def store_node_report() -> Response:
    """Store what an agent reports about its node; whether it is new."""
    services = current_services()
    report = parse_report(read_json_body(request, limit_bytes=MAX_REPORT_BYTES))
    require_cluster_allowed(report.cluster, current_caller().allowed_clusters)
    return json_response({"changed": services.node_reports.store(report, services.now_s())})


def get_node_report(cluster: str, host: str) -> Response:
    """The last report of a node; 404 if it has sent none."""
    reject_unknown(request.args, ())
    require_cluster_allowed(cluster, current_caller().allowed_clusters)
    return json_response(report_to_json(current_services().node_reports.load(cluster, host)))


def list_node_reports() -> Response:
    """The nodes of a cluster with a report: version of the agent, and the collectors that fail, with what to do."""
    reject_unknown(request.args, ("cluster",))
    cluster = request.args.get("cluster", "")
    if not cluster:
        raise InvalidInput("cluster: is missing", code=ErrorCode.INVALID_PARAMETER)
    require_cluster_allowed(cluster, current_caller().allowed_clusters)
    reports = [
        {
            "hostname": report.hostname,
            "agentVersion": report.agent_version,
            "received": report.received_s,
            "changed": report.changed_s,
            "described": report.description is not None,
            "failing": [
                {"name": entry.name, "problem": entry.problem, "advice": entry.advice} for entry in report.failing
            ],
        }
        for report in current_services().node_reports.of_cluster(cluster)
    ]
    return json_response({"cluster": cluster, "reports": reports})
