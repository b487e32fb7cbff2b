"""The job page, the numbers behind its plots, and each plot as a table."""

import csv
import io
import logging
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Response, render_template, request, url_for

from cc_backend.auth.caller import Caller
from cc_backend.auth.permissions import Permission, requires
from cc_backend.auth.row_rules import row_rule
from cc_backend.clusters import MetricConfig, SubCluster
from cc_backend.errors import ArchiveError, InvalidInput, NotFound
from cc_backend.http.guard import current_caller
from cc_backend.insight.assessment import faulty_nodes, judged_scopes, remembered
from cc_backend.insight.configured_units import in_configured_units
from cc_backend.insight.curve_maths import shrink
from cc_backend.insight.job_curves import CurveSet
from cc_backend.jobdata.bounded_read import VIEW_LIMITS
from cc_backend.jobdata.gaps import explaining, job_absences, noted_absences
from cc_backend.jobdata.samples import comes_from_archive
from cc_backend.metricstore.gaps.reasons import NOTHING_ABSENT, JobAbsences
from cc_backend.model import NON_TERMINAL_STATES, Job, JobData, MonitoringStatus, Scope
from cc_backend.services import Services, current
from cc_backend.web import plots_binary
from cc_backend.web.job_page import PageOptions, job_page, job_plots
from cc_backend.web.job_plots import axis_labels, plots_document, scopes_on_offer
from cc_backend.web.redirects import safe_path
from cc_backend.web.series_figure import BANDS_FROM, MOST_LINES
from cc_backend.web.series_table import SeriesTable, series_columns
from cc_backend.web.views.job_list_view import PRIVATE, private
from cc_backend.web.views.list_rows import sub_cluster_on_page, visible_metrics
from cc_backend.wording.format import at, count, exact_span, iso, number
from cc_backend.wording.labels import SCOPE_WORDS, metric_name

logger = logging.getLogger(__name__)

UNREADABLE = "The samples of this job cannot be read just now. The record of the job is complete."
"""Said instead of curves; the log has the cause."""
JSON = "application/json"
_TABLE_ROWS = 120


@requires(Permission.PAGE)
def job(job_id: int) -> Response:
    """The page of one job."""
    services, caller = current(), current_caller()
    found, sub_cluster, metrics = _found(services, caller, job_id)
    options = _options(found, sub_cluster, metrics)
    data, note = _data(services, found, metrics, options.scope)
    curves = CurveSet(data)
    if note:  # what cannot be read cannot be judged anew
        absences, assessment = NOTHING_ABSENT, remembered(found, services.judge.sub_cluster(found))
    else:
        absences = _absences(services, found, data, metrics, sub_cluster)
        assessment = services.judge.assess(found, curves, now_s=services.now_s())
        services.judge.keep(found, assessment, now_s=services.now_s())
    page = job_page(
        found,
        curves,
        assessment,
        sub_cluster,
        metrics,
        options=options,
        zone=None,
        now_s=services.now_s(),
        data_note=note,
        absences=absences,
    )
    back, back_words = _way_back()
    keys = Counter(plot.figure.key for plot in page.plots if plot.figure.key)
    html = render_template(
        "job.html",
        page=page,
        clock=options.clock,
        live=is_live(found),
        address=lambda **changes: _address(job_id, changes),
        data_address=url_for("web.job_data", job_id=job_id, **_kept("scope", "axis", "lines")),
        series_url=lambda metric, form="": _series_address(job_id, metric, form),
        each=options.each,
        banded=any(plot.figure.bands for plot in page.plots),
        outliers=any(plot.figure.bands and plot.figure.outliers for plot in page.plots),
        few_lines=any(BANDS_FROM <= plot.figure.series_count <= MOST_LINES for plot in page.plots),
        common_key=keys.most_common(1)[0][0] if keys else (),
        row_word=_heading(SCOPE_WORDS[options.scope][0]),
        table_words=count(len(page.table.rows) + page.table.left_out, *SCOPE_WORDS[options.scope]),
        back=back,
        back_words=back_words,
    )
    return private(html)


