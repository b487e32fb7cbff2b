"""The query protocol of cc-metric-store: requests, responses, and how a request is read from JSON.

Knows no sockets and no clock. `execute` makes the response, `json_codec` and `binary_codec` encode and decode it.

Beyond the reference, a response always has the full grid of the requested range (whatever `with-padding` says), aligned
to the timestep, with null where there is no sample; statistics of the native samples; the id of each series; and how
many parts a combined series covers. A query that cannot be answered does not affect the others: its row holds one
element with `error`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import orjson

from cc_backend.errors import InvalidInput, TooLarge
from cc_backend.metricstore.ingest.identity import MAX_NAME_BYTES
from cc_backend.metricstore.model import Query, StoredSeries, StoredStatistic
from cc_backend.model import Samples
from cc_common.error_codes import ErrorCode
from cc_common.json_reader import parse_json

DEFAULT_ALGORITHM = "lttb"

_MAX_EXACT_FLOAT = 2**53  # a larger float may not be the integer that was sent
_TIME_LIMIT = 2**62
_MAX_PARTS = 10_000  # of one host, since each is looked up among all series of the host
MAX_SHOWN = 80
"""Characters of a value that are quoted in an error."""

_KEYS = frozenset(
    [
        *("cluster", "from", "to", "queries", "for-all-nodes", "with-stats", "with-data", "with-padding"),
        *("resample-algo", "metric", "host", "resolution", "type", "type-ids", "subtype", "subtype-ids"),
        *("aggreg", "scale-by"),
    ]
)


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """Limits of one request; a larger one raises TooLarge.

    `series` are those named by their ids, `samples` those in the response, `slots` those that are read.
    """

    body_bytes: int = 16 << 20
    queries: int = 100_000
    series: int = 500_000
    samples: int = 20_000_000
    slots: int = 1_000_000_000


DEFAULT_LIMITS = QueryLimits()


@dataclass(frozen=True, slots=True)
class QueryItem:
    """One query of a request. If it cannot be answered, `fault` says why, and `query` is only for display."""

    query: Query
    resolution_s: int = 0
    algorithm: str = DEFAULT_ALGORITHM
    fault: str = ""


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """A request for samples or statistics of [from_s, to_s)."""

    cluster: str
    from_s: int
    to_s: int
    items: tuple[QueryItem, ...] = ()
    for_all_nodes: tuple[str, ...] = ()
    with_stats: bool = True
    with_data: bool = True
    algorithm: str = DEFAULT_ALGORITHM


@dataclass(frozen=True, slots=True)
class SeriesResult:
    """One series of a response, or an error text in its place.

    `data[i]` belongs to the slot that begins at `from_s + i * resolution_s`; None if it was not requested. `min`, `avg`
    and `max` are of the native samples, None without any. For a combination of `members` series, `coverage` is the
    number of them with a sample in each slot (after resampling: the min of each step); None if that is always all of
    them. `offset_s` is how far into its slot a sample lies, None if unknown; JSON does not have it.
    """

    from_s: int
    to_s: int
    resolution_s: int
    data: Samples | None = None
    min: float | None = None
    avg: float | None = None
    max: float | None = None
    id: str | None = None
    subtype_id: str | None = None
    members: int = 1
    coverage: npt.NDArray[np.int32] | None = None
    error: str | None = None
    offset_s: int | None = None


@dataclass(frozen=True, slots=True)
class QueryResponse:
    """One row of series per query, in order. `queries` are echoed if `for-all-nodes` made some of them."""

    rows: list[list[SeriesResult]]
    with_stats: bool = True
    queries: tuple[QueryItem, ...] | None = None


class SampleSource(Protocol):
    """Where samples are read from, such as `MetricStore`."""

    def query(self, cluster: str, queries: Sequence[Query], *, from_s: int, to_s: int) -> list[list[StoredSeries]]:
        """The series of each query, on the full grid of the range."""

    def statistics(
        self, cluster: str, queries: Sequence[Query], *, from_s: int, to_s: int
    ) -> list[list[StoredStatistic]]:
        """The statistics of the series of each query."""

    def hosts(self, cluster: str) -> list[str]:
        """The hosts of a cluster that have series."""


# Request


def parse_request(body: bytes, limits: QueryLimits = DEFAULT_LIMITS) -> QueryRequest:
    """The request in a body: JSON with the keys of the reference, whatever their case; unknown keys are ignored.

    An absent key or null means the default: an empty list, false, 0; `with-stats`, `with-data` and `with-padding` are
    true. An invalid query is kept with its fault. Raises InvalidInput or PayloadError if the whole request is invalid,
    and TooLarge if it is beyond the limits.
    """
    if len(body) > limits.body_bytes:
        raise TooLarge(
            f"the request is over the limit of {limits.body_bytes} bytes; ask in smaller parts",
            code=ErrorCode.BODY_TOO_LARGE,
        )
    return request_from_json(_load_json(body), limits)


def request_from_json(document: Any, limits: QueryLimits = DEFAULT_LIMITS) -> QueryRequest:
    """The request in a JSON document; raises as `parse_request`."""
    if not isinstance(document, dict):
        raise InvalidInput("the request must be a JSON object", code=ErrorCode.INVALID_BODY)
    fields = _normalise_keys(document)
    algorithm = _text(fields, "resample-algo") or DEFAULT_ALGORITHM
    queries = _list(fields, "queries")
    if len(queries) > limits.queries:
        raise TooLarge(f"the request has {len(queries)} queries; the limit is {limits.queries}")
    for_all_nodes = _texts(fields, "for-all-nodes")
    items = tuple(query_item_from_json(query, algorithm) for query in queries)
    series = sum(count_named_series(item.query) for item in items)
    if series > limits.series:
        raise TooLarge(f"the request names {series} series; the limit is {limits.series}; ask in smaller parts")
    return QueryRequest(
        cluster=_text(fields, "cluster"),
        from_s=_time(fields, "from"),
        to_s=_time(fields, "to"),
        items=items,
        for_all_nodes=for_all_nodes,
        with_stats=_flag(fields, "with-stats", default=True),
        with_data=_flag(fields, "with-data", default=True),
        algorithm=algorithm,
    )


def _load_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # the reference reads only the first value of a body, and less strictly; if that fails too, the error says where
        return parse_json(body, max_bytes=len(body))


def query_item_from_json(document: Any, algorithm: str) -> QueryItem:
    """One query of a request; `algorithm` is the default for resampling."""
    if not isinstance(document, dict):
        return QueryItem(Query("", ""), fault="a query must be a JSON object")
    fields = _normalise_keys(document)
    try:
        return QueryItem(
            _read_query(fields),
            resolution_s=_duration(fields, "resolution"),
            algorithm=_text(fields, "resample-algo") or algorithm,
        )
    except InvalidInput as error:
        metric, host = (str(fields.get(key) or "")[:MAX_SHOWN] for key in ("metric", "host"))
        return QueryItem(Query(metric, host), fault=str(error))


def count_named_series(query: Query) -> int:
    """Number of series that a query names, at least 1: each of its ids with each of its subtype ids."""
    return max(len(query.type_ids or ()), 1) * max(len(query.subtype_ids or ()), 1)


def _read_query(fields: Mapping[str, Any]) -> Query:
    kind, subtype = _text(fields, "type"), _text(fields, "subtype")
    is_part = kind not in {"", "node"}
    query = Query(
        metric=_text(fields, "metric"),
        host=_text(fields, "host"),
        type=kind if is_part else None,
        type_ids=_texts(fields, "type-ids") if is_part else None,
        aggregate=_flag(fields, "aggreg", default=False),
        scale_by=_number(fields, "scale-by") or None,
        subtype=subtype or None,
        subtype_ids=_texts(fields, "subtype-ids") if subtype else None,
    )
    if count_named_series(query) > _MAX_PARTS:
        raise InvalidInput(
            f"type-ids and subtype-ids name {count_named_series(query)} parts; the limit is {_MAX_PARTS}"
        )
    return query


def _normalise_keys(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document with known keys in lower case; a key in exactly its case wins over one in another case."""
    if document.keys() <= _KEYS:
        return document
    return {key.lower(): value for key, value in document.items() if key not in _KEYS} | {
        key: value for key, value in document.items() if key in _KEYS
    }


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong_type(key, "text", value)
    return _check_length(key, value)


