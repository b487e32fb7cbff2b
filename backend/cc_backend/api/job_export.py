"""One job with all that belongs to it, in one response."""

from flask import Response

from cc_backend.api.job_access import require_job
from cc_backend.http.job_downloads import send_job
from cc_backend.services import current_services


def export_job(job_id: str) -> Response:
    """The record, statistics and series of one job as JSON, CSV or Parquet; 404 if it is unknown.

    The format is that of `format`, else of `Accept`, else JSON. All metrics and the scopes of the archive come unless
    `metric` and `scope` name some; samples are never thinned.
    """
    return send_job(require_job(current_services(), job_id))
