"""Start, change and stop of jobs, as reported by a scheduler's adapter."""

import logging
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import orjson
from flask import Response, request
from werkzeug.wrappers import Request

from cc_backend.auth.caller import Caller
from cc_backend.errors import InvalidInput
from cc_backend.http.bodies import parse_json_body, read_body, read_json_body
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.direct_write import DirectHandler, DirectResponse, direct_result
from cc_backend.http.guard import current_caller
from cc_backend.http.query_string import parse_job_id
from cc_backend.http.responses import JSON, json_response
from cc_backend.httpserver.compression import MIN_BYTES
from cc_backend.jobs.idempotency_keys import HEADER, StoredResponse, keyed_request
from cc_backend.jobs.job_json import job_to_json
from cc_backend.model import RowRule
from cc_backend.services import Services, current_services
from cc_backend.telemetry.request_metrics import RequestMetrics, current_request_metrics, request_metrics_in
from cc_common.error_codes import ErrorCode
from cc_common.job_events import JobChange, JobStop, parse_job_change, parse_job_start, parse_job_stop
from cc_common.json_reader import ParsedPayload

logger = logging.getLogger(__name__)

_NAMES_A_JOB = frozenset({"jobid", "cluster", "starttime"})
_MOST_IGNORED_SHOWN = 10


def store_start(services: Services, incoming: Request, caller: Caller) -> StoredResponse:
    """Store a started job; 201 with its database id."""

    def store(document: Any) -> StoredResponse:
        parsed = parse_job_start(document)
        report_ignored_keys("start_job", parsed, request_metrics_in(incoming.environ))
        require_cluster_allowed(parsed.value.cluster, caller.allowed_clusters)
        job = services.job_lifecycle.start(parsed.value, now_s=services.now_s(), caller=caller)
        return StoredResponse(HTTPStatus.CREATED, orjson.dumps({"msg": "success", "id": job.id}))

    return respond_once(services, incoming, caller, store)


def store_stop(services: Services, incoming: Request, caller: Caller) -> StoredResponse:
    """Finish a running job; 200 with the job."""

    def store(document: Any) -> StoredResponse:
        return _stop_job(services, document, caller, request_metrics_in(incoming.environ))

    return respond_once(services, incoming, caller, store)


def respond_directly(answer: StoredResponse) -> DirectResponse | None:
    """The response with an answer, None if it is to be compressed."""
    return DirectResponse(answer.status, answer.body) if len(answer.body) < MIN_BYTES else None


STORE_START = DirectHandler(store_start, respond_directly)
STORE_STOP = DirectHandler(store_stop, respond_directly)


def respond_to_event() -> Response:
    """The response to an event that `http.direct_write` has stored.

    404: the job to stop is unknown. 422: the run is known, or the job to stop is not running.
    """
    return to_flask_response(direct_result(request.environ))


def stop_job_by_id(job_id: str) -> Response:
    """Finish a running job that is named by its database id; responses as of stop_job."""
    services, caller = current_services(), current_caller()
    id_ = parse_job_id(job_id)

    def store(document: Any) -> StoredResponse:
        if not isinstance(document, dict):
            raise InvalidInput("the body must be a JSON object with stopTime and jobState", code=ErrorCode.INVALID_BODY)
        row_rule = RowRule(all_jobs=True, allowed_clusters=caller.allowed_clusters)
        job = services.job_queries.get(id_, row_rule, now_s=services.now_s())
        named = {"jobId": job.job_id, "cluster": job.cluster, "startTime": job.start_time}
        said = {key: value for key, value in document.items() if key.lower() not in _NAMES_A_JOB}
        return _stop_job(services, {**said, **named}, caller, current_request_metrics())

    return to_flask_response(respond_once(services, request, caller, store))


def change_job() -> Response:
    """Change a running job; 200 with the job, 404 if it is unknown, 422 if it is not running."""
    services = current_services()
    parsed = parse_job_change(read_json_body(request, limit_bytes=services.settings.main.max_json_bytes))
    report_ignored_keys("change_job", parsed, current_request_metrics())
    require_event_allowed(parsed.value, current_caller())
    return json_response(job_to_json(services.job_lifecycle.change(parsed.value, now_s=services.now_s())))


def _stop_job(services: Services, document: Any, caller: Caller, request_metrics: RequestMetrics) -> StoredResponse:
    parsed = parse_job_stop(document)
    report_ignored_keys("stop_job", parsed, request_metrics)
    require_event_allowed(parsed.value, caller)
    job = services.job_lifecycle.stop(parsed.value, now_s=services.now_s())
    return StoredResponse(HTTPStatus.OK, orjson.dumps(job_to_json(replace(job, tags=()))))


def respond_once(
    services: Services, incoming: Request, caller: Caller, store: Callable[[Any], StoredResponse]
) -> StoredResponse:
    """The answer that `store` gives to the JSON document of a request, or gave before to the same idempotency key."""
    limit_bytes = services.settings.main.max_json_bytes
    body = read_body(incoming, limit_bytes=limit_bytes)
    document = parse_json_body(body, limit_bytes=limit_bytes)
    key = incoming.headers.get(HEADER)
    if key is None:
        return store(document)
    keyed = keyed_request(caller, key, incoming.path.rstrip("/"), body)
    return services.idempotency_keys.respond_once(keyed, services.now_s(), lambda: store(document))


def to_flask_response(answer: StoredResponse) -> Response:
    """The response with an answer."""
    return Response(answer.body, status=answer.status, content_type=JSON)


def require_event_allowed(event: JobStop | JobChange, caller: Caller) -> None:
    """Raise an error if the caller's token is limited to clusters, and the event names none or another one."""
    bound = caller.allowed_clusters
    if event.cluster is None and bound:
        raise InvalidInput("cluster: is required, as this token is limited to clusters", code=ErrorCode.INVALID_JOB)
    require_cluster_allowed(event.cluster or "", bound)


def report_ignored_keys(event: str, parsed: ParsedPayload[Any], request_metrics: RequestMetrics | None = None) -> None:
    """Count and log the unknown keys of a payload; without `request_metrics` in those of the current application."""
    if parsed.ignored:
        (request_metrics or current_request_metrics()).count_ignored_keys(len(parsed.ignored))
        names = ",".join(name[:40] for name in parsed.ignored[:_MOST_IGNORED_SHOWN])
        logger.info("ignored unknown keys event=%s count=%d keys=%r", event, len(parsed.ignored), names)
