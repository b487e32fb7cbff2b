"""Jobs, for scripts and the scheduler's adapter. All responses follow the caller's row rule."""

import logging
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from flask import Response, request

from cc_backend.api import job_data_json
from cc_backend.api.job_access import require_job, require_job_or_conflict, visible_job_json
from cc_backend.api.job_list_query import PAGE_PARAMETERS, parse_job_list_query
from cc_backend.archive.measured_metrics import measured_sub_cluster, with_measured_metrics
from cc_backend.auth.row_rules import row_rule_for
from cc_backend.errors import ArchiveError, BackendError, InvalidInput, NotAllowed, NotFound
from cc_backend.http.bodies import read_json_body
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.downloads import FileFormat, reject_with_csv, requested_format
from cc_backend.http.guard import current_caller
from cc_backend.http.job_downloads import send_job_list
from cc_backend.http.query_string import parse_flag, parse_integer, parse_scopes
from cc_backend.http.responses import JSON, json_response, with_etag
from cc_backend.jobdata.gaps import find_job_gaps, gaps_of_unmeasured_metrics, gaps_to_json
from cc_backend.jobdata.samples import comes_from_archive, downsample
from cc_backend.jobs.concurrent_jobs import ConcurrencyRule, find_concurrent_jobs
from cc_backend.jobs.restricted_metrics import IsRestricted, drop_restricted
from cc_backend.model import Job, JobData, JobKey, MetricStatistic, MonitoringStatus, Scope
from cc_backend.services import Services, current_services
from cc_common.error_codes import ErrorCode

logger = logging.getLogger(__name__)


def list_jobs() -> Response:
    """One page of the jobs that match the query, newest first; all of them as CSV."""
    services = current_services()
    query = parse_job_list_query(request.args)
    if requested_format(request.args) is FileFormat.CSV:
        reject_with_csv(request.args, PAGE_PARAMETERS)
        wanted = query.filter.resolve(services.database, current_caller())
        return send_job_list(wanted, FileFormat.CSV, with_meta_data=query.with_metadata)
    page = services.job_queries.find(
        query.filter.resolve(services.database, current_caller()),
        row_rule_for(current_caller()),
        now_s=services.now_s(),
        page=query.page,
        items_per_page=query.items_per_page,
        with_meta_data=query.with_metadata,
    )
    stored = services.stored_statistics.read([job.id for job in page.jobs])
    jobs = [
        visible_job_json(
            replace(job, statistics=_archived_statistics(services, job, stored.get(job.id))),
            with_meta_data=query.with_metadata,
        )
        for job in page.jobs
    ]
    return with_etag(
        json_response({"jobs": jobs, "items": query.items_per_page, "page": query.page, "total": page.total})
    )


def get_job(job_id: str) -> Response:
    """One job; with `all-metrics=true` also the samples of all its metrics."""
    services = current_services()
    job = require_job_or_conflict(services, job_id)
    wanted = parse_flag(request.args, "all-metrics")
    data = _load_samples(services, job, None) if wanted else {}
    missing = _missing_data(services, job, data, None) if wanted else {}
    body = job_data_json.encode_job_with_data(_whole_job_json(services, job), data, missing)
    return with_etag(_bytes_response(body))


def get_job_with_named_metrics(job_id: str) -> Response:
    """One job with the metrics named by the body: an array; null or empty for all, as existing clients expect it."""
    services = current_services()
    job = require_job_or_conflict(services, job_id)
    names = read_json_body(request, limit_bytes=services.settings.main.max_json_bytes)
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        text = "the body must be an array of metric names, or null for all"
        raise InvalidInput(text, code=ErrorCode.INVALID_BODY)
    names = names or None
    data = _load_samples(services, job, names)
    missing = _missing_data(services, job, data, names)
    return _bytes_response(job_data_json.encode_job_with_metric_list(_whole_job_json(services, job), data, missing))


def get_job_metrics(job_id: str) -> Response:
    """The samples of one job, by `metric` (default all) and `scope` (default node).

    As existing clients expect, errors are sent in the envelope with status 200; `real-status=true` sends their status.
    """
    services = current_services()
    wanted = parse_scopes(request.args)
    shows_status = parse_flag(request.args, "real-status")
    names = request.args.getlist("metric") or None
    try:
        job = require_job(services, job_id)
        data = services.metric_data.read_samples(job, names, wanted, now_s=services.now_s(), statistics=True).data
        data = drop_restricted(data, _restriction_test(services, job))
        body = job_data_json.encode_job_metrics(data, _missing_data(services, job, data, names))
        return with_etag(_bytes_response(body))
    except BackendError as error:
        logger.info("no metrics of job id=%r error=%s", job_id[:40], error)
        response = _bytes_response(
            job_data_json.encode_job_metrics_error(error.public_message, error.code),
            error.status if shows_status else HTTPStatus.OK,
        )
        if shows_status and error.retry_after_s is not None:
            response.headers["Retry-After"] = str(error.retry_after_s)
        return response


