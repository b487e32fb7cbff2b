"""JSON form of requests and responses of the query protocol, compatible with cc-metric-store in both directions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from cc_backend.errors import InvalidInput
from cc_backend.metricstore.query.protocol import QueryItem, QueryRequest, QueryResponse, SeriesResult
from cc_backend.runtime.float32 import shortest_float32


def encode_json(response: QueryResponse) -> bytes:
    """The response with the keys of the reference and our own: `id`, `subtype-id`, `members` and `coverage`.

    Numbers are the shortest that give the same 32-bit float. Statistics that were not requested are 0, as clients of
    the reference expect.
    """
    document: dict[str, Any] = {}
    if response.queries is not None:
        document["queries"] = queries_to_json(response.queries)
    element = _series_with_statistics if response.with_stats else _series_without_statistics
    document["results"] = [[element(series) for series in row] for row in response.rows]
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def queries_to_json(items: Sequence[QueryItem]) -> list[dict[str, Any]]:
    """Queries as the JSON response echoes them."""
    return [_query_to_json(item) for item in items]


def _query_to_json(item: QueryItem) -> dict[str, Any]:
    query = item.query
    document: dict[str, Any] = {"metric": query.metric, "host": query.host, "resolution": item.resolution_s}
    if query.type is not None:
        document |= {"type": query.type, "type-ids": list(query.type_ids or ())}
    if query.subtype is not None:
        document |= {"subtype": query.subtype, "subtype-ids": list(query.subtype_ids or ())}
    if query.scale_by:
        document["scale-by"] = query.scale_by
    document["aggreg"] = query.aggregate
    return document


def _series_with_statistics(series: SeriesResult) -> dict[str, Any]:
    document = _series_to_json(series)
    if series.error is None:
        for key, number in (("avg", series.avg), ("min", series.min), ("max", series.max)):
            document[key] = None if number is None else shortest_float32(number)
    else:
        document["avg"] = document["min"] = document["max"] = 0
    return document


def _series_without_statistics(series: SeriesResult) -> dict[str, Any]:
    # clients of the reference expect the keys, and 0 in them
    document = _series_to_json(series)
    document["avg"] = document["min"] = document["max"] = 0
    return document


def _series_to_json(series: SeriesResult) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if series.error is not None:
        document["error"] = series.error
    if series.id is not None:
        document["id"] = series.id
    if series.subtype_id is not None:
        document["subtype-id"] = series.subtype_id
    if series.data is not None and len(series.data):
        document["data"] = series.data
    document["from"], document["to"], document["resolution"] = series.from_s, series.to_s, series.resolution_s
    if series.members > 1:
        document["members"] = series.members
    if series.coverage is not None:
        document["coverage"] = series.coverage
    return document


def encode_request(request: QueryRequest) -> bytes:
    """The body of a request. With `with-padding` the reference would add nulls before the first sample."""
    return orjson.dumps(
        {
            "cluster": request.cluster,
            "from": request.from_s,
            "to": request.to_s,
            "with-stats": request.with_stats,
            "with-data": request.with_data,
            "with-padding": False,
            "queries": queries_to_json(request.items),
            "for-all-nodes": list(request.for_all_nodes) or None,
        }
    )


def decode_json(body: bytes) -> QueryResponse:
    """The response of another store, ours or the reference's; raises InvalidInput if the body is not a response."""
    try:
        document = orjson.loads(body)
        results = document["results"] or []
        rows = [[_series_from_json(element) for element in row or []] for row in results]
    except (orjson.JSONDecodeError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise InvalidInput(f"this is not a response of a metric store: {type(error).__name__}: {error}"[:300]) from None
    return QueryResponse(rows)


def _series_from_json(element: Mapping[str, Any]) -> SeriesResult:
    data = element.get("data")
    coverage = element.get("coverage")
    return SeriesResult(
        from_s=_integer(element, "from"),
        to_s=_integer(element, "to"),
        resolution_s=_integer(element, "resolution"),
        # None becomes NaN
        data=None if data is None else _vector(data, np.float32),
        min=_optional_number(element, "min"),
        avg=_optional_number(element, "avg"),
        max=_optional_number(element, "max"),
        id=_optional_text(element.get("id")),
        subtype_id=_optional_text(element.get("subtype-id")),
        members=_integer(element, "members") or 1,
        coverage=None if coverage is None else _vector(coverage, np.int32),
        error=_optional_text(element.get("error")),
    )


def _vector(values: Any, dtype: Any) -> Any:
    if not isinstance(values, list):
        raise TypeError("a list of numbers was expected")
    found = np.array(values, dtype=dtype)
    if found.ndim != 1:
        raise ValueError("a flat list of numbers was expected")
    return found


def _integer(element: Mapping[str, Any], key: str) -> int:
    value = int(element.get(key) or 0)
    if abs(value) >= 2**62:
        raise ValueError(f"{key} is beyond any time")
    return value


def _optional_text(value: Any) -> str | None:
    return None if value is None else str(value)


def _optional_number(element: Mapping[str, Any], key: str) -> float | None:
    value = element.get(key)
    return None if value is None else float(value)