@requires(Permission.PAGE)
def data(job_id: int) -> Response:
    """The numbers of all plots as JSON, or in the binary form that `plots.js` asks for; 304 while they are the same."""
    services, caller = current(), current_caller()
    found, sub_cluster, metrics = _found(services, caller, job_id)
    options = _options(found, sub_cluster, metrics)
    samples, note = _data(services, found, metrics, options.scope)
    labels, _ = axis_labels(found, samples, None, clock=options.clock)
    curves = CurveSet(samples)
    faulty = faulty_nodes(found, curves, services.judge.sub_cluster(found))
    plots = job_plots(found, curves, sub_cluster, metrics, options, labels=labels, draw=False, faulty=faulty)
    form = request.accept_mimetypes.best_match((JSON, plots_binary.MEDIA_TYPE), JSON)
    if form == plots_binary.MEDIA_TYPE:
        block = plots_binary.CurveBlock()
        # The page has said already why samples are missing; to find out costs more than all curves together.
        document = plots_document(found, plots, None, clock=options.clock, absences=None, curve=block.place)
        body = block.encode(document)
    else:
        absences = NOTHING_ABSENT if note else _absences(services, found, samples, metrics, sub_cluster)
        document = plots_document(found, plots, None, clock=options.clock, absences=absences)
        body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    response = Response(body, content_type=form)
    response.headers["Cache-Control"] = PRIVATE
    response.vary.add("Accept")
    response.add_etag()
    response.make_conditional(request)
    return response


@requires(Permission.PAGE)
def series(job_id: int, metric: str) -> Response:
    """One plot as a table of at most 120 rows, or all its samples as CSV (`?as=csv`)."""
    services, caller = current(), current_caller()
    found, sub_cluster, metrics = _found(services, caller, job_id)
    if metric not in metrics:
        raise NotFound(f"there is no metric '{metric}' on this kind of node")
    options = _options(found, sub_cluster, metrics)
    samples, _ = _data(services, found, {metric: metrics[metric]}, options.scope)
    table = series_columns(samples.get(metric, {}), options.scope)
    if table is None:
        raise NotFound(f"'{metric}' was not measured for this job")
    if request.args.get("as") == "csv":
        return _csv(found, metric, table)
    names, rows = table.summary()
    small, every = shrink(rows, _TABLE_ROWS)
    step = table.timestep_s * every
    html = render_template(
        "series.html",
        title=metric_name(metric),
        job_number=found.job_id,
        unit=table.unit,
        basis=f"{count(table.rows.shape[0], *SCOPE_WORDS[table.scope])}, every {exact_span(step)}",
        columns=names,
        rows=[
            (
                exact_span(i * step),
                clock_text(found.start_time + i * step, now_s=services.now_s()),
                [number(v * table.factor) for v in column],
            )
            for i, column in enumerate(small.T.tolist())
        ],
        back=f"{url_for('web.job', job_id=job_id, **_kept('scope', 'axis'))}#m-{metric}",
        csv=_series_address(job_id, metric, "csv"),
    )
    return private(html)


def is_live(job: Job) -> bool:
    """Whether the page of a job still changes: as long as it runs, and until its archive is written."""
    archiving = job.monitoring_status == MonitoringStatus.RUNNING_OR_ARCHIVING
    return archiving or job.state in NON_TERMINAL_STATES


def _found(services: Services, caller: Caller, job_id: int) -> tuple[Job, SubCluster, Mapping[str, MetricConfig]]:
    """The job, its kind of node and the metrics the caller may see; what may not be seen does not exist."""
    found = services.search.get(job_id, row_rule(caller), now_s=services.now_s())
    sub_cluster = sub_cluster_on_page(services, found)
    return found, sub_cluster, visible_metrics(sub_cluster, caller)


def _data(services: Services, job: Job, metrics: Mapping[str, MetricConfig], scope: Scope) -> tuple[JobData, str]:
    """The samples at node scope and at the chosen one; an empty answer and a note where they cannot be read."""
    # An archive file is read as a whole; what the store is asked for costs.
    judged = {part for metric in metrics.values() for part in judged_scopes(job, metric)}
    scopes = list(Scope) if comes_from_archive(job) else sorted({Scope.NODE, scope, *judged})
    try:
        data = services.metricdata.job_data(job, list(metrics), scopes, now_s=services.now_s(), limits=VIEW_LIMITS)
    except ArchiveError as error:
        logger.warning("samples unreadable job=%s cluster=%s error=%r", job.job_id, job.cluster, str(error))
        return {}, UNREADABLE
    return in_configured_units(data, metrics), ""


