"""Jobs start and stop: what a scheduler's adapter reports."""

import logging
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from flask import Response, request

from cc_backend.errors import InvalidInput
from cc_backend.http.bodies import read_json
from cc_backend.http.cluster_scope import check_cluster
from cc_backend.http.guard import current_caller
from cc_backend.http.query_string import whole_number
from cc_backend.http.responses import json_answer
from cc_backend.jobs.job_json import job_to_wire
from cc_backend.model import RowRule
from cc_backend.services import current
from cc_backend.telemetry.request_metrics import current_activity
from cc_common.error_codes import ErrorCode
from cc_common.job_events import parse_job_start, parse_job_stop
from cc_common.json_reader import Parsed

logger = logging.getLogger(__name__)

_NAMES_A_JOB = frozenset({"jobid", "cluster", "starttime"})
_MOST_IGNORED_SHOWN = 10


def start_job() -> Response:
    """Register a job that started; 201 with its database id, 422 if it is known already."""
    services = current()
    parsed = parse_job_start(_body())
    note_ignored("start_job", parsed)
    caller = current_caller()
    check_cluster(parsed.value.cluster, caller.clusters)
    job = services.jobs.start(parsed.value, now_s=services.now_s(), caller=caller)
    return json_answer({"msg": "success", "id": job.id}, HTTPStatus.CREATED)


def stop_job() -> Response:
    """Finish a running job; 200 with the job, 404 if it is unknown, 422 if it does not run."""
    return _stop(_body())


def stop_job_by_id(job_id: str) -> Response:
    """The same for scripts that name the job by its database id."""
    services = current()
    document = _body()
    if not isinstance(document, dict):
        raise InvalidInput("the body must be a JSON object with stopTime and jobState", code=ErrorCode.INVALID_BODY)
    job = services.search.get(
        whole_number("id", job_id), RowRule(everything=True, clusters=current_caller().clusters), now_s=services.now_s()
    )
    said = {key: value for key, value in document.items() if key.lower() not in _NAMES_A_JOB}
    return _stop({**said, "jobId": job.job_id, "cluster": job.cluster, "startTime": job.start_time})


def _stop(document: Any) -> Response:
    services = current()
    parsed = parse_job_stop(document)
    note_ignored("stop_job", parsed)
    bound = current_caller().clusters
    if parsed.value.cluster is None and bound:
        raise InvalidInput("cluster: is required, because this token is bound to clusters", code=ErrorCode.INVALID_JOB)
    check_cluster(parsed.value.cluster or "", bound)
    job = services.jobs.stop(parsed.value, now_s=services.now_s())
    return json_answer(job_to_wire(replace(job, tags=())))


def _body() -> Any:
    return read_json(request, limit_bytes=current().settings.main.max_json_bytes)


def note_ignored(event: str, parsed: Parsed[Any]) -> None:
    """Count and log the keys of a payload that nobody knows."""
    if parsed.ignored:
        current_activity().count_ignored_keys(len(parsed.ignored))
        names = ",".join(name[:40] for name in parsed.ignored[:_MOST_IGNORED_SHOWN])
        logger.info("ignored unknown keys event=%s count=%d keys=%r", event, len(parsed.ignored), names)
