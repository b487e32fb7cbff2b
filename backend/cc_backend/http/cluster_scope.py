"""Tokens bound to clusters: may a request that names a cluster do so?"""

from collections.abc import Collection

from cc_backend.errors import NotAllowed
from cc_common.error_codes import ErrorCode


def check_cluster(cluster: str, bound: Collection[str]) -> None:
    """Raise NotAllowed, naming the cluster, if a token bound to other clusters asks; no binding allows all."""
    if bound and cluster not in bound:
        raise NotAllowed(f"this token is not for cluster {cluster[:60]!r}", code=ErrorCode.CLUSTER_NOT_ALLOWED)
