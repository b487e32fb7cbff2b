"""The HTTP answers of a metric store: to queries, to what its operator asks. Shared by the backend and `metric-store`.

Nothing here knows the application that serves: what is needed is handed in.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from flask import Request, Response

from cc_backend.errors import InvalidInput, NotAllowed, TooLarge, Unavailable
from cc_backend.http.bodies import read_body
from cc_backend.http.cluster_scope import check_cluster
from cc_backend.http.responses import JSON, json_answer
from cc_backend.metricstore import HostHealth, MetricStore
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.gaps.reason_text import fault_text
from cc_backend.metricstore.query import binary_codec, protocol
from cc_backend.metricstore.query.execute import answer
from cc_backend.metricstore.query.json_codec import to_json
from cc_common.error_codes import ErrorCode
from cc_common.json_reader import ObjectReader, parse_json, plain_text

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}\Z")
_SAMPLE_BYTES = 4
_DEEPEST_SELECTOR = 2
_MOST_SELECTORS = 10_000
_MOST_JUDGED = 1_000_000  # nodes times metrics
_SHOWN = 60
_RESTORE_RETRY_S = 10


def query_answer(request: Request, source: protocol.Source, *, bound: Collection[str], body_bytes: int) -> Response:
    """The samples that a request asks for, as JSON, or in binary form if it accepts that.

    `bound` are the clusters that the caller may read, empty for all. Raises InvalidInput, PayloadError, TooLarge and
    NotAllowed; what is wrong with a single query stands in its row.
    """
    bounds = protocol.Bounds(body_bytes=body_bytes)
    asked = protocol.read_request(read_body(request, limit_bytes=body_bytes), bounds)
    check_cluster(asked.cluster, bound)
    found = answer(asked, source, bounds)
    if binary_codec.MEDIA_TYPE in request.headers.get("Accept", ""):
        body, content_type = binary_codec.encode(found), binary_codec.MEDIA_TYPE
    else:
        body, content_type = to_json(found), JSON
    return Response(body, content_type=content_type, headers={"Vary": "Accept"})


def free_answer(
    request: Request,
    store: MetricStore,
    *,
    needed: Mapping[str, Mapping[str, int]],
    bound: Collection[str],
    body_bytes: int,
) -> Response:
    """Forget samples before `?to=` below the selectors in the body; those that jobs need stay.

    The body is a list of paths such as `[["orion", "n017"], ["orion"]]`; `[[]]` is the whole store. `bound` are the
    clusters that the caller may free, empty for all. Raises InvalidInput, PayloadError, TooLarge and NotAllowed, and
    Unavailable while older samples are read back, since nothing is freed then.
    """
    text = request.args.get("to", "")
    if not _WHOLE.match(text):
        raise InvalidInput(
            "to must be a time in Unix seconds: /api/free?to=<seconds>", code=ErrorCode.INVALID_PARAMETER
        )
    selectors = _selectors(read_body(request, limit_bytes=body_bytes))
    _check_selectors(selectors, bound)
    if store.restoring:
        raise Unavailable(
            "the store still reads back older samples; nothing was freed",
            code=ErrorCode.STORE_UNAVAILABLE,
            retry_after_s=_RESTORE_RETRY_S,
        )
    freed_bytes = store.free(before_s=int(text), protected=protected(store, selectors, needed))
    buffers = -(-freed_bytes // (WINDOW_SLOTS * _SAMPLE_BYTES))
    return Response(f"buffers freed: {buffers}\n", content_type="text/plain; charset=utf-8")


def protected(
    store: MetricStore, selectors: Sequence[Sequence[str]], needed: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """Cluster -> host -> from when on its samples stay: all of what no selector names, and what jobs need."""
    kept: dict[str, dict[str, int]] = {cluster: dict(hosts) for cluster, hosts in needed.items()}
    if any(not selector for selector in selectors):
        return kept
    whole = {selector[0] for selector in selectors if len(selector) == 1}
    single = {(selector[0], selector[1]) for selector in selectors if len(selector) == _DEEPEST_SELECTOR}
    for cluster in store.clusters():
        if cluster not in whole:
            hosts = kept.setdefault(cluster, {})
            hosts.update({host: 0 for host in store.hosts(cluster) if (cluster, host) not in single})
    return kept


def debug_answer(request: Request, store: MetricStore, *, bound: Collection[str]) -> Response:
    """What the store holds below `?selector=cluster:host`; without one, its clusters. 400 for what is not there.

    `bound` are the clusters that the caller may look at, empty for all.
    """
    selector = request.args.get("selector", "")
    path = selector.split(":", 2) if selector else []
    if path:
        check_cluster(path[0], bound)
    found = store.inventory(path)
    if found is None:
        raise InvalidInput(
            f"selector: there is nothing of the name {selector[:_SHOWN]!r}", code=ErrorCode.INVALID_PARAMETER
        )
    if bound and not path:
        found = {cluster: inside for cluster, inside in found.items() if cluster in bound}
    return json_answer({"data": found})


def health_answer(
    request: Request, store: MetricStore, *, now_s: int, bound: Collection[str], body_bytes: int
) -> Response:
    """Which of the expected metrics of some hosts arrive: host -> `State`, and `HealthMetrics` as JSON in a text.

    With `with-reasons` in the body also `Reasons`: metric -> what is wrong with it, since when. `bound` are the
    clusters that the caller may ask about, empty for all. Raises InvalidInput, PayloadError, TooLarge and NotAllowed.
    """
    document = parse_json(read_body(request, limit_bytes=body_bytes), max_bytes=body_bytes)
    if not isinstance(document, dict):
        raise InvalidInput(
            "the body must be an object with cluster, nodes and metric-names", code=ErrorCode.INVALID_BODY
        )
    asked = ObjectReader(document)
    cluster, hosts, metrics = asked.text("cluster"), _names(asked, "nodes"), _names(asked, "metric-names")
    check_cluster(cluster, bound)
    if len(hosts) * max(len(metrics), 1) > _MOST_JUDGED:
        raise TooLarge(
            f"{len(hosts)} nodes with {len(metrics)} metric-names are over the limit of {_MOST_JUDGED} together; "
            "ask in smaller parts"
        )
    found = {host: store.host_health(cluster, host, metrics, now_s=now_s) for host in hosts}
    if asked.raw("with-reasons") is True:
        return json_answer({host: _health(one) | {"Reasons": _reasons(one, now_s)} for host, one in found.items()})
    return json_answer({host: _health(one) for host, one in found.items()})


def _health(health: HostHealth) -> dict[str, Any]:
    detail = {"degraded": list(health.degraded), "missing": list(health.missing)}
    return {"State": health.state, "HealthMetrics": orjson.dumps(detail).decode() if health.known else ""}


def _reasons(health: HostHealth, now_s: int) -> dict[str, Any]:
    return {
        metric: {
            "lastSample": fault.last_s,
            "parts": [" ".join(filter(None, part)) for part in fault.parts],
            "text": fault_text(fault, now_s=now_s, zone=None),
        }
        for metric, fault in health.faults.items()
    }


def _names(asked: ObjectReader, key: str) -> list[str]:
    """A list of names, each once."""
    return list(dict.fromkeys(asked.items(key, plain_text)))


def _selectors(body: bytes) -> list[list[str]]:
    document = parse_json(body, max_bytes=len(body))
    if not isinstance(document, list) or len(document) > _MOST_SELECTORS:
        raise InvalidInput(f"the body must be a list of at most {_MOST_SELECTORS} paths", code=ErrorCode.INVALID_BODY)
    for path in document:
        if not isinstance(path, list) or not all(isinstance(name, str) for name in path):
            raise InvalidInput(
                'each path must be a list of texts, such as ["orion", "n017"]', code=ErrorCode.INVALID_BODY
            )
        if len(path) > _DEEPEST_SELECTOR:
            raise InvalidInput(
                "a path names a cluster and a host; parts of a host cannot be freed alone", code=ErrorCode.INVALID_BODY
            )
    return document


def _check_selectors(selectors: Sequence[Sequence[str]], bound: Collection[str]) -> None:
    for selector in selectors if bound else ():
        if not selector:
            raise NotAllowed(
                "this token is bound to clusters and cannot free the whole store; name a cluster",
                code=ErrorCode.CLUSTER_NOT_ALLOWED,
            )
        check_cluster(selector[0], bound)
