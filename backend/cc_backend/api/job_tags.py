"""Tags of jobs: attach, detach, and remove from all jobs."""

from typing import Any

from flask import Response, request

from cc_backend.api.job_access import require_job, visible_job_json
from cc_backend.errors import InvalidInput, NotAllowed
from cc_backend.http.bodies import read_json_body
from cc_backend.http.guard import current_caller
from cc_backend.http.responses import json_response
from cc_backend.jobs import tags
from cc_backend.model import Tag
from cc_backend.services import current_services
from cc_common.error_codes import ErrorCode
from cc_common.json_reader import ObjectReader


def attach_tags(job_id: str) -> Response:
    """Attach the tags of the body to a job; 200 with the job and all its visible tags."""
    services = current_services()
    wanted = _read_tags()
    job = require_job(services, job_id)
    tags.attach_tags(services.database, job.id, wanted, current_caller())
    return json_response(visible_job_json(require_job(services, job_id), with_meta_data=False))


def detach_tags(job_id: str) -> Response:
    """Detach the tags of the body from a job; 200 with the job and the visible tags that are left."""
    services = current_services()
    wanted = _read_tags()
    job = require_job(services, job_id)
    tags.detach_tags(services.database, job.id, wanted, current_caller())
    return json_response(visible_job_json(require_job(services, job_id), with_meta_data=False))


def remove_tags() -> Response:
    """Remove the tags of the body from all jobs; 200 with a text that says how many there were.

    Tags belong to the whole site, so a token that is limited to clusters may not.
    """
    wanted, caller = _read_tags(), current_caller()
    if caller.allowed_clusters:
        text = "this token is limited to clusters; it can detach tags from their jobs, but not remove them everywhere"
        raise NotAllowed(text, code=ErrorCode.CLUSTER_NOT_ALLOWED)
    removed = tags.remove_tags(current_services().database, wanted, caller)
    return Response(f"removed {removed} of {len(wanted)} tags\n", content_type="text/plain; charset=utf-8")


def _read_tags() -> list[Tag]:
    document: Any = read_json_body(request, limit_bytes=current_services().settings.main.max_json_bytes)
    if not isinstance(document, list):
        text = 'the body must be an array of tags such as [{"type": "app", "name": "wave", "scope": "global"}]'
        raise InvalidInput(text, code=ErrorCode.INVALID_BODY)
    readers = [ObjectReader(item, f"[{index}]") for index, item in enumerate(document)]
    return [Tag(reader.name("type"), reader.name("name"), reader.name("scope")) for reader in readers]
