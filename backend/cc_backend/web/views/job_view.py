"""The job page, the data of its plots, and each plot as a table."""

import csv
import io
import logging
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Response, render_template, request, url_for

from cc_backend.auth.caller import Caller
from cc_backend.auth.permissions import Permission, requires
from cc_backend.auth.row_rules import row_rule_for
from cc_backend.clusters import MetricConfig, SubCluster, job_metric, with_measured_job_metrics
from cc_backend.errors import ArchiveError, InvalidInput, NotFound
from cc_backend.exports.csv_text import text_cell
from cc_backend.http.guard import current_caller
from cc_backend.http.job_downloads import send_job
from cc_backend.insight.assessment import find_outlier_nodes, judged_scopes, stored_assessment
from cc_backend.insight.configured_units import convert_to_configured_units
from cc_backend.insight.curve_maths import downsample
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.jobdata.bounded_read import VIEW_LIMITS
from cc_backend.jobdata.gaps import find_job_gaps
from cc_backend.jobdata.samples import comes_from_archive
from cc_backend.metricstore import NO_GAPS, JobGaps
from cc_backend.model import NON_TERMINAL_STATES, Job, JobData, MonitoringStatus, Scope
from cc_backend.services import Services, current_services
from cc_backend.web import plots_binary
from cc_backend.web.job_page import JobPageView, PageOptions, build_job_page, build_plots
from cc_backend.web.job_plots import available_scopes, axis_labels, plots_to_json
from cc_backend.web.redirects import safe_redirect_path
from cc_backend.web.series_figure import MAX_LINES, MIN_BAND_SERIES
from cc_backend.web.series_table import PlotTable, build_plot_table
from cc_backend.web.views.job_list_view import PRIVATE_CACHE, private_response
from cc_backend.web.views.list_rows import sub_cluster_with_archived_metrics, visible_metrics
from cc_backend.wording.format import count_noun, format_exact_duration, format_iso_utc, format_number, local_time
from cc_backend.wording.labels import SCOPE_WORDS, metric_name

logger = logging.getLogger(__name__)

UNREADABLE_NOTE = "The samples of this job cannot be read just now. The record of the job is complete."
"""Shown instead of curves; the log has the cause."""
JSON = "application/json"
_MAX_TABLE_ROWS = 120


@requires(Permission.PAGE)
def show_job(job_id: int) -> Response:
    """The page of one job."""
    services, caller = current_services(), current_caller()
    found, sub_cluster, metrics = _require_job(services, caller, job_id)
    options = _parse_options(found, sub_cluster, metrics)
    data, note = _read_samples(services, found, {**sub_cluster.job_metrics, **metrics}, options.scope)
    curves = JobCurveSet(data)
    if note:  # unreadable samples cannot be judged again
        gaps, assessment = NO_GAPS, stored_assessment(found, services.judge.find_sub_cluster(found))
    else:
        gaps = _find_gaps(services, found, data, metrics, sub_cluster)
        assessment = services.judge.assess(found, curves, now_s=services.now_s())
        services.judge.record_if_changed(found, assessment, now_s=services.now_s())
    page = build_job_page(
        found,
        curves,
        assessment,
        sub_cluster,
        with_measured_job_metrics(metrics, sub_cluster.job_metrics, data),
        options=options,
        zone=None,
        now_s=services.now_s(),
        data_note=note,
        gaps=gaps,
    )
    return private_response(render_template("job.html", page=page, **_page_variables(page, options, job_id)))


def _page_variables(page: JobPageView, options: PageOptions, job_id: int) -> dict[str, Any]:
    """What the template of the job page has beside the page: addresses, and which controls it offers."""
    back, back_words = _way_back()
    keys = Counter(plot.figure.key for plot in page.plots if plot.figure.key)
    return {
        "clock": options.clock,
        "live": is_live(page.job),
        "address": lambda **changes: _page_address(job_id, changes),
        "data_address": url_for("web.job_data", job_id=job_id, **_current_parameters("scope", "axis", "lines")),
        "export_url": lambda form: url_for("web.export_job", job_id=job_id, format=form),
        "series_url": lambda metric, form="": _series_address(job_id, metric, form),
        "each": options.separate_lines,
        "banded": any(plot.figure.bands for plot in page.plots),
        "outliers": any(plot.figure.bands and plot.figure.outliers for plot in page.plots),
        "few_lines": any(MIN_BAND_SERIES <= plot.figure.series_count <= MAX_LINES for plot in page.plots),
        "common_key": keys.most_common(1)[0][0] if keys else (),
        "row_word": _capitalise(SCOPE_WORDS[options.scope][0]),
        "table_words": count_noun(len(page.table.rows) + page.table.left_out, *SCOPE_WORDS[options.scope]),
        "back": back,
        "back_words": back_words,
    }


