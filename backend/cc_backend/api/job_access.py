"""Access to the job of a request: named by its database id in the path, or by its scheduler's id in the body."""

from dataclasses import replace
from typing import Any

from cc_backend.auth.row_rules import row_rule_for
from cc_backend.errors import Conflict, InvalidInput, NotFound
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.guard import current_caller
from cc_backend.http.query_string import parse_job_id
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_json import job_to_json
from cc_backend.jobs.tags import visible_tags
from cc_backend.model import Job
from cc_backend.services import Services
from cc_common.error_codes import ErrorCode
from cc_common.json_reader import ObjectReader


def require_job(services: Services, job_id: str) -> Job:
    """The job with a database id, under the caller's row rule; 404 if there is none."""
    return services.job_queries.get(parse_job_id(job_id), row_rule_for(current_caller()), now_s=services.now_s())


def require_job_or_conflict(services: Services, job_id: str) -> Job:
    """As `require_job`, but 422 for a missing job, where existing clients expect that."""
    try:
        return require_job(services, job_id)
    except NotFound as error:
        raise Conflict(error.public_message, code=error.code) from error


def require_named_job(services: Services, body: ObjectReader) -> Job:
    """The newest run of the job that a body names with `jobId` and maybe `cluster` and `startTime`.

    422 if there is none, as existing clients expect it.
    """
    if not body.has("jobId"):
        body.fault("jobId", "is required")
    number, cluster, start_s = body.integer("jobId"), body.name("cluster"), body.integer("startTime") or None
    caller = current_caller()
    if not cluster and caller.allowed_clusters:
        raise InvalidInput("cluster: is required, as this token is limited to clusters", code=ErrorCode.INVALID_JOB)
    require_cluster_allowed(cluster, caller.allowed_clusters)
    wanted = JobFilter(
        job_id=number, clusters=(cluster,) if cluster else (), started_from_s=start_s, started_to_s=start_s
    )
    found = services.job_queries.find(wanted, row_rule_for(caller), now_s=services.now_s(), items_per_page=1).jobs
    if not found:
        of_cluster = f" of cluster {cluster[:60]!r}" if cluster else ""
        start = f" with the start time {start_s}" if start_s is not None else ""
        raise Conflict(f"there is no job {number}{of_cluster}{start}", code=ErrorCode.JOB_UNKNOWN)
    return found[0]


def visible_job_json(job: Job, *, with_meta_data: bool) -> dict[str, Any]:
    """The JSON object of a job, with the tags that the caller may see."""
    visible = replace(job, tags=visible_tags(job.tags, current_caller()))
    return job_to_json(visible, with_meta_data=with_meta_data)
