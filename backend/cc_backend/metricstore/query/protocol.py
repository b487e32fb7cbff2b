"""The query protocol of cc-metric-store: what can be asked and answered, and how a request is read from JSON.

Knows no sockets and no clock. `answering` finds the answer, `answerjson` and `binary` write and read it.

Where the reference leaves gaps or misleads, this answers more: always the full grid of the range that was asked for
(whatever `with-padding` says), aligned to the timestep, with null where there is no sample; statistics from the native
samples; the id of each series; how many parts a combination covers. A query that cannot be answered costs the others
nothing: its row holds one element with `error`.
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

_MAX_EXACT_FLOAT = 2**53  # a float beyond has no fraction to lose
_TIME_LIMIT = 2**62
_MAX_PARTS = 10_000  # of one host; each is looked up among all that the host has
MAX_SHOWN = 80
"""So much of what was sent is repeated in an error."""

_KEYS = frozenset(
    [
        *("cluster", "from", "to", "queries", "for-all-nodes", "with-stats", "with-data", "with-padding"),
        *("resample-algo", "metric", "host", "resolution", "type", "type-ids", "subtype", "subtype-ids"),
        *("aggreg", "scale-by"),
    ]
)


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """How much one request may ask for; beyond it is TooLarge.

    `series` are those named by their ids, `samples` those sent, `slots` those looked at.
    """

    body_bytes: int = 16 << 20
    queries: int = 100_000
    series: int = 500_000
    samples: int = 20_000_000
    slots: int = 1_000_000_000


DEFAULT_LIMITS = QueryLimits()


@dataclass(frozen=True, slots=True)
class QueryItem:
    """One query of a request; `fault` says why it cannot be answered, and `query` is then only for show."""

    query: Query
    resolution_s: int = 0
    algorithm: str = DEFAULT_ALGORITHM
    fault: str = ""


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """What was asked: samples or statistics of [from_s, to_s)."""

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
    """One series of an answer, or an error text in its place.

    `data[i]` belongs to the slot that begins at `from_s + i * resolution_s`; None if it was not asked for. `min`, `avg`
    and `max` are of the native samples, None without any. Of a combination of `members` series, `coverage` says how
    many had a sample in each slot (after resampling: the least number in each step); None where that is all of them.
    `offset_s` is how far into its slot a sample lies, None where that is not known; JSON does not have it.
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
    """One row of series per query, in order. `queries` are echoed where some were made for all nodes."""

    rows: list[list[SeriesResult]]
    with_stats: bool = True
    queries: tuple[QueryItem, ...] | None = None


class SampleSource(Protocol):
    """What is asked for samples; `MetricStore` is one."""

    def query(self, cluster: str, queries: Sequence[Query], *, from_s: int, to_s: int) -> list[list[StoredSeries]]:
        """Per query its series on the full grid of the range."""

    def statistics(
        self, cluster: str, queries: Sequence[Query], *, from_s: int, to_s: int
    ) -> list[list[StoredStatistic]]:
        """Per query the statistics of its series."""

    def hosts(self, cluster: str) -> list[str]:
        """The hosts that have series."""


# Request


def parse_request(body: bytes, bounds: QueryLimits = DEFAULT_LIMITS) -> QueryRequest:
    """The request in a body: JSON with the keys of the reference, whatever their case; unknown keys are ignored.

    An absent key or null is its default: empty lists, false, 0; `with-stats`, `with-data`, `with-padding` are true. A
    query that cannot be is kept with its fault. Raises InvalidInput or PayloadError for what concerns the whole
    request, and TooLarge for more than the bounds allow.
    """
    if len(body) > bounds.body_bytes:
        raise TooLarge(
            f"the request is over the limit of {bounds.body_bytes} bytes; ask in smaller parts",
            code=ErrorCode.BODY_TOO_LARGE,
        )
    return request_from_json(_load_json(body), bounds)


def request_from_json(document: Any, bounds: QueryLimits = DEFAULT_LIMITS) -> QueryRequest:
    """The request in a JSON document; raises as `parse_request`."""
    if not isinstance(document, dict):
        raise InvalidInput("the request must be a JSON object", code=ErrorCode.INVALID_BODY)
    fields = _normalise_keys(document)
    algorithm = _text(fields, "resample-algo") or DEFAULT_ALGORITHM
    queries = _list(fields, "queries")
    if len(queries) > bounds.queries:
        raise TooLarge(f"the request has {len(queries)} queries; the limit is {bounds.queries}")
    for_all_nodes = _texts(fields, "for-all-nodes")
    asked = tuple(query_item_from_json(query, algorithm) for query in queries)
    series = sum(count_named_series(one.query) for one in asked)
    if series > bounds.series:
        raise TooLarge(f"the request names {series} series; the limit is {bounds.series}; ask in smaller parts")
    return QueryRequest(
        cluster=_text(fields, "cluster"),
        from_s=_time(fields, "from"),
        to_s=_time(fields, "to"),
        items=asked,
        for_all_nodes=for_all_nodes,
        with_stats=_flag(fields, "with-stats", default=True),
        with_data=_flag(fields, "with-data", default=True),
        algorithm=algorithm,
    )


def _load_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # the reference reads the first value of a body, and less strictly; if this cannot either, it says where
        return parse_json(body, max_bytes=len(body))


def query_item_from_json(document: Any, algorithm: str) -> QueryItem:
    """One query of a request; `algorithm` is how to resample if the query does not say."""
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
    """How many series a query names, at least one: each of its ids with each of its subtype ids."""
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
    """The document with its keys in lower case; an exact key wins over one in another case."""
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
    """A list of texts; whole numbers are taken for the texts that they should be."""
    values = _list(fields, key)
    for value in values:
        if not isinstance(value, str) and type(value) is not int:
            raise _wrong_type(key, "a list of texts", value)
    return tuple(_check_length(key, str(value)) for value in values)


def _check_length(key: str, text: str) -> str:
    """No name in the store is longer, and names are repeated in the answer, once for each host."""
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
        raise _wrong_type(key, "a whole number", value)
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