@requires(Permission.PAGE)
def send_plots(job_id: int) -> Response:
    """The numbers of all plots as JSON, or in the binary form that `plots.js` asks for; 304 while they are the same."""
    services, caller = current_services(), current_caller()
    found, sub_cluster, metrics = _require_job(services, caller, job_id)
    options = _parse_options(found, sub_cluster, metrics)
    samples, note = _read_samples(services, found, {**sub_cluster.job_metrics, **metrics}, options.scope)
    shown = with_measured_job_metrics(metrics, sub_cluster.job_metrics, samples)
    labels, _ = axis_labels(found, samples, None, clock=options.clock)
    curves = JobCurveSet(samples)
    outliers = find_outlier_nodes(found, curves, services.judge.find_sub_cluster(found))
    plots = build_plots(found, curves, sub_cluster, shown, options, labels=labels, draw=False, outliers=outliers)
    form = request.accept_mimetypes.best_match((JSON, plots_binary.MEDIA_TYPE), JSON)
    if form == plots_binary.MEDIA_TYPE:
        block = plots_binary.CurveBlock()
        # the page already has the reasons of gaps; finding them costs more than all curves together
        document = plots_to_json(found, plots, None, clock=options.clock, gaps=None, encode_curve=block.add_curve)
        body = block.encode(document)
    else:
        gaps = NO_GAPS if note else _find_gaps(services, found, samples, metrics, sub_cluster)
        document = plots_to_json(found, plots, None, clock=options.clock, gaps=gaps)
        body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    response = Response(body, content_type=form)
    response.headers["Cache-Control"] = PRIVATE_CACHE
    response.vary.add("Accept")
    response.add_etag()
    response.make_conditional(request)
    return response


@requires(Permission.PAGE)
def export_job(job_id: int) -> Response:
    """The job with all its samples as a file, as `/api/jobs/export/` gives it."""
    services = current_services()
    response = send_job(services.job_queries.get(job_id, row_rule_for(current_caller()), now_s=services.now_s()))
    response.headers["Cache-Control"] = PRIVATE_CACHE
    return response


@requires(Permission.PAGE)
def show_series(job_id: int, metric: str) -> Response:
    """One plot as a table of at most 120 rows, or all its samples as CSV (`?as=csv`)."""
    services, caller = current_services(), current_caller()
    found, sub_cluster, metrics = _require_job(services, caller, job_id)
    config = metrics.get(metric) or sub_cluster.job_metrics.get(metric)
    if config is None:
        raise NotFound(f"there is no metric '{metric}' on this kind of node")
    options = _parse_options(found, sub_cluster, metrics)
    samples, _ = _read_samples(services, found, {metric: config}, options.scope)
    table = build_plot_table(JobCurveSet(samples), metric, options.scope)
    if table is None:
        raise NotFound(f"'{metric}' was not measured for this job")
    if request.args.get("as") == "csv":
        return _csv_response(found, metric, table)
    return private_response(_render_series(found, metric, table, now_s=services.now_s()))


def _render_series(job: Job, metric: str, table: PlotTable, *, now_s: float) -> str:
    """The page with a plot as a table."""
    names, rows = table.summarise()
    small, every = downsample(rows, _MAX_TABLE_ROWS)
    step = table.timestep_s * every
    return render_template(
        "series.html",
        title=metric_name(metric),
        job_number=job.job_id,
        unit=table.unit,
        basis=f"{count_noun(table.rows.shape[0], *SCOPE_WORDS[table.scope])}, every {format_exact_duration(step)}",
        columns=names,
        rows=[
            (
                format_exact_duration(i * step),
                format_clock(job.start_time + i * step, now_s=now_s),
                [format_number(v * table.factor) for v in column],
            )
            for i, column in enumerate(small.T.tolist())
        ],
        back=f"{url_for('web.job', job_id=job.id, **_current_parameters('scope', 'axis'))}#m-{metric}",
        csv=_series_address(job.id, metric, "csv"),
    )


def is_live(job: Job) -> bool:
    """Whether the page of a job still changes: as long as it runs, and until its archive is written."""
    archiving = job.monitoring_status == MonitoringStatus.RUNNING_OR_ARCHIVING
    return archiving or job.state in NON_TERMINAL_STATES


def _require_job(services: Services, caller: Caller, job_id: int) -> tuple[Job, SubCluster, Mapping[str, MetricConfig]]:
    """The job, its subcluster and the metrics that the caller may see; NotFound for a job of others."""
    found = services.job_queries.get(job_id, row_rule_for(caller), now_s=services.now_s())
    sub_cluster = _with_job_metrics(services, found, sub_cluster_with_archived_metrics(services, found))
    return found, sub_cluster, visible_metrics(sub_cluster, caller)


def _with_job_metrics(services: Services, job: Job, sub_cluster: SubCluster) -> SubCluster:
    """The subcluster with all metrics of single jobs that the hosts sent of this job, also under names of its own."""
    hosts = [resource.hostname for resource in job.resources]
    sent = services.store_router.metrics_of_job(job.cluster, job.sub_cluster, hosts, job.job_id)
    marks = {name: config for name in sorted(sent) if (config := job_metric(name, sub_cluster.job_metrics))}
    return replace(sub_cluster, job_metrics={**sub_cluster.job_metrics, **marks})


