"""Samples in: a batch of line protocol goes to the store as it came."""

from http import HTTPStatus
from typing import Any

import orjson
from flask import Response, request
from werkzeug.wrappers import Request

from cc_backend.auth.caller import Caller
from cc_backend.http.bodies import read_body
from cc_backend.http.cluster_scope import check_cluster
from cc_backend.http.direct_write import OFFERS, outcome
from cc_backend.http.ingest import ingest
from cc_backend.http.problems import problem
from cc_backend.http.responses import JSON
from cc_backend.metricstore import QUIET_REASONS, IngestResult, Reason, UnknownName
from cc_backend.services import Services
from cc_common.error_codes import ErrorCode

_LOG_RETRY_S = 5
_FULL_RETRY_S = 60


def take_batch(services: Services, incoming: Request, caller: Caller) -> IngestResult:
    """Store the batch of a request."""
    batch = read_body(incoming, limit_bytes=services.settings.main.max_batch_bytes)
    cluster = incoming.args.get("cluster", "")
    if cluster:
        check_cluster(cluster, caller.clusters)
    return ingest(services, batch, default_cluster=cluster, bound=caller.clusters)


def write_samples() -> Response:
    """Say what was done with a batch: 200 once it is as safe as the settings ask for.

    The body is empty if every line was wanted. 400 names bad lines, the good ones are kept; 503 asks for the whole
    batch again.
    """
    answer = answer_to(outcome(request.environ))
    answer.headers.extend(OFFERS)
    return answer


def answer_to(result: IngestResult) -> Response:
    """What the sender is told; lines that nobody here wants are no fault of a batch, and named in an answer of 200."""
    if result.full:
        answer = problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            ErrorCode.STORE_FULL,
            "the store has as many samples as metric-store.memory-cap allows: nothing was kept, send the batch again",
        )
        answer.headers["Retry-After"] = str(_FULL_RETRY_S)
        return answer
    if not result.durable:
        answer = problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            ErrorCode.LOG_UNWRITABLE,
            "the write-ahead log cannot be written: the samples are in memory only, send the batch again",
        )
        answer.headers["Retry-After"] = str(_LOG_RETRY_S)
        return answer
    if result.faulty:
        return _bad_lines(result)
    unwanted = _unwanted(result)
    if not unwanted:
        return Response(status=HTTPStatus.OK, content_type=JSON)
    return Response(orjson.dumps({"accepted": result.accepted, **unwanted}), status=HTTPStatus.OK, content_type=JSON)


def _unwanted(result: IngestResult) -> dict[str, Any]:
    """Lines that were dropped or kept though the configuration does not have their names; empty if there are none."""
    dropped = {
        reason: {"lines": count, "names": [_name(name) for name in result.unknown.get(Reason(reason), ())]}
        for reason, count in result.rejected.items()
        if Reason(reason) in QUIET_REASONS
    }
    unlisted = {"lines": result.unlisted_lines, "names": [_name(name) for name in result.unlisted]}
    return {
        **({"dropped": dropped} if dropped else {}),
        **({"unlisted": {str(Reason.UNKNOWN_HOST): unlisted}} if result.unlisted_lines else {}),
    }


def _name(name: UnknownName) -> dict[str, str]:
    given = {"name": name.name, "cluster": name.cluster, "nearest": name.nearest}
    return {key: text for key, text in given.items() if text}


def _bad_lines(result: IngestResult) -> Response:
    first = result.errors[0] if result.errors else None
    where = f"; the first is line {first.line_number}: {first.reason}" if first is not None else ""
    return problem(
        HTTPStatus.BAD_REQUEST,
        ErrorCode.LINES_REJECTED,
        f"bad lines left out: {result.faulty}, good lines kept: {result.accepted}{where}",
        accepted=result.accepted,
        rejected=result.faulty,
        errors=[{"line": error.line_number, "reason": error.reason, "text": error.line} for error in result.errors],
        **_unwanted(result),
    )
