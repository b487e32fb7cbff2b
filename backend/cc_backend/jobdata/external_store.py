"""Client of a metric store elsewhere, over HTTP: one of ours in binary form, or cc-metric-store in JSON.

Series of cc-metric-store begin at their first sample, end at their last, and carry no ids: here they are aligned to
the wall-clock grid and get the ids of the query.
"""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import orjson

from cc_backend.errors import InvalidInput, Unavailable
from cc_backend.metricstore import (
    HostHealth,
    Query,
    QueryItem,
    QueryRequest,
    QueryResponse,
    SeriesResult,
    StoredSeries,
    binary_codec,
    decode_json,
    encode_request,
    slot_range,
)
from cc_backend.settings import ExternalStoreSettings
from cc_common.errors import SettingsError

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 10.0
DOWN_RETRY_S = 5.0
"""Seconds without requests after one that failed: pages must not wait for each query of theirs."""

MAX_RESPONSE_BYTES = 256 << 20
MAX_SAMPLES = 50_000_000
_MAX_CONNECTIONS = 16
_QUOTED_BYTES = 200

logger = logging.getLogger(__name__)


class StoreUnavailable(Unavailable):
    """The store does not respond, or with something that cannot be used; the message may be shown to users."""


class _RequestTooLarge(Exception):
    """The store refuses the request as too large, or its response exceeds MAX_RESPONSE_BYTES."""


@dataclass(frozen=True, slots=True)
class StoreEndpoint:
    """URL and token of a store, and the scope it is for: `<cluster>-<subcluster>`, `<cluster>` or `*`."""

    scope: str
    url: str
    token: str = ""
    timeout_s: float = TIMEOUT_S


def parse_endpoints(entries: Sequence[ExternalStoreSettings]) -> list[StoreEndpoint]:
    """The endpoints of the external stores in the settings.

    Raises:
        SettingsError: a URL is not http(s), or two stores have the same scope.
    """
    scopes: set[str] = set()
    for index, entry in enumerate(entries):
        key = f"metric-store-external[{index}]"
        if urlsplit(entry.url).scheme not in {"http", "https"}:
            raise SettingsError(f"{key}.url", f"{key}.url: {entry.url!r} must begin with http:// or https://")
        if not entry.scope or entry.scope in scopes:
            raise SettingsError(f"{key}.scope", f"{key}.scope: {entry.scope!r} is empty, or another store has it too")
        scopes.add(entry.scope)
    return [StoreEndpoint(entry.scope, entry.url, entry.token, timeout_s=entry.timeout_s) for entry in entries]


