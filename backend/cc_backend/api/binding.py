"""Tokens bound to clusters: which clusters does a request write to, and may its token do that?"""

from collections.abc import Collection

from cc_backend.errors import NotAllowed
from cc_backend.metricstore.lines.clustertags import only_clusters
from cc_common import lineprotocol
from cc_common.errorcodes import ErrorCode

_SHOWN = 3


def check_cluster(cluster: str, bound: Collection[str]) -> None:
    """Raise NotAllowed, naming the cluster, if a token bound to other clusters asks; no binding allows all."""
    if bound and cluster not in bound:
        raise _refusal([cluster])


def check_batch(batch: bytes, *, default_cluster: str, bound: Collection[str]) -> None:
    """Raise NotAllowed, naming the clusters, if a line of the batch belongs to one outside the binding."""
    if not bound:
        return
    if default_cluster:
        check_cluster(default_cluster, bound)
    if only_clusters(batch, bound):
        return
    points, _ = lineprotocol.decode(batch, received_s=0)
    foreign = {point.tags.get("cluster", default_cluster) for point in points} - {*bound, ""}
    if foreign:
        raise _refusal(sorted(foreign))


def _refusal(clusters: list[str]) -> NotAllowed:
    names = ", ".join(repr(name[:60]) for name in clusters[:_SHOWN])
    more = f" and {len(clusters) - _SHOWN} more" if len(clusters) > _SHOWN else ""
    return NotAllowed(f"this token is not for cluster {names}{more}", code=ErrorCode.CLUSTER_NOT_ALLOWED)
