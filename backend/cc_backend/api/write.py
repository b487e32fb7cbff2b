"""Ingest of samples: batches of line protocol go to the store unchanged."""

from http import HTTPStatus
from typing import Any

import orjson
from flask import Response, request
from werkzeug.wrappers import Request

from cc_backend.auth.caller import Caller
from cc_backend.http.bodies import read_body
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.direct_write import DirectHandler, DirectResponse, direct_result
from cc_backend.http.ingest import ingest_batch
from cc_backend.http.problems import problem_response
from cc_backend.http.responses import JSON
from cc_backend.metricstore import QUIET_REASONS, IngestResult, RejectReason, UnknownName
from cc_backend.services import Services
from cc_common.error_codes import ErrorCode

ACCEPT_ENCODING = {"Accept-Encoding": "gzip"}
"""Tells the sender that the next batch may be compressed (RFC 9110, section 12.5.3)."""
_ALL_ACCEPTED = DirectResponse(HTTPStatus.OK, fields=tuple(ACCEPT_ENCODING.items()))
_LOG_RETRY_S = 5
_FULL_RETRY_S = 60


def store_batch(services: Services, incoming: Request, caller: Caller) -> IngestResult:
    """Store the batch of a request, and return the result."""
    batch = read_body(incoming, limit_bytes=services.settings.main.max_batch_bytes)
    cluster = incoming.args.get("cluster", "")
    if cluster:
        require_cluster_allowed(cluster, caller.allowed_clusters)
    return ingest_batch(services, batch, default_cluster=cluster, allowed_clusters=caller.allowed_clusters)


def respond_directly(result: IngestResult) -> DirectResponse | None:
    """The response without a body if all lines were accepted, None otherwise."""
    return _ALL_ACCEPTED if result.is_complete else None


STORE_BATCH = DirectHandler(store_batch, respond_directly)


def respond_to_write() -> Response:
    """The response to a batch that `http.direct_write` has stored: 200 once it is as durable as the settings require.

    The body is empty if every line was accepted. 400 names bad lines, good ones are kept; 503 asks for the whole batch
    again.
    """
    response = write_response(direct_result(request.environ))
    response.headers.extend(ACCEPT_ENCODING)
    return response


def write_response(result: IngestResult) -> Response:
    """The response for a result; lines with unconfigured names are not an error, and are named in a response 200."""
    if result.full:
        response = problem_response(
            HTTPStatus.SERVICE_UNAVAILABLE,
            ErrorCode.STORE_FULL,
            "the store has as many samples as metric-store.memory-cap allows: nothing was kept, send the batch again",
        )
        response.headers["Retry-After"] = str(_FULL_RETRY_S)
        return response
    if not result.durable:
        response = problem_response(
            HTTPStatus.SERVICE_UNAVAILABLE,
            ErrorCode.LOG_UNWRITABLE,
            "the write-ahead log cannot be written: the samples are in memory only, send the batch again",
        )
        response.headers["Retry-After"] = str(_LOG_RETRY_S)
        return response
    if result.faulty_lines:
        return _bad_lines_response(result)
    unwanted = _unwanted_lines(result)
    if not unwanted:
        return Response(status=HTTPStatus.OK, content_type=JSON)
    return Response(orjson.dumps({"accepted": result.accepted, **unwanted}), status=HTTPStatus.OK, content_type=JSON)


def _unwanted_lines(result: IngestResult) -> dict[str, Any]:
    """The lines with names that the configuration lacks, dropped or kept; empty if there are none."""
    dropped = {
        reason: {
            "lines": count,
            "names": [_name_to_json(name) for name in result.unknown_names.get(RejectReason(reason), ())],
        }
        for reason, count in result.rejected.items()
        if RejectReason(reason) in QUIET_REASONS
    }
    unlisted = {"lines": result.unknown_host_lines, "names": [_name_to_json(name) for name in result.unknown_hosts]}
    return {
        **({"dropped": dropped} if dropped else {}),
        **({"unlisted": {str(RejectReason.UNKNOWN_HOST): unlisted}} if result.unknown_host_lines else {}),
    }


def _name_to_json(name: UnknownName) -> dict[str, str]:
    given = {"name": name.name, "cluster": name.cluster, "nearest": name.nearest}
    return {key: text for key, text in given.items() if text}


def _bad_lines_response(result: IngestResult) -> Response:
    first = result.errors[0] if result.errors else None
    where = f"; the first is line {first.line_number}: {first.reason}" if first is not None else ""
    return problem_response(
        HTTPStatus.BAD_REQUEST,
        ErrorCode.LINES_REJECTED,
        f"bad lines left out: {result.faulty_lines}, good lines kept: {result.accepted}{where}",
        accepted=result.accepted,
        rejected=result.faulty_lines,
        errors=[{"line": error.line_number, "reason": error.reason, "text": error.line} for error in result.errors],
        **_unwanted_lines(result),
    )
