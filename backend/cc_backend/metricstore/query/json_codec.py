"""JSON form of requests and responses of the query protocol, compatible with cc-metric-store in both directions."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import orjson

from cc_backend.errors import InvalidInput
from cc_backend.metricstore.query.protocol import TIME_LIMITS, QueryItem, QueryRequest, QueryResponse, SeriesResult
from cc_backend.runtime.float32 import shortest_float32
from cc_common.json_values import as_integer, as_list, as_number, as_object, as_string

T = TypeVar("T")


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
        results = as_object(orjson.loads(body))["results"] or ()
        rows = [[_series_from_json(element) for element in as_list(row or ())] for row in as_list(results)]
    except (orjson.JSONDecodeError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise InvalidInput(f"this is not a response of a metric store: {error}"[:300]) from None
    return QueryResponse(rows)


def _series_from_json(element: Any) -> SeriesResult:
    get = as_object(element).get
    data, coverage = get("data"), get("coverage")
    return SeriesResult(
        from_s=as_integer(get("from") or 0, *TIME_LIMITS),
        to_s=as_integer(get("to") or 0, *TIME_LIMITS),
        resolution_s=as_integer(get("resolution") or 0, *TIME_LIMITS),
        data=None if data is None else _vector(data, np.float32),
        min=_optional(get("min"), as_number),
        avg=_optional(get("avg"), as_number),
        max=_optional(get("max"), as_number),
        id=_optional(get("id"), as_string),
        subtype_id=_optional(get("subtype-id"), as_string),
        members=as_integer(get("members") or 1),
        coverage=None if coverage is None else _vector(coverage, np.int32),
        error=_optional(get("error"), as_string),
    )


def _optional(value: Any, convert: Callable[[Any], T]) -> T | None:
    return None if value is None else convert(value)


def _vector(values: Any, dtype: Any) -> Any:
    """A list of numbers as an array; null becomes NaN. Raises ValueError."""
    found = np.array(as_list(values), dtype=dtype)
    if found.ndim != 1:
        raise ValueError("samples and coverage must be flat lists of numbers")
    return found
