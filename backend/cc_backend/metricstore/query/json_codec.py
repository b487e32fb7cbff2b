"""Answers of the query protocol as JSON: written as the reference writes them, and read from it or from us."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from cc_backend.errors import InvalidInput
from cc_backend.metricstore.query.protocol import QueryItem, QueryRequest, QueryResponse, SeriesResult
from cc_backend.runtime.float32 import shortest_float32


def encode_json(found: QueryResponse) -> bytes:
    """The answer with the keys of the reference and ours: `id`, `subtype-id`, `members` and `coverage`.

    Numbers are the shortest that give the same 32-bit float. What is not asked for is 0, as clients of the reference
    expect it.
    """
    document: dict[str, Any] = {}
    if found.queries is not None:
        document["queries"] = queries_to_json(found.queries)
    element = _series_with_statistics if found.with_stats else _series_without_statistics
    document["results"] = [[element(one) for one in row] for row in found.rows]
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def queries_to_json(asked: Sequence[QueryItem]) -> list[dict[str, Any]]:
    """Queries as they stand in an answer."""
    return [_query_to_json(one) for one in asked]


def _query_to_json(one: QueryItem) -> dict[str, Any]:
    query = one.query
    document: dict[str, Any] = {"metric": query.metric, "host": query.host, "resolution": one.resolution_s}
    if query.type is not None:
        document |= {"type": query.type, "type-ids": list(query.type_ids or ())}
    if query.subtype is not None:
        document |= {"subtype": query.subtype, "subtype-ids": list(query.subtype_ids or ())}
    if query.scale_by:
        document["scale-by"] = query.scale_by
    document["aggreg"] = query.aggregate
    return document


def _series_with_statistics(one: SeriesResult) -> dict[str, Any]:
    document = _series_to_json(one)
    if one.error is None:
        for key, number in (("avg", one.avg), ("min", one.min), ("max", one.max)):
            document[key] = None if number is None else shortest_float32(number)
    else:
        document["avg"] = document["min"] = document["max"] = 0
    return document


def _series_without_statistics(one: SeriesResult) -> dict[str, Any]:
    # clients of the reference expect the keys, and 0 in them
    document = _series_to_json(one)
    document["avg"] = document["min"] = document["max"] = 0
    return document


def _series_to_json(one: SeriesResult) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if one.error is not None:
        document["error"] = one.error
    if one.id is not None:
        document["id"] = one.id
    if one.subtype_id is not None:
        document["subtype-id"] = one.subtype_id
    if one.data is not None and len(one.data):
        document["data"] = one.data
    document["from"], document["to"], document["resolution"] = one.from_s, one.to_s, one.resolution_s
    if one.members > 1:
        document["members"] = one.members
    if one.coverage is not None:
        document["coverage"] = one.coverage
    return document


def encode_request(request: QueryRequest) -> bytes:
    """The request as a client writes it; padding is what the reference calls nulls before the first sample."""
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
    """The answer that another store wrote, ours or the reference's; raises InvalidInput if it is none."""
    try:
        document = orjson.loads(body)
        results = document["results"] or []
        rows = [[_series_from_json(element) for element in row or []] for row in results]
    except (orjson.JSONDecodeError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise InvalidInput(f"this is no answer of a metric store: {type(error).__name__}: {error}"[:300]) from None
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