def _read_samples(
    services: Services, job: Job, metrics: Mapping[str, MetricConfig], scope: Scope
) -> tuple[JobData, str]:
    """The samples at node scope and at the chosen one; without samples and with a note if they cannot be read."""
    # an archive file is read as a whole anyway; each scope queried of the store costs
    judged = {part for metric in metrics.values() for part in judged_scopes(job, metric)}
    scopes = list(Scope) if comes_from_archive(job) else sorted({Scope.NODE, scope, *judged})
    try:
        data = services.metric_data.read_samples(
            job, list(metrics), scopes, now_s=services.now_s(), limits=VIEW_LIMITS
        ).data
    except ArchiveError as error:
        logger.warning("samples unreadable job=%s cluster=%s error=%r", job.job_id, job.cluster, str(error))
        return {}, UNREADABLE_NOTE
    return convert_to_configured_units(data, metrics), ""


def _find_gaps(
    services: Services, job: Job, data: JobData, metrics: Mapping[str, MetricConfig], sub_cluster: SubCluster
) -> JobGaps:
    """The gaps in the samples, with their reasons."""
    return find_job_gaps(
        job,
        data,
        metrics,
        sub_cluster,
        stores=services.store_router,
        store=services.store,
        archive=services.archive,
        now_s=services.now_s(),
    )


def _parse_options(job: Job, sub_cluster: SubCluster, metrics: Mapping[str, MetricConfig]) -> PageOptions:
    """The options in the address.

    Raises:
        InvalidInput: a scope that this job cannot be shown at, or one that does not exist.
    """
    possible = available_scopes(job, sub_cluster, metrics)
    wanted = request.args.get("scope", "") or Scope.NODE.value
    offered = {scope.value: scope for scope in (Scope if comes_from_archive(job) else possible)}
    if wanted not in offered:
        raise InvalidInput(f"'scope' must be one of {', '.join(offered)} for this job, not '{wanted[:40]}'")
    return PageOptions(
        scope=offered[wanted],
        clock=request.args.get("axis") == "clock",
        separate_lines=request.args.get("lines") == "each",
        sort=request.args.get("by", "")[:100],
        descending=request.args.get("dir") == "desc",
    )


def _current_parameters(*names: str) -> dict[str, Any]:
    return {name: request.args[name] for name in names if request.args.get(name)}


def _page_address(job_id: int, changes: Mapping[str, str]) -> str:
    """The address of this page with changed options; options at their default are left out."""
    options = _current_parameters("scope", "axis", "lines", "by", "dir", "back") | {
        name: str(value) for name, value in changes.items()
    }
    plain = {name: value for name, value in options.items() if value and (name, value) != ("scope", "node")}
    path = url_for("web.job", job_id=job_id)
    return f"{path}?{urlencode(plain)}" if plain else path


def _series_address(job_id: int, metric: str, form: str = "") -> str:
    more: dict[str, Any] = {"as": form} if form else {}
    return url_for("web.series", job_id=job_id, metric=metric, **_current_parameters("scope"), **more)


def _way_back() -> tuple[str, str]:
    """Address and words of the link back: the list with its filters if the referrer is one, else the plain list."""
    referrer = request.referrer or ""
    own = request.host_url.rstrip("/")
    path = safe_redirect_path(referrer[len(own) :]) if referrer.startswith(f"{own}/") else ""
    home = url_for("web.jobs")
    if path.startswith(f"{home}?"):
        return path, "Jobs: your list"
    return home, "Jobs"


def format_clock(time_s: float, *, now_s: float) -> str:
    """The time of day, with seconds where there are any, and with the day where it is not today."""
    then = local_time(time_s, None)
    clock = f"{then:%H:%M:%S}".removesuffix(":00")
    return clock if then.date() == local_time(now_s, None).date() else f"{then.day} {then:%b} {clock}"


def _capitalise(word: str) -> str:
    return word[:1].upper() + word[1:]


def _csv_response(job: Job, metric: str, table: PlotTable) -> Response:
    text = io.StringIO()
    writer = csv.writer(text)
    unit = f" ({table.row_unit})" if table.row_unit else ""
    writer.writerow(["time_s", "time", *(text_cell(f"{name}{unit}") for name in table.names)])
    for i, column in enumerate(table.rows.T.tolist()):
        time_s = job.start_time + i * table.timestep_s
        writer.writerow([time_s, format_iso_utc(time_s), *(f"{v:.6g}" if math.isfinite(v) else "" for v in column)])
    response = Response(text.getvalue(), content_type="text/csv; charset=utf-8")
    response.headers["Cache-Control"] = PRIVATE_CACHE
    response.headers["Content-Disposition"] = f'attachment; filename="job-{job.job_id}-{metric}.csv"'
    return response
