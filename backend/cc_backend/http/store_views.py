"""The views of cc-metric-store, for the backend and the program `metric-store`: raw samples, operation of the store.

A token that is limited to clusters shows and frees their samples only. The views raise InvalidInput, PayloadError,
TooLarge and NotAllowed.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from flask import Response, request

from cc_backend.errors import InvalidInput, NotAllowed, TooLarge, Unavailable
from cc_backend.http.bodies import read_body
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.guard import current_caller
from cc_backend.http.responses import JSON, json_response
from cc_backend.metricstore import (
    WINDOW_SLOTS,
    HostHealth,
    MetricStore,
    binary_codec,
    encode_json,
    execute,
    fault_text,
    protocol,
)
from cc_backend.services import current_store_program
from cc_common.error_codes import ErrorCode
from cc_common.json_reader import ObjectReader, parse_json

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z")
_SAMPLE_BYTES = 4
_MAX_SELECTOR_DEPTH = 2
_MAX_SELECTORS = 10_000
_MAX_HEALTH_CHECKS = 1_000_000  # nodes times metrics
_MAX_QUOTED = 60
_RESTORE_RETRY_S = 10


def query_samples() -> Response:
    """Samples of any host, by the query protocol, as JSON, or in binary form if the request accepts that.

    GET with a body as ClusterCockpit 1.5 sends it, or POST. Errors of single queries are in their rows.
    """
    program = current_store_program()
    bounds = protocol.QueryLimits(body_bytes=program.max_json_bytes)
    query = protocol.parse_request(read_body(request, limit_bytes=program.max_json_bytes), bounds)
    require_cluster_allowed(query.cluster, current_caller().allowed_clusters)
    found = execute(query, program.store, bounds)
    if binary_codec.MEDIA_TYPE in request.headers.get("Accept", ""):
        body, content_type = binary_codec.encode(found), binary_codec.MEDIA_TYPE
    else:
        body, content_type = encode_json(found), JSON
    return Response(body, content_type=content_type, headers={"Vary": "Accept"})


def free_samples() -> Response:
    """Free samples before `?to=` below the selectors in the body, except those of unfinished jobs.

    The body is a list of paths such as `[["orion", "n017"], ["orion"]]`; `[[]]` is the whole store. Raises Unavailable
    while the store is restoring, or nobody knows the unfinished jobs, as nothing is freed then.
    """
    program = current_store_program()
    holds, store = program.retention_holds(), program.store
    text = request.args.get("to", "")
    if not _INTEGER.match(text):
        raise InvalidInput(
            "to must be a time in Unix seconds: /api/free?to=<seconds>", code=ErrorCode.INVALID_PARAMETER
        )
    selectors = _parse_selectors(read_body(request, limit_bytes=program.max_json_bytes))
    _require_selectors_allowed(selectors, current_caller().allowed_clusters)
    if store.restoring:
        raise Unavailable(
            "the store is still restoring older samples; nothing was freed",
            code=ErrorCode.STORE_UNAVAILABLE,
            retry_after_s=_RESTORE_RETRY_S,
        )
    freed_bytes = store.free(before_s=int(text), holds=combined_holds(store, selectors, holds))
    buffers = -(-freed_bytes // (WINDOW_SLOTS * _SAMPLE_BYTES))
    return Response(f"buffers freed: {buffers}\n", content_type="text/plain; charset=utf-8")


def combined_holds(
    store: MetricStore, selectors: Sequence[Sequence[str]], holds: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """Cluster -> host -> start of the samples to keep: all of hosts outside the selectors, and those in `holds`."""
    kept: dict[str, dict[str, int]] = {cluster: dict(hosts) for cluster, hosts in holds.items()}
    if any(not selector for selector in selectors):
        return kept
    whole = {selector[0] for selector in selectors if len(selector) == 1}
    single = {(selector[0], selector[1]) for selector in selectors if len(selector) == _MAX_SELECTOR_DEPTH}
    for cluster in store.clusters():
        if cluster not in whole:
            hosts = kept.setdefault(cluster, {})
            hosts.update({host: 0 for host in store.hosts(cluster) if (cluster, host) not in single})
    return kept


def show_inventory() -> Response:
    """The content of the store below `?selector=cluster:host`, or its clusters; 400 for an unknown selector."""
    allowed_clusters = current_caller().allowed_clusters
    selector = request.args.get("selector", "")
    path = selector.split(":", 2) if selector else []
    if path:
        require_cluster_allowed(path[0], allowed_clusters)
    found = current_store_program().store.inventory(path)
    if found is None:
        raise InvalidInput(
            f"selector: there is nothing with the name {selector[:_MAX_QUOTED]!r}", code=ErrorCode.INVALID_PARAMETER
        )
    if allowed_clusters and not path:
        found = {cluster: inside for cluster, inside in found.items() if cluster in allowed_clusters}
    return json_response({"data": found})


def check_hosts() -> Response:
    """Health of the expected metrics of hosts: host -> `State`, and `HealthMetrics` as JSON in a string.

    With `with-reasons` in the body also `Reasons`: metric -> its fault with the time.
    """
    program = current_store_program()
    limit_bytes, now_s = program.max_json_bytes, program.now_s()
    document = parse_json(read_body(request, limit_bytes=limit_bytes), max_bytes=limit_bytes)
    if not isinstance(document, dict):
        raise InvalidInput(
            "the body must be an object with cluster, nodes and metric-names", code=ErrorCode.INVALID_BODY
        )
    query = ObjectReader(document)
    cluster, hosts, metrics = (
        query.string("cluster"),
        _unique_names(query, "nodes"),
        _unique_names(query, "metric-names"),
    )
    require_cluster_allowed(cluster, current_caller().allowed_clusters)
    if len(hosts) * max(len(metrics), 1) > _MAX_HEALTH_CHECKS:
        raise TooLarge(
            f"{len(hosts)} nodes with {len(metrics)} metric-names are over the limit of {_MAX_HEALTH_CHECKS} together; "
            "ask in smaller parts"
        )
    found = {host: program.store.host_health(cluster, host, metrics, now_s=now_s) for host in hosts}
    if query.raw("with-reasons") is True:
        return json_response(
            {
                host: _health_to_json(health) | {"Reasons": _reasons_to_json(health, now_s)}
                for host, health in found.items()
            }
        )
    return json_response({host: _health_to_json(health) for host, health in found.items()})


def _health_to_json(health: HostHealth) -> dict[str, Any]:
    detail = {"degraded": list(health.degraded), "missing": list(health.missing)}
    return {"State": health.state, "HealthMetrics": orjson.dumps(detail).decode() if health.known else ""}


def _reasons_to_json(health: HostHealth, now_s: int) -> dict[str, Any]:
    return {
        metric: {
            "lastSample": fault.last_s,
            "parts": [" ".join(filter(None, part)) for part in fault.parts],
            "text": fault_text(fault, now_s=now_s, zone=None),
        }
        for metric, fault in health.faults.items()
    }


def _unique_names(query: ObjectReader, key: str) -> list[str]:
    """The distinct names of a list."""
    return list(dict.fromkeys(query.strings(key)))


def _parse_selectors(body: bytes) -> list[list[str]]:
    document = parse_json(body, max_bytes=len(body))
    if not isinstance(document, list) or len(document) > _MAX_SELECTORS:
        raise InvalidInput(f"the body must be a list of at most {_MAX_SELECTORS} paths", code=ErrorCode.INVALID_BODY)
    for path in document:
        if not isinstance(path, list) or not all(isinstance(name, str) for name in path):
            raise InvalidInput(
                'each path must be a list of strings, such as ["orion", "n017"]', code=ErrorCode.INVALID_BODY
            )
        if len(path) > _MAX_SELECTOR_DEPTH:
            raise InvalidInput(
                "a path names a cluster and a host; parts of a host cannot be freed alone", code=ErrorCode.INVALID_BODY
            )
    return document


def _require_selectors_allowed(selectors: Sequence[Sequence[str]], allowed_clusters: Collection[str]) -> None:
    for selector in selectors if allowed_clusters else ():
        if not selector:
            raise NotAllowed(
                "this token is limited to clusters and cannot free the whole store; name a cluster",
                code=ErrorCode.CLUSTER_NOT_ALLOWED,
            )
        require_cluster_allowed(selector[0], allowed_clusters)
