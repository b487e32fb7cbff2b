"""The plots of the job page: one figure per metric, as SVG for the page and as a document for the canvas."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import numpy as np
from markupsafe import Markup

from cc_backend.clusters import is_job_metric, metrics_beside
from cc_backend.clusters.model import MetricConfig, SubCluster
from cc_backend.insight.configured_units import conversion_factor
from cc_backend.insight.curve_maths import Values
from cc_backend.insight.footprint import FootprintValue
from cc_backend.insight.job_curves import JobCurveSet, MetricCurves
from cc_backend.insight.rating import Thresholds
from cc_backend.insight.threshold_share import scope_factor
from cc_backend.jobdata.gaps import gaps_to_json
from cc_backend.jobdata.samples import comes_from_archive
from cc_backend.metricstore import NO_GAPS, JobGaps
from cc_backend.model import Job, JobData, JobMetric, Level, Samples, Scope
from cc_backend.runtime.float32 import shortest_float32
from cc_backend.web.figures.line_plot import draw_line_plot as draw_curves
from cc_backend.web.figures.line_plot import outlier_label, outlier_level, threshold_lines, y_ticks
from cc_backend.web.figures.svg import XLabel
from cc_backend.web.series_figure import Line, SeriesFigure, build_series_figure
from cc_backend.web.time_axis import clock_labels, run_time_labels, zone_offsets
from cc_backend.wording.format import (
    abbreviate_names,
    count_noun,
    format_duration,
    format_exact_duration,
    format_number,
    readable_unit,
)
from cc_backend.wording.labels import SCOPE_WORDS, metric_name

MAX_POINTS = 1000  # maximum of a curve on the canvas; more than its pixels
MAX_SERIES = 2048
"""More series than this of one metric are not drawn below node scope."""

CurveEncoder = Callable[[Values], Samples | Sequence[int]]
"""Converts the values of a curve to their form in a document."""


@dataclass(frozen=True, slots=True)
class PlotView:
    """One plot of the job page."""

    metric: str
    title: str
    unit: str
    level: Level | None
    level_text: str
    scope_text: str
    figure: SeriesFigure
    svg: Markup
    readout: tuple[tuple[str, str], ...]
    basis: str
    measured: bool
    outlier_level: Level | None = None


def choose_scope(by_scope: Mapping[Scope, JobMetric], wanted: Scope) -> Scope | None:
    """The wanted scope, else the finest that is coarser, else the coarsest of the rest."""
    if wanted in by_scope:
        return wanted
    coarser = [scope for scope in by_scope if scope.rank >= wanted.rank]
    if coarser:
        return min(coarser, key=lambda scope: scope.rank)
    return max(by_scope, key=lambda scope: scope.rank, default=None)


def available_scopes(
    job: Job, sub_cluster: SubCluster, metrics: Mapping[str, MetricConfig], data: JobData | None = None
) -> list[Scope]:
    """The scopes at which plots can be shown, coarse first, up to 2048 curves.

    With `data`, only metrics that were measured count; of an archived job, whose data has all scopes there are,
    only those that are there.
    """
    if data and comes_from_archive(job):
        found = {scope for name in metrics for scope in data.get(name, {})}
        return sorted(found | {Scope.NODE}, key=lambda scope: -scope.rank)
    natives = {config.scope for name, config in metrics.items() if data is None or name in data}
    offered = [Scope.NODE]
    for scope in (Scope.SOCKET, Scope.MEMORY_DOMAIN, Scope.CORE, Scope.HWTHREAD):
        finer = any(native is not Scope.ACCELERATOR and native.rank <= scope.rank for native in natives)
        units = sub_cluster.topology.unit_count(scope)
        same = scope is Scope.HWTHREAD and units == sub_cluster.topology.unit_count(Scope.CORE)
        if finer and units and not same and job.num_nodes * units <= MAX_SERIES:
            offered.append(scope)
    if Scope.ACCELERATOR in natives and 0 < job.num_acc <= MAX_SERIES:
        offered.append(Scope.ACCELERATOR)
    return offered


def build_plot(
    job: Job,
    config: MetricConfig,
    curves: JobCurveSet,
    sub_cluster: SubCluster,
    *,
    wanted: Scope,
    labels: Sequence[XLabel],
    length_s: float = 0.0,
    draw: bool = True,
    each: bool = False,
    outlier_levels: Mapping[str, Level] | None = None,
) -> PlotView:
    """The plot of one metric; of the same height if it was not measured.

    Only metrics of the footprint are judged, by its statistic, so that no plot says other than the verdict of the job.
    `separate_lines` asks for one line for each series instead of bands where they are few. `outlier_levels` are the
    nodes that differ from the others in this metric by a finding, with its level.
    """
    scope = choose_scope(curves.data.get(config.name, {}), wanted) or Scope.NODE
    found = curves.get(config.name, scope) or MetricCurves(JobMetric(config.unit, config.timestep_s))
    beside = _mean_beside(config, curves)
    factor, unit = readable_unit(found.metric.unit, beside or found.maximum or config.peak)
    thresholds = Thresholds.from_config(config, factor * scope_factor(job, config, scope, sub_cluster))
    scale_or_none = thresholds if thresholds.normal > 0 else None
    value = found.statistic(config.footprint) if config.footprint else None
    judged = None if value is None else value * factor
    level = FootprintValue(
        config.name, config.footprint, judged, unit, thresholds, has_enough_samples=found.has_enough_samples
    ).level
    zone_level = thresholds.zone_level(judged if level else None)
    figure = build_series_figure(
        config.name,
        found,
        scope,
        unit=unit,
        factor=factor,
        thresholds=scale_or_none,
        level=zone_level,
        max_points=MAX_POINTS,
        separate_lines=each,
        outlier_levels=outlier_levels if scope is Scope.NODE else None,
    )
    if scope is not Scope.NODE:
        found.release_rows()
    return PlotView(
        metric=config.name,
        title=metric_name(config.name),
        unit=unit,
        level=level,
        level_text=level.word if level else "",
        scope_text=_own_and_node_text(job, None if beside is None else beside * factor, unit)
        if is_job_metric(config)
        else _scope_text(figure, scope),
        figure=figure,
        svg=draw_curves(figure, labels, _alternative_text(figure, job, scope), length_s=length_s)
        if draw
        else Markup(""),
        readout=_readout(figure),
        basis=f"every {format_exact_duration(figure.timestep_s)}" if figure.measured else "",
        measured=figure.measured,
        outlier_level=outlier_level(figure),
    )


def _mean_beside(config: MetricConfig, curves: JobCurveSet) -> float | None:
    """The mean of whole nodes that a metric of the job alone compares with, in the unit of that one."""
    beside = (curves.get(name) for name in metrics_beside(config.name))
    node = next((found for found in beside if found is not None and found.mean is not None), None)
    if node is None or node.mean is None or not is_job_metric(config):
        return None
    return node.mean * conversion_factor(node.metric.unit, config.unit)


def _own_and_node_text(job: Job, mean_of_nodes: float | None, unit: str) -> str:
    """What a plot of the job alone is of, and the mean of whole nodes, with all jobs on them."""
    if mean_of_nodes is None:
        return "this job"
    return f"this job; {'the' if job.num_nodes == 1 else 'each'} node {format_number(mean_of_nodes)} {unit}".rstrip()


def _scope_text(figure: SeriesFigure, scope: Scope) -> str:
    singular, plural = SCOPE_WORDS[scope]
    return count_noun(figure.series_count, singular, plural) if figure.measured else singular


def _readout(figure: SeriesFigure) -> tuple[tuple[str, str], ...]:
    if not figure.measured:
        return (("", "not measured"),)
    return (
        ("min", format_number(figure.minimum)),
        ("median", format_number(figure.median)),
        ("max", format_number(figure.maximum)),
    )


def _alternative_text(figure: SeriesFigure, job: Job, scope: Scope) -> str:
    """The text alternative of a figure."""
    name = metric_name(figure.metric)
    if not figure.measured:
        return f"{name}: not measured."
    unit = f" {figure.unit}" if figure.unit else ""
    low, high, median = (format_number(value) for value in (figure.minimum, figure.maximum, figure.median))
    span = f"from {low} to {high}{unit}, median {median}"
    parts = [f"{name} of {_scope_text(figure, scope)} over {format_duration(job.duration)}: {span}."]
    if figure.outliers:
        parts.append(f"Apart from the rest: {abbreviate_names(figure.outliers)}.")
    if figure.gaps:
        parts.append(f"No data in {count_noun(len(figure.gaps), 'stretch', 'stretches')} of time.")
    return " ".join(parts)


def axis_labels(job: Job, data: JobData, zone: tzinfo | None, *, clock: bool) -> tuple[list[XLabel], float]:
    """The labels all plots share, and the length of their time axis in seconds."""
    length = axis_length_s(job, data)
    labels = clock_labels(job.start_time, length, zone) if clock else run_time_labels(length)
    return labels, length


def axis_length_s(job: Job, data: JobData) -> float:
    """The length of the longest curve in seconds; without curves that of the job."""
    lengths = [
        (len(series.data) - 1) * metric.timestep_s
        for by_scope in data.values()
        for metric in by_scope.values()
        for series in metric.series
    ]
    return float(max(lengths, default=0) or job.duration)


def round_to_five_digits(values: Values) -> Samples:
    """The values with five significant digits as 32-bit floats; gaps are NaN."""
    with np.errstate(all="ignore"):
        size = np.floor(np.log10(np.abs(np.where(np.isfinite(values) & (values != 0), values, 1.0))))
        power = 10.0 ** (4 - size)
        narrow = (np.round(values * power) / power).astype(np.float32)
    narrow[~np.isfinite(narrow)] = np.nan
    return narrow


def plots_to_json(
    job: Job,
    plots: Sequence[PlotView],
    zone: tzinfo | None,
    *,
    clock: bool,
    gaps: JobGaps | None = NO_GAPS,
    encode_curve: CurveEncoder = round_to_five_digits,
) -> dict[str, Any]:
    """All plots of a page as `plots.js` reads them: numbers already in the unit they are shown in.

    No number has more digits than a 32-bit float; curves are arrays: orjson needs OPT_SERIALIZE_NUMPY.
    `gaps` are written by metric with their reasons; None leaves them out.
    `encode_curve` gives the form of the values of a curve, by default numbers.
    """
    length_s = max((plot.figure.span_s for plot in plots), default=0.0) or job.duration
    document: dict[str, Any] = {
        "start": job.start_time,
        "length": length_s,
        "offsets": zone_offsets(job.start_time, length_s, zone),
        "clock": clock,
        "running": job.state.value == "running",
        "duration": format_duration(job.duration),
        "plots": {plot.metric: plot_to_json(plot, encode_curve) for plot in plots if plot.measured},
    }
    if gaps is not None:
        document["absences"] = gaps_to_json(gaps, zone=zone)
    return document


def plot_to_json(plot: PlotView, encode_curve: CurveEncoder) -> dict[str, Any]:
    """One plot: its curves, bands, gaps and thresholds."""
    figure = plot.figure
    label = outlier_label(figure)
    zones = figure.thresholds.zones if figure.thresholds else []
    return {
        "unit": figure.unit,
        "step": figure.timestep_s,
        "top": shortest_float32(figure.top),
        "ticks": [shortest_float32(tick) for tick in y_ticks(figure)],
        "level": figure.level.value if figure.level else "",
        "zones": [[shortest_float32(low), shortest_float32(high), level.value] for low, high, level in zones],
        "thresholds": [[level, shortest_float32(value)] for level, value, _ in threshold_lines(figure)],
        "marks": figure.thresholds is not None,
        "gaps": [list(gap) for gap in figure.gaps],
        "lines": [_line_to_json(line, encode_curve) for line in figure.lines],
        "bands": [{"low": encode_curve(b.low), "high": encode_curve(b.high), "inner": b.inner} for b in figure.bands],
        "label": [shortest_float32(label[0]), label[1], (outlier_level(figure) or "")] if label else None,
        "readout": [list(pair) for pair in plot.readout],
    }


def _line_to_json(line: Line, curve: CurveEncoder) -> dict[str, Any]:
    document = {"label": line.label, "k": line.colour, "y": curve(line.values)}
    return {**document, "level": line.level.value} if line.level else document
