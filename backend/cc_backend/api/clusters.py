"""The configured clusters."""

from flask import Response, request

from cc_backend.clusters.cluster_json import without_restricted_metrics
from cc_backend.errors import InvalidInput
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.guard import current_caller
from cc_backend.http.responses import json_response, with_etag
from cc_backend.services import current_services
from cc_common.error_codes import ErrorCode


def list_clusters() -> Response:
    """All clusters that the token is valid for, or the one named by `cluster`; 400 if it is unknown."""
    clusters, caller = current_services().clusters, current_caller()
    allowed = [name for name in clusters if caller.may_use_cluster(name)]
    wanted = request.args.get("cluster")
    if wanted is not None:
        require_cluster_allowed(wanted, caller.allowed_clusters)
        if wanted not in clusters:
            raise InvalidInput(
                f"cluster: there is no cluster {wanted[:60]!r}; known are {', '.join(allowed)}",
                code=ErrorCode.UNKNOWN_CLUSTER,
            )
    names = allowed if wanted is None else [wanted]
    documents = [clusters[name].document for name in names]
    if not caller.sees_restricted_metrics:
        documents = [without_restricted_metrics(document) for document in documents]
    return with_etag(json_response({"clusters": documents}))