def list_used_nodes() -> Response:
    """The hosts of running jobs that started before `ts`, by cluster, or of the cluster that `cluster` names.

    Clients free the samples of all other hosts, so a token that is limited to clusters must name one.
    """
    caller = current_caller()
    if not caller.sees_nodes:
        raise NotAllowed(f"the account '{caller.name}' may not see nodes", code=ErrorCode.ROLE_MISSING)
    before = request.args.get("ts")
    if before is None:
        raise InvalidInput("ts is missing: a time in Unix seconds", code=ErrorCode.INVALID_PARAMETER)
    cluster = request.args.get("cluster")
    if cluster is not None:
        require_cluster_allowed(cluster, caller.allowed_clusters)
    elif caller.allowed_clusters:
        text = "this token is limited to clusters and sees no nodes of others; name one with ?cluster="
        raise NotAllowed(text, code=ErrorCode.CLUSTER_NOT_ALLOWED)
    used = current_services().running_jobs.hosts(parse_integer("ts", before), row_rule_for(caller))
    return json_response({"usedNodes": used if cluster is None else {cluster: used.get(cluster, [])}})


def _whole_job_json(services: Services, job: Job) -> dict[str, Any]:
    """The job with its meta data and the concurrent jobs that the caller may see."""
    settings = services.settings.main.concurrent_jobs
    rule = ConcurrencyRule(settings.min_duration, settings.margin)
    concurrent = find_concurrent_jobs(services.database, job, row_rule_for(current_caller()), rule)
    document = visible_job_json(job, with_meta_data=True)
    if concurrent.count:
        items = [{"id": other.id, "jobId": other.job_id} for other in concurrent.items]
        document["concurrentJobs"] = {"items": items, "count": concurrent.count}
    return document


def _load_samples(services: Services, job: Job, names: list[str] | None) -> JobData:
    wanted = [Scope.CORE, Scope.ACCELERATOR] if job.num_nodes == 1 else [Scope.NODE]
    data = services.metric_data.read_samples(job, names, wanted, now_s=services.now_s(), statistics=True).data
    coarsest_s = _coarsest_timestep_s(services, job, data)
    data = downsample(data, coarsest_s) if coarsest_s else data
    return drop_restricted(data, _restriction_test(services, job))


def _coarsest_timestep_s(services: Services, job: Job, data: JobData) -> int | None:
    """The maximum timestep of all metrics of the cluster, or of the job's metrics if the cluster is unknown."""
    if job.cluster in services.clusters:
        return max((metric.timestep_s for metric in services.clusters[job.cluster].metrics.values()), default=None)
    return max((metric.timestep_s for by_scope in data.values() for metric in by_scope.values()), default=None)


def _restriction_test(services: Services, job: Job) -> IsRestricted:
    """A function of a metric: whether the caller may not see its values of this job."""
    return (lambda _: False) if current_caller().sees_restricted_metrics else services.clusters.restriction_test(job)


def _missing_data(services: Services, job: Job, data: JobData, names: list[str] | None) -> job_data_json.MissingData:
    """The data gaps of the requested metrics, with their reasons.

    Without a known configuration only the metrics in the archive are considered.
    """
    try:
        sub_cluster = services.clusters.sub_cluster_of_job(job)
    except NotFound:
        if not comes_from_archive(job):
            return {}
        sub_cluster = with_measured_metrics(measured_sub_cluster(job), data)
    hides = _restriction_test(services, job)
    sub_cluster = replace(sub_cluster, metrics=drop_restricted(sub_cluster.metrics, hides))
    metrics = {name: config for name, config in sub_cluster.metrics.items() if names is None or name in names}
    found = find_job_gaps(
        job,
        data,
        metrics,
        sub_cluster,
        stores=services.store_router,
        store=services.store,
        archive=services.archive,
        now_s=services.now_s(),
    )
    elsewhere = services.clusters[job.cluster].metrics if job.cluster in services.clusters else {}
    elsewhere = drop_restricted(elsewhere, hides)
    unknown = gaps_of_unmeasured_metrics(job, names or (), elsewhere, sub_cluster)
    return gaps_to_json(found, zone=None) | gaps_to_json(unknown, zone=None)


def _archived_statistics(
    services: Services, job: Job, stored: dict[str, MetricStatistic] | None
) -> dict[str, MetricStatistic] | None:
    """The statistics of an archived job, from its file if the database does not have them.

    None if it has none or its file is damaged, so that the list still works.
    """
    if job.monitoring_status != MonitoringStatus.ARCHIVED:
        return None
    key = JobKey(job.cluster, job.job_id, job.start_time)
    try:
        statistics = services.archive.load_meta(key).statistics if stored is None else stored
    except (ArchiveError, NotFound) as error:
        logger.warning("no statistics in list job=%d cluster=%s error=%s", job.job_id, job.cluster, error)
        return None
    return None if statistics is None else drop_restricted(statistics, _restriction_test(services, job))


def _bytes_response(body: bytes, status: int = HTTPStatus.OK) -> Response:
    return Response(body, status=status, content_type=JSON)
