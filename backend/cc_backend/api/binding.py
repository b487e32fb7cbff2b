"""Tokens bound to clusters: which clusters does a request write to, and may its token do that?"""

from collections.abc import Collection

from cc_backend.errors import NotAllowed
from cc_common import lineprotocol

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
    if only_names(batch, bound):
        return
    points, _ = lineprotocol.decode(batch, received_s=0)
    foreign = {point.tags.get("cluster", default_cluster) for point in points} - {*bound, ""}
    if foreign:
        raise _refusal(sorted(foreign))


def only_names(batch: bytes, clusters: Collection[str]) -> bool:
    """Whether plainly every `cluster=` in the batch is a tag with one of these names.

    A few searches instead of reading the lines; False may also mean that it cannot be seen this way. No other
    spelling of the tag exists, as the protocol has no escape for its letters.
    """
    plain = [name.encode() for name in clusters if name.isidentifier()]
    tags = (b",cluster=%b%b" % (name, end) for name in plain for end in (b",", b" "))
    return batch.count(b"cluster=") == sum(batch.count(tag) for tag in tags)


def _refusal(clusters: list[str]) -> NotAllowed:
    names = ", ".join(repr(name[:60]) for name in clusters[:_SHOWN])
    more = f" and {len(clusters) - _SHOWN} more" if len(clusters) > _SHOWN else ""
    return NotAllowed(f"this token is not for cluster {names}{more}")
