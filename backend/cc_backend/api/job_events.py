"""Start and stop of jobs, as reported by a scheduler's adapter."""

import logging
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from flask import Response, request

from cc_backend.errors import InvalidInput
from cc_backend.http.bodies import read_json_body
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.guard import current_caller
from cc_backend.http.query_string import parse_job_id
from cc_backend.http.responses import json_response
from cc_backend.jobs.job_json import job_to_json
from cc_backend.model import RowRule
from cc_backend.services import current_services
from cc_backend.telemetry.request_metrics import current_request_metrics
from cc_common.error_codes import ErrorCode
from cc_common.job_events import parse_job_start, parse_job_stop
from cc_common.json_reader import ParsedPayload

logger = logging.getLogger(__name__)

_NAMES_A_JOB = frozenset({"jobid", "cluster", "starttime"})
_MOST_IGNORED_SHOWN = 10


def start_job() -> Response:
    """Store a started job; 201 with its database id, 422 if it is known already."""
    services = current_services()
    parsed = parse_job_start(_read_body())
    report_ignored_keys("start_job", parsed)
    caller = current_caller()
    require_cluster_allowed(parsed.value.cluster, caller.allowed_clusters)
    job = services.job_lifecycle.start(parsed.value, now_s=services.now_s(), caller=caller)
    return json_response({"msg": "success", "id": job.id}, HTTPStatus.CREATED)


def stop_job() -> Response:
    """Finish a running job; 200 with the job, 404 if it is unknown, 422 if it is not running."""
    return _stop_job(_read_body())


def stop_job_by_id(job_id: str) -> Response:
    """Finish a running job that is named by its database id; responses as `stop_job`."""
    services = current_services()
    document = _read_body()
    if not isinstance(document, dict):
        raise InvalidInput("the body must be a JSON object with stopTime and jobState", code=ErrorCode.INVALID_BODY)
    job = services.job_queries.get(
        parse_job_id(job_id),
        RowRule(all_jobs=True, allowed_clusters=current_caller().allowed_clusters),
        now_s=services.now_s(),
    )
    said = {key: value for key, value in document.items() if key.lower() not in _NAMES_A_JOB}
    return _stop_job({**said, "jobId": job.job_id, "cluster": job.cluster, "startTime": job.start_time})


def _stop_job(document: Any) -> Response:
    services = current_services()
    parsed = parse_job_stop(document)
    report_ignored_keys("stop_job", parsed)
    bound = current_caller().allowed_clusters
    if parsed.value.cluster is None and bound:
        raise InvalidInput("cluster: is required, as this token is limited to clusters", code=ErrorCode.INVALID_JOB)
    require_cluster_allowed(parsed.value.cluster or "", bound)
    job = services.job_lifecycle.stop(parsed.value, now_s=services.now_s())
    return json_response(job_to_json(replace(job, tags=())))


def _read_body() -> Any:
    return read_json_body(request, limit_bytes=current_services().settings.main.max_json_bytes)


def report_ignored_keys(event: str, parsed: ParsedPayload[Any]) -> None:
    """Count and log the unknown keys of a payload."""
    if parsed.ignored:
        current_request_metrics().count_ignored_keys(len(parsed.ignored))
        names = ",".join(name[:40] for name in parsed.ignored[:_MOST_IGNORED_SHOWN])
        logger.info("ignored unknown keys event=%s count=%d keys=%r", event, len(parsed.ignored), names)