class ExternalStore:
    """Client of one external store; safe in threads, keeps its connections. `monotonic` is a monotonic clock."""

    def __init__(self, endpoint: StoreEndpoint, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.scope = endpoint.scope
        self._endpoint = endpoint
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._fault = ""
        self._down_until = float("-inf"), ""  # until when no request is sent, and why
        self._returns_ids = True  # until a response has none

    @property
    def fault(self) -> str:
        """Why the last request failed; empty if it did not."""
        return self._fault

    def query(self, cluster: str, queries: Sequence[Query], *, from_s: int, to_s: int) -> list[list[StoredSeries]]:
        """The series of each query on the full grid of [from_s, to_s), as from `MetricStore.query`.

        Raises:
            StoreUnavailable: it does not respond, refuses our token, or its response cannot be used.
        """
        if not queries:
            return []
        if not self._returns_ids:
            return self._query_single_parts(cluster, queries, from_s, to_s)
        answer = self._fetch(cluster, queries, from_s, to_s)
        if _has_unlabelled_series(queries, answer):
            self._returns_ids = False
            return self._query_single_parts(cluster, queries, from_s, to_s)
        return _align_rows(queries, answer, from_s, to_s)

    def _query_single_parts(
        self, cluster: str, queries: Sequence[Query], from_s: int, to_s: int
    ) -> list[list[StoredSeries]]:
        """The series of each query, requested part by part: an empty part must not shift the labels of others."""
        single = [part for query in queries for part in _split_by_part(query)]
        rows = iter(_align_rows(single, self._fetch(cluster, single, from_s, to_s), from_s, to_s))
        return [[series for _ in _split_by_part(query) for series in next(rows)] for query in queries]

    def _fetch(self, cluster: str, queries: Sequence[Query], from_s: int, to_s: int) -> QueryResponse:
        """The response; a request that is too large is halved until the store takes it."""
        request = QueryRequest(cluster, from_s, to_s, tuple(QueryItem(query) for query in queries), with_stats=False)
        try:
            body, is_binary = self._request("/api/query?version=v2", encode_request(request), binary_codec.MEDIA_TYPE)
        except _RequestTooLarge:
            if len(queries) == 1:
                raise self._mark_failed("the answer to a single query is too large") from None
            middle = len(queries) // 2
            first, second = (self._fetch(cluster, part, from_s, to_s) for part in (queries[:middle], queries[middle:]))
            return QueryResponse(first.rows + second.rows)
        try:
            answer = binary_codec.decode(body) if is_binary else decode_json(body)
        except InvalidInput as error:
            raise self._mark_failed(str(error)) from error
        if len(answer.rows) != len(queries):
            raise self._mark_failed(f"it returned {len(answer.rows)} of {len(queries)} queries")
        return answer

    def host_health(self, cluster: str, hosts: Sequence[str], metrics: Sequence[str]) -> dict[str, HostHealth]:
        """The health of the metrics of hosts, as the store judges it; without the hosts that it leaves out.

        Raises:
            StoreUnavailable: it does not respond, refuses our token, or its response cannot be used.
        """
        asked = {"cluster": cluster, "nodes": list(hosts), "metric-names": list(metrics)}
        try:
            body, _ = self._request("/api/healthcheck", orjson.dumps(asked), "application/json")
            document = orjson.loads(body)
            known = document.keys()  # only an object has them
            return {host: _parse_health(document[host], metrics) for host in hosts if host in known}
        except (_RequestTooLarge, ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._mark_failed(f"its answer about the health of hosts cannot be used: {error}") from error

    # Wire

    def _request(self, path: str, content: bytes, accept: str) -> tuple[bytes, bool]:
        """The body of a response, and whether it is binary."""
        import httpx  # noqa: PLC0415 - only where an external store is configured

        until_s, why = self._down_until
        if self._monotonic() < until_s:
            raise StoreUnavailable(why)
        headers = {"Accept": accept}
        if self._endpoint.token:
            headers["Authorization"] = f"Bearer {self._endpoint.token}"
        url = self._endpoint.url.rstrip("/") + path
        try:
            with self._get_client().stream("GET", url, content=content, headers=headers) as answer:
                body = _read_limited(answer)
        except httpx.TimeoutException as error:
            raise self._mark_down(f"it did not answer within {self._endpoint.timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._mark_down(f"it cannot be reached ({str(error) or type(error).__name__})") from error
        if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise _RequestTooLarge
        if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise self._mark_failed("it refuses our token; see metric-store-external in the settings")
        if answer.status_code != HTTPStatus.OK:
            raise self._mark_failed(
                f"it answered {answer.status_code}: {body[:_QUOTED_BYTES].decode('utf-8', 'replace')}"
            )
        self._fault = ""
        self._down_until = float("-inf"), ""
        return body, answer.headers.get("Content-Type", "").startswith(binary_codec.MEDIA_TYPE)

    def _get_client(self) -> "httpx.Client":
        from cc_common.deadline_transport import deadline_client  # noqa: PLC0415

        with self._lock:
            if self._client is None:
                place = self._endpoint
                tls = ssl.create_default_context() if place.url.lower().startswith("https:") else None
                self._client = deadline_client(place.timeout_s, tls=tls, connections=_MAX_CONNECTIONS)
            return self._client

    def _mark_failed(self, why: str) -> StoreUnavailable:
        text = f"the metric store for {self.scope!r} cannot be used: {why}"
        if text != self._fault:
            logger.warning(
                "external metric store failed scope=%s url=%s reason=%s", self.scope, self._endpoint.url, why
            )
        self._fault = text
        return StoreUnavailable(text)

    def _mark_down(self, why: str) -> StoreUnavailable:
        error = self._mark_failed(why)
        self._down_until = self._monotonic() + DOWN_RETRY_S, str(error)
        return error

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None


def _read_limited(answer: "httpx.Response") -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in answer.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > MAX_RESPONSE_BYTES:
            raise _RequestTooLarge
    return b"".join(parts)


def _split_by_part(query: Query) -> list[Query]:
    """One query for each part (type id, and subtype id); an aggregate, or a whole host, stays one query."""
    if query.aggregate or query.type is None or query.type_ids is None:
        return [query]
    if query.subtype is None:
        return [replace(query, type_ids=(number,)) for number in query.type_ids]
    return [
        replace(query, type_ids=(number,), subtype_ids=(name,))
        for number in query.type_ids
        for name in query.subtype_ids or ()
    ]


def _has_unlabelled_series(queries: Sequence[Query], answer: QueryResponse) -> bool:
    """Whether a query for several parts got a series without an id."""
    return any(
        len(_split_by_part(query)) > 1 and any(series.id is None and series.error is None for series in row)
        for query, row in zip(queries, answer.rows, strict=True)
    )


def _align_rows(queries: Sequence[Query], answer: QueryResponse, from_s: int, to_s: int) -> list[list[StoredSeries]]:
    left = MAX_SAMPLES
    rows: list[list[StoredSeries]] = []
    for query, row in zip(queries, answer.rows, strict=True):
        rows.append([])
        for series in row:
            placed = align_to_grid(series, from_s, to_s, limit=left)
            left -= len(placed.data)
            only = query.type_ids[0] if query.type_ids and len(query.type_ids) == 1 and not query.aggregate else None
            rows[-1].append(replace(placed, id=placed.id or only))
    return rows


def align_to_grid(series: SeriesResult, from_s: int, to_s: int, *, limit: int = MAX_SAMPLES) -> StoredSeries:
    """The series on the full wall-clock grid of [from_s, to_s), NaN where it has no sample; an error is kept.

    A slot goes to the slot of the grid that its middle lies in: slots of cc-metric-store lie around the first sample
    that ever came, ours begin at multiples of the timestep. Raises StoreUnavailable for more samples than `limit`.
    """
    step_s = series.resolution_s
    empty = np.empty(0, np.float32)
    if series.error is not None:
        return StoredSeries(None, from_s, step_s, empty, error=series.error)
    if step_s <= 0:
        return StoredSeries(None, from_s, 0, empty, error=f"the store answered with a resolution of {step_s} s")
    span = slot_range(from_s, to_s, step_s)
    if span.slots > limit:
        raise StoreUnavailable(f"the answer of the store has more than {MAX_SAMPLES} samples; ask for less")
    data = np.full(span.slots, np.nan, np.float32)
    given = empty if series.data is None else series.data
    at = (series.from_s + step_s // 2) // step_s - span.first_slot
    begin, end = max(at, 0), min(at + len(given), span.slots)
    if begin < end:
        data[begin:end] = given[begin - at : end - at]
    coverage = None
    if series.coverage is not None and len(series.coverage) == len(given) == span.slots and at == 0:
        coverage = series.coverage
    return StoredSeries(
        series.id,
        span.from_s,
        step_s,
        data,
        subtype_id=series.subtype_id,
        coverage=coverage,
        members=series.members,
        offset_s=series.offset_s,
    )


def _parse_health(document: Mapping[str, Any], metrics: Iterable[str]) -> HostHealth:
    detail = document["HealthMetrics"]
    if not detail:
        return HostHealth(missing=tuple(metrics), degraded=(), healthy=(), known=False)
    found = orjson.loads(detail)
    missing, degraded = tuple(map(str, found.get("missing") or ())), tuple(map(str, found.get("degraded") or ()))
    healthy = tuple(metric for metric in metrics if metric not in {*missing, *degraded})
    return HostHealth(missing, degraded, healthy)
