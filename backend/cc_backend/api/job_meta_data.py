"""Changes of a job's meta data."""

from typing import Any

from flask import Response, request

from cc_backend.api.job_access import require_job, require_named_job, visible_job_json
from cc_backend.errors import InvalidInput
from cc_backend.http.bodies import read_json_body
from cc_backend.http.responses import json_response
from cc_backend.jobs.meta_data import set_meta_data
from cc_backend.model import Job
from cc_backend.services import Services, current_services
from cc_common.error_codes import ErrorCode
from cc_common.json_reader import ObjectReader
from cc_common.json_values import as_string


def edit_meta_data(job_id: str) -> Response:
    """Set keys of the meta data of a job; 200 with the job, 404 if it is unknown."""
    services = current_services()
    texts = _parse_texts(_read_body(services))
    return _edit(services, require_job(services, job_id), texts)


def edit_meta_data_of_named_job() -> Response:
    """Set keys of the meta data of the job that the body names; 200 with the job, 422 if it is unknown."""
    services = current_services()
    body = ObjectReader(_read_body(services))
    texts = _parse_texts(body.raw("payload"))
    return _edit(services, require_named_job(services, body), texts)


def _edit(services: Services, job: Job, texts: dict[str, str]) -> Response:
    set_meta_data(services.database, job.id, texts)
    return json_response(visible_job_json(require_job(services, str(job.id)), with_meta_data=True))


def _read_body(services: Services) -> Any:
    return read_json_body(request, limit_bytes=services.settings.main.max_json_bytes)


def _parse_texts(document: Any) -> dict[str, str]:
    """The texts by key in `{"key": "note", "value": "x"}`, or in `{"note": "x"}` as the manual of 1.5 writes it."""
    pair = ObjectReader(document)
    if pair.has("key") or pair.has("value"):
        return {pair.string("key"): pair.string("value")}
    texts = ObjectReader({"metaData": document}).mapping("metaData", as_string, "")
    if not texts:
        raise InvalidInput('the body must be {"key": "<key>", "value": "<text>"}', code=ErrorCode.INVALID_BODY)
    return texts
