"""Removal of jobs from the database; the job archive keeps them."""

from flask import Response, request

from cc_backend.api.job_access import require_job, require_named_job
from cc_backend.auth.row_rules import row_rule_for
from cc_backend.errors import InvalidInput
from cc_backend.http.bodies import read_json_body
from cc_backend.http.guard import current_caller
from cc_backend.http.query_string import parse_integer, reject_unknown
from cc_backend.http.responses import json_response
from cc_backend.jobs import job_removal
from cc_backend.jobs.job_removal import KeptTags
from cc_backend.model import Job
from cc_backend.services import Services, current_services
from cc_common.error_codes import ErrorCode
from cc_common.json_reader import ObjectReader

_OMIT_TAGGED = "omit-tagged"


def remove_job(job_id: str) -> Response:
    """Remove the job with a database id; 404 if it is unknown."""
    services = current_services()
    return _remove(services, require_job(services, job_id))


def remove_named_job() -> Response:
    """Remove the newest run of the job that the body names; 422 if it is unknown."""
    services = current_services()
    body = ObjectReader(read_json_body(request, limit_bytes=services.settings.main.max_json_bytes))
    return _remove(services, require_named_job(services, body))


def remove_jobs_before(before: str) -> Response:
    """Remove the finished jobs that started before a time, except those whose tags keep them, or not yet archived.

    A misspelt parameter must not remove what it was to keep, so unknown ones are rejected.
    """
    services = current_services()
    reject_unknown(request.args, (_OMIT_TAGGED,))
    kept, before_s = _parse_kept_tags(), parse_integer("time", before)
    found = job_removal.remove_jobs_before(services.database, before_s, row_rule_for(current_caller()), kept=kept)
    text = f"removed {found.removed} jobs that started before {before_s}"
    if found.unarchived:
        text += f"; {found.unarchived} more wait to be archived and were kept"
    return json_response({"msg": text, "deleted": found.removed, "unarchived": found.unarchived})


def _remove(services: Services, job: Job) -> Response:
    job_removal.remove_job(services.database, job.id)
    return json_response({"msg": f"removed the job with the id {job.id}", "deleted": 1})


def _parse_kept_tags() -> KeptTags:
    text = request.args.get(_OMIT_TAGGED, KeptTags.NONE)
    try:
        return KeptTags(text)
    except ValueError:
        choices = ", ".join(KeptTags)
        raise InvalidInput(
            f"{_OMIT_TAGGED} must be one of {choices}, not {text[:60]!r}", code=ErrorCode.INVALID_PARAMETER
        ) from None