def _list(fields: Mapping[str, Any], key: str) -> list[Any]:
    value = fields.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong_type(key, "a list", value)
    return value


def _texts(fields: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of strings; integers are converted to strings."""
    values = _list(fields, key)
    for value in values:
        if not isinstance(value, str) and type(value) is not int:
            raise _wrong_type(key, "a list of texts", value)
    return tuple(_check_length(key, str(value)) for value in values)


def _check_length(key: str, text: str) -> str:
    """The string, if names in the store can be as long: names are repeated in the response, once for each host."""
    if len(text) > MAX_NAME_BYTES:
        raise InvalidInput(f"{key} must be at most {MAX_NAME_BYTES} characters long, not {len(text)}")
    return text


def _integer(fields: Mapping[str, Any], key: str) -> int:
    value = fields.get(key)
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer() and abs(value) < _MAX_EXACT_FLOAT:
        return int(value)
    if type(value) is not int:
        raise _wrong_type(key, "an integer", value)
    return value


def _time(fields: Mapping[str, Any], key: str) -> int:
    value = _integer(fields, key)
    if abs(value) > _TIME_LIMIT:
        raise InvalidInput(f"{key} must be a time in Unix seconds, not {value}")
    return value


def _duration(fields: Mapping[str, Any], key: str) -> int:
    value = _integer(fields, key)
    if abs(value) > _TIME_LIMIT:
        raise _wrong_type(key, "a number of seconds", value)
    return value


def _number(fields: Mapping[str, Any], key: str) -> float:
    value = fields.get(key)
    if value is None:
        return 0.0
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not abs(value) < float(np.finfo(np.float32).max)
    ):
        raise _wrong_type(key, "a number", value)
    return float(value)


def _flag(fields: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = fields.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise _wrong_type(key, "true or false", value)
    return value


def _wrong_type(key: str, expected: str, value: Any) -> InvalidInput:
    shown = repr(value)
    return InvalidInput(
        f"{key} must be {expected}, not {shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + '...'}"
    )
