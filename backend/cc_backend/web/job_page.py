"""The job page as the template shows it. Pure: a job and its samples in, words and figures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from cc_backend.clusters.model import MetricConfig, SubCluster
from cc_backend.insight.assessment import Assessment
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.insight.sentences import SentenceContext
from cc_backend.metricstore import NO_GAPS, JobGaps
from cc_backend.model import Job, JobState, Level, MonitoringStatus, Scope
from cc_backend.web.figures.svg import XLabel
from cc_backend.web.gap_text import common_missing_reason, missing_reasons, plot_reasons
from cc_backend.web.job_plots import PlotView, available_scopes, axis_labels, build_plot
from cc_backend.web.job_record import JobRecord, build_job_record
from cc_backend.web.job_summary import JobSummary, build_summary
from cc_backend.web.statistics_table import StatisticsTable, build_statistics_table
from cc_backend.wording.labels import SCOPE_WORDS


@dataclass(frozen=True, slots=True)
class PageOptions:
    """The options in the address of a job page; with an empty `sort` the page chooses the order of the table."""

    scope: Scope = Scope.NODE
    clock: bool = False
    separate_lines: bool = False
    sort: str = ""
    descending: bool = False


@dataclass(frozen=True, slots=True)
class ScopeChoice:
    """One scope that the page can be switched to."""

    scope: Scope
    word: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class JobPageView:
    """Everything the template of the job page shows.

    `missing` names the metrics that were not measured, `missing_why` groups them by their reasons; `reasons` says by
    metric why its plot has gaps.
    """

    job: Job
    record: JobRecord
    summary: JobSummary
    plots: tuple[PlotView, ...]
    quiet: tuple[PlotView, ...]
    missing: tuple[str, ...]
    missing_why: tuple[tuple[str, str], ...]
    reasons: Mapping[str, tuple[str, ...]]
    scopes: tuple[ScopeChoice, ...]
    table: StatisticsTable
    data_note: str


def build_job_page(
    job: Job,
    curves: JobCurveSet,
    assessment: Assessment,
    sub_cluster: SubCluster,
    metrics: Mapping[str, MetricConfig],
    *,
    options: PageOptions,
    zone: tzinfo | None,
    now_s: float,
    data_note: str = "",
    gaps: JobGaps = NO_GAPS,
) -> JobPageView:
    """The page of one job as it was judged; `metrics` are those the reader may see.

    `data_note` says why there are no samples at all, `gaps` are the gaps in them.
    """
    labels, length_s = axis_labels(job, curves.data, zone, clock=options.clock)
    plots = build_plots(
        job, curves, sub_cluster, metrics, options, labels=labels, length_s=length_s, outliers=assessment.outliers
    )
    missing = [item.metric for item in assessment.footprint if item.value is None]
    context = SentenceContext(
        job.state is JobState.RUNNING, now_s, zone, common_missing_reason(gaps, missing, zone=zone)
    )
    summary = build_summary(
        job, curves, assessment, sub_cluster, metrics, labels=labels, length_s=length_s, context=context
    )
    quiet = select_quiet_plots(plots, metrics)
    folded = {plot.metric for plot in quiet}
    absent = [plot.metric for plot in plots if not plot.measured]
    sort, descending = _table_order(options, summary)
    in_order = {name: metrics[name] for name in order_metrics(job, metrics)}
    return JobPageView(
        job=job,
        record=build_job_record(job, sub_cluster, zone),
        summary=summary,
        plots=tuple(plot for plot in plots if plot.measured and plot.metric not in folded),
        quiet=quiet,
        missing=tuple(plot.title for plot in plots if not plot.measured),
        missing_why=missing_reasons(gaps, absent, zone=zone),
        reasons={
            plot.metric: plot_reasons(gaps, plot.metric, has_gaps=bool(plot.figure.gaps), zone=zone)
            for plot in plots
            if plot.measured
        },
        scopes=tuple(
            ScopeChoice(scope, SCOPE_WORDS[scope][1], scope is options.scope)
            for scope in available_scopes(job, sub_cluster, metrics, curves.data)
        ),
        table=build_statistics_table(
            job, curves, in_order, sub_cluster, scope=options.scope, sort=sort, descending=descending
        ),
        data_note=data_note or _status_note(job, measured=any(plot.measured for plot in plots)),
    )


def build_plots(
    job: Job,
    curves: JobCurveSet,
    sub_cluster: SubCluster,
    metrics: Mapping[str, MetricConfig],
    options: PageOptions,
    *,
    labels: Sequence[XLabel],
    length_s: float = 0.0,
    draw: bool = True,
    outliers: Mapping[str, Mapping[str, Level]] | None = None,
) -> list[PlotView]:
    """One plot per metric: those of the footprint first, then the others, each in the order of the configuration.

    Of a job with GPUs those of its GPUs come before. The time axis of all is `length_s` long.
    `outliers` are by metric the nodes that differ from the others.
    """
    return [
        build_plot(
            job,
            metrics[name],
            curves,
            sub_cluster,
            wanted=options.scope,
            labels=labels,
            length_s=length_s,
            draw=draw,
            each=options.separate_lines,
            outlier_levels=(outliers or {}).get(name),
        )
        for name in order_metrics(job, metrics)
    ]


def order_metrics(job: Job, metrics: Mapping[str, MetricConfig]) -> list[str]:
    """The metrics in the order of their plots: footprint first, for a job with GPUs those of GPUs before the rest."""
    gpus = bool(job.num_acc)
    return sorted(
        metrics,
        key=lambda name: (not metrics[name].footprint, gpus and metrics[name].scope is not Scope.ACCELERATOR),
    )


def select_quiet_plots(plots: Sequence[PlotView], metrics: Mapping[str, MetricConfig]) -> tuple[PlotView, ...]:
    """The plots that are zero throughout, which share one line; empty if all are."""
    quiet = tuple(plot for plot in plots if plot.figure.quiet and not metrics[plot.metric].footprint)
    return quiet if len(quiet) < sum(plot.measured for plot in plots) else ()


def _table_order(options: PageOptions, summary: JobSummary) -> tuple[str, bool]:
    """Sort key of the statistics (as chosen, else a metric in which nodes differ, else the name), and if descending."""
    if options.sort:
        return options.sort, options.descending
    return next(iter(summary.outliers), ""), False


def _status_note(job: Job, *, measured: bool) -> str:
    """Why there are no samples at all, by the job record; empty if there are some."""
    if measured:
        return ""
    if job.monitoring_status == MonitoringStatus.DISABLED:
        return "This job was not monitored: it was too short, or monitoring was off."
    if job.monitoring_status == MonitoringStatus.ARCHIVING_FAILED:
        return "The samples of this job could not be archived. The record of the job is complete."
    if job.state is JobState.RUNNING:
        return "No samples have come in from the nodes of this job yet."
    return "There are no samples of this job."