def _absences(
    services: Services, job: Job, data: JobData, metrics: Mapping[str, MetricConfig], sub_cluster: SubCluster
) -> JobAbsences:
    """What is missing of the samples, and why."""
    return job_absences(job, data, metrics, sub_cluster, store=explaining(services.stores, services.store, job),
        away=bool(services.stores.unreachable(job.cluster, job.sub_cluster)), now_s=services.now_s(),
                        noted=lambda: noted_absences(services.archive, job))  # fmt: skip


def _options(job: Job, sub_cluster: SubCluster, metrics: Mapping[str, MetricConfig]) -> PageOptions:
    """What the address chooses.

    Raises:
        InvalidInput: a scope that this job cannot be shown at, or one that does not exist.
    """
    possible = scopes_on_offer(job, sub_cluster, metrics)
    wanted = request.args.get("scope", "") or Scope.NODE.value
    offered = {scope.value: scope for scope in (Scope if comes_from_archive(job) else possible)}
    if wanted not in offered:
        raise InvalidInput(f"'scope' must be one of {', '.join(offered)} for this job, not '{wanted[:40]}'")
    return PageOptions(
        scope=offered[wanted],
        clock=request.args.get("axis") == "clock",
        each=request.args.get("lines") == "each",
        sort=request.args.get("by", "")[:100],
        descending=request.args.get("dir") == "desc",
    )


def _kept(*names: str) -> dict[str, Any]:
    return {name: request.args[name] for name in names if request.args.get(name)}


def _address(job_id: int, changes: Mapping[str, str]) -> str:
    """This page with other options; options at their default are left out."""
    options = _kept("scope", "axis", "lines", "by", "dir", "back") | {
        name: str(value) for name, value in changes.items()
    }
    plain = {name: value for name, value in options.items() if value and (name, value) != ("scope", "node")}
    path = url_for("web.job", job_id=job_id)
    return f"{path}?{urlencode(plain)}" if plain else path


def _series_address(job_id: int, metric: str, form: str = "") -> str:
    more: dict[str, Any] = {"as": form} if form else {}
    return url_for("web.series", job_id=job_id, metric=metric, **_kept("scope"), **more)


def _way_back() -> tuple[str, str]:
    """The list somebody came from, with its filters, if they came from one."""
    referrer = request.referrer or ""
    own = request.host_url.rstrip("/")
    path = safe_path(referrer[len(own) :]) if referrer.startswith(f"{own}/") else ""
    home = url_for("web.jobs")
    if path.startswith(f"{home}?"):
        return path, "Jobs: your list"
    return home, "Jobs"


def clock_text(time_s: float, *, now_s: float) -> str:
    """The time of day, with seconds where there are any, and with the day where it is not today."""
    then = at(time_s, None)
    clock = f"{then:%H:%M:%S}".removesuffix(":00")
    return clock if then.date() == at(now_s, None).date() else f"{then.day} {then:%b} {clock}"


def _heading(word: str) -> str:
    return word[:1].upper() + word[1:]


def _csv(job: Job, metric: str, table: SeriesTable) -> Response:
    text = io.StringIO()
    writer = csv.writer(text)
    unit = f" ({table.row_unit})" if table.row_unit else ""
    writer.writerow(["time_s", "time", *(f"{name}{unit}" for name in table.names)])
    for i, column in enumerate(table.rows.T.tolist()):
        time_s = job.start_time + i * table.timestep_s
        writer.writerow([time_s, iso(time_s), *(f"{v:.6g}" if math.isfinite(v) else "" for v in column)])
    response = Response(text.getvalue(), content_type="text/csv; charset=utf-8")
    response.headers["Cache-Control"] = PRIVATE
    response.headers["Content-Disposition"] = f'attachment; filename="job-{job.job_id}-{metric}.csv"'
    return response
