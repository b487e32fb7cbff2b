"""Answers with samples: JSON in which sample numbers have exactly two decimals and gaps are null.

What is missing is told below a key of its own, `missingData`, and only where something is: by metric, with the reason.

Each metric is written by the archive's encoder, so that the wire and data.json cannot drift apart. The frame around
them is joined as bytes, because a JSON library would print decimals of its own choice.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from cc_backend.archive.data_json import encode_data_json, encode_metric
from cc_backend.model import JobData, JobMetric, Scope
from cc_common.error_codes import ErrorCode

MissingData = Mapping[str, list[dict[str, Any]]]
"""What is missing of a job, by metric, as `absences.gaps_to_json` writes it."""


def encode_job_with_data(meta: dict[str, Any], data: JobData, missing: MissingData) -> bytes:
    """`{"Meta": <job>, "Data": {<metric>: {<scope>: <samples>}}}`; a job without samples has null."""
    written = encode_data_json(data).strip() if data else b"null"
    return b'{"Meta":%b,"Data":%b%b}' % (orjson.dumps(meta), written, _encode_missing(missing))


def encode_job_with_metric_list(meta: dict[str, Any], data: JobData, missing: MissingData) -> bytes:
    """`{"Meta": <job>, "Data": [{"metric": <samples>, "name": ..., "scope": ...}]}`."""
    entries = b",".join(
        b'{"metric":%b,"name":%b,"scope":%b}' % (encode_metric(metric), orjson.dumps(name), orjson.dumps(scope))
        for name, scope, metric in _entries(data)
    )
    return b'{"Meta":%b,"Data":[%b]%b}' % (orjson.dumps(meta), entries, _encode_missing(missing))


def encode_job_metrics(data: JobData, missing: MissingData) -> bytes:
    """`{"data": {"jobMetrics": [{"name": ..., "scope": ..., "metric": <samples>}]}, "error": null}`."""
    entries = b",".join(
        b'{"name":%b,"scope":%b,"metric":%b}' % (orjson.dumps(name), orjson.dumps(scope), encode_metric(metric))
        for name, scope, metric in _entries(data)
    )
    return b'{"data":{"jobMetrics":[%b]%b},"error":null}' % (entries, _encode_missing(missing))


def encode_job_metrics_error(text: str, code: ErrorCode) -> bytes:
    """The same envelope around an error, with its code also where every other error answer has it."""
    return orjson.dumps({"data": None, "error": {"message": text, "code": code}, "code": code})


def _entries(data: JobData) -> Iterator[tuple[str, Scope, JobMetric]]:
    for name, by_scope in data.items():
        for scope, metric in by_scope.items():
            yield name, scope, metric


def _encode_missing(missing: MissingData) -> bytes:
    return b',"missingData":%b' % orjson.dumps(missing) if missing else b""
