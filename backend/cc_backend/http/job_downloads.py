"""Downloads of one job and of lists of jobs, as API and pages offer them."""

from flask import Response, request

from cc_backend.auth.row_rules import row_rule_for
from cc_backend.exports.job_document import document_parts
from cc_backend.exports.job_series import export_job
from cc_backend.exports.job_table import MAX_JOBS, job_list_parts, job_table_parts
from cc_backend.exports.long_form import long_csv_parts
from cc_backend.exports.parquet_file import parquet_parts
from cc_backend.http.downloads import FORMAT, FileFormat, download, requested_format
from cc_backend.http.guard import current_caller
from cc_backend.http.query_string import parse_scopes, reject_unknown
from cc_backend.jobs.filters import JobFilter
from cc_backend.model import Job
from cc_backend.services import current_services

JOB_PARAMETERS = (FORMAT, "metric", "scope")


def send_job(job: Job) -> Response:
    """A job with its series as a file, as the query asks for it: `format`, `metric`, `scope`."""
    reject_unknown(request.args, JOB_PARAMETERS)
    form = requested_format(request.args, tuple(FileFormat))
    scopes = parse_scopes(request.args) or ()
    export = export_job(current_services(), job, current_caller(), request.args.getlist("metric"), scopes)
    if form is FileFormat.PARQUET:
        parts = parquet_parts(export)
    else:
        parts = document_parts(export) if form is FileFormat.JSON else long_csv_parts(export.series)
    return download(parts, form, name=export.name)


def send_job_list(
    wanted: JobFilter,
    form: FileFormat,
    *,
    order: str = "startTime",
    descending: bool = True,
    with_meta_data: bool = False,
) -> Response:
    """All visible jobs that match as a file, at most `MAX_JOBS`."""
    services, caller = current_services(), current_caller()
    batches = services.job_queries.find_all(
        wanted,
        row_rule_for(caller),
        now_s=services.now_s(),
        order=order,
        descending=descending,
        max_jobs=MAX_JOBS,
        with_meta_data=with_meta_data,
    )
    if form is FileFormat.JSON:
        return download(job_list_parts(batches, caller), form, name="jobs")
    table = job_table_parts(
        batches, caller, services.clusters, only_clusters=wanted.clusters, with_meta_data=with_meta_data
    )
    return download(table, form, name="jobs")
