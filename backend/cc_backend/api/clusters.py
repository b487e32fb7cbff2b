"""The configured clusters."""

from flask import Response, request

from cc_backend.api.answers import json_answer
from cc_backend.errors import InvalidInput
from cc_backend.services import current
from cc_common.errorcodes import ErrorCode


def list_clusters() -> Response:
    """All clusters, or the one named by `cluster`; 400 if it is unknown."""
    clusters = current().clusters
    wanted = request.args.get("cluster")
    if wanted is not None and wanted not in clusters:
        raise InvalidInput(
            f"cluster: there is no cluster {wanted[:60]!r}; known are {', '.join(clusters)}",
            code=ErrorCode.UNKNOWN_CLUSTER,
        )
    names = list(clusters) if wanted is None else [wanted]
    return json_answer({"clusters": [clusters[name].document for name in names]})
