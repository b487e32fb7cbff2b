"""Which series a line belongs to, from its metric and tags: pure rules, no state."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from cc_backend.metricstore.ingest.host_config import HostConfig
from cc_backend.metricstore.model import HostPart, Identity, MetricTable, RejectReason

MAX_NAME_BYTES = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST_TAGS = ("hostname", "host")
_PART_TAGS = ("type", "type-id", "stype", "stype-id")


class Rejection(NamedTuple):
    """Why a key leads to no series; `text` is for people."""

    reason: RejectReason
    text: str


def identify(
    metric: str,
    tags: Mapping[str, str],
    *,
    default_cluster: str,
    metrics: MetricTable,
    host_config: HostConfig | None = None,
) -> Identity | Rejection:
    """The identity of a series, or why there is none; `host_config` says which metrics single hosts have.

    The metric is looked at first: lines of metrics that are not kept (events and logs among them) are nobody's fault,
    whatever else is wrong with them.
    """
    cluster = tags.get("cluster") or default_cluster
    if rejection := _reject_cluster(cluster, metric, metrics):
        return rejection
    host = ""
    for key, text in tags.items():  # the last of `host` and `hostname` on the line counts
        if key in _HOST_TAGS:
            host = text
    if not host:
        return Rejection(RejectReason.NO_HOST, "there is no hostname tag")
    if fault := _name_fault(host):
        return Rejection(RejectReason.BAD_NAME, f"hostname {host!r} {fault}")
    for key in _PART_TAGS:
        part = tags.get(key)
        if part and (fault := _text_fault(part)):
            return Rejection(RejectReason.BAD_NAME, f"tag {key} {fault}")
    if host_config is not None and host_config.metric_spec(cluster, metric, host) is None:
        return Rejection(
            RejectReason.UNKNOWN_METRIC, f"metric {metric!r} is not configured for host {host!r} of {cluster!r}"
        )
    return Identity(cluster, host, metric, part_of(tags))


def _reject_cluster(cluster: str, metric: str, metrics: MetricTable) -> Rejection | None:
    if not cluster:
        if any(metric in table for table in metrics.values()):
            return Rejection(RejectReason.NO_CLUSTER, "there is no tag cluster, and no ?cluster= in the address")
        return Rejection(RejectReason.UNKNOWN_METRIC, f"metric {metric!r} is not configured")
    known = metrics.get(cluster)
    if known is not None and metric not in known:
        return Rejection(RejectReason.UNKNOWN_METRIC, f"metric {metric!r} is not configured for cluster {cluster!r}")
    if fault := _name_fault(cluster):  # looked for also where the cluster is known: a table may know every name
        return Rejection(RejectReason.BAD_NAME, f"cluster {cluster!r} {fault}")
    return (
        None if known is not None else Rejection(RejectReason.UNKNOWN_CLUSTER, f"cluster {cluster!r} is not configured")
    )


def part_of(tags: Mapping[str, str]) -> HostPart:
    """The part of the host. `type=node` is the host itself and takes no id; ids without their type mean nothing."""
    kind = tags.get("type", "")
    if kind == "node":
        kind = ""
    subtype = tags.get("stype", "")
    return HostPart(kind, tags.get("type-id", "") if kind else "", subtype, tags.get("stype-id", "") if subtype else "")


def _name_fault(name: str) -> str:
    """What is wrong with the name of a cluster or host. They never become paths here, but may do so elsewhere."""
    if ".." in name or "/" in name or "\\" in name or name == ".":
        return "has characters of a path in it"
    return _text_fault(name)


def _text_fault(text: str) -> str:
    if len(text) <= MAX_NAME_BYTES and text.isascii() and text.isprintable():
        return ""
    if _CONTROL.search(text):
        return "has a control character in it"
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:  # such as the name of a file that is not UTF-8
        return "has something in it that is not a character"
    return f"is longer than {MAX_NAME_BYTES} bytes" if size_bytes > MAX_NAME_BYTES else ""
