"""The query protocol of cc-metric-store: requests, responses, and how a request is read from JSON.

Knows no sockets and no clock. `execute` makes the response, `json_codec` and `binary_codec` encode and decode it.

Beyond the reference, a response always has the full grid of the requested range (whatever `with-padding` says), aligned
to the timestep, with null where there is no sample; statistics of the native samples; the id of each series; and how
many parts a combined series covers. A query that cannot be answered does not affect the others: its row holds one
element with `error`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt
import orjson

from cc_backend.errors import InvalidInput, TooLarge
from cc_backend.metricstore.ingest.identity import MAX_NAME_BYTES
from cc_backend.metricstore.model import Query, StoredSeries, StoredStatistic
from cc_backend.model import Samples
from cc_common.error_codes import ErrorCode
from cc_common.json_reader import ObjectReader, ValueFault, parse_json

DEFAULT_ALGORITHM = "lttb"

TIME_LIMITS = (-(2**62), 2**62)
"""Inclusive limits of times and durations, seconds."""
_NAME_TYPES = frozenset({str, int})
_FLOAT32_MAX = float(np.finfo(np.float32).max)
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
    fields = _reader_of(document)
    algorithm = _name(fields, "resample-algo") or DEFAULT_ALGORITHM
    queries = fields.list("queries")
    if len(queries) > limits.queries:
        raise TooLarge(f"the request has {len(queries)} queries; the limit is {limits.queries}")
    for_all_nodes = _names(fields, "for-all-nodes")
    items = tuple(query_item_from_json(query, algorithm) for query in queries)
    series = sum(count_named_series(item.query) for item in items)
    if series > limits.series:
        raise TooLarge(f"the request names {series} series; the limit is {limits.series}; ask in smaller parts")
    return QueryRequest(
        cluster=_name(fields, "cluster"),
        from_s=fields.integer("from", TIME_LIMITS),
        to_s=fields.integer("to", TIME_LIMITS),
        items=items,
        for_all_nodes=for_all_nodes,
        with_stats=fields.boolean("with-stats", default=True),
        with_data=fields.boolean("with-data", default=True),
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
    fields = _reader_of(document)
    try:
        return QueryItem(
            _read_query(fields),
            fields.integer("resolution", TIME_LIMITS),
            _name(fields, "resample-algo") or algorithm,
        )
    except InvalidInput as error:
        metric, host = (str(fields.raw(key) or "")[:MAX_SHOWN] for key in ("metric", "host"))
        return QueryItem(Query(metric, host), fault=str(error))


def count_named_series(query: Query) -> int:
    """Number of series that a query names, at least 1: each of its ids with each of its subtype ids."""
    if query.type_ids is None and query.subtype_ids is None:
        return 1
    return max(len(query.type_ids or ()), 1) * max(len(query.subtype_ids or ()), 1)


def _read_query(fields: ObjectReader) -> Query:
    kind, subtype = _name(fields, "type"), _name(fields, "subtype")
    is_part = kind not in {"", "node"}
    scale = fields.number("scale-by")
    if abs(scale) >= _FLOAT32_MAX:
        fields.fault("scale-by", str(ValueFault("a number in the range of single precision", scale)))
    query = Query(  # by position: a request may have 100,000 of them
        _name(fields, "metric"),
        _name(fields, "host"),
        kind if is_part else None,
        _names(fields, "type-ids") if is_part else None,
        fields.boolean("aggreg"),
        scale or None,
        subtype or None,
        _names(fields, "subtype-ids") if subtype else None,
    )
    if is_part or subtype:
        parts = count_named_series(query)
        if parts > _MAX_PARTS:
            raise InvalidInput(f"type-ids and subtype-ids name {parts} parts; the limit is {_MAX_PARTS}")
    return query


def _raise_invalid_input(path: str, problem: str) -> NoReturn:
    raise InvalidInput(f"{path} {problem}")


def _reader_of(document: Mapping[str, Any]) -> ObjectReader:
    return ObjectReader(document, on_fault=_raise_invalid_input, known_keys=_KEYS)


def _name(fields: ObjectReader, key: str) -> str:
    """A string that is not longer than names in the store: names are repeated in the response, once for each host."""
    text = fields.string(key)
    if len(text) > MAX_NAME_BYTES:
        fields.fault(key, f"must be at most {MAX_NAME_BYTES} characters long, not {len(text)}")
    return text


def _names(fields: ObjectReader, key: str) -> tuple[str, ...]:
    """A list of such strings; integers are converted to strings."""
    values = fields.list(key)
    types = set(map(type, values))
    if not types <= _NAME_TYPES:
        number, value = next((i, value) for i, value in enumerate(values) if type(value) not in _NAME_TYPES)
        fields.fault(f"{key}[{number}]", str(ValueFault("a string", value)))
    names = tuple(map(str, values)) if int in types else tuple(values)
    longest = max(map(len, names), default=0)
    if longest > MAX_NAME_BYTES:
        fields.fault(key, f"must be at most {MAX_NAME_BYTES} characters long, not {longest}")
    return names
