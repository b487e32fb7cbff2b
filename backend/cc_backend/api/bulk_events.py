"""Many job events in one request, for an adapter that catches up."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import orjson
from flask import Response, request

from cc_backend.api.job_events import report_ignored_keys, require_event_allowed, respond_once, to_flask_response
from cc_backend.auth.caller import Caller
from cc_backend.errors import TooLarge
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.guard import current_caller
from cc_backend.http.problems import public_error
from cc_backend.jobs.idempotency_keys import StoredResponse
from cc_backend.model import Job, JobState
from cc_backend.services import Services, current_services
from cc_backend.telemetry.request_metrics import current_request_metrics
from cc_common.errors import CockpitError
from cc_common.job_events import JobStart, JobStop, parse_job_start, parse_job_stop
from cc_common.json_reader import ObjectReader, ParsedPayload

MAX_EVENTS = 1000
"""Maximum events of a request: they are stored in one transaction, and others wait for it."""
START, STOP = "start_job", "stop_job"
_EVENT = "event"
_EVENT_LETTERS = len(_EVENT)


def store_events() -> Response:
    """Store job events in their order, in one transaction; 200 with what became of each."""
    services, caller = current_services(), current_caller()
    return to_flask_response(
        respond_once(services, request, caller, lambda document: _store(services, document, caller))
    )


def _store(services: Services, document: Any, caller: Caller) -> StoredResponse:
    reader = ObjectReader(document)
    if not reader.has("events"):
        reader.fault("events", "is required: a list of job events")
    entries = reader.list("events")
    if len(entries) > MAX_EVENTS:
        raise TooLarge(f"events: there are {len(entries)}; send at most {MAX_EVENTS} in one request")
    ignored: list[str] = list(reader.finish())
    parsed = [_parse_event(entry, caller, ignored) for entry in entries]
    report_ignored_keys("events", ParsedPayload(None, tuple(ignored)), current_request_metrics())
    valid = [event for event in parsed if not isinstance(event, CockpitError)]
    stored = iter(services.job_lifecycle.store_all(valid, now_s=services.now_s(), caller=caller) if valid else ())
    return StoredResponse(HTTPStatus.OK, orjson.dumps({"results": list(_results(parsed, stored))}))


def _parse_event(entry: Any, caller: Caller, ignored: list[str]) -> JobStart | JobStop | CockpitError:
    """A valid event that the caller may report, or what is wrong with it."""
    try:
        reader = ObjectReader(entry)
        kind = reader.choice(_EVENT, (START, STOP))
        if not kind:
            reader.fault(_EVENT, f"is required: {START} or {STOP}")
        fields = {key: value for key, value in entry.items() if len(key) != _EVENT_LETTERS or key.lower() != _EVENT}
        if kind == START:
            start = parse_job_start(fields)
            ignored += start.ignored
            require_cluster_allowed(start.value.cluster, caller.allowed_clusters)
            return start.value
        stop = parse_job_stop(fields)
        ignored += stop.ignored
        require_event_allowed(stop.value, caller)
    except CockpitError as error:
        return error
    return stop.value


def _results(
    parsed: list[JobStart | JobStop | CockpitError], stored: Iterator[Job | CockpitError]
) -> Iterator[dict[str, Any]]:
    for event in parsed:
        result = event if isinstance(event, CockpitError) else next(stored)
        if isinstance(result, CockpitError):
            yield _refusal(result)
        else:
            is_start = result.state is JobState.RUNNING
            yield {"status": HTTPStatus.CREATED if is_start else HTTPStatus.OK, "id": result.id}


def _refusal(error: CockpitError) -> dict[str, Any]:
    public = public_error(error)
    if public is None:  # a defect of the server
        raise error
    return {"status": public.status, "code": public.code, "error": public.text, **public.more}
