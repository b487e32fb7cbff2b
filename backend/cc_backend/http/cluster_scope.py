"""Tokens that are limited to clusters: whether a request may name a cluster."""

from collections.abc import Collection

from cc_backend.errors import NotAllowed
from cc_common.error_codes import ErrorCode


def require_cluster_allowed(cluster: str, allowed_clusters: Collection[str]) -> None:
    """Raise NotAllowed, naming the cluster, if it is not among the allowed ones; an empty collection allows all."""
    if allowed_clusters and cluster not in allowed_clusters:
        raise NotAllowed(f"this token is not for cluster {cluster[:60]!r}", code=ErrorCode.CLUSTER_NOT_ALLOWED)
