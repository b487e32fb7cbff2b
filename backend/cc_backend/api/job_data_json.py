"""Responses with samples: JSON in which samples have exactly two decimals and gaps are null.

Data gaps are in the key `missingData`, by metric, with their reasons; the key is omitted if there are none.

Each metric is written by the archive's encoder, so that the wire and data.json cannot drift apart. The frame around
them is joined as bytes, once for the whole answer, because a JSON library would print decimals of its own choice.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from cc_backend.archive.data_json import data_parts, metric_parts
from cc_backend.model import JobData, JobMetric, Scope
from cc_common.error_codes import ErrorCode

MissingData = Mapping[str, list[dict[str, Any]]]
"""Data gaps of a job by metric, as `jobdata.gaps` writes them."""


def encode_job_with_data(meta: dict[str, Any], data: JobData, missing: MissingData) -> bytes:
    """`{"Meta": <job>, "Data": {<metric>: {<scope>: <samples>}}}`; a job without samples has null."""
    written = data_parts(data) if data else (b"null",)
    return b"".join([b'{"Meta":', orjson.dumps(meta), b',"Data":', *written, _encode_missing(missing), b"}"])


def encode_job_with_metric_list(meta: dict[str, Any], data: JobData, missing: MissingData) -> bytes:
    """`{"Meta": <job>, "Data": [{"metric": <samples>, "name": ..., "scope": ...}]}`."""
    parts = [b'{"Meta":', orjson.dumps(meta), b',"Data":[']
    for place, (name, scope, metric) in enumerate(_entries(data)):
        parts.append(b',{"metric":' if place else b'{"metric":')
        parts += metric_parts(metric)
        parts.append(b',"name":%b,"scope":%b}' % (orjson.dumps(name), orjson.dumps(scope)))
    return b"".join([*parts, b"]", _encode_missing(missing), b"}"])


def encode_job_metrics(data: JobData, missing: MissingData) -> bytes:
    """`{"data": {"jobMetrics": [{"name": ..., "scope": ..., "metric": <samples>}]}, "error": null}`."""
    parts = [b'{"data":{"jobMetrics":[']
    for place, (name, scope, metric) in enumerate(_entries(data)):
        head = b'%b{"name":%b,"scope":%b,"metric":'
        parts.append(head % (b"," if place else b"", orjson.dumps(name), orjson.dumps(scope)))
        parts += metric_parts(metric)
        parts.append(b"}")
    return b"".join([*parts, b"]", _encode_missing(missing), b'},"error":null}'])


def encode_job_metrics_error(text: str, code: ErrorCode) -> bytes:
    """The envelope of `encode_job_metrics` around an error, with its code at the top level as well."""
    return orjson.dumps({"data": None, "error": {"message": text, "code": code}, "code": code})


def _entries(data: JobData) -> Iterator[tuple[str, Scope, JobMetric]]:
    for name, by_scope in data.items():
        for scope, metric in by_scope.items():
            yield name, scope, metric


def _encode_missing(missing: MissingData) -> bytes:
    return b',"missingData":%b' % orjson.dumps(missing) if missing else b""
